//! [`KafkaRecord`]: the place of a message in its topic, with its key and headers.

use sluicegate_queue::dead_letter::MESSAGE_ID;

/// A record of Kafka, without its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaRecord {
    /// The topic.
    pub topic: String,
    /// The partition; -1 if the event does not contain it.
    pub partition: i32,
    /// The offset in the partition; -1 if the event does not contain it.
    pub offset: i64,
    /// The time that the producer or the broker gave it, in milliseconds since 1970.
    pub timestamp_unix_ms: Option<u64>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The headers, in order, repeats included.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl KafkaRecord {
    /// Returns the last header of this name, which replaces the others by Kafka's convention.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }

    /// Returns the place as text, `topic:partition:offset`. A topic contains no colon.
    pub(super) fn place(&self) -> String {
        format!("{}:{}:{}", self.topic, self.partition, self.offset)
    }

    /// Returns the id of a record that is not an event: the place that it had before it was first redriven.
    pub(super) fn first_place(&self) -> String {
        let first = self.header_text(MESSAGE_ID).filter(|place| !place.is_empty());
        first.map_or_else(|| self.place(), str::to_owned)
    }

    /// Returns a header as text.
    pub(super) fn header_text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.header(name)?).ok()
    }
}
