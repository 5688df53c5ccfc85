//! The stack's use of Kafka: broker, topics, mappings, and the logs of its messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use sluicegate_lambda_emulator::{
    FailureDestination, Function, KafkaEvent, KafkaMapping, KafkaMappingSpec, KafkaObserver, SqsClient,
};
use sluicegate_queue::kafka::Position;
use sluicegate_sam::{KafkaMappingPlan, OnFailure, StackPlan, StartingPosition};

use super::error::StackError;
use crate::{
    journal::{Journal, feed::Feed},
    kafka::{Appended, Follower, KafkaBroker, KafkaError, KafkaNode, PlannedKafka, TopicCounts, topics},
    mappings::{Mappings, RunningMapping},
    terminal::Terminal,
};

/// The running parts for Kafka.
pub(super) struct RunningKafka {
    broker: KafkaBroker,
    feed: Feed,
    /// The private broker, which ends with the stack; `None` for an existing one.
    _node: Option<KafkaNode>,
}

impl PlannedKafka {
    /// Starts a private broker and creates the topics of the plan. `remote` is the endpoint of the SQS queues that are
    /// not emulated.
    pub(super) async fn run(
        self,
        plan: &StackPlan,
        terminal: &Terminal,
        journal: &Journal,
        remote: Option<String>,
    ) -> Result<RunningKafka, KafkaError> {
        let is_private = self.is_private();
        if is_private {
            terminal.line(format_args!("Starting Kafka at {}", self.servers()));
        }
        let (broker, node) = self.start().await?;
        let topics = topics(plan);
        let created = broker.create(&topics).await?;
        // Every topic of a private broker is new.
        if !is_private && !created.is_empty() {
            terminal.line(format_args!("Kafka: created {}", created.join(", ")));
        }
        let observer = {
            let journal = journal.clone();
            Arc::new(move |appended: &Appended<'_>| journal.appended(appended)) as _
        };
        let follower = Follower::start(&broker.config, &topics, &observer).await;
        let failed = |error: &dyn std::fmt::Display| KafkaError::Topic {
            servers: broker.servers.clone(),
            reason: error.to_string(),
        };
        let follower = follower.map_err(|error| failed(&error))?;
        let feed = Feed::start(journal.clone(), Some(Arc::new(follower)), remote);
        Ok(RunningKafka { broker, feed, _node: node })
    }

    /// Returns the counter for `/queues`.
    pub(super) fn counts(&self, plan: &StackPlan) -> TopicCounts {
        TopicCounts::new(&self.broker, topics(plan))
    }
}

impl RunningKafka {
    /// Starts a mapping for each event from Kafka.
    pub(super) fn map(
        &self,
        plan: &StackPlan,
        functions: &BTreeMap<String, Function>,
        client: &SqsClient,
        terminal: &Terminal,
        mappings: &Mappings,
    ) -> Result<(), StackError> {
        for mapping in &plan.kafka_mappings {
            let found = plan.functions.iter().find(|function| function.name == mapping.function);
            let (Some(function), Some(planned)) = (functions.get(&mapping.function), found) else { continue };
            let spec = spec(mapping, &planned.arn, &self.broker, client);
            let messages = self.feed.observer();
            let (terminal, topic) = (terminal.clone(), mapping.topic.clone());
            let observer: KafkaObserver = Arc::new(move |event: &KafkaEvent| match event {
                KafkaEvent::Message(event) => messages(event),
                KafkaEvent::Waiting { reason } => {
                    terminal.warn(format_args!("the mapping from Kafka topic {topic} waits: {reason}"));
                }
                KafkaEvent::Consuming => terminal.line(format_args!("Consuming Kafka topic {topic}")),
            });
            let function = function.clone();
            let start = Box::new(move || {
                KafkaMapping::start(spec.clone(), function.clone(), Arc::clone(&observer)).map(RunningMapping::Kafka)
            });
            let filter = |error| StackError::Filter { queue: mapping.topic.clone(), error };
            mappings.start(&mapping.function, &mapping.topic, start).map_err(filter)?;
        }
        Ok(())
    }

    /// Returns a function that records the ids of 202 answers.
    pub(super) fn answers(&self) -> Arc<dyn Fn(&str) + Send + Sync> {
        self.feed.answers()
    }

    pub(super) async fn stop(self) {
        self.feed.stop().await;
    }
}

fn spec(mapping: &KafkaMappingPlan, arn: &str, broker: &KafkaBroker, client: &SqsClient) -> KafkaMappingSpec {
    KafkaMappingSpec {
        function: mapping.function.clone(),
        function_arn: arn.to_owned(),
        topic: mapping.topic.clone(),
        cluster: broker.config.clone(),
        bootstrap_servers: broker.servers.clone(),
        cluster_arn: mapping.cluster_arn.clone(),
        group: mapping.group.clone(),
        start: match mapping.start {
            StartingPosition::TrimHorizon => Position::Start,
            StartingPosition::Latest => Position::End,
            StartingPosition::At(time_ms) => Position::At(time_ms),
        },
        batch_size: mapping.batch_size,
        batching_window: mapping.batching_window,
        report_batch_item_failures: mapping.report_batch_item_failures,
        bisects: mapping.bisects,
        retries_max: mapping.retries_max,
        record_age_max: mapping.record_age_max,
        on_failure: mapping.on_failure.as_ref().map(|destination| match destination {
            OnFailure::Queue { name, url } => {
                FailureDestination::Queue { name: name.clone(), url: url.clone(), client: client.clone() }
            }
            OnFailure::Topic(topic) => FailureDestination::Topic(topic.clone()),
        }),
        filters: mapping.filters.clone(),
    }
}
