//! [`KeyTemplate`]: text with placeholders for values of a message, of which a broker's key is made.

use percent_encoding::percent_decode_str;

use crate::Message;

/// The parts of a template such as `{type}` or `orders.{group}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyTemplate(pub(crate) Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Text that each key has.
    Text(String),
    /// The place of a value.
    Value(Value),
}

/// A value of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Type,
    Group,
    Subject,
    Id,
    Source,
}

impl KeyTemplate {
    /// Parses a template. Text between placeholders is percent-decoded.
    ///
    /// # Errors
    /// The template is invalid, for this reason.
    pub(crate) fn parse(template: &str) -> Result<Self, &'static str> {
        let mut parts = Vec::new();
        let mut rest = template;
        while !rest.is_empty() {
            let (text, from) = rest.split_at(rest.find(['{', '}']).unwrap_or(rest.len()));
            if !text.is_empty() {
                let decoded = percent_decode_str(text).decode_utf8().map_err(|_| "is not percent-encoded UTF-8")?;
                parts.push(Part::Text(decoded.into_owned()));
            }
            if from.is_empty() {
                break;
            }
            let (name, after) = from
                .strip_prefix('{')
                .and_then(|inside| inside.split_once('}'))
                .ok_or("has an unbalanced brace; write %7B and %7D for literal braces")?;
            parts.push(Part::Value(match name {
                "type" => Value::Type,
                "group" => Value::Group,
                "subject" => Value::Subject,
                "id" => Value::Id,
                "source" => Value::Source,
                _ => return Err("has a placeholder other than {type}, {group}, {subject}, {id} and {source}"),
            }));
            rest = after;
        }
        Ok(Self(parts))
    }
}

impl Value {
    /// Returns the value, unless the message has none or an empty one.
    pub(crate) fn of<'m>(self, message: &Message<'m>) -> Option<&'m str> {
        let envelope = message.envelope;
        let value = match self {
            Self::Type => Some(envelope.event_type()),
            Self::Group => message.group,
            Self::Subject => envelope.subject(),
            Self::Id => Some(envelope.id()),
            Self::Source => Some(envelope.source()),
        };
        value.filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_with_a_mistake_is_refused() {
        let brace = "has an unbalanced brace; write %7B and %7D for literal braces";
        for (template, reason) in [
            ("{type", brace),
            ("type}", brace),
            ("{}", "has a placeholder other than {type}, {group}, {subject}, {id} and {source}"),
            ("{Type}", "has a placeholder other than {type}, {group}, {subject}, {id} and {source}"),
            ("%FF", "is not percent-encoded UTF-8"),
        ] {
            assert_eq!(KeyTemplate::parse(template), Err(reason), "{template}");
        }
    }
}
