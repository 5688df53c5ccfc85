//! [`Pointer`]: the format of the SQS Extended Client Libraries for a payload in S3.
//!
//! The body on the queue is a JSON array: the name of a Java class, and an object with bucket and key. A message
//! attribute marks it, whose value is the length of the body that is in S3. Both libraries are read:
//!
//! - [Java](https://github.com/awslabs/amazon-sqs-java-extended-client-lib) writes the marker `SQSLargePayloadSize`
//!   unless set otherwise; before its version 2 it wrote another class name.
//! - [Python](https://github.com/awslabs/amazon-sqs-python-extended-client-lib) writes the marker `ExtendedPayloadSize`,
//!   and white space.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The message attributes that mark a pointer. The first is written.
pub const MARKERS: [&str; 2] = ["ExtendedPayloadSize", "SQSLargePayloadSize"];

/// The message attribute with the id of the event, on a pointer whose event has a status: what became of a message is
/// known then also if its payload cannot be read.
pub const STATUS_ID: &str = "sluicegate-status-id";

/// The class names of a pointer. The first is written.
const CLASSES: [&str; 2] =
    ["software.amazon.payloadoffloading.PayloadS3Pointer", "com.amazon.sqs.javamessaging.MessageS3Pointer"];

/// Largest payload that is read, in bytes. The ingress writes at most 6 MiB, in base64 and with its envelope; the rest
/// is for other senders.
pub const OBJECT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The place of a payload. It is shown as `s3://BUCKET/KEY`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// The bucket.
    #[serde(rename = "s3BucketName")]
    pub bucket: String,
    /// The key of the object.
    #[serde(rename = "s3Key")]
    pub key: String,
}

/// Why the body of a message with a marker is not a pointer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// It is not an array of a class name and an object.
    #[error("the body is not [class, {{\"s3BucketName\": …, \"s3Key\": …}}]")]
    Form,
    /// The class is another one.
    #[error("the body names the class {0:?}, which is not that of a pointer")]
    Class(String),
    /// The bucket or the key is empty.
    #[error("the bucket or the key is empty")]
    Empty,
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

impl Pointer {
    /// Returns the body of a message.
    #[must_use]
    pub fn body(&self) -> String {
        // Two texts are always JSON.
        serde_json::to_string(&(CLASSES[0], self)).unwrap_or_default()
    }

    /// Reads the body of a message.
    ///
    /// # Errors
    /// The body is not a pointer of one of the libraries.
    pub fn parse(body: &str) -> Result<Self, PointerError> {
        let (class, pointer): (Cow<'_, str>, Self) = serde_json::from_str(body).map_err(|_| PointerError::Form)?;
        if !CLASSES.contains(&class.as_ref()) {
            return Err(PointerError::Class(class.chars().take(200).collect()));
        }
        if pointer.bucket.is_empty() || pointer.key.is_empty() {
            return Err(PointerError::Empty);
        }
        Ok(pointer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_of_both_libraries_are_read() {
        let pointer = Pointer { bucket: "b".to_owned(), key: "k/1".to_owned() };
        let ours = r#"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b","s3Key":"k/1"}]"#;
        assert_eq!(pointer.body(), ours);
        for body in [
            ours,
            r#"["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "b", "s3Key": "k/1"}]"#,
            r#"["com.amazon.sqs.javamessaging.MessageS3Pointer",{"s3BucketName":"b","s3Key":"k/1"}]"#,
            r#" [ "com.amazon.sqs.javamessaging.MessageS3Pointer" , {"s3Key":"k\/1","s3BucketName":"b","new":1} ] "#,
        ] {
            assert_eq!(Pointer::parse(body), Ok(pointer.clone()), "{body}");
        }
    }

    #[test]
    fn other_bodies_are_no_pointers() {
        let class = CLASSES[0];
        for (body, expected) in [
            (String::new(), PointerError::Form),
            ("{}".to_owned(), PointerError::Form),
            (format!(r#"["{class}"]"#), PointerError::Form),
            (format!(r#"["{class}",{{"s3BucketName":"b"}}]"#), PointerError::Form),
            (format!(r#"["{class}",{{"s3BucketName":"b","s3Key":1}}]"#), PointerError::Form),
            (format!(r#"["{class}",{{"s3BucketName":"b","s3Key":"k"}},1]"#), PointerError::Form),
            (format!(r#"["{class}",{{"s3BucketName":"","s3Key":"k"}}]"#), PointerError::Empty),
            (r#"["a.B",{"s3BucketName":"b","s3Key":"k"}]"#.to_owned(), PointerError::Class("a.B".to_owned())),
        ] {
            assert_eq!(Pointer::parse(&body), Err(expected), "{body}");
        }
    }
}
