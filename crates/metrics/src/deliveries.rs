//! The metrics of one queue's part of a batch.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use crate::{Error, Line, Metric, VALUES_MAX, Value, millis};

/// The queue of messages that name none.
const UNKNOWN: &str = "unknown";

/// How the messages of one queue ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deliveries {
    /// Handled.
    pub done: u64,
    /// Come back after a delay.
    pub retried: u64,
    /// Put into the dead-letter queue, though they could be read.
    pub rejected: u64,
    /// Put into the dead-letter queue, as they could not be read.
    pub undecodable: u64,
    /// Come back untouched.
    pub returned: u64,
    /// The age of the oldest, if any says when it was sent.
    pub oldest: Option<Duration>,
    /// How long each handler that was called took.
    pub handlers: Vec<Duration>,
}

impl Deliveries {
    /// How many there were.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.done + self.retried + self.rejected + self.undecodable + self.returned
    }

    /// Appends their line. More than [`VALUES_MAX`] times of handlers do not fit into one: the others follow in lines of their own.
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
        let first: Vec<_> = counts.into_iter().chain(oldest).chain(times.next()).collect();
        write(&first, out)?;
        times.try_for_each(|more| write(&[more], out))
    }
}

/// RabbitMQ's queues may be called what a dimension may not.
fn dimension(queue: &str) -> Cow<'_, str> {
    if queue.trim().is_empty() {
        return UNKNOWN.into();
    }
    let allowed = |c: char| (' '..='~').contains(&c);
    if queue.chars().all(allowed) { queue.into() } else { queue.replace(|c| !allowed(c), "_").into() }
}
