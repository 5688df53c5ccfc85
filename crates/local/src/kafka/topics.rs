//! The topics of a stack: those that the template's bindings, mappings and destinations name, and the dead-letter
//! topics of the consumer.

use sluicegate_queue::{Binding, queue_names::dead_letter_queue};
use sluicegate_sam::{KafkaMappingPlan, OnFailure, StackPlan};

/// The start of the variables that bind a queue.
const BINDING_PREFIX: &str = "QUEUE_";

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) name: String,
    /// The consumer group of its mapping.
    pub(crate) group: Option<String>,
    /// Whether records are stored there that were given up.
    pub(crate) keeps_dead_letters: bool,
}

/// Returns the topics of a plan, each once.
pub(crate) fn topics(plan: &StackPlan) -> Vec<Topic> {
    let mut topics: Vec<Topic> = Vec::new();
    let mut add = |name: &str, group: Option<&str>, keeps_dead_letters: bool| match topics
        .iter_mut()
        .find(|topic| topic.name == name)
    {
        Some(topic) => {
            topic.group = topic.group.take().or(group.map(str::to_owned));
            topic.keeps_dead_letters |= keeps_dead_letters;
        }
        None => topics.push(Topic { name: name.to_owned(), group: group.map(str::to_owned), keeps_dead_letters }),
    };
    for KafkaMappingPlan { topic, group, on_failure, .. } in &plan.kafka_mappings {
        add(topic, Some(group), false);
        add(&dead_letter_queue(topic), None, true);
        if let Some(OnFailure::Topic(topic)) = on_failure {
            add(topic, None, true);
        }
    }
    for (name, value) in plan.functions.iter().flat_map(|function| &function.environment) {
        let binding = Binding::parse(value).ok().filter(|_| name.starts_with(BINDING_PREFIX));
        if let Some(topic) = binding.as_ref().and_then(Binding::topic) {
            add(topic, None, false);
        }
    }
    topics
}
