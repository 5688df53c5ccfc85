//! What a person at the terminal reads: one line per request, per step of a message's life, and per line of a function's log.
//!
//! Lines go to a sink that is given; colours are a property of the sink. Payloads are never printed.

use std::{fmt::Display, sync::Arc};

use http::StatusCode;
use time::{OffsetDateTime, macros::format_description};

use crate::{gateway::Exchange, journal::Step};

/// Takes finished lines, without their line ends.
pub type LineSink = Arc<dyn Fn(&str) + Send + Sync>;

/// Writes lines for people. Clones share the sink.
#[derive(Clone)]
pub struct Terminal {
    sink: LineSink,
    coloured: bool,
}

#[derive(Clone, Copy)]
enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Blue = 34,
    Grey = 90,
}

impl Terminal {
    /// Lines for `sink`, with ANSI colours if it shows them.
    pub fn new(sink: LineSink, coloured: bool) -> Self {
        Self { sink, coloured }
    }

    /// A line as it is, for scripts and headings.
    pub fn line(&self, text: impl Display) {
        for line in text.to_string().lines() {
            (self.sink)(line);
        }
    }

    /// Something that may matter.
    pub fn warn(&self, text: impl Display) {
        self.line(format_args!("{} {text}", self.paint(Colour::Yellow, "warning:")));
    }

    /// Something that went wrong.
    pub fn error(&self, text: impl Display) {
        self.line(format_args!("{} {text}", self.paint(Colour::Red, "error:")));
    }

    /// A line of a function's log.
    pub fn function(&self, name: &str, line: &str) {
        self.line(format_args!("{} {line}", self.paint(Colour::Blue, &format!("{name} |"))));
    }

    /// A request that was answered.
    pub fn request(&self, exchange: &Exchange<'_>) {
        let colour = match exchange.status {
            status if status.is_server_error() => Colour::Red,
            status if status.is_client_error() => Colour::Yellow,
            StatusCode::ACCEPTED => Colour::Green,
            _ => Colour::Blue,
        };
        let status = self.paint(colour, exchange.status.as_str());
        let (method, path, took_ms) = (exchange.method, exchange.path.escape_debug(), exchange.took.as_millis());
        self.line(format_args!("{} {method} {path} → {status} in {took_ms} ms", self.time()));
    }

    /// A step in a message's life.
    pub fn step(&self, id: &str, step: &Step) {
        let colour = match step {
            Step::Accepted { .. } | Step::Done | Step::Redriven { .. } => Colour::Green,
            Step::Delivered { .. } | Step::Repeated => Colour::Blue,
            Step::Retrying { .. } | Step::Returned { .. } | Step::FilteredOut { .. } => Colour::Yellow,
            Step::DeadLettered { .. } | Step::Expired { .. } | Step::Purged { .. } => Colour::Red,
        };
        let name = self.paint(colour, &format!("{:>13}", step.name()));
        self.line(format_args!("{} {name} {} {step}", self.time(), id.escape_debug()));
    }

    fn time(&self) -> String {
        let format = format_description!("[hour]:[minute]:[second].[subsecond digits:3]");
        self.paint(Colour::Grey, &OffsetDateTime::now_utc().format(&format).unwrap_or_default())
    }

    fn paint(&self, colour: Colour, text: &str) -> String {
        if self.coloured { format!("\x1b[{}m{text}\x1b[0m", colour as u8) } else { text.to_owned() }
    }
}
