//! The steps of messages on RabbitMQ, recorded in the order in which they happened.
//!
//! A function that succeeds may have republished a message instead of processing it: to a retry queue or to the
//! dead-letter queue. Without a tracer these steps are unknown: "done" then means that the function succeeded with this
//! receive.

use std::sync::Arc;

use sluicegate_lambda_emulator::{BrokerEndpoint, MappingEvent};
use sluicegate_queue::queue_names::{DEAD_LETTER_QUEUE_SUFFIX, RETRY_QUEUE_INFIX};

use super::{
    Journal, MessageStep,
    feed::{self, Feed},
};
use crate::rabbitmq::{Published, Tracer, TracerError};

/// A running feed of the journal.
pub(crate) struct RabbitmqFeed {
    feed: Feed,
    tracer: Option<Arc<Tracer>>,
}

impl RabbitmqFeed {
    /// Starts a feed into `journal`. Without a tracer it records less; the tracer's error is the second value.
    pub(crate) async fn start(journal: Journal, endpoint: &BrokerEndpoint) -> (Self, Option<TracerError>) {
        let observer = Arc::new({
            let journal = journal.clone();
            move |published: &_| journal.published(published)
        });
        let (tracer, error) = match Tracer::start(endpoint.clone(), observer).await {
            Ok(tracer) => (Some(Arc::new(tracer)), None),
            Err(error) => (None, Some(error)),
        };
        let feed = Feed::start(journal, tracer.clone(), Some(endpoint.to_string()));
        (Self { feed, tracer }, error)
    }

    /// Returns an observer for mappings.
    pub(crate) fn observer(&self) -> Arc<dyn Fn(&MappingEvent) + Send + Sync> {
        self.feed.observer()
    }

    /// Returns a function that records the ids of 202 answers.
    pub(crate) fn answers(&self) -> Arc<dyn Fn(&str) + Send + Sync> {
        self.feed.answers()
    }

    /// Stops the feed and the tracing.
    pub(crate) async fn stop(self) {
        self.feed.stop().await;
        if let Some(tracer) = self.tracer.and_then(Arc::into_inner) {
            tracer.stop().await;
        }
    }
}

impl feed::Follower for Tracer {
    async fn catch_up(&self) {
        Tracer::catch_up(self).await;
    }
}

impl Journal {
    /// Records a publish to RabbitMQ: a new message from ingress, or one that the consumer republishes.
    pub(super) fn published(&self, message: &Published) {
        let id = self.identify(&message.body, &message.message_id);
        let (Some(queue), false) = (message.queues.first(), id.is_empty()) else { return };
        let step = if queue.ends_with(DEAD_LETTER_QUEUE_SUFFIX) {
            let reason = message.reason.as_deref().unwrap_or("published there without a reason").to_owned();
            MessageStep::DeadLettered { queue: queue.clone(), reason, code: message.code.clone() }
        } else if let Some(visible_in_s) = retry_delay_s(queue) {
            MessageStep::Retrying { visible_in_s }
        } else if message.is_redriven {
            return self.redriven(&id, queue.clone(), &message.body.as_str().into());
        } else if message.is_copy && message.exchange.is_empty() {
            MessageStep::Returned {
                reason: "the function did not begin with it in time and published it again".to_owned(),
            }
        } else {
            return self.published_new(&id, message.queues.join(", "), &message.body);
        };
        self.record(&id, step);
    }
}

/// Returns the delay in the name of a retry queue, such as `orders.retry.5s`.
pub(super) fn retry_delay_s(queue: &str) -> Option<u32> {
    queue.rsplit_once(RETRY_QUEUE_INFIX)?.1.strip_suffix('s')?.parse().ok()
}
