//! [`log`]: a ready-made handler that logs the event and is done.

use std::sync::Arc;

use crate::{Delivery, Outcome};

/// Logs the facts of the event that the log line of its delivery lacks; of the payload, only its size. A subject and a
/// group are often made of the payload, so they are left out too.
pub async fn log(delivery: Arc<Delivery>) -> Outcome {
    let envelope = delivery.envelope();
    tracing::info!(
        message_id = envelope.id(),
        source = envelope.source(),
        content_type = envelope.content_type(),
        payload_bytes = envelope.payload().len(),
        "event"
    );
    Outcome::Done
}
