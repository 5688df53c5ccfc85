//! The argument and the two values in RabbitMQ's text of a 406.

use serde_json::Value;

use crate::change::Difference;

/// Reads RabbitMQ's text, such as
/// `PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received the value '5000' of
/// type 'long' but current is the value '1000' of type 'long'`. It names the first difference only. A text of another
/// shape is returned whole.
pub(crate) fn read(text: &str) -> Difference {
    let read = || {
        let (_, rest) = text.split_once("inequivalent arg '")?;
        let (argument, rest) = rest.split_once('\'')?;
        let (_, rest) = rest.split_once("received ")?;
        let (wanted, actual) = rest.split_once(" but current is ")?;
        Some(Difference { argument: argument.to_owned(), wanted: value(wanted), actual: value(actual) })
    };
    read().unwrap_or_else(|| Difference { argument: text.to_owned(), wanted: None, actual: None })
}

/// Reads `none`, `'true'`, or `the value '5' of type 'signedint'`.
fn value(text: &str) -> Option<Value> {
    let quoted = text.strip_prefix("the value ").unwrap_or(text).trim();
    let (value, value_type) = quoted.split_once(" of type ").unwrap_or((quoted, ""));
    let value = value.trim().trim_matches('\'');
    match (value, value_type.trim_matches('\'')) {
        ("none", "") => None,
        (text, "longstr") => Some(text.into()),
        (text, _) => Some(serde_json::from_str(text).unwrap_or_else(|_| text.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_texts_of_the_broker_are_parsed() {
        let start = "PRECONDITION_FAILED - inequivalent arg";
        for (text, shown) in [
            (
                format!(
                    "{start} 'x-message-ttl' for queue 'q' in vhost '/': received the value '5000' of type 'signedint' but current is the value '1000' of type 'long'"
                ),
                "x-message-ttl wanted 5000, actual 1000",
            ),
            (
                format!(
                    "{start} 'x-queue-type' for queue 'it''s' in vhost 'v': received the value 'quorum' of type 'longstr' but current is none"
                ),
                "x-queue-type wanted quorum, actual none",
            ),
            (
                format!("{start} 'durable' for exchange 'e' in vhost '/': received 'true' but current is 'false'"),
                "durable wanted true, actual false",
            ),
            (
                format!("{start} 'type' for exchange 'e' in vhost '/': received 'topic' but current is 'fanout'"),
                "type wanted topic, actual fanout",
            ),
            ("something else".to_owned(), "something else"),
        ] {
            assert_eq!(read(&text).to_string(), shown);
        }
    }
}
