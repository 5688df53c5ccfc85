//! The Lambda runtime of the ingress: configuration, producers, request loop.

use std::{collections::BTreeMap, env, fmt::Display, pin::Pin, process::ExitCode};

use lambda_http::{
    LambdaEvent,
    lambda_runtime::{Error, Runtime, service_fn},
};
use sluicegate_aws_client::AwsEnvironment;
use sluicegate_contract::{Contract, EmbeddedContract};
use sluicegate_runtime::{EventText, Invocations, Loops, all, max_concurrency};
use sluicegate_telemetry::{Emitter, log};

use crate::{
    Config, Ingress, LambdaAnswer, SecretsManager,
    any_producer::{AnyProducer, Producers},
    published_keys::KeyCache,
};

/// Longest wait for the broker at startup. Lambda allows ten seconds for the startup, and a request reconnects if
/// needed.
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
const CONNECT_AT_START: std::time::Duration = std::time::Duration::from_secs(5);

/// Serves Lambda until SIGTERM, and then ends when the running requests are answered. Logs every configuration error at
/// startup and then ends with a failure.
///
/// On Lambda Managed Instances it serves several requests at a time, and those for one SQS queue share calls.
///
/// The whole `main` of a function is `sluicegate_ingress::serve(sluicegate_ingress::embedded_contract!()).await`.
pub async fn serve(contract: EmbeddedContract) -> ExitCode {
    log::init(env!("CARGO_CRATE_NAME"));
    let ingress = match load(contract).await {
        Ok(ingress) => ingress,
        Err(reasons) => {
            for reason in reasons {
                tracing::error!(reason, "the ingress cannot start");
            }
            return ExitCode::FAILURE;
        }
    };
    // One ingress for the life of the process.
    let ingress: &'static _ = Box::leak(Box::new(ingress));
    // In a box, because the nested futures of the stages exceed the layout depth of the compiler, and the runtime would
    // copy them.
    let handle = move |LambdaEvent { context, .. }: LambdaEvent<()>| {
        // Not by the runtime, which keeps track of the path to each field.
        let event = EventText::take();
        let arrival = str::from_utf8(&event).map_err(Error::from).and_then(|event| Ok(serde_json::from_str(event)?));
        let work = async move {
            let arrival = arrival.inspect_err(|error| tracing::error!(%error, "the event cannot be read"))?;
            Ok(ingress.handle(LambdaEvent::new(arrival, context)).await)
        };
        let work: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(work);
        log::flushed(work)
    };
    match run(handle).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the runtime ended");
            ExitCode::FAILURE
        }
    }
}

/// Runs the loops of the function. Each is a task, because the future of the main thread is woken through a system
/// call.
async fn run<F>(handle: impl Fn(LambdaEvent<()>) -> F + Clone + Send + 'static) -> Result<(), Error>
where
    F: Future<Output = Result<LambdaAnswer, Error>> + Send + 'static,
{
    let invocations = Invocations::default();
    let loops = Loops::new(Runtime::new(service_fn(handle)).layer(EventText).layer(invocations))?;
    let tasks = (0..max_concurrency(variable)).map(|_| {
        let task = tokio::spawn(loops.serve());
        async { task.await? }
    });
    invocations.until_terminated(all(tasks)).await
}

async fn load(contract: EmbeddedContract) -> Result<Ingress<AnyProducer, SecretsManager>, Vec<String>> {
    let contract = contract.load().map_err(|error| vec![format!("the embedded contract cannot be read: {error}")])?;
    // One contract for the life of the process.
    from_env(Box::leak(Box::new(contract)), variable).await
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// Returns an ingress for the contract, configured through `lookup`.
///
/// Connects to the brokers and, if a scheme has a secret, to Secrets Manager at startup, when Lambda provides a full
/// CPU, so that the first request does not wait. A failure is logged; the first request tries again.
///
/// # Errors
/// Every configuration error.
pub async fn from_env(
    contract: &'static Contract,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Ingress<AnyProducer, SecretsManager>, Vec<String>> {
    let config = Config::from_env(contract, &lookup)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let aws = AwsEnvironment::read(&lookup).map_err(|error| vec![error.to_string()])?;
    #[cfg(feature = "rabbitmq")]
    let rabbitmq = config.rabbitmq.map(|rabbitmq| {
        let retry_delays = rabbitmq.retry_delays().clone();
        (sluicegate_queue::rabbitmq::Broker::new(rabbitmq.with_environment(&aws).for_events()), retry_delays)
    });
    #[cfg(feature = "rabbitmq")]
    if let Some((broker, _)) = &rabbitmq
        && let Err(error) = broker.connect(tokio::time::Instant::now() + CONNECT_AT_START).await
    {
        not_connected("RabbitMQ", &error);
    }
    #[cfg(feature = "kafka")]
    let kafka = config.kafka.map(|kafka| sluicegate_queue::kafka::Cluster::new(kafka.with_environment(&aws)));
    #[cfg(feature = "kafka")]
    if let Some(cluster) = &kafka {
        let topics: Vec<_> = config.bindings.values().filter_map(sluicegate_queue::Binding::topic).collect();
        if let Err(error) = cluster.connect(&topics, tokio::time::Instant::now() + CONNECT_AT_START).await {
            not_connected("Kafka", &error);
        }
    }
    let mut producers = Producers {
        aws: aws.clone(),
        #[cfg(feature = "sqs")]
        coalesce: max_concurrency(&lookup) > 1,
        #[cfg(feature = "sqs")]
        sqs: None,
        #[cfg(feature = "s3")]
        payloads: config.payload_bucket.as_deref().map(|bucket| sluicegate_queue::sqs::PayloadStore::new(&aws, bucket)),
        #[cfg(feature = "rabbitmq")]
        rabbitmq,
        #[cfg(feature = "kafka")]
        kafka,
    };
    let mut by_queue = BTreeMap::new();
    for (name, binding) in config.bindings {
        let producer = producers.for_binding(binding).ok_or_else(|| vec![format!("queue {name} has no broker")])?;
        by_queue.insert(name, producer);
    }
    let secrets = SecretsManager::new(&aws, config.secret_arn);
    let connecting_to_secrets = async {
        if contract.has_secrets()
            && let Err(error) = secrets.connect().await
        {
            not_connected("Secrets Manager", &error);
        }
    };
    #[cfg(feature = "sqs")]
    let connecting_to_sqs = async {
        if let Some(sqs) = &producers.sqs
            && let Err(error) = sqs.connect().await
        {
            not_connected("SQS", &error);
        }
    };
    #[cfg(not(feature = "sqs"))]
    let connecting_to_sqs = async {};
    tokio::join!(connecting_to_secrets, connecting_to_sqs);
    let mut ingress = Ingress::new(contract, by_queue, secrets)
        .with_public_url(config.public_url)
        .with_secrets_grace(config.secrets_grace);
    if let Some(endpoints) = config.key_endpoints {
        tracing::warn!(?endpoints, "published keys of these hosts are fetched from a local server");
        ingress.secrets.published = KeyCache::to(endpoints);
    }
    #[cfg(feature = "dynamodb")]
    let ingress = ingress.with_store(
        config
            .idempotency_table
            .map(|table| crate::AnyStore::DynamoDb(Box::new(sluicegate_idempotency::DynamoDbStore::new(&aws, table)))),
    );
    #[cfg(feature = "otlp")]
    let ingress = ingress.with_tracer(sluicegate_otlp::Tracer::from_env_or_log(&lookup));
    Ok(ingress.with_metrics(Emitter::from_env(lookup)))
}

fn not_connected(service: &str, error: &dyn Display) {
    tracing::error!(service, reason = %error, "no connection at the start; the first request tries again");
}
