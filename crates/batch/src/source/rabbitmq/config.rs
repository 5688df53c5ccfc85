//! [`Settings`]: the settings of a RabbitMQ consumer, from its builder or the environment.

use sluicegate_queue::dead_letter::RECEIVE_COUNT_MAX_DEFAULT;
use sluicegate_queue::queue_names::RetryDelays;
use sluicegate_queue::rabbitmq::{Broker, BrokerConfig};

use super::RabbitmqSource;
use super::ordered::OrderedQueues;
use crate::source::environment::receive_count_max;

/// The settings given to the builder. The others come from the environment.
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) broker: Option<Broker>,
    pub(crate) retry_delays: Option<RetryDelays>,
    pub(crate) receive_count_max: Option<u32>,
    pub(crate) ordered_queues: Option<Vec<String>>,
}

impl Settings {
    /// Sets a broker at `url`, unless one was given.
    pub(crate) fn without_service(&mut self, url: &str, mistakes: &mut Vec<String>) {
        let lookup = |name: &str| (name == "RABBITMQ_URL").then(|| url.to_owned());
        if self.broker.is_none() {
            let config = BrokerConfig::from_env(lookup).map_err(|error| mistakes.push(sluicegate_queue::chain(&error)));
            self.broker = config.ok().flatten().map(Broker::new);
        }
    }

    /// Creates the source if a broker is configured, and adds configuration errors to `mistakes`.
    pub(crate) fn source(
        self,
        lookup: impl Fn(&str) -> Option<String>,
        mistakes: &mut Vec<String>,
    ) -> Option<RabbitmqSource> {
        let config = match self.broker {
            Some(_) => Ok(None),
            None => BrokerConfig::from_env(&lookup),
        };
        let config = config.unwrap_or_else(|error| {
            mistakes.push(sluicegate_queue::chain(&error));
            None
        });
        let vhost = config.as_ref().map(|config| config.vhost().to_owned());
        let retry_delays = self.retry_delays.or_else(|| config.as_ref().map(|config| config.retry_delays().clone()));
        let broker = self.broker.or_else(|| config.map(Broker::new));
        let receive_count_max =
            self.receive_count_max.or_else(|| receive_count_max("RABBITMQ_MAX_RECEIVE_COUNT", &lookup, mistakes));
        let ordered_queues = self.ordered_queues.or_else(|| lookup("RABBITMQ_ORDERED_QUEUES").map(|text| names(&text)));
        Some(RabbitmqSource {
            broker: broker?,
            vhost,
            retry_delays: retry_delays.unwrap_or_default(),
            receive_count_max: receive_count_max.unwrap_or(RECEIVE_COUNT_MAX_DEFAULT).max(1),
            ordered: OrderedQueues::new(ordered_queues.unwrap_or_default()),
        })
    }
}

/// Reads a list such as `payments,refunds`.
fn names(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(environment: &[(&str, &str)]) -> (Option<(RetryDelays, u32)>, Vec<String>) {
        let lookup =
            |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let mut mistakes = Vec::new();
        let source = Settings::default().source(lookup, &mut mistakes);
        (source.map(|source| (source.retry_delays, source.receive_count_max)), mistakes)
    }

    #[test]
    fn ordered_queues_are_a_list_of_names() {
        assert_eq!(names(" payments, refunds,"), ["payments", "refunds"]);
        assert_eq!(names(""), Vec::<String>::new());
    }

    #[test]
    fn the_environment_is_read_and_every_mistake_is_reported() {
        let url = ("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672");
        assert_eq!(check(&[]), (None, Vec::new()), "not a RabbitMQ consumer");
        assert_eq!(check(&[url]), (Some((RetryDelays::default(), 5)), Vec::new()));
        let (source, mistakes) = check(&[url, ("RABBITMQ_RETRY_DELAYS", "1,5"), ("RABBITMQ_MAX_RECEIVE_COUNT", " 3 ")]);
        assert_eq!((source, mistakes), (Some((RetryDelays::new(vec![1, 5]).unwrap(), 3)), Vec::new()));
        for receives in ["0", "-1", "many", "4294967296"] {
            let (source, mistakes) = check(&[("RABBITMQ_URL", "nonsense"), ("RABBITMQ_MAX_RECEIVE_COUNT", receives)]);
            assert!(source.is_none());
            assert_eq!(mistakes.len(), 2, "{mistakes:?}");
        }
    }
}
