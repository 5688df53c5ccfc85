//! The event source mappings of a stack, which can be paused and resumed.
//!
//! A paused mapping is stopped, and a resumed one is started again with its settings, so a running one costs nothing
//! more. A mapping that is being paused first finishes the invocations in flight, as Lambda does with `Enabled: false`.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
#[cfg(feature = "kafka")]
use sluicegate_lambda_emulator::KafkaMapping;
#[cfg(feature = "rabbitmq")]
use sluicegate_lambda_emulator::RabbitmqMapping;
use sluicegate_lambda_emulator::{FilterCriteriaError, SqsMapping};
use tokio::task::JoinSet;

/// A running mapping of one of the brokers.
pub(crate) enum RunningMapping {
    Sqs(SqsMapping),
    #[cfg(feature = "kafka")]
    Kafka(KafkaMapping),
    #[cfg(feature = "rabbitmq")]
    Rabbitmq(RabbitmqMapping),
}

impl RunningMapping {
    async fn stop(self) {
        match self {
            Self::Sqs(mapping) => mapping.stop().await,
            #[cfg(feature = "kafka")]
            Self::Kafka(mapping) => mapping.stop().await,
            #[cfg(feature = "rabbitmq")]
            Self::Rabbitmq(mapping) => mapping.stop().await,
        }
    }
}

/// Starts a mapping.
pub(crate) type StartMapping = Box<dyn Fn() -> Result<RunningMapping, FilterCriteriaError> + Send + Sync>;

/// The state of a mapping, in Lambda's words.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_EventSourceMappingConfiguration.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum MappingState {
    Enabled,
    /// The invocations in flight are being finished.
    Disabling,
    Disabled,
}

/// A mapping in a listing.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ListedMapping {
    pub(crate) function: String,
    pub(crate) queue: String,
    pub(crate) state: MappingState,
}

/// All mappings. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Mappings {
    all: Arc<Mutex<Vec<Arc<Mapping>>>>,
}

struct Mapping {
    function: String,
    queue: String,
    start: StartMapping,
    /// `None` while it is paused. Locked while it is being paused.
    running: tokio::sync::Mutex<Option<RunningMapping>>,
}

impl Mapping {
    fn state(&self) -> MappingState {
        match self.running.try_lock() {
            Ok(running) if running.is_some() => MappingState::Enabled,
            Ok(_) => MappingState::Disabled,
            Err(_) => MappingState::Disabling,
        }
    }

    fn listed(&self) -> ListedMapping {
        ListedMapping { function: self.function.clone(), queue: self.queue.clone(), state: self.state() }
    }
}

impl Mappings {
    /// Starts a mapping and adds it.
    ///
    /// # Errors
    /// A filter's pattern that Lambda rejects.
    pub(crate) fn start(&self, function: &str, queue: &str, start: StartMapping) -> Result<(), FilterCriteriaError> {
        let running = tokio::sync::Mutex::new(Some(start()?));
        let mapping = Mapping { function: function.to_owned(), queue: queue.to_owned(), start, running };
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(mapping));
        Ok(())
    }

    /// Returns the mappings with their states.
    pub(crate) fn list(&self) -> Vec<ListedMapping> {
        self.all().iter().map(|mapping| mapping.listed()).collect()
    }

    /// Pauses a mapping and waits for its invocations in flight; `None` if there is no such mapping.
    pub(crate) async fn pause(&self, function: &str, queue: &str) -> Option<ListedMapping> {
        let mapping = self.find(function, queue)?;
        // In a task, because dropping the mapping halfway would abort its invocations.
        let task = tokio::spawn({
            let mapping = Arc::clone(&mapping);
            async move {
                let mut running = mapping.running.lock().await;
                if let Some(running) = running.take() {
                    running.stop().await;
                }
            }
        });
        let _ = task.await;
        Some(mapping.listed())
    }

    /// Starts a paused mapping again; `None` if there is no such mapping.
    pub(crate) async fn resume(&self, function: &str, queue: &str) -> Option<ListedMapping> {
        let mapping = self.find(function, queue)?;
        let mut running = mapping.running.lock().await;
        if running.is_none() {
            // The same settings were accepted before.
            *running = (mapping.start)().ok();
        }
        drop(running);
        Some(mapping.listed())
    }

    /// Stops all mappings, as tasks of the set.
    pub(crate) fn stop(&self, stopping: &mut JoinSet<()>) {
        for mapping in self.all.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            stopping.spawn(async move {
                if let Some(running) = mapping.running.lock().await.take() {
                    running.stop().await;
                }
            });
        }
    }

    fn find(&self, function: &str, queue: &str) -> Option<Arc<Mapping>> {
        self.all().into_iter().find(|mapping| mapping.function == function && mapping.queue == queue)
    }

    fn all(&self) -> Vec<Arc<Mapping>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
