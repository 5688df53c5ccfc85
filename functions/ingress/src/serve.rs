//! Serves Lambda: reads the environment, wires the stages, answers requests.

use std::{collections::BTreeMap, env, process::ExitCode};

use lambda_http::{lambda_runtime, service_fn, tracing};
use sluicegate_queue::aws::sdk_config;

use crate::{
    Config, Ingress, SecretsManager,
    backend::{Backend, Backends},
    contract,
};

/// Longest wait for the broker at start. Lambda gives the start ten seconds in all, and a request connects again anyway.
#[cfg(feature = "rabbitmq")]
const CONNECT_AT_START: std::time::Duration = std::time::Duration::from_secs(5);

/// Serves Lambda until the process ends. What keeps it from starting is logged, all of it at once.
pub async fn serve() -> ExitCode {
    tracing::init_default_subscriber();
    let ingress = match wire().await {
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

/// Reads the environment, makes a producer for each queue, and connects where connections last: a cold start does that on a full
/// CPU, and the first request need not. A broker that does not answer is no reason not to start.
async fn wire() -> Result<Ingress<Backend, SecretsManager>, Vec<String>> {
    let lookup = |name: &str| env::var(name).ok();
    let contract = contract().map_err(|error| vec![error.to_string()])?;
    let config = Config::from_env(contract, lookup)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let sdk = sdk_config(lookup).map_err(|error| vec![error.to_string()])?;
    #[cfg(feature = "rabbitmq")]
    let rabbitmq = config.rabbitmq.map(|rabbitmq| {
        let ladder = rabbitmq.ladder().clone();
        (sluicegate_queue::rabbitmq::Broker::new(rabbitmq.with_sdk_config(&sdk)), ladder)
    });
    #[cfg(feature = "rabbitmq")]
    if let Some((broker, _)) = &rabbitmq
        && let Err(error) = broker.connect(tokio::time::Instant::now() + CONNECT_AT_START).await
    {
        tracing::error!(reason = %error, "no connection to RabbitMQ at the start; the first request tries again");
    }
    let mut backends = Backends {
        sdk: sdk.clone(),
        #[cfg(feature = "sqs")]
        sqs: None,
        #[cfg(feature = "rabbitmq")]
        rabbitmq,
    };
    let (mut producers, mut wrong) = (BTreeMap::new(), Vec::new());
    for (name, binding) in config.bindings {
        match backends.backend(binding) {
            Ok(backend) => drop(producers.insert(name, backend)),
            Err(reason) => wrong.push(format!("queue {name} {reason}")),
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let endpoint = lookup("AWS_ENDPOINT_URL_SECRETS_MANAGER").or_else(|| lookup("AWS_ENDPOINT_URL"));
    Ok(Ingress::new(contract, producers, SecretsManager::new(&sdk, config.secrets_arn, endpoint)))
}
