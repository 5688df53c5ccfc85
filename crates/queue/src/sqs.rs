//! Amazon SQS, standard and FIFO. A receipt is given only when the answer names a message id and the MD5 of our body.
//!
//! On a FIFO queue the envelope's id is the deduplication id, so a repeated send is stored once for five minutes. On a
//! standard queue a repeated send may be stored twice, under one envelope id. A group is passed on to both kinds: order on
//! FIFO, fair sharing on standard. A FIFO message without a group is a group of its own, because nobody asked for an order
//! and a shared group would make all such messages wait for each other.

mod attempts;
mod limits;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation::send_message::{SendMessageError, SendMessageOutput};
use aws_sdk_sqs::types::{MessageSystemAttributeNameForSends, MessageSystemAttributeValue};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use md5::{Digest, Md5};
use tokio::time::Instant;

use self::attempts::{Attempts, is_throttled};
use crate::{Message, Producer, Receipt, SendError, chain};

pub use self::limits::{DELAY_S_MAX, MESSAGE_BYTES_MAX, TOKEN_CHARS_MAX, is_sendable};
pub use aws_config::SdkConfig;

/// Opening a connection within a Region takes milliseconds; longer means that the packets are lost.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// One attempt, connection and answer included. A socket that died unnoticed while the function was frozen costs this much
/// at worst, and leaves time for the next attempt within API Gateway's 30 seconds.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2_500);

/// A connection idle for longer is not used again: peers and NAT tables may have forgotten it without telling.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

const ATTEMPTS_MAX: u32 = 3;
const BACKOFF_INITIAL: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_millis(500);

/// Builds the SDK's configuration from `AWS_REGION` (or `AWS_DEFAULT_REGION`), `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
/// `AWS_SESSION_TOKEN`, and `AWS_ENDPOINT_URL_SQS` (or `AWS_ENDPOINT_URL`), which is what Lambda gives a function. Nothing
/// else is consulted: no profile file, no metadata service, no STS client, none of which a function needs and all of which
/// cost start-up time. TLS is rustls on ring, because AWS-LC gathers CPU jitter for up to half a second at a small memory size
/// (<https://github.com/smithy-lang/smithy-rs/discussions/4541>).
///
/// Clients made from one configuration share its connections. The SDK reads the system's root certificates when the first
/// client is made: at init, where Lambda lends a full CPU.
///
/// # Errors
/// The variables that are missing, or an endpoint that is not an http(s) URL.
pub fn sdk_config(lookup: impl Fn(&str) -> Option<String>) -> Result<SdkConfig, ConfigError> {
    let get = |name: &str| lookup(name).filter(|value| !value.is_empty());
    let region = get("AWS_REGION").or_else(|| get("AWS_DEFAULT_REGION"));
    let (key, secret) = (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY"));
    let (Some(region), Some(key), Some(secret)) = (&region, &key, &secret) else {
        let needed = [("AWS_REGION", region), ("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", secret)];
        let missing = needed.into_iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        return Err(ConfigError::Missing(missing));
    };
    let endpoint = get("AWS_ENDPOINT_URL_SQS").or_else(|| get("AWS_ENDPOINT_URL"));
    if endpoint.as_ref().is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        return Err(ConfigError::Endpoint);
    }
    let credentials = Credentials::new(key, secret, get("AWS_SESSION_TOKEN"), None, "environment");
    let http_client = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .build_https();
    let timeouts =
        TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS_MAX)
        .with_initial_backoff(BACKOFF_INITIAL)
        .with_max_backoff(BACKOFF_MAX);
    let mut config = SdkConfig::builder()
        // Pinned: `latest()` would change timeouts and retries with an update of the lock file.
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(http_client)
        .timeout_config(timeouts)
        .retry_config(retries);
    config.set_endpoint_url(endpoint);
    Ok(config.build())
}

/// An environment that AWS cannot be reached with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// These variables are not set, or empty.
    #[error("not set: {}", .0.join(", "))]
    Missing(Vec<&'static str>),
    /// The endpoint override is not a URL.
    #[error("AWS_ENDPOINT_URL_SQS or AWS_ENDPOINT_URL is not an http:// or https:// URL")]
    Endpoint,
}

/// Sends to one queue.
#[derive(Clone, Debug)]
pub struct SqsProducer {
    client: Client,
    queue_url: String,
    fifo: bool,
}

impl SqsProducer {
    /// A producer for the queue at `queue_url`; it is a FIFO queue if the URL ends in `.fifo`.
    #[must_use]
    pub fn new(config: &SdkConfig, queue_url: impl Into<String>) -> Self {
        Self::with_client(Client::new(config), queue_url.into())
    }

    /// A producer for another queue of the same account, on the same client. Making a client parses every root certificate.
    #[must_use]
    pub fn for_queue(&self, queue_url: impl Into<String>) -> Self {
        Self::with_client(self.client.clone(), queue_url.into())
    }

    fn with_client(client: Client, queue_url: String) -> Self {
        let fifo = queue_url.ends_with(".fifo");
        Self { client, queue_url, fifo }
    }

    /// Everything that can be refused without asking.
    fn delay_s(&self, message: &Message<'_>, body: &str) -> Result<Option<u16>, SendError> {
        if body.len() > MESSAGE_BYTES_MAX {
            return Err(unfit(format!("the envelope has {} bytes, more than {MESSAGE_BYTES_MAX}", body.len())));
        }
        if !limits::is_sendable(body) {
            return Err(unfit("the envelope holds characters that SQS does not carry".to_owned()));
        }
        match limits::delay_s(message.delay) {
            Some(0) => Ok(None),
            Some(_) if self.fifo => Err(unfit("a FIFO queue takes no delay per message".to_owned())),
            Some(seconds) => Ok(Some(seconds)),
            None => Err(unfit(format!("the delay {:?} is longer than {DELAY_S_MAX} s", message.delay))),
        }
    }
}

impl Producer for SqsProducer {
    async fn send(&self, message: &Message<'_>, deadline: Instant) -> Result<Receipt, SendError> {
        let body = message.envelope.encode();
        let delay_s = self.delay_s(message, &body)?;
        let digest = body_md5(&body);
        let id = message.envelope.id();
        let group = message.group.filter(|group| !group.is_empty()).or(self.fifo.then_some(id));

        if Instant::now() >= deadline {
            return Err(SendError::NotSent { reason: "the deadline had passed".to_owned() });
        }
        let attempts = Attempts::default();
        let request = self
            .client
            .send_message()
            .queue_url(&self.queue_url)
            .message_body(body)
            .set_delay_seconds(delay_s.map(i32::from))
            .set_message_group_id(group.map(limits::token))
            .set_message_deduplication_id(self.fifo.then(|| limits::token(id)))
            .set_message_system_attributes(message.trace_header.and_then(trace_attribute))
            .customize()
            .interceptor(attempts.clone())
            .send();
        match tokio::time::timeout_at(deadline, request).await {
            Ok(Ok(answer)) => receipt(id, &digest, answer),
            Ok(Err(error)) if attempts.may_have_arrived() => Err(SendError::Unknown { reason: chain(&error) }),
            Ok(Err(error)) => Err(conclude(&error)),
            Err(_) if attempts.may_have_arrived() => {
                Err(SendError::Unknown { reason: "no answer before the deadline".to_owned() })
            }
            Err(_) => Err(SendError::NotSent { reason: "no connection before the deadline".to_owned() }),
        }
    }
}

/// The MD5 of a body as SQS writes it, to compare with the `MD5OfMessageBody` of an answer: the SDK does not.
#[must_use]
pub fn body_md5(body: &str) -> String {
    limits::hex(&Md5::digest(body.as_bytes()))
}

/// What the answer proves.
fn receipt(id: &str, digest: &str, answer: SendMessageOutput) -> Result<Receipt, SendError> {
    let stored = answer.md5_of_message_body.as_deref().unwrap_or_default();
    if !stored.eq_ignore_ascii_case(digest) {
        return Err(SendError::Unknown { reason: format!("sent a body with MD5 {digest}, stored was {stored:?}") });
    }
    match answer.message_id {
        Some(broker_id) if !broker_id.is_empty() => Ok(Receipt { id: id.to_owned(), broker_id }),
        _ => Err(SendError::Unknown { reason: "the answer names no message id".to_owned() }),
    }
}

/// Reads the last error, given that no attempt can have stored the message.
fn conclude(error: &SdkError<SendMessageError>) -> SendError {
    let reason = chain(error);
    match error.as_service_error() {
        None => SendError::NotSent { reason },
        Some(service) if is_throttled(service) => SendError::NotSent { reason },
        // The one parameter not checked here is the size, when the queue's own maximum is lower than that of SQS.
        Some(service) => SendError::Refused {
            reason,
            message_at_fault: service.is_invalid_message_contents() || service.code() == Some("InvalidParameterValue"),
        },
    }
}

fn unfit(reason: String) -> SendError {
    SendError::Refused { reason, message_at_fault: true }
}

/// The trace header as a system attribute, which does not count towards the message's size. One that SQS would refuse is
/// left out: a trace must not cost the message.
fn trace_attribute(header: &str) -> Option<HashMap<MessageSystemAttributeNameForSends, MessageSystemAttributeValue>> {
    if header.is_empty() || !limits::is_sendable(header) {
        return None;
    }
    let value = MessageSystemAttributeValue::builder().data_type("String").string_value(header).build().ok()?;
    Some([(MessageSystemAttributeNameForSends::AwsTraceHeader, value)].into())
}
