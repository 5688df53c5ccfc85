//! [`RecordKey`]: the template of the key of a Kafka record.

use std::borrow::Cow;

use crate::Message;
use crate::key_template::{KeyTemplate, Part, Value};

/// A template such as `{subject}` or `{source}:{type}`. The default is `{group}`.
///
/// `{type}`, `{group}`, `{subject}`, `{id}` and `{source}` are inserted unchanged, because Kafka compares keys byte by
/// byte. Text between placeholders is percent-decoded. A message that lacks one of the values has no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordKey(KeyTemplate);

impl Default for RecordKey {
    fn default() -> Self {
        Self(KeyTemplate(vec![Part::Value(Value::Group)]))
    }
}

impl RecordKey {
    /// Parses a template.
    ///
    /// # Errors
    /// The template is invalid, for this reason.
    pub fn parse(template: &str) -> Result<Self, &'static str> {
        let template = KeyTemplate::parse(template)?;
        if !template.0.iter().any(|part| matches!(part, Part::Value(_))) {
            return Err("has a key without a placeholder, with which every record would be in one partition");
        }
        Ok(Self(template))
    }

    /// Returns the key of a message, or `None` if the message lacks one of its values.
    #[must_use]
    pub fn render<'m>(&self, message: &Message<'m>) -> Option<Cow<'m, str>> {
        if let [Part::Value(value)] = *self.0.0 {
            return value.of(message).map(Cow::Borrowed);
        }
        let mut key = String::new();
        for part in &self.0.0 {
            key.push_str(match part {
                Part::Text(text) => text,
                Part::Value(value) => value.of(message)?,
            });
        }
        Some(Cow::Owned(key))
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_envelope::Envelope;

    use super::*;

    #[test]
    fn a_key_is_made_from_the_message() {
        let envelope = Envelope::builder("id-1", "/orders", "order.placed").group("eu.west").build().unwrap();
        let message = Message::new(&envelope);
        for (template, key) in [
            ("{group}", Some("eu.west")),
            ("{type}:{group}", Some("order.placed:eu.west")),
            ("{source}%2F%7B{id}%7D", Some("/orders/{id-1}")),
            ("{subject}", None),
            ("{type}:{subject}", None),
        ] {
            assert_eq!(RecordKey::parse(template).unwrap().render(&message).as_deref(), key, "{template}");
        }
        assert_eq!(RecordKey::default(), RecordKey::parse("{group}").unwrap());
        for group in [None, Some("")] {
            assert_eq!(RecordKey::default().render(&Message { group, ..message }), None);
        }
    }

    #[test]
    fn a_key_of_text_alone_is_refused() {
        for template in ["", "orders", "%7Bgroup%7D"] {
            let refused = RecordKey::parse(template).unwrap_err();
            assert!(refused.starts_with("has a key without a placeholder"), "{refused}");
        }
    }
}
