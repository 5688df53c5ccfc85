//! The stack's use of RabbitMQ: broker, topology, mappings, and the logs of its messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use sluicegate_lambda_emulator::{
    BrokerEndpoint, Function, RabbitmqEvent, RabbitmqMapping, RabbitmqMappingSpec, RabbitmqObserver,
};
use sluicegate_sam::StackPlan;
use sluicegate_topology::Topology;

use super::error::StackError;
use crate::{
    broker_faults::BrokerFaults,
    journal::{Journal, rabbitmq::RabbitmqFeed},
    mappings::{Mappings, RunningMapping},
    rabbitmq::{BrokerError, PlannedBroker, QueueCounts, RunningBroker, declare},
    terminal::Terminal,
};

/// The running parts for RabbitMQ.
pub(super) struct Running {
    endpoint: BrokerEndpoint,
    feed: RabbitmqFeed,
    broker: RunningBroker,
}

impl PlannedBroker {
    /// Starts a private broker and declares the topology.
    pub(super) async fn run(
        self,
        topology: Option<&Topology>,
        terminal: &Terminal,
        journal: &Journal,
        faults: &BrokerFaults,
    ) -> Result<Running, BrokerError> {
        let endpoint = self.endpoint().clone();
        let is_private = self.is_private();
        if is_private {
            terminal.line(format_args!("Starting RabbitMQ at {endpoint}"));
        }
        let broker = self.start().await?;
        broker.freeze().into_iter().for_each(|freeze| faults.set_node(freeze));
        match topology {
            Some(topology) => {
                let made = declare(topology, &endpoint).await?;
                // On a private node every object is new.
                match made.len() {
                    0 => {}
                    count if is_private => {
                        terminal.line(format_args!("RabbitMQ has {count} exchanges, queues, bindings and policies"))
                    }
                    _ => made.iter().for_each(|change| terminal.line(format_args!("RabbitMQ: {change}"))),
                }
            }
            None => terminal.warn(
                "the template declares no queue and has no infra/topology.yaml beside it: nothing is declared on RabbitMQ",
            ),
        }
        let (feed, error) = RabbitmqFeed::start(journal.clone(), &endpoint).await;
        if let Some(error) = error {
            terminal
                .warn(format_args!("{endpoint} cannot be traced: retries and dead letters are not shown ({error})"));
        }
        Ok(Running { endpoint, feed, broker })
    }

    /// Returns the counter for `/queues`: the queues of the topology and those with a mapping.
    pub(super) fn counts(&self, topology: Option<&Topology>, plan: &StackPlan) -> QueueCounts {
        let declared = topology.map(Topology::queues).unwrap_or_default().iter().map(|queue| queue.name.clone());
        let mapped = plan.mq_mappings.iter().map(|mapping| mapping.queue.clone());
        let mut names: Vec<_> = declared.collect();
        for name in mapped {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        QueueCounts::new(self.endpoint(), names)
    }
}

impl Running {
    /// Starts a mapping for each MQ event.
    pub(super) fn map(
        &self,
        plan: &StackPlan,
        functions: &BTreeMap<String, Function>,
        terminal: &Terminal,
        mappings: &Mappings,
    ) -> Result<(), StackError> {
        for mapping in &plan.mq_mappings {
            let Some(function) = functions.get(&mapping.function) else { continue };
            let spec = RabbitmqMappingSpec {
                function: mapping.function.clone(),
                queue: mapping.queue.clone(),
                endpoint: self.endpoint.clone(),
                broker_arn: mapping.broker_arn.clone(),
                batch_size: mapping.batch_size,
                batching_window: mapping.batching_window,
                filters: mapping.filters.clone(),
            };
            let messages = self.feed.observer();
            let (terminal, queue) = (terminal.clone(), mapping.queue.clone());
            let observer: RabbitmqObserver = Arc::new(move |event: &RabbitmqEvent| match event {
                RabbitmqEvent::Message(event) => messages(event),
                RabbitmqEvent::Waiting { reason } => {
                    terminal.warn(format_args!("the mapping from RabbitMQ queue {queue} waits: {reason}"));
                }
                RabbitmqEvent::Consuming => terminal.line(format_args!("Consuming RabbitMQ queue {queue}")),
            });
            let function = function.clone();
            let start = Box::new(move || {
                RabbitmqMapping::start(spec.clone(), function.clone(), Arc::clone(&observer))
                    .map(RunningMapping::Rabbitmq)
            });
            let filter = |error| StackError::Filter { queue: mapping.queue.clone(), error };
            mappings.start(&mapping.function, &mapping.queue, start).map_err(filter)?;
        }
        Ok(())
    }

    /// Returns a function that records the ids of 202 answers.
    pub(super) fn answers(&self) -> Arc<dyn Fn(&str) + Send + Sync> {
        self.feed.answers()
    }

    pub(super) async fn stop(self) {
        self.feed.stop().await;
        self.broker.stop().await;
    }
}
