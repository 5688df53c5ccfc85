//! Logs what arrived and is done. Used when there is nowhere to forward to.

use std::sync::Arc;

use sluicegate_batch::{Delivery, Outcome};

/// One structured line for each event with what the line of its delivery does not tell; of its payload, only the size. A subject
/// and a group are often made of the payload, so they are left out too.
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
