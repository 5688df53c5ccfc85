//! The lines for people: one per request, per step of a message, and per line of a function's log.

use http::StatusCode;
use time::{OffsetDateTime, macros::format_description};

use crate::{gateway::HttpExchange, journal::MessageStep};

/// Formats lines, with ANSI colours if `coloured`.
#[derive(Clone, Copy)]
pub(super) struct Text {
    pub(super) coloured: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Blue = 34,
    Grey = 90,
}

impl Text {
    /// Returns a line of a function's log, unless it repeats the line of a request or a step.
    pub(super) fn function(self, name: &str, line: &str) -> Option<String> {
        let (before, after) = without_runtime_span(line);
        let line = format!("{before}{after}");
        (!is_repeated(&line)).then(|| format!("{} {line}", self.paint(Colour::Blue, &format!("{name} |"))))
    }

    /// Returns the line of an answered request.
    pub(super) fn request(self, exchange: &HttpExchange<'_>, code: Option<&str>) -> String {
        let colour = match exchange.status {
            status if status.is_server_error() => Colour::Red,
            status if status.is_client_error() => Colour::Yellow,
            StatusCode::ACCEPTED => Colour::Green,
            _ => Colour::Blue,
        };
        let status = self.paint(colour, exchange.status.as_str());
        let (method, path, took_ms) = (exchange.method, exchange.path.escape_debug(), exchange.took.as_millis());
        let code = code.map(|code| format!(" {}", code.escape_debug())).unwrap_or_default();
        format!("{} {method} {path} → {status}{code} in {took_ms} ms", self.time())
    }

    /// Returns the line of a step of a message.
    pub(super) fn step(self, id: &str, step: &MessageStep) -> String {
        let colour = match step {
            MessageStep::Accepted { .. } | MessageStep::Done | MessageStep::Redriven { .. } => Colour::Green,
            MessageStep::Delivered { .. } | MessageStep::Repeated | MessageStep::Replaced { .. } => Colour::Blue,
            MessageStep::Retrying { .. } | MessageStep::Returned { .. } | MessageStep::FilteredOut { .. } => {
                Colour::Yellow
            }
            MessageStep::Refused { .. }
            | MessageStep::DeadLettered { .. }
            | MessageStep::Dropped { .. }
            | MessageStep::Expired { .. }
            | MessageStep::Purged { .. } => Colour::Red,
        };
        let name = self.paint(colour, &format!("{:>13}", step.name()));
        let line = format!("{} {name} {} {step}", self.time(), id.escape_debug());
        line.trim_end().to_owned()
    }

    fn time(self) -> String {
        let format = format_description!("[hour]:[minute]:[second].[subsecond digits:3]");
        self.paint(Colour::Grey, &OffsetDateTime::now_utc().format(&format).unwrap_or_default())
    }

    pub(super) fn paint(self, colour: Colour, text: &str) -> String {
        if self.coloured { format!("\x1b[{}m{text}\x1b[0m", colour as u8) } else { text.to_owned() }
    }
}

/// Returns the line without the Lambda runtime's span around an invocation: two ids that are longer than most messages.
pub(crate) fn without_runtime_span(line: &str) -> (&str, &str) {
    let (start, end) = ("Lambda runtime invoke{", "}: ");
    let found = line.split_once(start).and_then(|(before, rest)| Some((before, rest.split_once(end)?.1)));
    found.unwrap_or((line, ""))
}

/// Returns whether the line is about a request or a delivery and repeats the stack's line. A line with the reason of a
/// refusal is not a repetition, because the stack's line has no reason.
fn is_repeated(line: &str) -> bool {
    let Some(event) = line.trim_start().strip_prefix("INFO ") else { return false };
    let starts = |text: &str| event.strip_prefix(text).is_some_and(|fields| fields.starts_with(" request_id="));
    starts("accepted") || starts("delivery") || (starts("refused") && !event.contains(" reason="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtimes_span_is_left_out_of_function_lines() {
        let check = |line: &str, expected: &str| {
            let (before, after) = without_runtime_span(line);
            assert_eq!(format!("{before}{after}"), expected);
        };
        check(r#" INFO Lambda runtime invoke{requestId="1" x="2"}: accepted id={3}: x"#, " INFO accepted id={3}: x");
        check(" INFO Lambda runtime invoke{cut", " INFO Lambda runtime invoke{cut");
        check("plain: {}", "plain: {}");
    }

    #[test]
    fn lines_that_repeat_the_stacks_are_left_out() {
        for (line, expected) in [
            (r#" INFO accepted request_id="r" route="POST /orders" status=202"#, true),
            (r#" INFO delivery request_id="r" outcome="done""#, true),
            (r#" INFO refused request_id="r" status=422 code="schema_violated""#, true),
            (r#" INFO refused request_id="r" status=401 reason="the signature does not match""#, false),
            (r#"ERROR refused request_id="r" status=503 reason="no answer""#, false),
            (r#" WARN delivery request_id="r" outcome="retry""#, false),
            (" INFO accepted by a handler of yours", false),
            ("delivery request_id=", false),
        ] {
            assert_eq!(is_repeated(line), expected, "{line}");
        }
    }
}
