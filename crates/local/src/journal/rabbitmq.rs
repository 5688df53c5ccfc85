//! The steps of messages on RabbitMQ, recorded in the order in which they happened.
//!
//! A function that succeeds may have republished a message instead of processing it: to a retry queue or to the
//! dead-letter queue. So "done" is recorded only after every earlier publish, and not after a republish. Without a
//! tracer these steps are unknown: "done" then means that the function succeeded with this receive.

use std::sync::Arc;

use sluicegate_lambda_emulator::{BrokerEndpoint, MappingEvent};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::Journal;
use crate::rabbitmq::{Tracer, TracerError};

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
