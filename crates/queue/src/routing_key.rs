//! [`RoutingKey`]: the template of a RabbitMQ routing key.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::key_template::{KeyTemplate, Part, Value};
use crate::{Message, SendError};

/// Longest routing key, in bytes: an AMQP short string (AMQP 0-9-1, section 4.2.5.3).
pub const ROUTING_KEY_BYTES_MAX: usize = 255;

/// The word for a value that the message does not have.
const ABSENT: &str = "-";

/// Characters that end a word or are wildcards of a binding, and the one that would make the encoding ambiguous
/// (<https://www.rabbitmq.com/tutorials/tutorial-five-python>).
const NOT_IN_A_WORD: &AsciiSet = &CONTROLS.add(b'.').add(b'*').add(b'#').add(b'%');

/// A template such as `{type}` or `orders.{group}`.
///
/// `{type}` is inserted unchanged, so the dots of `order.placed` separate words that a topic exchange can match.
/// `{group}`, `{subject}`, `{id}` and `{source}` are one word each: their dots and wildcards are percent-encoded. A
/// value that the message does not have is `-`. Text between placeholders is percent-decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingKey(KeyTemplate);

impl RoutingKey {
    /// Parses a template.
    ///
    /// # Errors
    /// The template is invalid, for this reason.
    pub fn parse(template: &str) -> Result<Self, &'static str> {
        let template = KeyTemplate::parse(template)?;
        let texts = template.0.iter().map(|part| if let Part::Text(text) = part { text.len() } else { 0 });
        if texts.sum::<usize>() > ROUTING_KEY_BYTES_MAX { Err("is longer than 255 bytes") } else { Ok(Self(template)) }
    }

    /// Returns whether the key is empty for every message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.0.is_empty()
    }

    /// Returns the routing key of a message.
    ///
    /// # Errors
    /// The key has more than [`ROUTING_KEY_BYTES_MAX`] bytes.
    pub fn render(&self, message: &Message<'_>) -> Result<String, SendError> {
        let mut key = String::new();
        for part in &self.0.0 {
            match part {
                Part::Text(text) => key.push_str(text),
                Part::Value(Value::Type) => key.push_str(message.envelope.event_type()),
                Part::Value(value) => push_word(&mut key, value.of(message)),
            }
        }
        if key.len() > ROUTING_KEY_BYTES_MAX {
            let reason = format!("the routing key has {} bytes, more than {ROUTING_KEY_BYTES_MAX}", key.len());
            return Err(SendError::Refused { reason, message_at_fault: true });
        }
        Ok(key)
    }
}

fn push_word(key: &mut String, value: Option<&str>) {
    match value {
        Some(value) => key.extend(utf8_percent_encode(value, NOT_IN_A_WORD)),
        None => key.push_str(ABSENT),
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_envelope::Envelope;

    use super::*;

    fn render(template: &str, group: Option<&str>) -> Result<String, SendError> {
        let envelope = Envelope::builder("id-1", "/orders", "order.placed").subject("o.*#%1 ü").build().unwrap();
        RoutingKey::parse(template).unwrap().render(&Message { group, ..Message::new(&envelope) })
    }

    #[test]
    fn a_key_is_made_from_the_message() {
        for (template, group, expected) in [
            ("", None, ""),
            ("orders", None, "orders"),
            ("{type}", None, "order.placed"),
            ("{type}.{group}", Some("eu.west"), "order.placed.eu%2Ewest"),
            ("{type}.{group}", None, "order.placed.-"),
            ("{group}", Some(""), "-"),
            ("{subject}", None, "o%2E%2A%23%251 %C3%BC"),
            ("a%2Fb.{id}{source}", None, "a/b.id-1/orders"),
            ("%7B{id}%7D", None, "{id-1}"),
        ] {
            assert_eq!(render(template, group), Ok(expected.to_owned()), "{template}");
        }
    }

    #[test]
    fn a_key_that_is_too_long_is_refused_before_it_is_sent() {
        let group = "g".repeat(256);
        let refused = render("{group}", Some(&group)).unwrap_err();
        assert!(matches!(&refused, SendError::Refused { message_at_fault: true, .. }), "{refused}");
        assert_eq!(render("{group}", Some(&group[1..])).unwrap().len(), 255);
    }

    #[test]
    fn a_template_that_is_too_long_is_refused() {
        assert_eq!(RoutingKey::parse(&"k".repeat(256)), Err("is longer than 255 bytes"));
    }
}
