//! Logs what arrived and is done. Used when there is nowhere to forward to.

use std::sync::Arc;

use sluicegate_batch::{Delivery, Outcome};

/// One structured line for each event; of its payload, only the size.
pub async fn log(delivery: Arc<Delivery>) -> Outcome {
    let envelope = delivery.envelope();
    tracing::info!(
        event_id = envelope.id(),
        event_type = envelope.event_type(),
        source = envelope.source(),
        subject = envelope.subject(),
        group = delivery.group(),
        content_type = envelope.content_type(),
        payload_bytes = envelope.payload().len(),
        traceparent = envelope.traceparent(),
        "event"
    );
    Outcome::Done
}
