//! [`Binding`]: the broker's address of each logical queue, read from the environment. Reports every mistake, not only
//! the first.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use crate::{RecordKey, RoutingKey};

/// The broker's address of one logical queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// An Amazon SQS queue.
    Sqs {
        /// Its URL, as `GetQueueUrl` returns it.
        queue_url: String,
        /// Whether it is a FIFO queue. SQS requires the names of FIFO queues, and of no others, to end in `.fifo`.
        fifo: bool,
    },
    /// A RabbitMQ exchange on the broker of `RABBITMQ_URL`.
    Rabbitmq {
        /// Its name; empty for the default exchange.
        exchange: String,
        /// The routing key; on the default exchange, the name of the queue.
        routing_key: RoutingKey,
    },
    /// A topic of the Kafka cluster of `KAFKA_BOOTSTRAP_SERVERS`.
    Kafka {
        /// Its name.
        topic: String,
        /// The key of its records.
        key: RecordKey,
    },
}

/// A logical queue that cannot be bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct BindingError {
    /// The environment variable.
    pub variable: String,
    /// What is wrong with its value.
    pub reason: String,
}

impl Binding {
    /// Binds each logical queue by the environment variable that `variable` names.
    ///
    /// The value is an SQS queue URL, `rabbitmq:EXCHANGE/ROUTING_KEY` with a percent-encoded exchange and a
    /// [`RoutingKey`] template, or `kafka:TOPIC/KEY` with a [`RecordKey`] template. Without an exchange the routing
    /// key is the name of a queue: `rabbitmq:/orders`. Without a key that of a record is the group: `kafka:orders`.
    ///
    /// # Errors
    /// Every variable that is missing or invalid, or that two different names share.
    pub fn from_env<'a>(
        names: impl Iterator<Item = &'a str>,
        variable: impl Fn(&str) -> String,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<BTreeMap<String, Self>, Vec<BindingError>> {
        let (mut bindings, mut owners, mut errors) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for name in names {
            let variable = variable(name);
            match owners.insert(variable.clone(), name) {
                Some(owner) if owner == name => continue,
                Some(owner) => {
                    let reason = format!("queues {owner} and {name} would share this variable; rename one");
                    errors.push(BindingError { variable, reason });
                    continue;
                }
                None => {}
            }
            match Self::parse(lookup(&variable).as_deref().unwrap_or_default()) {
                Ok(binding) => drop(bindings.insert(name.to_owned(), binding)),
                Err(reason) => errors.push(BindingError { variable, reason: format!("{reason} (queue {name})") }),
            }
        }
        if errors.is_empty() { Ok(bindings) } else { Err(errors) }
    }

    /// Reads the value of such a variable.
    ///
    /// # Errors
    /// The reason, without the value.
    pub fn parse(value: &str) -> Result<Self, &'static str> {
        let url = value.trim();
        if url.is_empty() {
            return Err("is not set");
        }
        if let Some(rest) = url.strip_prefix("rabbitmq:") {
            return Self::parse_rabbitmq(rest);
        }
        if let Some(rest) = url.strip_prefix("kafka:") {
            return Self::parse_kafka(rest);
        }
        let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
            return Err(
                "is neither an http:// or https:// queue URL nor rabbitmq:EXCHANGE/ROUTING_KEY nor kafka:TOPIC",
            );
        };
        let clean = !url.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#'));
        match rest.split_once('/') {
            Some((host, path)) if clean && !host.is_empty() && !path.is_empty() && !path.ends_with('/') => {
                Ok(Self::Sqs { queue_url: url.to_owned(), fifo: url.ends_with(".fifo") })
            }
            _ => Err("is not a queue URL such as https://sqs.eu-west-1.amazonaws.com/123456789012/orders"),
        }
    }

    /// Returns the topic of a binding to Kafka.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        match self {
            Self::Kafka { topic, .. } => Some(topic),
            Self::Sqs { .. } | Self::Rabbitmq { .. } => None,
        }
    }

    fn parse_rabbitmq(rest: &str) -> Result<Self, &'static str> {
        let (exchange, template) = rest
            .split_once('/')
            .ok_or("has no slash between exchange and routing key, as in rabbitmq:orders/{type}")?;
        let exchange = percent_decode_str(exchange).decode_utf8().map_err(|_| "is not percent-encoded UTF-8")?;
        if exchange.len() > EXCHANGE_BYTES_MAX {
            return Err("has an exchange of more than 255 bytes");
        }
        let routing_key = RoutingKey::parse(template)?;
        if exchange.is_empty() && routing_key.is_empty() {
            return Err("has neither an exchange nor a queue");
        }
        Ok(Self::Rabbitmq { exchange: exchange.into_owned(), routing_key })
    }

    fn parse_kafka(rest: &str) -> Result<Self, &'static str> {
        let (topic, template) = rest.split_once('/').map_or((rest, None), |(topic, template)| (topic, Some(template)));
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if topic.is_empty()
            || topic.len() > TOPIC_BYTES_MAX
            || !topic.bytes().all(is_legal)
            || [".", ".."].contains(&topic)
        {
            return Err("is not a Kafka topic: kafka: and 1 to 249 letters, digits, dots, underscores and hyphens");
        }
        let key = template.map_or_else(|| Ok(RecordKey::default()), RecordKey::parse)?;
        Ok(Self::Kafka { topic: topic.to_owned(), key })
    }
}

/// Longest name of a topic, in bytes
/// (<https://github.com/apache/kafka/blob/4.1.0/clients/src/main/java/org/apache/kafka/common/internals/Topic.java>).
pub const TOPIC_BYTES_MAX: usize = 249;

/// Longest name of an exchange, in bytes: an AMQP short string.
const EXCHANGE_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&str], environment: &[(&str, &str)], expected: &Result<Vec<(&str, &str)>, Vec<&str>>) {
        let lookup = |wanted: &str| {
            let found = environment.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned())
        };
        let bound = Binding::from_env(names.iter().copied(), |name| format!("V_{}", name.replace('.', "-")), lookup);
        let shown = |binding: &'_ Binding| match binding {
            Binding::Sqs { fifo: false, .. } => "standard",
            Binding::Sqs { fifo: true, .. } => "fifo",
            Binding::Rabbitmq { exchange, .. } if exchange.is_empty() => "default exchange",
            Binding::Rabbitmq { .. } => "exchange",
            Binding::Kafka { .. } => "topic",
        };
        let shown = match &bound {
            Ok(map) => Ok(map.iter().map(|(name, binding)| (name.as_str(), shown(binding))).collect()),
            Err(errors) => Err(errors.iter().map(ToString::to_string).collect::<Vec<_>>()),
        };
        assert_eq!(shown, expected.clone().map_err(|texts| texts.into_iter().map(str::to_owned).collect::<Vec<_>>()));
    }

    #[test]
    fn queues_are_bound_by_their_variables() {
        let url = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders";
        let fifo = "http://127.0.0.1:4566/000000000000/web-hooks.fifo";
        check(
            &["orders", "web-hooks.in", "orders"],
            &[("V_orders", url), ("V_web-hooks-in", fifo)],
            &Ok(vec![("orders", "standard"), ("web-hooks.in", "fifo")]),
        );
        check(
            &["a", "b", "c"],
            &[("V_a", "rabbitmq:orders/{type}"), ("V_b", "rabbitmq:/orders"), ("V_c", "rabbitmq:fan%2Fout/")],
            &Ok(vec![("a", "exchange"), ("b", "default exchange"), ("c", "exchange")]),
        );
        check(&["a", "b"], &[("V_a", "kafka:orders"), ("V_b", url)], &Ok(vec![("a", "topic"), ("b", "standard")]));
        check(&[], &[], &Ok(vec![]));
    }

    #[test]
    fn exchange_and_key_are_decoded_and_a_mistake_is_named() {
        let bound = Binding::parse("rabbitmq:fan%2Fout/a%2Fb/{group}");
        let routing_key = RoutingKey::parse("a%2Fb/{group}").unwrap();
        assert_eq!(bound, Ok(Binding::Rabbitmq { exchange: "fan/out".to_owned(), routing_key }));
        for (value, template) in [("kafka:orders", "{group}"), ("kafka:orders/{source}/{id}", "{source}/{id}")] {
            let key = RecordKey::parse(template).unwrap();
            assert_eq!(Binding::parse(value), Ok(Binding::Kafka { topic: "orders".to_owned(), key }), "{value}");
        }
        let topic = "is not a Kafka topic: kafka: and 1 to 249 letters, digits, dots, underscores and hyphens";
        for (value, reason) in [
            ("rabbitmq:orders", "has no slash between exchange and routing key, as in rabbitmq:orders/{type}"),
            ("rabbitmq:/", "has neither an exchange nor a queue"),
            ("rabbitmq:%FF/k", "is not percent-encoded UTF-8"),
            (&format!("rabbitmq:{}/k", "x".repeat(256)), "has an exchange of more than 255 bytes"),
            ("kafka:", topic),
            ("kafka:..", topic),
            ("kafka:/{group}", topic),
            ("kafka:orders/", "has a key without a placeholder, with which every record would be in one partition"),
            ("kafka:orders/{key}", "has a placeholder other than {type}, {group}, {subject}, {id} and {source}"),
            ("kafka:\u{fc}", topic),
            (&format!("kafka:{}", "t".repeat(250)), topic),
            ("rabbitmq:orders/{kind}", "has a placeholder other than {type}, {group}, {subject}, {id} and {source}"),
        ] {
            assert_eq!(Binding::parse(value), Err(reason), "{value}");
        }
    }

    #[test]
    fn every_mistake_is_reported() {
        let form = "is not a queue URL such as https://sqs.eu-west-1.amazonaws.com/123456789012/orders";
        check(
            &["a", "b", "c", "d", "e-e", "e.e"],
            &[("V_b", " "), ("V_c", "arn:aws:sqs:x:1:c"), ("V_d", "https://host/"), ("V_e-e", "http://h/q")],
            &Err(vec![
                "V_a: is not set (queue a)",
                "V_b: is not set (queue b)",
                "V_c: is neither an http:// or https:// queue URL nor rabbitmq:EXCHANGE/ROUTING_KEY nor kafka:TOPIC (queue c)",
                &format!("V_d: {form} (queue d)"),
                "V_e-e: queues e-e and e.e would share this variable; rename one",
            ]),
        );
    }
}
