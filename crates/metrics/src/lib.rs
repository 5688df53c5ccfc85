//! What both functions tell about themselves as metrics: one line per invocation in CloudWatch's embedded metric format.
//!
//! | metric | unit | dimensions | |
//! |---|---|---|---|
//! | `accepted` | Count | function | 1 for a request whose message is stored |
//! | `refused` | Count | function; function, code | 1 for any other answer of a route |
//! | `enqueue_ms` | Milliseconds | as the count beside it | from the send to the broker's word, if a send was tried |
//! | `received` | Count | function, queue | messages of the batch: the sum of the next five |
//! | `done` | Count | function, queue | handled |
//! | `retried` | Count | function, queue | come back after a delay |
//! | `rejected` | Count | function, queue | put into the dead-letter queue by a handler's word, or after their last receive |
//! | `undecodable` | Count | function, queue | put into the dead-letter queue unread |
//! | `returned` | Count | function, queue | come back untouched |
//! | `oldest_ms` | Milliseconds | function, queue | age of the oldest message of the batch |
//! | `handler_ms` | Milliseconds | function, queue | of each handler that was called |
//!
//! CloudWatch makes metrics of such lines by itself: nothing is sent, nothing has to be flushed, and nothing is lost when Lambda
//! freezes the process. Whoever runs the functions elsewhere reads the lines from their standard output.

mod admission;
mod deliveries;
mod emitter;
mod line;
mod trace;

pub use admission::Admission;
pub use deliveries::Deliveries;
pub use emitter::Emitter;
pub use line::{DIMENSIONS_MAX, Error, LINE_BYTES_MAX, Line, METRICS_MAX, Metric, NAMESPACE, VALUES_MAX, Value};
pub use trace::trace_id;

/// A duration as a number of milliseconds, to the microsecond.
#[must_use]
pub fn millis(duration: std::time::Duration) -> f64 {
    // Exact up to 285 years.
    duration.as_micros() as f64 / 1_000.0
}
