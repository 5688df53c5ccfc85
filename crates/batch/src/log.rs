//! [`log`]: a ready-made handler that logs the event and returns [`Outcome::Done`].

use std::sync::Arc;

use crate::{Delivery, Outcome};

/// Logs the attributes of the event that the log line of its delivery does not have, and the size of the payload. The
/// payload itself is not logged, nor are the subject and the group, which often come from it.
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
