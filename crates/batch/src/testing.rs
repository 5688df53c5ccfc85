//! Deliveries for tests of handlers.
//!
//! ```
//! use sluicegate_batch::{Delivery, Envelope, Outcome, testing};
//! use std::sync::Arc;
//!
//! async fn handle(delivery: Arc<Delivery>) -> Outcome {
//!     if delivery.receive_count() > 2 { Outcome::Reject("tried often enough".to_owned()) } else { Outcome::Retry }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let order = Envelope::builder("o-1", "/orders", "order.placed").payload(Some("application/json"), "{}").build()?;
//! assert_eq!(handle(testing::delivery(order.clone()).build()).await, Outcome::Retry);
//! let third = testing::delivery(order).receive_count(3).build();
//! assert_eq!(handle(third).await, Outcome::Reject("tried often enough".to_owned()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::sync::Arc;
use std::time::Duration;

use sluicegate_envelope::Envelope;
use tokio::time::Instant;

use crate::Delivery;

/// Default time until the deadline of a delivery.
const DEADLINE_AFTER: Duration = Duration::from_secs(30);

/// Builds a delivery: by default the first receive, from the queue `test`, in the envelope's own group, 30 s before the
/// deadline.
#[derive(Clone, Debug)]
#[must_use]
pub struct DeliveryBuilder(Delivery);

/// Starts building a delivery of this envelope.
pub fn delivery(envelope: Envelope) -> DeliveryBuilder {
    let group = envelope.group().map(str::to_owned);
    let deadline = Instant::now() + DEADLINE_AFTER;
    DeliveryBuilder(Delivery { envelope, receive_count: 1, queue: "test".to_owned(), group, deadline })
}

impl DeliveryBuilder {
    /// Sets how often the message was received, this time included.
    pub fn receive_count(mut self, receives: u32) -> Self {
        self.0.receive_count = receives;
        self
    }

    /// Sets the name of the queue.
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.0.queue = name.into();
        self
    }

    /// Sets the group of the message.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.0.group = Some(group.into());
        self
    }

    /// Sets the deadline of the handler.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.0.deadline = deadline;
        self
    }

    /// Returns the delivery.
    #[must_use]
    pub fn build(self) -> Arc<Delivery> {
        Arc::new(self.0)
    }
}
