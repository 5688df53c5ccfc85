//! [`Publication`]: a record as it is, which the consumer stores in a dead-letter topic, and the dead-letter tool in
//! the topic that it came from.

use tokio::time::Instant;

use super::cluster::Cluster;
use super::producer::{any_partition, receipt};
use super::record::Record;
use crate::{Receipt, SendError};

/// A record of a topic.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The key, which determines the partition.
    pub key: Option<&'a [u8]>,
    /// The value; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, in order. One may have no value.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

impl Cluster {
    /// Appends a record and waits until every in-sync replica has it, but not past `deadline`. The receipt has no id of
    /// an envelope.
    ///
    /// # Errors
    /// What the caller may conclude, as a [`SendError`].
    pub async fn publish(&self, publication: &Publication<'_>, deadline: Instant) -> Result<Receipt, SendError> {
        let Publication { topic: name, key, value, headers } = *publication;
        let topic = self.topic(name, deadline).await?;
        let record = Record::new(key, value, headers.iter().copied());
        let (partition, handed) = self.hand(name, &topic, key, record, || any_partition(&topic))?;
        let offset = handed.appended(deadline).await?;
        Ok(receipt(String::new(), partition, offset))
    }
}
