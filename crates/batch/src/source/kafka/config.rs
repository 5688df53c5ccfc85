//! [`Settings`]: the settings of a Kafka consumer, from its builder or the environment.

use sluicegate_queue::Binding;
use sluicegate_queue::dead_letter::RECEIVE_COUNT_MAX_DEFAULT;
use sluicegate_queue::kafka::{Cluster, ClusterConfig};

use super::KafkaSource;
use super::progress::Progress;
use crate::source::environment::receive_count_max;

/// The settings given to the builder. The others come from the environment.
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) cluster: Option<Cluster>,
    pub(crate) receive_count_max: Option<u32>,
    /// Whether a handler is registered for tombstones.
    pub(crate) accepts_tombstones: bool,
}

impl Settings {
    /// Sets a cluster at `address`, unless one was given.
    pub(crate) fn without_service(&mut self, address: &str, mistakes: &mut Vec<String>) {
        let lookup = |name: &str| match name {
            "KAFKA_BOOTSTRAP_SERVERS" => Some(address.to_owned()),
            "KAFKA_SECURITY_PROTOCOL" => Some("PLAINTEXT".to_owned()),
            _ => None,
        };
        if self.cluster.is_none() {
            self.cluster = cluster(lookup, mistakes);
        }
    }

    /// Creates the source if a cluster is configured, and adds configuration errors to `mistakes`.
    pub(crate) fn source(
        self,
        lookup: impl Fn(&str) -> Option<String>,
        mistakes: &mut Vec<String>,
    ) -> Option<KafkaSource> {
        let set = |name: &str| lookup(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let cluster = self.cluster.or_else(|| cluster(&lookup, mistakes));
        let receive_count_max =
            self.receive_count_max.or_else(|| receive_count_max("KAFKA_MAX_RECEIVE_COUNT", &lookup, mistakes));
        let dead_letter_topic = set("KAFKA_DEAD_LETTER_TOPIC");
        if let Some(topic) = &dead_letter_topic
            && Binding::parse(&format!("kafka:{topic}")).ok().as_ref().and_then(Binding::topic) != Some(topic)
        {
            mistakes.push(format!("KAFKA_DEAD_LETTER_TOPIC is {topic:?}, which is not the name of a topic"));
        }
        let partial_batch_response = match set("KAFKA_PARTIAL_BATCH_RESPONSE").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => {
                mistakes.push(format!("KAFKA_PARTIAL_BATCH_RESPONSE is {other:?}: it is true or false"));
                false
            }
        };
        Some(KafkaSource {
            cluster: cluster?,
            receive_count_max: receive_count_max.unwrap_or(RECEIVE_COUNT_MAX_DEFAULT).max(1),
            dead_letter_topic,
            partial_batch_response,
            accepts_tombstones: self.accepts_tombstones,
            progress: Progress::default(),
        })
    }
}

fn cluster(lookup: impl Fn(&str) -> Option<String>, mistakes: &mut Vec<String>) -> Option<Cluster> {
    let config = ClusterConfig::from_env(lookup).map_err(|error| mistakes.push(sluicegate_queue::chain(&error)));
    config.ok().flatten().map(Cluster::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_read_and_every_mistake_is_reported() {
        let check = |environment: &[(&str, &str)]| {
            let lookup =
                |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            let mut mistakes = Vec::new();
            let source = Settings::default().source(lookup, &mut mistakes);
            let facts = source
                .map(|source| (source.receive_count_max, source.dead_letter_topic, source.partial_batch_response));
            (facts, mistakes.len())
        };
        let servers = ("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092");
        assert_eq!(check(&[]), (None, 0), "not a consumer of Kafka");
        assert_eq!(check(&[servers]), (Some((5, None, false)), 0));
        let all = [
            servers,
            ("KAFKA_MAX_RECEIVE_COUNT", "3"),
            ("KAFKA_DEAD_LETTER_TOPIC", "dead"),
            ("KAFKA_PARTIAL_BATCH_RESPONSE", " true "),
        ];
        assert_eq!(check(&all), (Some((3, Some("dead".to_owned()), true)), 0));
        let wrong = [
            ("KAFKA_BOOTSTRAP_SERVERS", "nonsense"),
            ("KAFKA_MAX_RECEIVE_COUNT", "0"),
            ("KAFKA_DEAD_LETTER_TOPIC", "dead/{id}"),
            ("KAFKA_PARTIAL_BATCH_RESPONSE", "yes"),
        ];
        assert_eq!(check(&wrong), (None, 4));
    }
}
