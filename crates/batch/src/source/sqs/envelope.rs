//! The envelope of an SQS message: decoded from the event that it contains, or created for a raw message.
//!
//! A body that is not JSON, or is JSON without `specversion`, is a raw message: an S3 notification, an event of another
//! service, a text. It is accepted if a handler is registered for [`RAW_TYPE`] itself, and otherwise undecodable,
//! because a handler of every other type expects events. A body that claims to be a CloudEvent and is not one is
//! undecodable always.

use serde::Deserialize;
use serde::de::IgnoredAny;
use sluicegate_envelope::{DecodeError, Envelope, EnvelopeBuildError};
use time::OffsetDateTime;

use super::event::Record;

/// The type of a raw message.
pub(crate) const RAW_TYPE: &str = "sqs.message";

/// A message that is not an event.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Undecodable {
    #[error("no body")]
    NoBody,
    #[error(transparent)]
    Event(#[from] DecodeError),
    #[error(transparent)]
    Raw(#[from] EnvelopeBuildError),
}

/// Returns the envelope of the message whose body, or payload in S3, is `text`.
pub(super) fn envelope(record: &Record<'_>, text: &str, accepts_raw: bool) -> Result<Envelope, Undecodable> {
    match Envelope::decode(text) {
        Err(_) if accepts_raw && !claims_to_be_an_event(text) => Ok(raw(record, text)?),
        decoded => Ok(decoded?),
    }
}

fn claims_to_be_an_event(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Claim {
        specversion: Option<IgnoredAny>,
    }
    serde_json::from_str(text).is_ok_and(|claim: Claim| claim.specversion.is_some())
}

/// Returns an envelope with the first id and the time of the message, and its body as payload.
fn raw(record: &Record<'_>, text: &str) -> Result<Envelope, EnvelopeBuildError> {
    let mut builder = Envelope::builder(record.first_message_id(), format!("/sqs/{}", record.queue()), RAW_TYPE);
    let sent = record.sent_unix_ms.and_then(|ms| i64::try_from(ms / 1_000).ok());
    if let Some(sent) = sent.and_then(|unix_s| OffsetDateTime::from_unix_timestamp(unix_s).ok()) {
        builder = builder.time(sent);
    }
    builder.payload(None, text).build()
}
