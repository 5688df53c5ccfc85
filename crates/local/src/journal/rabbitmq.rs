//! The steps of messages on RabbitMQ, recorded in the order in which they happened.
//!
//! A function that succeeds may have republished a message instead of processing it: to a retry queue or to the
//! dead-letter queue. So "done" is recorded only after every earlier publish, and not after a republish. Without a
//! tracer these steps are unknown: "done" then means that the function succeeded with this receive.

use std::sync::Arc;

use sluicegate_lambda_emulator::{BrokerEndpoint, MappingEvent};
use sluicegate_queue::queue_names::{DEAD_LETTER_QUEUE_SUFFIX, RETRY_QUEUE_INFIX};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::{Journal, MessageStep};
use crate::rabbitmq::{Published, Tracer, TracerError};

/// A step that waits for the tracer.
enum Late {
    Done(MappingEvent),
    Answered(String),
}

/// A running feed of the journal.
pub(crate) struct RabbitmqFeed {
    journal: Journal,
    late: UnboundedSender<Late>,
    tracer: Option<Arc<Tracer>>,
    task: JoinSet<()>,
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
        let (late, receiver) = unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(run(receiver, journal.clone(), tracer.clone(), endpoint.to_string()));
        (Self { journal, late, tracer, task }, error)
    }

    /// Returns an observer for mappings.
    pub(crate) fn observer(&self) -> Arc<dyn Fn(&MappingEvent) + Send + Sync> {
        let (journal, late) = (self.journal.clone(), self.late.clone());
        Arc::new(move |event| match event {
            MappingEvent::Done(_) => drop(late.send(Late::Done(event.clone()))),
            other => journal.mapping_event(other),
        })
    }

    /// Returns a function that records the ids of 202 answers.
    pub(crate) fn answers(&self) -> Arc<dyn Fn(&str) + Send + Sync> {
        let late = self.late.clone();
        Arc::new(move |id| drop(late.send(Late::Answered(id.to_owned()))))
    }

    /// Stops the feed and the tracing.
    pub(crate) async fn stop(mut self) {
        self.task.shutdown().await;
        if let Some(tracer) = self.tracer.take().and_then(Arc::into_inner) {
            tracer.stop().await;
        }
    }
}

async fn run(mut late: UnboundedReceiver<Late>, journal: Journal, tracer: Option<Arc<Tracer>>, broker: String) {
    let mut several = Vec::new();
    while late.recv_many(&mut several, usize::MAX).await > 0 {
        if let Some(tracer) = &tracer {
            tracer.catch_up().await;
        }
        for each in several.drain(..) {
            match each {
                Late::Done(event) => journal.mapping_event(&event),
                Late::Answered(id) => journal.answered(&id, Some(&broker)),
            }
        }
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

    /// Records a new message. Its trace may arrive after its delivery, and before or after the sender's answer.
    fn published_new(&self, id: &str, queue: String, body: &str) {
        let accepted = MessageStep::Accepted { queue };
        let mut state = self.state();
        let is_late = state.get_mut(id).is_some_and(|log| log.put_first(&accepted));
        drop(state);
        if is_late {
            (self.inner.observer)(id, &accepted);
        } else {
            self.record(id, accepted);
        }
        self.sent(id, &body.into());
    }
}

/// Returns the delay in the name of a retry queue, such as `orders.retry.5s`.
pub(super) fn retry_delay_s(queue: &str) -> Option<u32> {
    queue.rsplit_once(RETRY_QUEUE_INFIX)?.1.strip_suffix('s')?.parse().ok()
}
