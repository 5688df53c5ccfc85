//! A bar on a terminal, nothing elsewhere; lines above it on standard error.

use indicatif::{ProgressBar, ProgressStyle};

/// How far a run is.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Of about `all` messages.
    pub(super) fn new(all: u64) -> Self {
        let bar = ProgressBar::new(all);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos} of about {len}  {per_sec}  {msg}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// One more was looked at.
    pub(super) fn advance(&self) {
        self.0.inc(1);
    }

    /// So many of so many.
    pub(super) fn set(&self, done: u64, all: u64) {
        self.0.set_length(all);
        self.0.set_position(done);
    }

    /// A line on standard error.
    pub(super) fn tell(&self, line: &str) {
        self.0.suspend(|| eprintln!("{line}"));
    }

    /// A line on standard output.
    pub(super) fn print(&self, line: &str) {
        self.0.suspend(|| crate::output::say(line));
    }

    pub(super) fn finish(self) {
        self.0.finish_and_clear();
    }
}
