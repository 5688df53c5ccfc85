//! Steps that are recorded after everything that happened at a broker before them.
//!
//! A function that succeeds may have stored a message elsewhere instead of processing it. So "done" is recorded only
//! after the earlier records of the broker were, and not after such a step.

use std::future::Future;
use std::sync::Arc;

use sluicegate_lambda_emulator::MappingEvent;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::{Journal, MessageStep};

/// What records the messages that are stored at a broker.
pub(crate) trait Follower: Send + Sync + 'static {
    /// Waits until every earlier message has been recorded, for a limited time.
    fn catch_up(&self) -> impl Future<Output = ()> + Send;
}

/// A step that waits for the follower.
enum Late {
    Done(MappingEvent),
    Answered(String),
}

/// A running feed of the journal.
pub(crate) struct Feed {
    journal: Journal,
    late: UnboundedSender<Late>,
    task: JoinSet<()>,
}

impl Feed {
    /// Starts a feed into `journal`. Without a follower no step waits. `broker` is the queue of a message of
    /// which only the 202 is known.
    pub(crate) fn start<F: Follower>(journal: Journal, follower: Option<Arc<F>>, broker: Option<String>) -> Self {
        let (late, receiver) = unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(run(receiver, journal.clone(), follower, broker));
        Self { journal, late, task }
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

    /// Stops the feed.
    pub(crate) async fn stop(mut self) {
        self.task.shutdown().await;
    }
}

async fn run<F: Follower>(
    mut late: UnboundedReceiver<Late>,
    journal: Journal,
    follower: Option<Arc<F>>,
    broker: Option<String>,
) {
    let mut several = Vec::new();
    while late.recv_many(&mut several, usize::MAX).await > 0 {
        if let Some(follower) = &follower {
            follower.catch_up().await;
        }
        for each in several.drain(..) {
            match each {
                Late::Done(event) => journal.mapping_event(&event),
                Late::Answered(id) => journal.answered(&id, broker.as_deref()),
            }
        }
    }
}

impl Journal {
    /// Records a new message. Its trace may arrive after its delivery, and before or after the sender's answer.
    pub(super) fn published_new(&self, id: &str, queue: String, body: &str) {
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
