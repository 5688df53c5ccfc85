//! Puts what happens to messages on RabbitMQ into the journal, in the order in which it happened.
//!
//! A function that succeeds has not always done a message: it may have published it again, to be tried later or to be given up
//! on. So "done" is noted only after everything was told that had been published until then, and not after one of these.
//! Without a tracer such steps are not seen: "done" then means that the function is through with this receive.

use std::sync::Arc;

use sluicegate_lambda_emulator::{Endpoint, MappingEvent};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::Journal;
use crate::rabbitmq::Tracer;

/// What is noted later.
enum Late {
    Done(MappingEvent),
    Answered(String),
}

/// A running timeline.
pub(crate) struct RabbitmqFeed {
    journal: Journal,
    late: UnboundedSender<Late>,
    tracer: Option<Arc<Tracer>>,
    task: JoinSet<()>,
}

impl RabbitmqFeed {
    /// Notes into `journal`, with the tracer's help if there is one.
    ///
    /// # Errors
    /// None: without a tracer (its error is given back beside) less is seen.
    pub(crate) async fn start(journal: Journal, endpoint: &Endpoint) -> (Self, Option<String>) {
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

    /// What mappings tell this.
    pub(crate) fn observer(&self) -> Arc<dyn Fn(&MappingEvent) + Send + Sync> {
        let (journal, late) = (self.journal.clone(), self.late.clone());
        Arc::new(move |event| match event {
            MappingEvent::Done(_) => drop(late.send(Late::Done(event.clone()))),
            other => journal.mapping_event(other),
        })
    }

    /// Where ids go that clients were told with a 202.
    pub(crate) fn answers(&self) -> Arc<dyn Fn(&str) + Send + Sync> {
        let late = self.late.clone();
        Arc::new(move |id| drop(late.send(Late::Answered(id.to_owned()))))
    }

    /// Ends the tracing.
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
