//! The shared state of a mapping's pollers.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::polled_queue::{PolledQueue, SqsApi};
use super::record::Delivery;
use super::spec::SqsMappingSpec;
use crate::filter::Filters;
use crate::mapping::{Invoke, MappedMessage, MappingEvent, MappingNames, MappingObserver};

/// The shared state of a mapping's pollers.
pub(super) struct Shared<Q, I> {
    pub(super) spec: SqsMappingSpec,
    pub(super) names: MappingNames,
    pub(super) filters: Filters,
    pub(super) queue: PolledQueue<Q>,
    pub(super) function: I,
    pub(super) observer: MappingObserver,
    pub(super) concurrency: Arc<Semaphore>,
}

impl<Q: SqsApi, I: Invoke> Shared<Q, I> {
    /// Deletes the messages; reports `deleted` for each, or the failure.
    pub(super) async fn delete(&self, deliveries: &[&Delivery], deleted: fn(MappedMessage) -> MappingEvent) {
        let failed = self.queue.delete(deliveries).await;
        for (index, delivery) in deliveries.iter().enumerate() {
            let message = self.message(delivery);
            self.report(&match failed.get(&index) {
                None => deleted(message),
                Some(reason) => MappingEvent::BatchFailed { message, reason: format!("not deleted: {reason}") },
            });
        }
    }

    pub(super) fn message(&self, delivery: &Delivery) -> MappedMessage {
        self.names.message(&delivery.message_id, &delivery.body, delivery.receive_count)
    }

    pub(super) fn report(&self, event: &MappingEvent) {
        (self.observer)(event);
    }
}
