//! Metrics of both functions, one log line per invocation in CloudWatch's embedded metric format; log lines and their
//! trace id.
//!
//! | metric | unit | dimensions | |
//! |---|---|---|---|
//! | `accepted` | Count | function | 1 for a request whose message is stored |
//! | `refused` | Count | function; function, code | 1 for any other answer of a route |
//! | `enqueue_ms` | Milliseconds | same as the count | from the send to the broker's answer, if a send was tried |
//! | `received` | Count | function, queue | messages of the batch: the sum of the next six |
//! | `done` | Count | function, queue | handled |
//! | `duplicate` | Count | function, queue | handled before, and not again; written if there are any |
//! | `retried` | Count | function, queue | returned to the queue with a delay |
//! | `rejected` | Count | function, queue | dead-lettered: rejected by a handler, or failed on their last receive |
//! | `undecodable` | Count | function, queue | dead-lettered because they could not be decoded |
//! | `returned` | Count | function, queue | returned to the queue without a call of a handler |
//! | `oldest_ms` | Milliseconds | function, queue | age of the oldest message of the batch |
//! | `handler_ms` | Milliseconds | function, queue | duration of each handler call |
//!
//! CloudWatch extracts the metrics from these lines: nothing is sent, nothing has to be flushed, and nothing is lost
//! when Lambda freezes the process. Outside Lambda the lines are on the standard output.

mod admission;
mod deliveries;
mod emitter;
mod line;
pub mod log;
mod trace;

pub use admission::Admission;
pub use deliveries::Deliveries;
pub use emitter::Emitter;
pub use line::{DIMENSIONS_MAX, Error, LINE_BYTES_MAX, Line, METRICS_MAX, Metric, NAMESPACE, VALUES_MAX, Value};
pub use trace::trace_id;

/// Returns a duration in milliseconds, exact to the microsecond.
#[must_use]
pub fn millis(duration: std::time::Duration) -> f64 {
    // Exact up to 285 years.
    duration.as_micros() as f64 / 1_000.0
}
