//! [`SqsProducer`]: sends envelopes to an SQS queue.

use sluicegate_aws_client::{AwsEnvironment, CallError};
use sluicegate_envelope::Envelope;
use tokio::time::Instant;

use super::client::SqsClient;
use super::limits::{self, DELAY_S_MAX, MESSAGE_BYTES_MAX};
#[cfg(feature = "s3")]
use super::payload_store::PayloadStore;
#[cfg(feature = "s3")]
use super::pointer::{MARKERS, STATUS_ID};
#[cfg(feature = "s3")]
use super::send_message::AttributeValue;
use super::send_message::{SendMessage, SystemAttributes};
use crate::{Destination, Message, Producer, Receipt, SendError};

/// A producer for one queue.
#[derive(Clone, Debug)]
pub struct SqsProducer {
    pub(super) client: SqsClient,
    queue_url: String,
    pub(super) fifo: bool,
    #[cfg(feature = "s3")]
    payloads: Option<PayloadStore>,
}

impl SqsProducer {
    /// Creates a producer for the queue at `queue_url`, a FIFO queue if the URL ends in `.fifo`.
    #[must_use]
    pub fn new(environment: &AwsEnvironment, queue_url: impl Into<String>) -> Self {
        Self::with_client(SqsClient::new(environment), queue_url.into())
    }

    /// Creates a producer for another queue of the same account that shares the connections.
    #[must_use]
    pub fn for_queue(&self, queue_url: impl Into<String>) -> Self {
        let producer = Self::with_client(self.client.clone(), queue_url.into());
        #[cfg(feature = "s3")]
        let producer = producer.with_payloads(self.payloads.clone());
        producer
    }

    /// Opens a connection for the first message, as
    /// [`AwsService::connect`](sluicegate_aws_client::AwsService::connect).
    ///
    /// # Errors
    /// There is no connection.
    pub async fn connect(&self) -> Result<(), CallError> {
        self.client.0.connect().await
    }

    /// Sets where envelopes go that are larger than the queue accepts, if their [`Message::may_be_pointer`] is set.
    #[cfg(feature = "s3")]
    #[must_use]
    pub fn with_payloads(mut self, payloads: Option<PayloadStore>) -> Self {
        self.payloads = payloads;
        self
    }

    fn with_client(client: SqsClient, queue_url: String) -> Self {
        let fifo = queue_url.ends_with(".fifo");
        Self {
            client,
            queue_url,
            fifo,
            #[cfg(feature = "s3")]
            payloads: None,
        }
    }

    /// Checks the limits of SQS and returns the delay in seconds.
    fn delay_s(&self, message: &Message<'_>, body: &str) -> Result<Option<u16>, SendError> {
        if body.len() > MESSAGE_BYTES_MAX {
            return Err(SendError::TooLarge { bytes: body.len(), bytes_max: MESSAGE_BYTES_MAX });
        }
        if !limits::is_sendable(body) {
            return Err(unfit("the envelope contains characters that SQS does not accept".to_owned()));
        }
        match limits::delay_s(message.delay) {
            Some(0) => Ok(None),
            Some(_) if self.fifo => Err(misconfigured("a FIFO queue does not accept a delay per message".to_owned())),
            Some(seconds) => Ok(Some(seconds)),
            None => Err(misconfigured(format!("the delay {:?} is longer than {DELAY_S_MAX} s", message.delay))),
        }
    }
}

/// A message that fits SQS.
pub(super) struct Fitting {
    pub(super) body: String,
    delay_s: Option<u16>,
    pub(super) group: Option<String>,
    deduplication_id: Option<String>,
}

impl SqsProducer {
    pub(super) fn fit(&self, message: &Message<'_>) -> Result<Fitting, SendError> {
        self.fit_body(message, message.envelope.encode())
    }

    fn fit_body(&self, message: &Message<'_>, body: String) -> Result<Fitting, SendError> {
        let delay_s = self.delay_s(message, &body)?;
        let id = message.envelope.id();
        let group = message.group.filter(|group| !group.is_empty()).or(self.fifo.then_some(id));
        let deduplication_id = self.fifo.then(|| deduplication_id(message.envelope));
        Ok(Fitting { body, delay_s, group: group.map(limits::token), deduplication_id })
    }

    pub(super) fn raw<'m>(&'m self, fitting: &'m Fitting, trace_header: Option<&'m str>) -> SendMessage<'m> {
        SendMessage {
            queue_url: &self.queue_url,
            message_body: &fitting.body,
            delay_seconds: fitting.delay_s,
            message_group_id: fitting.group.as_deref(),
            message_deduplication_id: fitting.deduplication_id.as_deref(),
            message_system_attributes: trace_header.and_then(SystemAttributes::trace),
            message_attributes: &[],
        }
    }

    async fn send_whole(&self, message: &Message<'_>, deadline: Instant) -> Result<Receipt, SendError> {
        let fitting = self.fit(message)?;
        let broker_id =
            self.client.send(&self.raw(&fitting, message.trace_header), message.trace_header, deadline).await?;
        Ok(Receipt { id: message.envelope.id().to_owned(), broker_id })
    }

    /// Returns where the envelope of a message goes that was sent with this result, if the queue refused its size.
    ///
    /// The queue's own maximum may be lower than that of SQS, and only its answer says so.
    #[cfg(feature = "s3")]
    pub(super) fn payloads_after(
        &self,
        sent: &Result<Receipt, SendError>,
        message: &Message<'_>,
    ) -> Option<&PayloadStore> {
        let is_too_large = matches!(sent, Err(SendError::TooLarge { .. }));
        self.payloads.as_ref().filter(|_| is_too_large && message.may_be_pointer)
    }

    /// Stores the envelope, and then sends a pointer to it.
    #[cfg(feature = "s3")]
    pub(super) async fn send_pointer(
        &self,
        message: &Message<'_>,
        payloads: &PayloadStore,
        deadline: Instant,
    ) -> Result<Receipt, SendError> {
        // What SQS would refuse is refused before anything is stored.
        let _ = self.fit_body(message, String::from("{}"))?;
        let body = message.envelope.encode();
        let bytes = body.len().to_string();
        let pointer = payloads.put(body, deadline).await?;
        let fitting = self.fit_body(message, pointer.body())?;
        let id = message.envelope.id();
        let attributes = [
            (MARKERS[0], AttributeValue::Text { data_type: "Number", string_value: &bytes }),
            (STATUS_ID, AttributeValue::Text { data_type: "String", string_value: id }),
        ];
        let has_status_id = message.envelope.has_status() && limits::is_sendable(id);
        let attributes = if has_status_id { &attributes[..] } else { &attributes[..1] };
        let raw = SendMessage { message_attributes: attributes, ..self.raw(&fitting, message.trace_header) };
        let broker_id = self.client.send(&raw, message.trace_header, deadline).await?;
        Ok(Receipt { id: id.to_owned(), broker_id })
    }
}

impl Producer for SqsProducer {
    fn destination(&self) -> Option<Destination<'_>> {
        Some(Destination { system: "aws_sqs", name: self.queue_url.rsplit('/').next() })
    }

    fn check(&self, message: &Message<'_>) -> Result<(), SendError> {
        let fitting = self.fit(message).map(drop);
        #[cfg(feature = "s3")]
        if matches!(fitting, Err(SendError::TooLarge { .. })) && message.may_be_pointer && self.payloads.is_some() {
            return self.fit_body(message, String::from("{}")).map(drop);
        }
        fitting
    }

    async fn send(&self, message: &Message<'_>, deadline: Instant) -> Result<Receipt, SendError> {
        let sent = self.send_whole(message, deadline).await;
        #[cfg(feature = "s3")]
        if let Some(payloads) = self.payloads_after(&sent, message) {
            return Box::pin(self.send_pointer(message, payloads, deadline)).await;
        }
        sent
    }

    /// Sends messages in batches, without pointers, within the limits of SQS for one.
    async fn send_all(&self, messages: &[Message<'_>], deadline: Instant) -> Vec<Result<Receipt, SendError>> {
        let fitting: Vec<_> = messages.iter().map(|message| self.fit(message)).collect();
        let fit =
            messages.iter().zip(&fitting).filter_map(|(message, fitting)| Some((message, fitting.as_ref().ok()?)));
        let raw: Vec<_> = fit.map(|(message, fitting)| self.raw(fitting, message.trace_header)).collect();
        let trace_header = messages.iter().find_map(|message| message.trace_header);
        let mut sent = self.client.send_all(&raw, trace_header, deadline).await.into_iter();
        let receipt = |(message, fitting): (&Message<'_>, Result<Fitting, SendError>)| {
            fitting?;
            let missing = || Err(SendError::Unknown { reason: "the batch has no result".to_owned() });
            let broker_id = sent.next().unwrap_or_else(missing)?;
            Ok(Receipt { id: message.envelope.id().to_owned(), broker_id })
        };
        messages.iter().zip(fitting).map(receipt).collect()
    }
}

/// Returns the id by which a FIFO queue recognizes a repeat. An event that is replayed within five minutes of its first
/// send, or of another replay, is not a repeat.
fn deduplication_id(envelope: &Envelope) -> String {
    match envelope.replay_id() {
        None => limits::token(envelope.id()),
        Some(replay) => limits::token(&format!("{}/{replay}", envelope.id())),
    }
}

fn unfit(reason: String) -> SendError {
    SendError::Refused { reason, message_at_fault: true }
}

/// Returns the refusal of a delay. The message is not at fault, because the route sets the delay.
fn misconfigured(reason: String) -> SendError {
    SendError::Refused { reason, message_at_fault: false }
}
