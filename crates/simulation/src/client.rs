//! Clients of the API, and the ingress function with its execution environments.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lambda_runtime::LambdaEvent;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluicegate_aws_client::AwsEnvironment;
use sluicegate_batch::{AnyStore, DynamoDbStore};
use sluicegate_contract::Contract;
use sluicegate_ingress::{AnyProducer, FetchError, Ingress, SecretSource};
use sluicegate_queue::RoutingKey;
use sluicegate_queue::queue_names::RetryDelays;
use sluicegate_queue::rabbitmq::RabbitmqProducer;
use sluicegate_queue::sqs::{PayloadStore, SqsProducer};
use sluicegate_telemetry::Emitter;
use tokio::time::{sleep, timeout};

use crate::BoxError;
use crate::api::{ARCHIVE, BATCH_ROUTE, COPIES, QUEUE, ROUTE};
use crate::aws_service::Caller;
use crate::clock::{Skew, Skewed};
use crate::credentials::{Credentials, Forgery, Validity, secret};
use crate::dynamodb::TABLE;
use crate::fault::{Kind, Site};
use crate::function;
use crate::http_server;
use crate::killable::Killable;
use crate::ledger::{Admission, Conclusion, Queue};
use crate::message::Message;
use crate::rabbitmq::{self, Process, Rabbitmq, User};
use crate::s3::BUCKET;
use crate::scenario::Scenario;
use crate::sending::Sending;
use crate::world::{Injected, World};

/// The timeout of the ingress function in template.yaml.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often a client sends a request that was not accepted.
const ATTEMPTS_MAX: u32 = 6;

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
        Ok(secret(self.world.now(), self.world.scenario.key_changes_at).to_string())
    }
}

impl IngressFunction {
    pub(crate) fn new(world: Arc<World>, contracts: [&'static Contract; 2]) -> Self {
        Self { world, contracts, free: Mutex::default(), environments: AtomicU64::new(0) }
    }

    /// Starts an environment with a version of the contract.
    fn start(&self, version: usize) -> Result<Environment, BoxError> {
        let request = Arc::new(AtomicU64::new(0));
        let process = Process::default();
        let dialer = http_server::dialer(&self.world, Caller::Ingress(Arc::clone(&request)));
        let environment = AwsEnvironment::read(variable)?.with_dialer(dialer);
        let payloads = PayloadStore::new(&environment, BUCKET);
        let to_sqs = |url| {
            let producer = SqsProducer::new(&environment, url);
            AnyProducer::Sqs(producer.with_payloads(Some(payloads.clone())))
        };
        let producer = if self.world.scenario.rabbitmq {
            let broker = Rabbitmq::client(&self.world, &process, User::Ingress)?;
            let key = RoutingKey::parse("{type}")?;
            AnyProducer::Rabbitmq(RabbitmqProducer::new(broker, rabbitmq::QUEUE, key, RetryDelays::default()))
        } else {
            to_sqs(self.world.queue_url.clone())
        };
        let copies = if self.world.scenario.has_archive { ARCHIVE } else { COPIES };
        let producers = [(QUEUE.to_owned(), producer), (copies.to_owned(), to_sqs(self.world.copies_url()))];
        let number = self.environments.fetch_add(1, Ordering::Relaxed);
        let secrets = Secrets { world: Arc::clone(&self.world), environment: number };
        let (world, counted) = (Arc::clone(&self.world), Arc::clone(&request));
        let emitter = Emitter::in_process("ingress", move |lines| {
            let now = world.now();
            world.ledger().request_counted(now, counted.load(Ordering::Relaxed), lines);
        });
        let keys = AnyStore::DynamoDb(Box::new(DynamoDbStore::new(&environment, TABLE)));
        let ingress = Ingress::new(self.contracts[version], producers.into(), secrets);
        let ingress = ingress.with_metrics(Some(emitter)).with_store(Some(keys));
        let skew = self.world.skew("ingress-skew", number);
        Ok(Environment { ingress, version, skew, request, process })
    }

    /// Gives an environment a request; returns the answer of the function and its clock, or `None` if it ended without
    /// an answer.
    async fn invoke(
        &self,
        request: u64,
        sending: &Sending,
        event: &str,
    ) -> Result<Option<(HttpAnswer, Skew)>, BoxError> {
        let version = usize::from(self.world.now() >= self.world.scenario.contract_changes_at);
        let free = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            for ended in free.extract_if(.., |environment| environment.version != version) {
                ended.process.kill();
            }
            free.pop()
        };
        let environment = match free {
            Some(environment) => environment,
            None => self.start(version)?,
        };
        environment.request.store(request, Ordering::Relaxed);
        environment.process.thaw().await;
        let context = function::context(String::new(), environment.skew, TIMEOUT)?;
        let first = sending.messages.first().copied().unwrap_or_default();
        let fault = self.world.fault(Site::Ingress, u64::from(first));
        if fault.is_some() {
            // There may be copies of the messages.
            self.world.ledger().touch_all(&sending.messages);
        }
        let polls = fault.map(|Injected { mut rng, .. }| rng.u32(0..8));
        let handling = environment.ingress.handle(LambdaEvent::new(serde_json::from_str(event)?, context));
        let skew = environment.skew;
        let answer = match timeout(TIMEOUT, Killable::new(Skewed::new(handling, skew), polls)).await {
            Ok(Some(answer)) => Some((serde_json::from_str(&serde_json::to_string(&answer)?)?, skew)),
            Ok(None) => None,
            Err(_) => {
                let now = self.world.now();
                self.world.ledger().answered_otherwise(now, sending, "the function timed out");
                None
            }
        };
        if answer.is_none() {
            environment.process.kill();
        } else {
            environment.process.freeze();
            self.free.lock().unwrap_or_else(PoisonError::into_inner).push(environment);
        }
        Ok(answer)
    }

    /// Sends a request until all its messages are accepted, each time those that are not, and sends the whole again if
    /// its first message is to be repeated.
    pub(crate) async fn client(self: Arc<Self>, sending: Sending) -> Result<(), BoxError> {
        let first = sending.messages.first().and_then(|number| self.world.scenario.messages.get(*number as usize));
        if let Some(message) = first.filter(|_| self.world.scenario.has_webhooks && !sending.is_batch)
            && let Some(forgery) = Forgery::before(&self.world.dice, message.number)
        {
            self.forge(&sending, forgery).await?;
        }
        let mut repeats = first.and_then(|message| message.repeated_after).into_iter();
        let mut left = sending.clone();
        for _ in 0..ATTEMPTS_MAX {
            let wait = match self.request(&mut left).await? {
                Some(wait) => wait,
                None => match repeats.next() {
                    Some(wait) => {
                        left.clone_from(&sending);
                        wait
                    }
                    None => return Ok(()),
                },
            };
            sleep(wait).await;
        }
        Ok(())
    }

    /// Sends a message as an attacker does, who has no valid signature of it.
    async fn forge(&self, sending: &Sending, forgery: Forgery) -> Result<(), BoxError> {
        let world = &self.world;
        let request = world.ledger().forged(&sending.messages);
        let event = event(&world.scenario, world.now(), request, sending, Some(forgery))?;
        world.record(format_args!("forged request {sending} {forgery:?}"));
        let Some((answer, _)) = self.invoke(request, sending, &event).await? else { return Ok(()) };
        let (results, answers) = answer.results(sending)?;
        world.ledger().request_answered(world.now(), request, codes(&results, answers));
        for Item { status, code, id, .. } in results {
            world.record(format_args!("answer {sending} {status} {}", code.as_deref().unwrap_or_default()));
            let mut ledger = world.ledger();
            ledger.signature_answered(world.now(), &world.scenario, request, Validity::Invalid, status, id.is_some());
        }
        Ok(())
    }

    /// Sends a request once, and takes the messages that were accepted out of it; returns how long to wait before the
    /// next attempt, `None` if none is left.
    async fn request(&self, left: &mut Sending) -> Result<Option<Duration>, BoxError> {
        let world = &self.world;
        let request = world.ledger().requested(&left.messages);
        let came = world.now();
        world.ledger().limit_started(left.is_batch);
        let event = event(&world.scenario, came, request, left, None)?;
        world.record(format_args!("request {left}"));
        let answer = self.invoke(request, left, &event).await?;
        let now = world.now();
        let admission = answer.as_ref().map_or(Admission::Lost, |(answer, _)| answer.admission());
        world.ledger().limit_answered((came, now), &world.scenario, request, left.is_batch, admission);
        let Some((answer, skew)) = answer else {
            world.record(format_args!("answer {left} lost"));
            for (attempt, _) in (request..).zip(&left.messages) {
                world.ledger().answered(now, &world.scenario, attempt, &Conclusion::unknown());
            }
            return Ok(Some(Duration::from_secs(1)));
        };
        let (results, answers) = answer.results(left)?;
        world.ledger().request_answered(now, request, codes(&results, answers));
        if results.len() != left.messages.len() {
            world.ledger().answered_otherwise(now, left, &format!("{} results", results.len()));
            return Ok(None);
        }
        let sent = std::mem::take(&mut left.messages);
        for ((attempt, number), Item { status, id, code, destinations }) in (request..).zip(sent).zip(results) {
            let code = code.as_deref().unwrap_or_default();
            world.record(format_args!("answer {number} {status} {code}"));
            if world.scenario.has_webhooks && !left.is_batch {
                let validity = Validity::new(skew, now - came);
                world.ledger().signature_answered(now, &world.scenario, attempt, validity, status, id.is_some());
            }
            let conclusion = match (status, id) {
                (202, Some(id)) => {
                    let is_replayed = answer.headers.idempotency_replayed.is_some();
                    if world.scenario.has_statuses {
                        let location = answer.headers.location.as_deref();
                        world.ledger().located(now, number, &id, is_replayed, location);
                    }
                    Conclusion::Accepted { id, is_replayed }
                }
                // Nothing stands in the way.
                (503, id) if world.scenario.is_undisturbed() => {
                    world.ledger().answered_otherwise(now, number, &format!("{status} {code}, id {id:?}"));
                    continue;
                }
                (429, None) if world.scenario.rate_limit.is_some() && code == "rate_limited" => Conclusion::NotStored,
                (409, None) if world.scenario.has_keys && code == "request_in_progress" => Conclusion::NotStored,
                (422, None) if world.scenario.shares_key(number) && code == "idempotency_key_reused" => {
                    Conclusion::KeyReused
                }
                (401, None) if world.scenario.has_webhooks && code == "credentials_invalid" => Conclusion::NotStored,
                (503, Some(_)) => concluded(&destinations.unwrap_or_default()),
                (503, None) => Conclusion::NotStored,
                (413, None) if world.scenario.is_too_large(number) => Conclusion::TooLarge,
                (_, id) => {
                    let details = format!("{status} {code}, id {id:?}");
                    world.ledger().answered_otherwise(now, number, &details);
                    continue;
                }
            };
            world.ledger().answered(now, &world.scenario, attempt, &conclusion);
            if matches!(conclusion, Conclusion::NotStored | Conclusion::Unknown { .. }) {
                left.messages.push(number);
            }
        }
        if left.messages.is_empty() {
            return Ok(None);
        }
        Ok(Some(answer.headers.wait().unwrap_or(Duration::from_secs(1))))
    }
}

/// The part of the function's answer that clients get.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpAnswer {
    status_code: u16,
    headers: Headers,
    body: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Headers {
    retry_after: Option<String>,
    idempotency_replayed: Option<String>,
    location: Option<String>,
}

impl Headers {
    /// Returns how long a client should wait before it repeats the request.
    fn wait(&self) -> Option<Duration> {
        self.retry_after.as_ref()?.parse().ok().map(Duration::from_secs)
    }
}

/// The part of the body that clients read.
#[derive(Deserialize)]
struct Document {
    id: Option<String>,
    code: Option<String>,
    destinations: Option<Vec<Destination>>,
    items: Option<Vec<Item>>,
}

/// The result of a message.
#[derive(Clone, Deserialize)]
struct Item {
    status: u16,
    id: Option<String>,
    code: Option<String>,
    destinations: Option<Vec<Destination>>,
}

/// What is known of a message on one queue.
#[derive(Clone, Deserialize)]
struct Destination {
    queue: String,
    stored: String,
}

/// Returns the statuses and codes of the first `count` results.
fn codes(results: &[Item], count: usize) -> impl Iterator<Item = (u16, Option<&str>)> {
    results.iter().take(count).map(|Item { status, code, .. }| (*status, code.as_deref()))
}

/// Returns what an answer says that lists the queues.
fn concluded(destinations: &[Destination]) -> Conclusion {
    let listed = |stored: &str| {
        let listed = destinations.iter().filter(|destination| destination.stored == stored);
        listed.map(|destination| if destination.queue == QUEUE { Queue::Work } else { Queue::Copies }).collect()
    };
    Conclusion::Unknown { stored: listed("yes"), not_stored: listed("no") }
}

impl HttpAnswer {
    /// Returns what it says of the limit of the route.
    fn admission(&self) -> Admission {
        match self.status_code {
            202 => Admission::Accepted,
            429 => Admission::Refused { wait: self.headers.wait().unwrap_or_default() },
            _ => Admission::Unknown,
        }
    }

    /// Returns the result of each message of a request, and how many of them are answers by themselves: one, if a batch
    /// was refused as a whole.
    fn results(&self, sending: &Sending) -> serde_json::Result<(Vec<Item>, usize)> {
        let Document { id, code, destinations, items } = serde_json::from_str(&self.body)?;
        if let Some(items) = items.filter(|_| sending.is_batch) {
            let count = items.len();
            return Ok((items, count));
        }
        let whole = Item { status: self.status_code, id, code, destinations };
        Ok((vec![whole; sending.messages.len()], 1))
    }
}

/// Returns the event of a request, which may be forged, as API Gateway sends it.
fn event(
    scenario: &Scenario,
    now: Duration,
    request: u64,
    sending: &Sending,
    forgery: Option<Forgery>,
) -> serde_json::Result<String> {
    let path = if sending.is_batch { BATCH_ROUTE } else { ROUTE };
    let messages = sending.messages.iter().filter_map(|number| scenario.messages.get(*number as usize));
    let body = messages.clone().map(Message::payload).collect::<Vec<_>>().join(",");
    let body = if sending.is_batch { format!("[{body}]") } else { body };
    // The items of a batch have their keys.
    let key = messages.map(Message::key).next().filter(|_| !sending.is_batch);
    let changes_at = scenario.key_changes_at;
    let (idempotency_key, credentials) = match key {
        Some(id) if scenario.has_webhooks => (None, Credentials::signature((now, changes_at), id, &body, forgery)),
        key => (key, Credentials::api_key(now, changes_at)),
    };
    let event = Event {
        version: "2.0",
        raw_path: path,
        raw_query_string: "",
        headers: RequestHeaders {
            content_type: "application/json",
            host: "api.example.com",
            idempotency_key,
            traceparent: traceparent(request),
            credentials,
        },
        request_context: json!({
            "http": { "method": "POST", "path": path, "sourceIp": "192.0.2.1" },
            "stage": "$default",
        }),
        is_base64_encoded: false,
        body,
    };
    serde_json::to_string(&event)
}

/// The event of a request.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'e> {
    version: &'static str,
    raw_path: &'e str,
    raw_query_string: &'static str,
    headers: RequestHeaders,
    request_context: Value,
    is_base64_encoded: bool,
    body: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct RequestHeaders {
    content_type: &'static str,
    host: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    traceparent: String,
    #[serde(flatten)]
    credentials: Credentials,
}

/// Returns the trace context of a request, which its messages keep. Its ids must not be zero.
fn traceparent(request: u64) -> String {
    let id = request + 1;
    format!("00-{id:032x}-{id:016x}-01")
}

/// Returns the number of the request with this trace context.
pub(crate) fn request_of(traceparent: &str) -> Option<u64> {
    u64::from_str_radix(traceparent.split('-').nth(1)?, 16).ok()?.checked_sub(1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_context_of_a_request_has_its_number() {
        for request in [0, 7, 4_711] {
            assert_eq!(request_of(&traceparent(request)), Some(request));
        }
        assert_eq!(request_of("00-x"), None);
    }
}
