//! The metrics of one request.

use std::time::{Duration, SystemTime};

use crate::{Error, Line, Metric, Value, millis};

/// The result of one request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Admission<'a> {
    /// The code of the rejection; `None` for an accepted request.
    pub refused: Option<&'a str>,
    /// Time from the send to the broker's answer, if a send was tried.
    pub enqueue: Option<Duration>,
}

impl Admission<'_> {
    /// Appends the metric line.
    ///
    /// # Errors
    /// See [`Line::write_to`].
    pub fn write_to(&self, out: &mut Vec<u8>, function: &str, at: SystemTime) -> Result<(), Error> {
        let enqueue_ms = Metric { name: "enqueue_ms", value: Value::Millis(millis(self.enqueue.unwrap_or_default())) };
        let name = if self.refused.is_some() { "refused" } else { "accepted" };
        let metrics = [Metric { name, value: Value::Count(1) }, enqueue_ms];
        let metrics = if self.enqueue.is_some() { &metrics[..] } else { &metrics[..1] };
        match self.refused {
            None => Line { at, dimensions: &[("function", function)], sets: &[&["function"]], metrics }.write_to(out),
            Some(code) => {
                let dimensions = &[("function", function), ("code", code)];
                Line { at, dimensions, sets: &[&["function"], &["function", "code"]], metrics }.write_to(out)
            }
        }
    }
}
