//! Log lines of a function: JSON objects, written in one pass, and held while a batch is at work.
//!
//! The variables are those of [Lambda's logging controls](https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-advanced.html):
//! `AWS_LAMBDA_LOG_FORMAT` and `AWS_LAMBDA_LOG_LEVEL`, the latter before `RUST_LOG`.
//!
//! A line of the runtime about a message that went well is held until the batch waits for something, writes a line of
//! another kind, or ends: so a batch of 10 messages makes one write instead of 21. Warnings, errors and the lines of
//! handlers are written at once.

mod json;
mod output;

use std::env;

use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt::format::JsonFields;

use self::json::JsonLine;
use self::output::Output;
pub use self::output::flushed;
pub(crate) use self::output::write;

/// Starts logging to the standard output. Lines of the crate `held`, up to the level INFO, are held while
/// [`flushed`] runs.
pub fn init(held: &'static str) {
    let variable = |name| env::var(name).ok();
    let level = variable("AWS_LAMBDA_LOG_LEVEL").or_else(|| variable("RUST_LOG"));
    let level = level.and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    let lines = tracing_subscriber::fmt()
        .with_target(false)
        .without_time()
        .with_env_filter(EnvFilter::builder().with_default_directive(level.into()).from_env_lossy())
        .with_writer(Output::new(held));
    if variable("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("json")) {
        lines.fmt_fields(JsonFields::new()).event_format(JsonLine).init();
    } else {
        lines.init();
    }
}
