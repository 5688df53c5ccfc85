//! Message attributes: types, rules and the digest that clients check.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::limits::{MESSAGE_ATTRIBUTE_NAME_CHARS_MAX, MESSAGE_ATTRIBUTES_MAX, NUMBER_DIGITS_MAX};
use crate::text::{hex, is_allowed};

/// User attributes by name.
pub(crate) type MessageAttributes = BTreeMap<String, MessageAttribute>;

/// An attribute in a request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AttributeInput {
    data_type: Option<String>,
    string_value: Option<String>,
    binary_value: Option<String>,
    string_list_values: Option<Vec<Value>>,
    binary_list_values: Option<Vec<Value>>,
}

/// A checked attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageAttribute {
    data_type: String,
    value: AttributeValue,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum AttributeValue {
    /// `String` and `Number`.
    Text(String),
    Binary(Vec<u8>),
}

impl MessageAttribute {
    /// Returns the size of data type and value, without the name.
    pub(crate) fn size_bytes(&self) -> usize {
        self.data_type.len() + self.bytes().len()
    }

    pub(crate) fn render(&self) -> Value {
        match &self.value {
            AttributeValue::Text(text) => json!({ "DataType": self.data_type, "StringValue": text }),
            AttributeValue::Binary(bytes) => json!({ "DataType": self.data_type, "BinaryValue": BASE64.encode(bytes) }),
        }
    }

    fn bytes(&self) -> &[u8] {
        match &self.value {
            AttributeValue::Text(text) => text.as_bytes(),
            AttributeValue::Binary(bytes) => bytes,
        }
    }
}

/// Returns `MD5OfMessageAttributes` (or `MD5OfMessageSystemAttributes`) of attributes sorted by name.
/// Guide sqs-message-metadata, "Calculating the MD5 message digest".
pub(crate) fn attributes_md5<'a>(sorted: impl Iterator<Item = (&'a String, &'a MessageAttribute)>) -> String {
    fn add(digest: &mut Md5, bytes: &[u8]) {
        digest.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        digest.update(bytes);
    }
    let mut digest = Md5::new();
    for (name, attribute) in sorted {
        add(&mut digest, name.as_bytes());
        add(&mut digest, attribute.data_type.as_bytes());
        digest.update(match attribute.value {
            AttributeValue::Text(_) => [1_u8],
            AttributeValue::Binary(_) => [2],
        });
        add(&mut digest, attribute.bytes());
    }
    hex(&digest.finalize())
}

/// Checks the user attributes of one message.
///
/// # Errors
/// `InvalidParameterValue` for more than ten attributes, a bad name or type, an empty or invalid value.
pub(crate) fn check_attributes(given: BTreeMap<String, AttributeInput>) -> Result<MessageAttributes, ApiError> {
    if given.len() > MESSAGE_ATTRIBUTES_MAX {
        return Err(ApiError::invalid_parameter(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{MESSAGE_ATTRIBUTES_MAX}].",
            given.len()
        )));
    }
    given
        .into_iter()
        .map(|(name, input)| {
            check_name(&name)?;
            let attribute = check_attribute(&name, input)?;
            Ok((name, attribute))
        })
        .collect()
}

/// Checks the system attributes of one message. The only one is `AWSTraceHeader`, a string.
pub(crate) fn check_system_attributes(
    given: BTreeMap<String, AttributeInput>,
) -> Result<Option<MessageAttributes>, ApiError> {
    let mut checked = MessageAttributes::new();
    for (name, input) in given {
        if name != "AWSTraceHeader" {
            return Err(ApiError::invalid_parameter(format!("Message system attribute name '{name}' is invalid.")));
        }
        let attribute = check_attribute(&name, input)?;
        if attribute.data_type != "String" {
            return Err(invalid(&name, "has an invalid message attribute type: AWSTraceHeader is a String."));
        }
        checked.insert(name, attribute);
    }
    Ok((!checked.is_empty()).then_some(checked))
}

/// Returns the text of a string attribute.
pub(crate) fn text_of(attributes: &MessageAttributes, name: &str) -> Option<String> {
    match &attributes.get(name)?.value {
        AttributeValue::Text(text) => Some(text.clone()),
        AttributeValue::Binary(_) => None,
    }
}

/// Returns the attributes of type `String` or `Number`, by name.
pub(crate) fn texts(attributes: &MessageAttributes) -> BTreeMap<String, String> {
    attributes.keys().filter_map(|name| Some((name.clone(), text_of(attributes, name)?))).collect()
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let lower = name.to_ascii_lowercase();
    let reason = if name.is_empty() || name.chars().count() > MESSAGE_ATTRIBUTE_NAME_CHARS_MAX {
        "must have 1 to 256 characters in its name."
    } else if !name.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c)) {
        "can only include alphanumeric characters, hyphens, underscores and periods in its name."
    } else if name.starts_with('.') || name.ends_with('.') || name.contains("..") {
        "must not start or end with a period or have two of them in a row in its name."
    } else if lower.starts_with("aws.") || lower.starts_with("amazon.") {
        "must not start with the reserved prefixes AWS. or Amazon."
    } else {
        return Ok(());
    };
    Err(invalid(name, reason))
}

fn check_attribute(name: &str, input: AttributeInput) -> Result<MessageAttribute, ApiError> {
    let not_empty = |list: &Option<Vec<Value>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if not_empty(&input.string_list_values) || not_empty(&input.binary_list_values) {
        return Err(invalid(name, "has list values, which SQS does not support."));
    }
    let data_type = input.data_type.unwrap_or_default();
    let base = data_type.split('.').next().unwrap_or_default();
    if data_type.len() > MESSAGE_ATTRIBUTE_NAME_CHARS_MAX || !data_type.chars().all(is_allowed) {
        return Err(invalid(name, "has an invalid message attribute type: at most 256 valid characters."));
    }
    let empty = || {
        ApiError::invalid_parameter(format!(
            "Message (user) attribute '{name}' must contain a non-empty value of type '{base}'."
        ))
    };
    let value = match base {
        "String" | "Number" => {
            let text = input.string_value.filter(|text| !text.is_empty()).ok_or_else(empty)?;
            if !text.chars().all(is_allowed) {
                return Err(invalid(name, "contains characters that are not allowed in a message."));
            }
            if base == "Number" && !is_number(&text) {
                return Err(ApiError::invalid_parameter(format!(
                    "Can't cast the value of message (user) attribute '{name}' to a number."
                )));
            }
            AttributeValue::Text(text)
        }
        "Binary" => {
            let encoded = input.binary_value.filter(|encoded| !encoded.is_empty()).ok_or_else(empty)?;
            let bytes = BASE64.decode(encoded).map_err(|_| invalid(name, "is not valid base64."))?;
            AttributeValue::Binary(bytes)
        }
        _ => {
            return Err(invalid(
                name,
                "has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String.",
            ));
        }
    };
    Ok(MessageAttribute { data_type, value })
}

/// Returns whether the text is a decimal number with at most 38 digits and an optional exponent.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.strip_prefix(['-', '+']).unwrap_or(exponent)),
        None => (unsigned, "0"),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = whole.len() + fraction.len();
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    (1..=NUMBER_DIGITS_MAX).contains(&digits)
        && all_digits(whole)
        && all_digits(fraction)
        && (1..=3).contains(&exponent.len())
        && all_digits(exponent)
}

fn invalid(name: &str, reason: &str) -> ApiError {
    ApiError::invalid_parameter(format!("The message attribute '{name}' {reason}"))
}
