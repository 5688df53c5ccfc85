//! The output of a stack: text for people or JSON for programs, and a status line.
//!
//! Lines go to a sink of the caller; colours are a property of the sink. Payloads are never printed. In text, a
//! function's own lines about a successful request or delivery are left out, because they repeat the stack's.

mod event;
mod status;
mod text;

use std::{fmt::Display, path::Path, sync::Arc, time::Duration};

use serde::Deserialize;

pub use {
    event::EVENTS,
    sluicegate_lambda_emulator::LineSink,
    status::{StatusLine, StatusSink},
};
pub(crate) use {
    status::{Rates, Snapshot, Status},
    text::without_runtime_span,
};

use crate::{cargo_build::BuildProgress, gateway::HttpExchange, journal::MessageStep, stack::Addresses};
use event::{Build, Event};
use text::{Colour, Text};

/// Pause between two progress events of a build in JSON.
const BUILD_EVENT_INTERVAL: Duration = Duration::from_secs(2);

/// Writes what happens in a stack. Clones share the sink.
#[derive(Clone)]
pub struct Terminal {
    sink: LineSink,
    format: Format,
    status: Option<Arc<Status>>,
}

#[derive(Clone, Copy)]
enum Format {
    Text(Text),
    Json,
}

impl Terminal {
    /// Creates a terminal that writes text to `sink`, with ANSI colours if `coloured`.
    pub fn new(sink: LineSink, coloured: bool) -> Self {
        Self { sink, format: Format::Text(Text { coloured }), status: None }
    }

    /// Creates a terminal that writes one JSON object for each line to `sink`. Each has `event`, one of [`EVENTS`], and
    /// `at`, its time.
    pub fn json(sink: LineSink) -> Self {
        Self { sink, format: Format::Json, status: None }
    }

    /// Adds a status line, which `sink` receives a few times per second while a stack runs.
    #[must_use]
    pub fn with_status(self, sink: StatusSink) -> Self {
        let coloured = self.is_coloured();
        Self { status: Some(Arc::new(Status::new(sink, coloured))), ..self }
    }

    /// Returns whether the lines are JSON.
    pub fn is_json(&self) -> bool {
        matches!(self.format, Format::Json)
    }

    /// Writes text unchanged.
    pub fn line(&self, text: impl Display) {
        let text = text.to_string();
        match self.format {
            Format::Text(_) => self.write(&text),
            Format::Json => self.event(&Event::Notice { text: &text }),
        }
    }

    /// Writes a warning.
    pub fn warn(&self, text: impl Display) {
        let text = text.to_string();
        match self.format {
            Format::Text(style) => self.write(&format!("{} {text}", style.paint(Colour::Yellow, "warning:"))),
            Format::Json => self.event(&Event::Warning { text: &text }),
        }
    }

    /// Writes an error.
    pub fn error(&self, text: impl Display) {
        let text = text.to_string();
        match self.format {
            Format::Text(style) => self.write(&format!("{} {text}", style.paint(Colour::Red, "error:"))),
            Format::Json => self.event(&Event::Error { text: &text }),
        }
    }

    /// Writes in JSON that the stack is ready; returns whether it did. The text for people is the caller's.
    pub fn started(&self, addresses: &Addresses, routes: &[String], took: Duration) -> bool {
        if self.is_json() {
            self.event(&Event::Started { addresses, routes, took_ms: took.as_millis() });
        }
        self.is_json()
    }

    /// Writes the last event, in JSON only.
    pub fn stopped(&self, is_success: bool) {
        if self.is_json() {
            self.event(&Event::Stopped { success: is_success });
        }
    }

    /// Writes the addresses, which are open although nothing is built yet.
    pub(crate) fn starting(&self, addresses: &Addresses) {
        match self.format {
            Format::Text(_) => self.write(&addresses.to_string()),
            Format::Json => self.event(&Event::Starting(addresses)),
        }
    }

    /// Writes that cargo builds these binaries.
    pub(crate) fn building(&self, is_changed: bool, binaries: &[String], folder: &Path) {
        match self.format {
            Format::Text(_) => {
                let begin = if is_changed { "Sources changed: building" } else { "Building" };
                self.write(&format!("{begin} {} in {}", binaries.join(", "), folder.display()));
            }
            Format::Json => self.event(&Event::Build(Build::Started { binaries, folder })),
        }
    }

    /// Returns whether the progress of a build is shown, with the pause between two reports.
    pub(crate) fn progress_interval(&self) -> Option<Duration> {
        match (self.format, &self.status) {
            (Format::Json, _) => Some(BUILD_EVENT_INTERVAL),
            (Format::Text(_), Some(_)) => Some(Duration::ZERO),
            (Format::Text(_), None) => None,
        }
    }

    /// Shows the progress of a build.
    pub(crate) fn progress(&self, progress: &BuildProgress) {
        if let Some(status) = &self.status {
            status.build(Some(progress.clone()));
        }
        if self.is_json() {
            self.event(&Event::Build(Build::Running(progress)));
        }
    }

    /// Writes a line of cargo's, which has its own colours.
    pub(crate) fn cargo(&self, line: &str) {
        match self.format {
            Format::Text(_) => (self.sink)(line),
            // A diagnostic is for people; standard output is the program's.
            Format::Json => eprintln!("{line}"),
        }
    }

    /// Ends what [`Terminal::building`] began.
    pub(crate) fn built(&self, is_success: bool) {
        if let Some(status) = &self.status {
            status.build(None);
        }
        if self.is_json() {
            self.event(&Event::Build(if is_success { Build::Finished } else { Build::Failed }));
        }
    }

    /// Writes a line of a function's log. In text, one that repeats the line of a request or a step is left out.
    pub fn function(&self, name: &str, line: &str) {
        match self.format {
            Format::Text(style) => style.function(name, line).iter().for_each(|line| self.write(line)),
            Format::Json => self.event(&Event::Log { function: name, line }),
        }
    }

    /// Writes an answered request, with the code of a refusal.
    pub fn request(&self, exchange: &HttpExchange<'_>) {
        #[derive(Deserialize)]
        struct Problem {
            code: String,
        }
        if let Some(status) = &self.status {
            status.count_request();
        }
        let problem = (!exchange.status.is_success()).then(|| serde_json::from_slice::<Problem>(exchange.body).ok());
        let code = problem.flatten().map(|problem| problem.code);
        match self.format {
            Format::Text(style) => self.write(&style.request(exchange, code.as_deref())),
            Format::Json => self.event(&Event::Request {
                method: exchange.method.as_str(),
                path: exchange.path,
                status: exchange.status.as_u16(),
                code: code.as_deref(),
                took_ms: exchange.took.as_millis(),
            }),
        }
    }

    /// Writes a step of a message.
    pub fn step(&self, id: &str, step: &MessageStep) {
        if let (Some(status), MessageStep::Done) = (&self.status, step) {
            status.count_done();
        }
        match self.format {
            Format::Text(style) => self.write(&style.step(id, step)),
            Format::Json => self.event(&Event::Step { id, step }),
        }
    }

    /// Returns the status line, if there is one.
    pub(crate) fn status(&self) -> Option<Arc<Status>> {
        self.status.clone()
    }

    pub(crate) fn is_coloured(&self) -> bool {
        matches!(self.format, Format::Text(Text { coloured: true }))
    }

    fn write(&self, text: &str) {
        text.split('\n').for_each(|line| (self.sink)(line));
    }

    fn event(&self, event: &Event<'_>) {
        (self.sink)(&event.to_json());
    }
}
