//! The archiver function, which writes the copies of messages to S3, and its queue as the mapping reaches it.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lambda_runtime::LambdaEvent;
use serde_json::Value;
use sluicegate_archive::Archiver;
use sluicegate_aws_client::AwsEnvironment;
use sluicegate_batch::Consumer;
use sluicegate_lambda_emulator::{Invocation, SqsApi};
use sqs_emulator::ApiError;
use tokio::time::timeout;

use crate::BoxError;
use crate::aws_service::Caller;
use crate::clock::{Skew, Skewed};
use crate::fault::Site;
use crate::function::{self, Fate, LocalFunction, killed, variable};
use crate::http_server;
use crate::killable::Killable;
use crate::message::numbers_in;
use crate::polled_sqs::unavailable;
use crate::s3::BUCKET;
use crate::world::World;

/// The bucket of the archive.
const BUCKET_NAME: &str = "archive";

/// Is in the path of each of its objects.
pub(crate) const ARCHIVED: &str = "/archive/";

/// The timeout of the function.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// The execution environments of the function.
struct Environments {
    world: Arc<World>,
    /// Those that are not in use, the latest last.
    free: RefCell<Vec<Environment>>,
    /// How many were started.
    started: Cell<u64>,
    /// How many invocations there were.
    invoked: Cell<u64>,
}

struct Environment {
    consumer: Consumer,
    skew: Skew,
    /// The number of the invocation.
    invocation: Arc<AtomicU64>,
}

/// Starts the function on this thread.
pub(crate) fn start(world: &Arc<World>) -> LocalFunction {
    let (free, started, invoked) = (RefCell::default(), Cell::new(0), Cell::new(0));
    let environments = Environments { world: Arc::clone(world), free, started, invoked };
    LocalFunction::start(world, async move |event| environments.run(event).await)
}

impl Environments {
    fn start(&self) -> Result<Environment, BoxError> {
        let invocation = Arc::new(AtomicU64::new(0));
        let dialer = http_server::dialer(&self.world, Caller::Archiver(Arc::clone(&invocation)));
        let environment = AwsEnvironment::read(variable)?.with_dialer(dialer);
        let consumer = Archiver::new(&environment, BUCKET_NAME).into_consumer();
        let consumer = consumer.aws_environment(environment.clone()).payload_buckets(&environment, [BUCKET]);
        let number = self.started.replace(self.started.get() + 1);
        let skew = self.world.skew("archiver-skew", number);
        Ok(Environment { consumer: consumer.build()?, skew, invocation })
    }

    async fn run(&self, event: Bytes) -> Result<Invocation, BoxError> {
        let number = self.invoked.replace(self.invoked.get() + 1);
        let numbers: Vec<u32> = numbers_in(std::str::from_utf8(&event)?).collect();
        self.world.record(format_args!("archiver {number} {numbers:?}"));
        let fault = self.world.fault(Site::Archiver, number);
        let Some(Fate { is_lost, polls }) = Fate::of(fault) else { return Ok(Invocation::Throttled) };
        let free = self.free.borrow_mut().pop();
        let environment = match free {
            Some(environment) => environment,
            None => self.start()?,
        };
        environment.invocation.store(number, Ordering::Relaxed);
        let context = function::context(format!("archiver-{number}"), environment.skew, TIMEOUT)?;
        let handling = environment.consumer.handle(LambdaEvent::new(serde_json::from_slice(&event)?, context));
        let ended = timeout(TIMEOUT, Killable::new(Skewed::new(handling, environment.skew), polls)).await;
        self.world.record(format_args!("archiver {number} {}", if ended.is_ok() { "ended" } else { "timed out" }));
        match ended {
            Ok(Some(answer)) => {
                self.free.borrow_mut().push(environment);
                let answer = serde_json::to_vec(&answer.map_err(|error| error.to_string())?)?;
                Ok(if is_lost { killed() } else { Invocation::Response(answer.into()) })
            }
            Ok(None) => Ok(killed()),
            Err(_) => Ok(Invocation::TimedOut),
        }
    }
}

/// The queue of the archive, whose answers may be lost.
#[derive(Clone)]
pub(crate) struct PolledArchive(pub(crate) Arc<World>);

impl SqsApi for PolledArchive {
    async fn call(&self, action: &str, input: Value) -> Result<Value, ApiError> {
        let Self(world) = self;
        let answer = world.sqs.call(action, input).await?;
        let is_empty = action == "ReceiveMessage" && answer["Messages"].as_array().is_none_or(Vec::is_empty);
        // Without messages, it makes no difference that an answer is lost.
        if !is_empty && world.fault(Site::ArchiveQueue, 0).is_some() {
            return Err(unavailable());
        }
        Ok(answer)
    }
}
