//! The SQS service of a case: sqs-emulator or LocalStack, used through the AWS SDK.
//!
//! A case asserts what AWS documents. Where LocalStack is known to differ, the case names the AWS page and the
//! behaviour of LocalStack, so that a change on either side fails the test. The emulator must always behave as
//! AWS does.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation::send_message::SendMessageOutput;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use sqs_emulator::{Clock, Sqs, SqsConfig};

/// The variable with the URL of LocalStack, set by `tests/run`.
pub(crate) const LOCALSTACK_URL: &str = "SLUICEGATE_LOCALSTACK_URL";

/// The variable with the URL of ministack, set by `tests/run`.
const MINISTACK_URL: &str = "SLUICEGATE_MINISTACK_URL";

/// The time limit of a wait in a case.
const PATIENCE: Duration = Duration::from_secs(15);

/// The implementation of SQS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Emulator,
    LocalStack,
    Ministack,
}

/// Runs a case against a service of this kind, with a time limit.
pub(crate) fn run_case(kind: Kind, time_max: Duration, case: impl AsyncFnOnce(&Service)) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let service = Service::start(kind).await;
        tokio::time::timeout(time_max, case(&service)).await.expect("the case ends in time");
        service.finish();
    });
}

/// Defines a test on sqs-emulator and one on LocalStack for each case, run by `run` of the calling module.
macro_rules! on_both_services {
    ($($module:ident: $($case:ident)+;)+) => {
        mod emulator {
            $($(#[test] fn $case() { super::run(super::Kind::Emulator, super::$module::$case); })+)+
        }
        mod localstack {
            $($(
                #[test]
                #[ignore = "needs LocalStack, which ./tests/run starts"]
                fn $case() { super::run(super::Kind::LocalStack, super::$module::$case); }
            )+)+
        }
    };
}
pub(crate) use on_both_services;

/// Defines tests as [`on_both_services`] does, and one on ministack for each case.
macro_rules! on_all_services {
    ($($module:ident: $($case:ident)+;)+) => {
        mod ministack {
            $($(
                #[test]
                #[ignore = "needs ministack, which ./tests/run starts"]
                fn $case() { super::run(super::Kind::Ministack, super::$module::$case); }
            )+)+
        }
        crate::support::service::on_both_services! { $($module: $($case)+;)+ }
    };
}
pub(crate) use on_all_services;

/// Returns the URL of a peer.
fn peer(variable: &str) -> String {
    let url = std::env::var(variable).ok().filter(|url| !url.is_empty());
    url.unwrap_or_else(|| panic!("{variable} is not set: ./tests/run starts the peer and sets it"))
}

/// An SQS endpoint and a client for it.
pub(crate) struct Service {
    pub(crate) sqs: Client,
    pub(crate) url: String,
    kind: Kind,
    mismatches: Mutex<Vec<String>>,
}

impl Service {
    /// Starts sqs-emulator on a free loopback port, or uses the LocalStack that `tests/run` started.
    pub(crate) async fn start(kind: Kind) -> Self {
        let url = match kind {
            Kind::Emulator => emulator().await,
            Kind::LocalStack => peer(LOCALSTACK_URL),
            Kind::Ministack => peer(MINISTACK_URL),
        };
        Self::of(kind, &url)
    }

    /// Returns a service at a URL, for tests that do not check differences between implementations.
    pub(crate) fn at(url: &str) -> Self {
        Self::of(Kind::Emulator, url)
    }

    fn of(kind: Kind, url: &str) -> Self {
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "tests"))
            .endpoint_url(url)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .retry_config(RetryConfig::disabled())
            .build();
        Self { sqs: Client::from_conf(config), url: url.to_owned(), kind, mismatches: Mutex::default() }
    }

    /// Returns the URL of an existing queue.
    pub(crate) async fn find(&self, name: &str) -> String {
        let answer = self.sqs.get_queue_url().queue_name(name).send().await.expect("the queue exists");
        answer.queue_url.expect("a queue URL")
    }

    /// Creates a queue with a unique name, which ends in `.fifo` if the attributes say FIFO. Returns its URL.
    pub(crate) async fn queue(&self, attributes: &[(QueueAttributeName, &str)]) -> String {
        let fifo = attributes.iter().any(|(name, _)| *name == QueueAttributeName::FifoQueue);
        let mut request = self.sqs.create_queue().queue_name(unique("q", if fifo { ".fifo" } else { "" }));
        for (name, value) in attributes {
            request = request.attributes(name.clone(), *value);
        }
        request.send().await.expect("the queue is created").queue_url.expect("a queue URL")
    }

    /// Returns an attribute of a queue, empty if it is absent.
    pub(crate) async fn attribute(&self, queue_url: &str, name: QueueAttributeName) -> String {
        self.attributes(queue_url, &[name]).await.remove(0)
    }

    /// Reads these attributes of a queue at one time.
    pub(crate) async fn attributes(&self, queue_url: &str, names: &[QueueAttributeName]) -> Vec<String> {
        let request = self.sqs.get_queue_attributes().queue_url(queue_url).set_attribute_names(Some(names.to_vec()));
        let attributes = request.send().await.expect("attributes are answered").attributes.unwrap_or_default();
        names.iter().map(|name| attributes.get(name).cloned().unwrap_or_default()).collect()
    }

    /// Returns the number of messages in a queue, visible or not. One request reads both numbers, because a message can
    /// become visible between two.
    pub(crate) async fn depth(&self, queue_url: &str) -> u64 {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let digits = self.attributes(queue_url, &names).await;
        digits.iter().map(|digits| digits.parse::<u64>().expect("a number")).sum()
    }

    /// Returns the ARN of a queue.
    pub(crate) async fn arn(&self, queue_url: &str) -> String {
        self.attribute(queue_url, QueueAttributeName::QueueArn).await
    }

    /// Sends a plain message.
    pub(crate) async fn send(&self, queue_url: &str, body: &str) -> SendMessageOutput {
        self.sqs.send_message().queue_url(queue_url).message_body(body).send().await.expect("the message is stored")
    }

    /// Sends to a FIFO queue.
    pub(crate) async fn send_fifo(&self, queue_url: &str, group: &str, id: &str, body: &str) -> SendMessageOutput {
        let request = self.sqs.send_message().queue_url(queue_url).message_body(body).message_group_id(group);
        request.message_deduplication_id(id).send().await.expect("the message is stored")
    }

    /// Receives up to ten messages with all attributes; waits at most `wait_s`.
    pub(crate) async fn receive(&self, queue_url: &str, wait_s: i32) -> Vec<Message> {
        let request = self.sqs.receive_message().queue_url(queue_url).max_number_of_messages(10);
        let request = request.wait_time_seconds(wait_s).message_attribute_names("All");
        let request = request.message_system_attribute_names(MessageSystemAttributeName::All);
        request.send().await.expect("a receive is answered").messages.unwrap_or_default()
    }

    /// Receives until `count` messages have arrived, because one receive may return fewer.
    pub(crate) async fn receive_count(&self, queue_url: &str, count: usize) -> Vec<Message> {
        let started = Instant::now();
        let mut messages = Vec::new();
        while messages.len() < count {
            assert!(started.elapsed() < PATIENCE, "{} of {count} messages after {PATIENCE:?}", messages.len());
            messages.extend(self.receive(queue_url, 2).await);
        }
        messages
    }

    /// Receives exactly one message.
    pub(crate) async fn receive_one(&self, queue_url: &str) -> Message {
        let mut messages = self.receive_count(queue_url, 1).await;
        assert_eq!(messages.len(), 1, "exactly one message is received: {messages:?}");
        messages.remove(0)
    }

    /// Deletes a received message.
    pub(crate) async fn delete(&self, queue_url: &str, message: &Message) {
        let request = self.sqs.delete_message().queue_url(queue_url).receipt_handle(handle(message));
        request.send().await.expect("the message is deleted");
    }

    /// Makes a received message visible after `timeout_s`.
    pub(crate) async fn change_visibility(&self, queue_url: &str, message: &Message, timeout_s: i32) {
        let request = self.sqs.change_message_visibility().queue_url(queue_url).receipt_handle(handle(message));
        request.visibility_timeout(timeout_s).send().await.expect("the visibility is changed");
    }

    /// Checks a value on both services. A mismatch is recorded and the case continues, so that a run reports every
    /// mismatch.
    pub(crate) fn check<T: PartialEq + Debug>(&self, what: &str, observed: T, aws: T) {
        if observed != aws {
            self.note(format!("{what}: observed {observed:?}, AWS does {aws:?}"));
        }
    }

    /// Checks a value for which LocalStack is known to differ from AWS, which documents it on `page`.
    pub(crate) fn check_differs<T: PartialEq + Debug>(
        &self,
        what: &str,
        observed: T,
        aws: T,
        page: &str,
        localstack: T,
    ) {
        assert_ne!(aws, localstack, "{what}: no difference, use `check`");
        match self.kind {
            Kind::Emulator if observed != aws => {
                self.note(format!("{what}: observed {observed:?}, AWS does {aws:?} by {page}"))
            }
            Kind::LocalStack if observed != localstack => self.note(format!(
                "{what}: observed {observed:?}, where LocalStack did {localstack:?} and AWS does {aws:?} by {page}"
            )),
            _ => {}
        }
    }

    fn note(&self, mismatch: String) {
        eprintln!("{:?}: {mismatch}", self.kind);
        self.mismatches.lock().expect("no panic while noting").push(mismatch);
    }

    /// Ends the case. Fails if a mismatch was recorded.
    pub(crate) fn finish(self) {
        let mismatches = self.mismatches.into_inner().expect("no panic while noting");
        assert!(mismatches.is_empty(), "{} mismatches, printed above", mismatches.len());
    }
}

/// Returns the receipt handle of a received message.
pub(crate) fn handle(message: &Message) -> &str {
    message.receipt_handle().expect("a receipt handle")
}

/// Returns a system attribute of a received message, empty if it is absent.
pub(crate) fn system(message: &Message, name: MessageSystemAttributeName) -> String {
    message.attributes().and_then(|all| all.get(&name)).cloned().unwrap_or_default()
}

/// Returns the bodies in the order of receipt.
pub(crate) fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.body().unwrap_or_default()).collect()
}

/// Returns the error of a call: the name of the SDK's variant, or the error code of an unmodelled error; `ok` for a
/// success.
pub(crate) fn fault<T, E: ProvideErrorMetadata + Debug>(result: Result<T, SdkError<E>>) -> String {
    let Err(error) = result else { return "ok".into() };
    let code = error.code().unwrap_or("no code").to_owned();
    let Some(service_error) = error.as_service_error() else { return format!("no answer: {error:?}") };
    let variant = format!("{service_error:?}");
    match variant.split('(').next() {
        Some(name) if !name.starts_with("Unhandled") => name.to_owned(),
        _ => code,
    }
}

/// Returns a name unused by other cases and earlier runs.
pub(crate) fn unique(prefix: &str, suffix: &str) -> String {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_nanos();
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{prefix}-{nanos}-{}-{count}{suffix}", std::process::id())
}

/// Starts an emulator on a free loopback port. Returns its URL.
pub(crate) async fn emulator() -> String {
    emulator_with(Arc::new(|_| None)).await
}

/// Starts an emulator with secrets by name. Returns its URL.
pub(crate) async fn emulator_with(secrets: sluicegate_local::secrets::SecretLookup) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let sqs = Sqs::new(Clock::system(), SqsConfig { region: "us-east-1".into(), account: "000000000000".into() });
    sqs.set_base_url(&url);
    let (dynamodb, s3) = (sluicegate_local::DynamoDb::start(), sluicegate_local::S3::default());
    tokio::spawn(sluicegate_local::serve_aws(listener, sqs, secrets, dynamodb, s3));
    url
}
