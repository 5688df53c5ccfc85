//! Queue attributes: read from the strings of the API, checked, and rendered back.
//!
//! `apply` changes all of them or none. The engine checks the rules that involve other queues, such as the existence
//! of the dead-letter queue.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::error::{ApiError, ErrorKind};
use crate::limits::{
    DELAY_S, KMS_DATA_KEY_REUSE_S, KMS_DATA_KEY_REUSE_S_DEFAULT, MESSAGE_BYTES, QUEUE_NAME_CHARS_MAX, RETENTION_S,
    VISIBILITY_S, WAIT_S,
};
use crate::redrive::{RedriveAllowPolicy, RedrivePolicy};

/// Read-only attributes.
pub(crate) const READ_ONLY: [&str; 6] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
];

/// Attributes that can be set.
pub(crate) const SETTABLE: [&str; 15] = [
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "DelaySeconds",
    "FifoQueue",
    "FifoThroughputLimit",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "Policy",
    "ReceiveMessageWaitTimeSeconds",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
];

/// The settings of one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueueAttributes {
    /// FIFO or standard; fixed when the queue is created.
    pub(crate) fifo: bool,
    /// `DelaySeconds`.
    pub(crate) delay_s: u32,
    /// `MaximumMessageSize`.
    pub(crate) message_bytes_max: u32,
    /// `MessageRetentionPeriod`.
    pub(crate) retention_s: u32,
    /// `ReceiveMessageWaitTimeSeconds`.
    pub(crate) wait_s: u32,
    /// `VisibilityTimeout`.
    pub(crate) visibility_s: u32,
    /// `ContentBasedDeduplication`.
    pub(crate) content_based_deduplication: bool,
    /// `DeduplicationScope` is `messageGroup` (otherwise `queue`).
    pub(crate) deduplicates_per_group: bool,
    /// `FifoThroughputLimit` is `perMessageGroupId` (otherwise `perQueue`). Stored without effect.
    pub(crate) throughput_per_group: bool,
    /// `RedrivePolicy`.
    pub(crate) redrive: Option<RedrivePolicy>,
    /// `RedriveAllowPolicy`.
    pub(crate) redrive_allow: Option<RedriveAllowPolicy>,
    /// `Policy`, `KmsMasterKeyId` and the like: stored and reported, without effect.
    inert: BTreeMap<&'static str, String>,
}

impl QueueAttributes {
    /// Returns the attributes of a new queue: the defaults, overridden by `given`.
    ///
    /// # Errors
    /// `InvalidParameterValue` for a bad name, else as [`apply`](Self::apply).
    pub(crate) fn new(name: &str, given: &BTreeMap<String, String>) -> Result<Self, ApiError> {
        let fifo = match given.get("FifoQueue") {
            Some(text) => parse_bool("FifoQueue", text)?,
            None => false,
        };
        check_name(name, fifo)?;
        let mut attributes = Self {
            fifo,
            delay_s: 0,
            message_bytes_max: *MESSAGE_BYTES.end(),
            retention_s: 345_600,
            wait_s: 0,
            visibility_s: 30,
            content_based_deduplication: false,
            deduplicates_per_group: false,
            throughput_per_group: false,
            redrive: None,
            redrive_allow: None,
            inert: BTreeMap::from([("SqsManagedSseEnabled", "true".to_owned())]),
        };
        attributes.apply(given)?;
        Ok(attributes)
    }

    /// Sets `given`, all or none.
    ///
    /// # Errors
    /// `InvalidAttributeName` for an unknown attribute or one of the other type of queue, `InvalidAttributeValue`
    /// (for the redrive policies `InvalidParameterValue`) for a bad value.
    pub(crate) fn apply(&mut self, given: &BTreeMap<String, String>) -> Result<(), ApiError> {
        let mut next = self.clone();
        for (name, text) in given {
            next.set(name, text)?;
        }
        if next.throughput_per_group && !next.deduplicates_per_group {
            return Err(invalid_value("FifoThroughputLimit"));
        }
        *self = next;
        Ok(())
    }

    fn set(&mut self, name: &str, text: &str) -> Result<(), ApiError> {
        match name {
            "DelaySeconds" => self.delay_s = parse_in(name, text, &DELAY_S)?,
            "MaximumMessageSize" => self.message_bytes_max = parse_in(name, text, &MESSAGE_BYTES)?,
            "MessageRetentionPeriod" => self.retention_s = parse_in(name, text, &RETENTION_S)?,
            "ReceiveMessageWaitTimeSeconds" => self.wait_s = parse_in(name, text, &WAIT_S)?,
            "VisibilityTimeout" => self.visibility_s = parse_in(name, text, &VISIBILITY_S)?,
            "FifoQueue" if self.fifo => {
                if !parse_bool(name, text)? {
                    let text =
                        "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.";
                    return Err(ApiError::new(ErrorKind::InvalidAttributeValue, text));
                }
            }
            "ContentBasedDeduplication" if self.fifo => self.content_based_deduplication = parse_bool(name, text)?,
            "DeduplicationScope" if self.fifo => {
                self.deduplicates_per_group = parse_choice(name, text, "queue", "messageGroup")?;
            }
            "FifoThroughputLimit" if self.fifo => {
                self.throughput_per_group = parse_choice(name, text, "perQueue", "perMessageGroupId")?;
            }
            "DeduplicationScope" | "FifoThroughputLimit" => {
                let text = format!("You can specify the {name} only when FifoQueue is set to true.");
                return Err(ApiError::new(ErrorKind::InvalidAttributeName, text));
            }
            "RedrivePolicy" => self.redrive = RedrivePolicy::parse(text)?,
            "RedriveAllowPolicy" => self.redrive_allow = RedriveAllowPolicy::parse(text)?,
            "Policy" => {
                let is_object = serde_json::from_str::<serde_json::Value>(text).is_ok_and(|value| value.is_object());
                if !text.is_empty() && !is_object {
                    return Err(invalid_value(name));
                }
                self.keep("Policy", text);
            }
            // The kinds of encryption exclude each other: setting a key ends SSE-SQS, and vice versa.
            "KmsMasterKeyId" => {
                self.keep("KmsMasterKeyId", text);
                self.keep("SqsManagedSseEnabled", if text.is_empty() { "true" } else { "false" });
            }
            "KmsDataKeyReusePeriodSeconds" => {
                // The default is not reported.
                let is_default = parse_in(name, text, &KMS_DATA_KEY_REUSE_S)? == KMS_DATA_KEY_REUSE_S_DEFAULT;
                self.keep("KmsDataKeyReusePeriodSeconds", if is_default { "" } else { text });
            }
            "SqsManagedSseEnabled" => {
                let enabled = parse_bool(name, text)?;
                if enabled {
                    self.keep("KmsMasterKeyId", "");
                }
                self.keep("SqsManagedSseEnabled", if enabled { "true" } else { "false" });
            }
            _ => return Err(unknown(name)),
        }
        Ok(())
    }

    /// Returns the first attribute of `given` whose value differs from the queue's.
    pub(crate) fn first_difference<'g>(&self, given: &'g BTreeMap<String, String>) -> Option<&'g str> {
        let differs = |(name, text): &(&String, &String)| {
            let mut changed = self.clone();
            changed.set(name, text).is_ok() && changed != *self
        };
        given.iter().find(differs).map(|(name, _)| name.as_str())
    }

    /// Stores a text; an empty one removes the attribute.
    fn keep(&mut self, name: &'static str, text: &str) {
        if text.is_empty() {
            self.inert.remove(name);
        } else {
            self.inert.insert(name, text.to_owned());
        }
    }

    /// Returns every set attribute, by name.
    #[must_use]
    pub(crate) fn render(&self) -> BTreeMap<&'static str, String> {
        let mut out = self.inert.clone();
        out.insert("DelaySeconds", self.delay_s.to_string());
        out.insert("MaximumMessageSize", self.message_bytes_max.to_string());
        out.insert("MessageRetentionPeriod", self.retention_s.to_string());
        out.insert("ReceiveMessageWaitTimeSeconds", self.wait_s.to_string());
        out.insert("VisibilityTimeout", self.visibility_s.to_string());
        if let Some(redrive) = &self.redrive {
            out.insert("RedrivePolicy", redrive.to_string());
        }
        if let Some(allow) = &self.redrive_allow {
            out.insert("RedriveAllowPolicy", allow.to_string());
        }
        if self.fifo {
            let pick = |second: bool, texts: [&str; 2]| texts[usize::from(second)].to_owned();
            out.insert("FifoQueue", "true".to_owned());
            out.insert("ContentBasedDeduplication", self.content_based_deduplication.to_string());
            out.insert("DeduplicationScope", pick(self.deduplicates_per_group, ["queue", "messageGroup"]));
            out.insert("FifoThroughputLimit", pick(self.throughput_per_group, ["perQueue", "perMessageGroupId"]));
        }
        out
    }
}

/// Returns the error for an unknown attribute.
pub(crate) fn unknown(name: &str) -> ApiError {
    ApiError::new(ErrorKind::InvalidAttributeName, format!("Unknown Attribute {name}."))
}

fn invalid_value(name: &str) -> ApiError {
    ApiError::new(ErrorKind::InvalidAttributeValue, format!("Invalid value for the parameter {name}."))
}

fn check_name(name: &str, fifo: bool) -> Result<(), ApiError> {
    let stem = if fifo { name.strip_suffix(".fifo") } else { Some(name) };
    let is_good = |stem: &str| {
        !stem.is_empty()
            && name.len() <= QUEUE_NAME_CHARS_MAX
            && stem.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if stem.is_some_and(is_good) {
        return Ok(());
    }
    Err(ApiError::invalid_parameter(if fifo {
        "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo \
         suffix and be 1 to 80 in length."
    } else {
        "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
    }))
}

fn parse_in<T: FromStr + PartialOrd>(name: &str, text: &str, range: &RangeInclusive<T>) -> Result<T, ApiError> {
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| invalid_value(name))
}

fn parse_bool(name: &str, text: &str) -> Result<bool, ApiError> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid_value(name)),
    }
}

fn parse_choice(name: &str, text: &str, no: &str, yes: &str) -> Result<bool, ApiError> {
    match text {
        _ if text == no => Ok(false),
        _ if text == yes => Ok(true),
        _ => Err(invalid_value(name)),
    }
}
