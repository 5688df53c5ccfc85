//! Redrive policies (source queue → dead-letter queue) and redrive allow policies (which queues may use a queue as
//! their dead-letter queue).

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::limits::{RECEIVE_COUNT, RECEIVE_COUNT_DEFAULT, REDRIVE_SOURCES_MAX};

/// `RedrivePolicy`: a message received more than `receive_count_max` times goes to the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RedrivePolicy {
    /// ARN of the dead-letter queue.
    pub(crate) target_arn: String,
    /// `maxReceiveCount`.
    pub(crate) receive_count_max: u32,
}

impl RedrivePolicy {
    /// Parses the policy's JSON; an empty text means no policy.
    ///
    /// # Errors
    /// `InvalidParameterValue` if it is not an object with a target ARN and a count of 1 to 1,000.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, ApiError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Input {
            dead_letter_target_arn: Option<String>,
            max_receive_count: Option<Value>,
        }
        if text.is_empty() {
            return Ok(None);
        }
        let input: Input =
            serde_json::from_str(text).map_err(|_| invalid(text, "Redrive policy is not a valid JSON map."))?;
        let target_arn = input.dead_letter_target_arn.filter(|arn| !arn.is_empty()).ok_or_else(|| {
            invalid(text, "Redrive policy does not contain mandatory attribute: deadLetterTargetArn.")
        })?;
        // The CLI and CloudFormation send the count as a string or as a number.
        let receive_count_max = match input.max_receive_count {
            None => Some(RECEIVE_COUNT_DEFAULT),
            Some(Value::String(digits)) => digits.parse().ok(),
            Some(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        };
        let receive_count_max = receive_count_max.filter(|count| RECEIVE_COUNT.contains(count)).ok_or_else(|| {
            invalid(text, "Invalid value for maxReceiveCount, valid values are from 1 to 1000 both inclusive.")
        })?;
        Ok(Some(Self { target_arn, receive_count_max }))
    }

    /// Returns the error for a policy that cannot be used.
    pub(crate) fn refused(&self, reason: &str) -> ApiError {
        invalid(&self.to_string(), reason)
    }
}

impl fmt::Display for RedrivePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = json!({ "deadLetterTargetArn": self.target_arn, "maxReceiveCount": self.receive_count_max });
        write!(f, "{text}")
    }
}

/// `RedriveAllowPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RedriveAllowPolicy {
    /// Any queue; the same as no policy.
    AllowAll,
    /// No queue.
    DenyAll,
    /// These queues, by ARN.
    ByQueue(Vec<String>),
}

impl RedriveAllowPolicy {
    /// Parses the policy's JSON; an empty text means no policy.
    ///
    /// # Errors
    /// `InvalidParameterValue` for an unknown permission, or for source ARNs with a permission that takes none.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, ApiError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Input {
            redrive_permission: Option<String>,
            source_queue_arns: Option<Vec<String>>,
        }
        let invalid = |reason: &str| {
            ApiError::invalid_parameter(format!(
                "Value {text} for parameter RedriveAllowPolicy is invalid. Reason: {reason}"
            ))
        };
        if text.is_empty() {
            return Ok(None);
        }
        let input: Input =
            serde_json::from_str(text).map_err(|_| invalid("Redrive allow policy is not a valid JSON map."))?;
        match (input.redrive_permission.as_deref(), input.source_queue_arns) {
            (Some("allowAll"), None) => Ok(Some(Self::AllowAll)),
            (Some("denyAll"), None) => Ok(Some(Self::DenyAll)),
            (Some("allowAll" | "denyAll"), Some(_)) => {
                Err(invalid("sourceQueueArns may only be given when redrivePermission is byQueue."))
            }
            (Some("byQueue"), Some(arns)) if (1..=REDRIVE_SOURCES_MAX).contains(&arns.len()) => {
                Ok(Some(Self::ByQueue(arns)))
            }
            (Some("byQueue"), _) => Err(invalid("byQueue needs 1 to 10 sourceQueueArns.")),
            _ => Err(invalid("redrivePermission must be allowAll, denyAll or byQueue.")),
        }
    }

    /// Returns whether the queue with this ARN may use the policy's owner as its dead-letter queue.
    #[must_use]
    pub(crate) fn allows(&self, source_arn: &str) -> bool {
        match self {
            Self::AllowAll => true,
            Self::DenyAll => false,
            Self::ByQueue(arns) => arns.iter().any(|arn| arn == source_arn),
        }
    }
}

impl fmt::Display for RedriveAllowPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::AllowAll => json!({ "redrivePermission": "allowAll" }),
            Self::DenyAll => json!({ "redrivePermission": "denyAll" }),
            Self::ByQueue(arns) => json!({ "redrivePermission": "byQueue", "sourceQueueArns": arns }),
        };
        write!(f, "{text}")
    }
}

fn invalid(text: &str, reason: &str) -> ApiError {
    ApiError::invalid_parameter(format!("Value {text} for parameter RedrivePolicy is invalid. Reason: {reason}"))
}
