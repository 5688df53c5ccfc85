//! [`IngressFunction`]: the ingress with its execution environments and its secret.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lambda_runtime::LambdaEvent;
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
use crate::answer::HttpAnswer;
use crate::api::{ARCHIVE, COPIES, QUEUE};
use crate::aws_service::Caller;
use crate::clock::{Skew, Skewed};
use crate::credentials::secret;
use crate::dynamodb::TABLE;
use crate::fault::{Kind, Site};
use crate::function::{self, variable};
use crate::http_server;
use crate::issuer;
use crate::killable::Killable;
use crate::rabbitmq::{self, Process, Rabbitmq, User};
use crate::s3::BUCKET;
use crate::sending::Sending;
use crate::world::{Injected, World};

/// The timeout of the ingress function in template.yaml.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

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
        let ingress = ingress.with_key_server(issuer::dialer(&self.world, number));
        let skew = self.world.skew("ingress-skew", number);
        Ok(Environment { ingress, version, skew, request, process })
    }

    /// Gives an environment a request; returns the answer of the function and its clock, or `None` if it ended without
    /// an answer.
    pub(crate) async fn invoke(
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
}
