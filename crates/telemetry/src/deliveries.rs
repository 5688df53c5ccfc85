//! The metrics of the messages of one queue in one batch.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use crate::{Error, Line, Metric, VALUES_MAX, Value, millis};

/// The name under which messages without a queue name are counted.
const UNKNOWN: &str = "unknown";

/// Results of the messages of one queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deliveries {
    /// Handled.
    pub done: u64,
    /// Handled before, and not again.
    pub duplicate: u64,
    /// Returned to the queue with a delay.
    pub retried: u64,
    /// Dead-lettered, although they could be decoded.
    pub rejected: u64,
    /// Dead-lettered because they could not be decoded.
    pub undecodable: u64,
    /// Returned to the queue without a call of a handler.
    pub returned: u64,
    /// Age of the oldest message, if any message has the time at which it was sent.
    pub oldest: Option<Duration>,
    /// Duration of each call of a handler.
    pub handlers: Vec<Duration>,
}

impl Deliveries {
    /// Returns the number of messages.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.done + self.duplicate + self.retried + self.rejected + self.undecodable + self.returned
    }

    /// Appends the metric line. At most [`VALUES_MAX`] handler times fit into one line; the others follow in further
    /// lines.
    ///
    /// # Errors
    /// See [`Line::write_to`].
    pub fn write_to(&self, out: &mut Vec<u8>, function: &str, queue: &str, at: SystemTime) -> Result<(), Error> {
        let queue = dimension(queue);
        let dimensions = &[("function", function), ("queue", queue.as_ref())];
        let write = |metrics: &[Metric<'_>], out: &mut Vec<u8>| {
            Line { at, dimensions, sets: &[&["function", "queue"]], metrics }.write_to(out)
        };
        let times: Vec<f64> = self.handlers.iter().copied().map(millis).collect();
        let mut times =
            times.chunks(VALUES_MAX).map(|each| Metric { name: "handler_ms", value: Value::MillisEach(each) });
        let count = |name, value| Metric { name, value: Value::Count(value) };
        let counts = [
            count("received", self.received()),
            count("done", self.done),
            count("retried", self.retried),
            count("rejected", self.rejected),
            count("undecodable", self.undecodable),
            count("returned", self.returned),
        ];
        let oldest = self.oldest.map(|age| Metric { name: "oldest_ms", value: Value::Millis(millis(age)) });
        // Each metric has a price, and most consumers have no duplicates.
        let duplicate = (self.duplicate > 0).then(|| count("duplicate", self.duplicate));
        let first: Vec<_> = counts.into_iter().chain(duplicate).chain(oldest).chain(times.next()).collect();
        write(&first, out)?;
        times.try_for_each(|more| write(&[more], out))
    }
}

/// Replaces the characters that RabbitMQ allows in the name of a queue and CloudWatch does not in a dimension.
fn dimension(queue: &str) -> Cow<'_, str> {
    if queue.trim().is_empty() {
        return UNKNOWN.into();
    }
    let allowed = |c: char| (' '..='~').contains(&c);
    if queue.chars().all(allowed) { queue.into() } else { queue.replace(|c| !allowed(c), "_").into() }
}
