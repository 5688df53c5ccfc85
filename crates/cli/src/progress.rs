//! [`Progress`]: a progress bar on a terminal, with lines above it.

use indicatif::{ProgressBar, ProgressStyle};

/// The progress of a run. Without a terminal there is no bar.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Starts a bar of about `all` messages.
    pub(crate) fn new(all: u64) -> Self {
        let bar = ProgressBar::new(all);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos} of about {len}  {per_sec}  {msg}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Advances by one message.
    pub(crate) fn advance(&self) {
        self.0.inc(1);
    }

    /// Sets the progress to `done` of `all`.
    pub(crate) fn set(&self, done: u64, all: u64) {
        self.0.set_length(all);
        self.0.set_position(done);
    }

    /// Prints a line on standard error.
    pub(crate) fn note(&self, line: &str) {
        self.0.suspend(|| eprintln!("{line}"));
    }

    /// Prints a line on standard output.
    pub(crate) fn print(&self, line: &str) {
        self.0.suspend(|| crate::output::say(line));
    }

    pub(crate) fn finish(self) {
        self.0.finish_and_clear();
    }
}
