//! [`ErrorCode`]: the error codes of Kafka, and what a producer may conclude from each.
//!
//! <https://kafka.apache.org/protocol.html#protocol_error_codes>

use std::fmt;

/// An error code of a response. 0 is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ErrorCode(pub(super) i16);

/// What a producer may conclude from the answer to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conclusion {
    /// The batch is stored on every replica that `min.insync.replicas` requires.
    Stored,
    /// The batch is not stored, and the same batch may be accepted later.
    NotStored,
    /// The batch may be stored. Sending it again under its sequence number stores it once.
    Unclear,
    /// The batch is not stored, because the broker does not know its producer or expects another sequence number.
    NewIdentity,
    /// The batch has more bytes than the topic accepts.
    TooLarge,
    /// The batch is not stored, and sending it again does not change that.
    Refused,
}

impl ErrorCode {
    pub(super) const NONE: Self = Self(0);
    #[cfg(feature = "kafka-reader")]
    pub(super) const OFFSET_OUT_OF_RANGE: Self = Self(1);
    pub(super) const UNKNOWN_TOPIC_OR_PARTITION: Self = Self(3);
    pub(super) const LEADER_NOT_AVAILABLE: Self = Self(5);
    const MESSAGE_TOO_LARGE: Self = Self(10);
    #[cfg(feature = "kafka-reader")]
    pub(super) const COORDINATOR_LOAD_IN_PROGRESS: Self = Self(14);
    #[cfg(feature = "kafka-reader")]
    pub(super) const COORDINATOR_NOT_AVAILABLE: Self = Self(15);
    #[cfg(feature = "kafka-reader")]
    pub(super) const NOT_COORDINATOR: Self = Self(16);
    const RECORD_LIST_TOO_LARGE: Self = Self(18);
    const NOT_ENOUGH_REPLICAS: Self = Self(19);
    const TOPIC_AUTHORIZATION_FAILED: Self = Self(29);
    const CLUSTER_AUTHORIZATION_FAILED: Self = Self(31);
    #[cfg(feature = "kafka-reader")]
    pub(super) const TOPIC_ALREADY_EXISTS: Self = Self(36);
    const DUPLICATE_SEQUENCE_NUMBER: Self = Self(46);

    pub(super) fn conclusion(self) -> Conclusion {
        match self {
            // A duplicate is a batch that an earlier attempt stored.
            Self::NONE | Self::DUPLICATE_SEQUENCE_NUMBER => Conclusion::Stored,
            Self::MESSAGE_TOO_LARGE | Self::RECORD_LIST_TOO_LARGE => Conclusion::TooLarge,
            // CORRUPT_MESSAGE, NOT_ENOUGH_REPLICAS and THROTTLING_QUOTA_EXCEEDED precede the append, and a topic that
            // does not exist has no messages.
            Self::UNKNOWN_TOPIC_OR_PARTITION | Self::NOT_ENOUGH_REPLICAS | Self(2 | 89) => Conclusion::NotStored,
            // OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH, UNKNOWN_PRODUCER_ID, PRODUCER_FENCED.
            Self(45 | 47 | 59 | 90) => Conclusion::NewIdentity,
            // INVALID_TOPIC_EXCEPTION, INVALID_REQUIRED_ACKS, INVALID_TIMESTAMP, UNSUPPORTED_SASL_MECHANISM,
            // ILLEGAL_SASL_STATE, UNSUPPORTED_VERSION, INVALID_REQUEST, UNSUPPORTED_FOR_MESSAGE_FORMAT,
            // POLICY_VIOLATION, SASL_AUTHENTICATION_FAILED, INVALID_RECORD.
            Self::TOPIC_AUTHORIZATION_FAILED
            | Self::CLUSTER_AUTHORIZATION_FAILED
            | Self(17 | 21 | 32 | 33 | 34 | 35 | 42 | 43 | 44 | 58 | 87) => Conclusion::Refused,
            // A leader that lost its partition may have appended the batch before, and the other codes are a broker's
            // failure at any step.
            _ => Conclusion::Unclear,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            -1 => "UNKNOWN_SERVER_ERROR",
            1 => "OFFSET_OUT_OF_RANGE",
            2 => "CORRUPT_MESSAGE",
            3 => "UNKNOWN_TOPIC_OR_PARTITION",
            5 => "LEADER_NOT_AVAILABLE",
            6 => "NOT_LEADER_OR_FOLLOWER",
            7 => "REQUEST_TIMED_OUT",
            10 => "MESSAGE_TOO_LARGE",
            12 => "OFFSET_METADATA_TOO_LARGE",
            14 => "COORDINATOR_LOAD_IN_PROGRESS",
            15 => "COORDINATOR_NOT_AVAILABLE",
            16 => "NOT_COORDINATOR",
            17 => "INVALID_TOPIC_EXCEPTION",
            18 => "RECORD_LIST_TOO_LARGE",
            19 => "NOT_ENOUGH_REPLICAS",
            20 => "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
            25 => "UNKNOWN_MEMBER_ID",
            29 => "TOPIC_AUTHORIZATION_FAILED",
            30 => "GROUP_AUTHORIZATION_FAILED",
            31 => "CLUSTER_AUTHORIZATION_FAILED",
            32 => "INVALID_TIMESTAMP",
            33 => "UNSUPPORTED_SASL_MECHANISM",
            35 => "UNSUPPORTED_VERSION",
            41 => "NOT_CONTROLLER",
            44 => "POLICY_VIOLATION",
            45 => "OUT_OF_ORDER_SEQUENCE_NUMBER",
            47 => "INVALID_PRODUCER_EPOCH",
            56 => "KAFKA_STORAGE_ERROR",
            58 => "SASL_AUTHENTICATION_FAILED",
            59 => "UNKNOWN_PRODUCER_ID",
            87 => "INVALID_RECORD",
            code => return write!(f, "Kafka error {code}"),
        };
        write!(f, "{name} ({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_success_and_a_duplicate_are_stored_and_an_unknown_code_is_unclear() {
        for code in -1..200 {
            let stored = ErrorCode(code).conclusion() == Conclusion::Stored;
            assert_eq!(stored, [0, 46].contains(&code), "{code}");
        }
        for code in [-1, 5, 6, 7, 13, 20, 56, 72, 199] {
            assert_eq!(ErrorCode(code).conclusion(), Conclusion::Unclear, "{code}");
        }
    }
}
