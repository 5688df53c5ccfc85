//! [`ObjectKey`]: the name of an object, from which its hour and type can be read.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::Hour;

/// What the keys of all objects start with, so that the bucket can have other objects.
pub const PREFIX: &str = "archive/";

/// How the names of all objects end.
const SUFFIX: &str = ".jsonl.zst";

/// Longest folder of a type, in bytes: a key has at most 1,024, and a file name of most systems 255.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>
const TYPE_BYTES_MAX: usize = 200;

/// How the folder of a type starts that is longer.
const HASHED: &str = "sha256-";

/// Characters of a type that its folder escapes, as Hive does: all but letters, digits and these.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html#object-key-guidelines-safe-characters>
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-');

/// The key of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectKey {
    hour: Hour,
    /// The folder of the type, without its name.
    folder: String,
    name: String,
}

impl ObjectKey {
    /// Returns the key of the object with this text: the same text has the same key.
    #[must_use]
    pub fn new(hour: Hour, event_type: &str, text: &str) -> Self {
        Self { hour, folder: folder(event_type), name: hash(text) }
    }

    /// Reads a key; `None` if it is not that of an object of the archive.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        let mut parts = key.strip_prefix(PREFIX)?.split('/');
        let hour = Hour::parse(parts.next()?, parts.next()?)?;
        let folder = parts.next()?.strip_prefix("event_type=")?.to_owned();
        let name = parts.next()?.strip_suffix(SUFFIX)?.to_owned();
        parts.next().is_none().then_some(Self { hour, folder, name })
    }

    /// Returns the hour of its events.
    #[must_use]
    pub fn hour(&self) -> Hour {
        self.hour
    }

    /// Returns the type of its events; `None` for one whose name is too long for a folder.
    #[must_use]
    pub fn event_type(&self) -> Option<String> {
        let decoded = || percent_decode_str(&self.folder).decode_utf8_lossy().into_owned();
        (!self.folder.starts_with(HASHED)).then(decoded)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}/event_type={}/{}{SUFFIX}", self.hour, self.folder, self.name)
    }
}

/// Returns the folder of a type: escaped, or hashed if that is too long.
fn folder(event_type: &str) -> String {
    let escaped = utf8_percent_encode(event_type, ESCAPED).to_string();
    let fits = escaped.len() <= TYPE_BYTES_MAX && !escaped.starts_with(HASHED);
    if fits { escaped } else { format!("{HASHED}{}", hash(event_type)) }
}

/// Returns the first 16 bytes of the SHA-256 of a text, in hexadecimal digits.
fn hash(text: &str) -> String {
    Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        let hour = Hour::of(OffsetDateTime::from_unix_timestamp(1_795_947_000).unwrap());
        let long = "é".repeat(200);
        for (event_type, folder, read) in [
            ("order.placed", "order.placed", Some("order.placed")),
            ("a/b=c %", "a%2Fb%3Dc%20%25", Some("a/b=c %")),
            ("..", "..", Some("..")),
            (&long, "", None),
            ("sha256-x", "", None),
        ] {
            let key = ObjectKey::new(hour, event_type, "text\n");
            let text = key.to_string();
            let start = "archive/date=2026-11-29/hour=10/event_type=";
            assert!(text.starts_with(start) && text.ends_with(".jsonl.zst") && text.len() < 400, "{text}");
            if let Some(read) = read {
                assert_eq!(text[start.len()..].split('/').next(), Some(folder));
                assert_eq!(key.event_type().as_deref(), Some(read));
            }
            assert_eq!(key.event_type().is_some(), read.is_some(), "{text}");
            assert_eq!(ObjectKey::parse(&text), Some(key));
        }
        assert_ne!(ObjectKey::new(hour, "t", "a"), ObjectKey::new(hour, "t", "b"));
    }

    #[test]
    fn other_keys_are_not_of_the_archive() {
        for key in [
            "",
            "archive/",
            "payloads/0123",
            "archive/date=2026-11-29/hour=10/event_type=t/a.jsonl",
            "archive/date=2026-11-29/hour=10/type=t/a.jsonl.zst",
            "archive/date=2026-11-29/hour=10/event_type=t/b/a.jsonl.zst",
            "archive/date=2026-11-29/a.jsonl.zst",
        ] {
            assert_eq!(ObjectKey::parse(key), None, "{key}");
        }
    }
}
