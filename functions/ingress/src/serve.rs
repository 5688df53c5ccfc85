//! Serves Lambda: reads the environment, wires the stages, answers requests.

use std::{collections::BTreeMap, env, process::ExitCode};

use lambda_http::{lambda_runtime, service_fn, tracing};
use sluicegate_queue::{
    Binding,
    sqs::{SqsProducer, sdk_config},
};

use crate::{Config, Ingress, SecretsManager, contract};

/// Serves Lambda until the process ends. What keeps it from starting is logged, all of it at once.
pub async fn serve() -> ExitCode {
    tracing::init_default_subscriber();
    let ingress = match wire() {
        Ok(ingress) => ingress,
        Err(reasons) => {
            for reason in reasons {
                tracing::error!(reason, "the ingress cannot start");
            }
            return ExitCode::FAILURE;
        }
    };
    // Boxed, because the stages' futures nest deeper than the compiler lays out in one piece.
    let handle = |event| Box::pin(async { ingress.handle(event).await.map_err(lambda_http::Error::from) });
    match lambda_runtime::run(service_fn(handle)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the runtime ended");
            ExitCode::FAILURE
        }
    }
}

fn wire() -> Result<Ingress<SqsProducer, SecretsManager>, Vec<String>> {
    let lookup = |name: &str| env::var(name).ok();
    let contract = contract().map_err(|error| vec![error.to_string()])?;
    let config = Config::from_env(contract, lookup)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let sdk = sdk_config(lookup).map_err(|error| vec![error.to_string()])?;
    let mut producers = BTreeMap::<String, SqsProducer>::new();
    for (name, Binding::Sqs { queue_url, .. }) in config.bindings {
        // One client for all queues: making one reads every root certificate.
        let producer = match producers.values().next() {
            Some(first) => first.for_queue(queue_url),
            None => SqsProducer::new(&sdk, queue_url),
        };
        producers.insert(name, producer);
    }
    let endpoint = lookup("AWS_ENDPOINT_URL_SECRETS_MANAGER").or_else(|| lookup("AWS_ENDPOINT_URL"));
    Ok(Ingress::new(contract, producers, SecretsManager::new(&sdk, config.secrets_arn, endpoint)))
}
