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

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::json::JsonLine;
use self::output::Output;
pub use self::output::flushed;
pub(crate) use self::output::write;

/// Starts logging to the standard output. Lines of the crate `held`, up to the level INFO, are held while
/// [`flushed`] runs.
pub fn init(held: &'static str) {
    let variable = |name| env::var(name).ok();
    let level = variable("AWS_LAMBDA_LOG_LEVEL").and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    let filter = filter(&variable("RUST_LOG").unwrap_or_default(), level);
    let lines = tracing_subscriber::fmt()
        .with_target(false)
        .without_time()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(Output::new(held));
    if variable("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("json")) {
        lines.fmt_fields(JsonFields::new()).event_format(JsonLine).finish().with(filter).init();
    } else {
        lines.finish().with(filter).init();
    }
}

/// Returns the filter of comma-separated directives: a level, or a target with its level. Without any, it is `level`.
///
/// Not the `EnvFilter` of tracing-subscriber, whose directives for spans bring an engine of regular expressions.
fn filter(directives: &str, level: LevelFilter) -> Targets {
    let is_valid = |directive: &&str| {
        let parsed = directive.parse::<Targets>();
        // On the standard error, because logging has not started.
        parsed.inspect_err(|error| eprintln!("RUST_LOG: `{directive}` is ignored: {error}")).is_ok()
    };
    let directives = directives.split(',').map(str::trim).filter(|directive| !directive.is_empty());
    let valid = directives.filter(is_valid).collect::<Vec<_>>().join(",");
    match valid.is_empty() {
        true => Targets::new().with_default(level),
        false => valid.parse().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn the_filter_is_that_of_the_directives_or_else_the_level() {
        let levels = |directives| {
            let filter = filter(directives, LevelFilter::INFO);
            let most = |target| {
                let levels = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
                levels.into_iter().find(|level| filter.would_enable(target, level))
            };
            [most("consumer::handlers"), most("hyper")]
        };
        let (debug, info, warn) = (Some(Level::DEBUG), Some(Level::INFO), Some(Level::WARN));
        for (directives, expected) in [
            ("", [info, info]),
            ("off", [None, None]),
            ("WARN", [warn, warn]),
            ("warn,consumer=DEBUG", [debug, warn]),
            (" warn, consumer=debug,", [debug, warn]),
            ("consumer=debug", [debug, None]),
            // A directive that is not valid is left out.
            ("warn,consumer=loud", [warn, warn]),
            ("consumer=loud", [info, info]),
        ] {
            assert_eq!(levels(directives), expected, "{directives}");
        }
    }
}
