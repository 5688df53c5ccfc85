//! Clients of the API, and the ingress function with its execution environments.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use lambda_runtime::{Context, LambdaEvent};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sluicegate_aws_client::AwsEnvironment;
use sluicegate_contract::Contract;
use sluicegate_contract::secret_entry::ApiKey;
use sluicegate_ingress::{AnyProducer, FetchError, Ingress, SecretSource};
use sluicegate_queue::RoutingKey;
use sluicegate_queue::queue_names::RetryDelays;
use sluicegate_queue::rabbitmq::RabbitmqProducer;
use sluicegate_queue::sqs::SqsProducer;
use tokio::time::{sleep, timeout};

use crate::BoxError;
use crate::clock::{Skew, Skewed};
use crate::fault::{Kind, Site};
use crate::http_server;
use crate::killable::Killable;
use crate::ledger::Conclusion;
use crate::message::Message;
use crate::rabbitmq::{self, Process, Rabbitmq, Requests, User};
use crate::sqs_service::Caller;
use crate::world::{Injected, World};

/// The timeout of the ingress function in template.yaml.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often a client sends a request that was not accepted.
const ATTEMPTS_MAX: u32 = 6;

/// The API keys of the client, the second after a rotation.
const KEYS: [&str; 2] = ["first-key", "second-key"];

/// How long both keys are in the secret before and after clients change. Longer than the ingress uses a secret without
/// reading it again, also while the store is away.
const KEYS_OVERLAP: Duration = Duration::from_secs(4_200);

/// The ingress function.
pub(crate) struct IngressFunction {
    world: Arc<World>,
    /// The versions of the contract.
    contracts: [&'static Contract; 2],
    /// The environments that are not in use, the latest last.
    free: Mutex<Vec<Environment>>,
    environments: AtomicU64,
}

struct Environment {
    ingress: Ingress<AnyProducer, Secrets>,
    /// The version of its contract.
    version: usize,
    skew: Skew,
    /// The number of the request.
    request: Arc<AtomicU64>,
    requests: Requests,
    process: Process,
}

/// The secret in its store.
struct Secrets {
    world: Arc<World>,
    environment: u64,
}

impl SecretSource for Secrets {
    async fn fetch(&self) -> Result<String, FetchError> {
        match self.world.fault(Site::Secret, self.environment).map(|fault| fault.kind) {
            Some(Kind::Late) => sleep(Duration::from_millis(900)).await,
            Some(_) => return Err(FetchError("simulated".to_owned())),
            None => {}
        }
        let (now, changes_at) = (self.world.now(), self.world.scenario.key_changes_at);
        let mut keys = Vec::new();
        if now < changes_at + KEYS_OVERLAP {
            keys.push(KEYS[0]);
        }
        if now + KEYS_OVERLAP > changes_at {
            keys.push(KEYS[1]);
        }
        let entry = |key: &str| {
            let key = ApiKey { sha256: Sha256::digest(key).into(), principal: "client".to_owned(), scopes: Vec::new() };
            key.entry()
        };
        Ok(json!({ "api-keys": keys.into_iter().map(entry).collect::<Vec<_>>() }).to_string())
    }
}

impl IngressFunction {
    pub(crate) fn new(world: Arc<World>, contracts: [&'static Contract; 2]) -> Self {
        Self { world, contracts, free: Mutex::default(), environments: AtomicU64::new(0) }
    }

    /// Starts an environment with a version of the contract.
    fn start(&self, version: usize) -> Result<Environment, BoxError> {
        let request = Arc::new(AtomicU64::new(0));
        let (requests, process) = (Requests::default(), Process::default());
        let queue = if self.world.scenario.fifo { "fifo" } else { "standard" };
        let producer = if self.world.scenario.rabbitmq {
            let broker = Rabbitmq::client(&self.world, &process, User::Ingress(Arc::clone(&requests)))?;
            let key = RoutingKey::parse("{type}")?;
            AnyProducer::Rabbitmq(RabbitmqProducer::new(broker, rabbitmq::QUEUE, key, RetryDelays::default()))
        } else {
            let environment = AwsEnvironment::read(variable)?;
            let dialer = http_server::dialer(&self.world, Caller::Ingress(Arc::clone(&request)));
            AnyProducer::Sqs(SqsProducer::new(&environment.with_dialer(dialer), self.world.queue_url.clone()))
        };
        let producers = [(queue.to_owned(), producer)];
        let number = self.environments.fetch_add(1, Ordering::Relaxed);
        let secrets = Secrets { world: Arc::clone(&self.world), environment: number };
        let ingress = Ingress::new(self.contracts[version], producers.into(), secrets);
        let skew = self.world.skew("ingress-skew", number);
        Ok(Environment { ingress, version, skew, request, requests, process })
    }

    /// Gives an environment a request; returns the answer of the function, or `None` if it ended without one.
    async fn invoke(&self, request: u64, message: &Message, event: &str) -> Result<Option<Value>, BoxError> {
        let version = usize::from(self.world.now() >= self.world.scenario.contract_changes_at);
        let free = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            free.retain(|environment| environment.version == version);
            free.pop()
        };
        let environment = match free {
            Some(environment) => environment,
            None => self.start(version)?,
        };
        environment.request.store(request, Ordering::Relaxed);
        {
            let mut requests = environment.requests.lock().unwrap_or_else(PoisonError::into_inner);
            requests.entry(message.number).or_default().push(request);
        }
        environment.process.set_frozen(false);
        let mut context = Context::default();
        let deadline = environment.skew.now() + TIMEOUT;
        context.deadline = u64::try_from(deadline.duration_since(SystemTime::UNIX_EPOCH)?.as_millis())?;
        let fault = self.world.fault(Site::Ingress, u64::from(message.number));
        if fault.is_some() {
            // There may be copies of the message.
            self.world.ledger().touch(message.number);
        }
        let polls = fault.map(|Injected { mut rng, .. }| rng.u32(0..8));
        let handling = environment.ingress.handle(LambdaEvent::new(serde_json::from_str(event)?, context));
        let answer = match timeout(TIMEOUT, Killable::new(Skewed::new(handling, environment.skew), polls)).await {
            Ok(Some(answer)) => Some(serde_json::to_value(answer)?),
            Ok(None) => None,
            Err(_) => {
                let now = self.world.now();
                self.world.ledger().answered_otherwise(now, message.number, "the function timed out");
                None
            }
        };
        if answer.is_none() {
            environment.process.kill();
        } else {
            environment.process.set_frozen(true);
            self.free.lock().unwrap_or_else(PoisonError::into_inner).push(environment);
        }
        Ok(answer)
    }

    /// Sends a request until it is accepted, and sends it again if the message is to be repeated.
    pub(crate) async fn client(self: Arc<Self>, message: Message) -> Result<(), BoxError> {
        let mut repeats = message.repeated_after.into_iter();
        let mut attempt = 0;
        while attempt < ATTEMPTS_MAX {
            attempt += 1;
            let wait = match self.request(&message).await? {
                Some(wait) => wait,
                None => match repeats.next() {
                    Some(wait) => wait,
                    None => return Ok(()),
                },
            };
            sleep(wait).await;
        }
        Ok(())
    }

    /// Sends a request once; returns how long to wait before the next attempt, `None` if it was accepted.
    async fn request(&self, message: &Message) -> Result<Option<Duration>, BoxError> {
        let world = &self.world;
        let number = message.number;
        let key = KEYS[usize::from(world.now() >= world.scenario.key_changes_at)];
        let event = event(world.scenario.fifo, key, message);
        let request = world.ledger().requested(number);
        world.record(format_args!("request {number}"));
        let answer = self.invoke(request, message, &event).await?;
        let now = world.now();
        let Some(answer) = answer else {
            world.record(format_args!("answer {number} lost"));
            world.ledger().answered(now, request, &Conclusion::Unknown);
            return Ok(Some(Duration::from_secs(1)));
        };
        let body: Answer = serde_json::from_str(answer["body"].as_str().unwrap_or_default())?;
        let status = answer["statusCode"].as_u64().unwrap_or_default();
        let code = body.code.as_deref().unwrap_or_default();
        world.record(format_args!("answer {number} {status} {code}"));
        let conclusion = match (status, body.id) {
            (202, Some(id)) => Conclusion::Accepted { id },
            (503, Some(_)) => Conclusion::Unknown,
            (503, None) => Conclusion::NotStored,
            (413, None) if message.is_too_large() => Conclusion::TooLarge,
            (_, id) => {
                let details = format!("{status} {code}, id {id:?}");
                world.ledger().answered_otherwise(now, number, &details);
                return Ok(None);
            }
        };
        world.ledger().answered(now, request, &conclusion);
        if matches!(conclusion, Conclusion::Accepted { .. } | Conclusion::TooLarge) {
            return Ok(None);
        }
        let wait_s = answer["headers"]["retry-after"].as_str().and_then(|text| text.parse().ok());
        Ok(Some(Duration::from_secs(wait_s.unwrap_or(1))))
    }
}

/// The part of an answer that clients read.
#[derive(Deserialize)]
struct Answer {
    id: Option<String>,
    code: Option<String>,
}

/// Returns the event of a request as API Gateway sends it.
fn event(fifo: bool, key: &str, message: &Message) -> String {
    let path = if fifo { "/fifo" } else { "/standard" };
    json!({
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {
            "content-type": "application/json",
            "host": "api.example.com",
            "idempotency-key": format!("key-{}", message.key_of),
            "x-api-key": key,
        },
        "requestContext": { "http": { "method": "POST", "path": path, "sourceIp": "192.0.2.1" }, "stage": "$default" },
        "isBase64Encoded": false,
        "body": message.payload(),
    })
    .to_string()
}

/// Returns the variables of the functions.
pub(crate) fn variable(name: &str) -> Option<String> {
    let value = match name {
        "AWS_REGION" => "us-east-1",
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "simulated",
        "AWS_ENDPOINT_URL" => "http://sqs.simulated",
        _ => return None,
    };
    Some(value.to_owned())
}
