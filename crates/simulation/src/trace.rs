//! [`Trace`]: the schedule of a simulation, a line for each step, and its hash.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::time::Duration;

/// The schedule so far.
pub(crate) struct Trace {
    line: String,
    hash: u64,
    steps: u64,
    is_printed: bool,
}

impl Trace {
    /// Starts a schedule, which is written to the standard output if `is_printed`.
    pub(crate) fn new(is_printed: bool) -> Self {
        Self { line: String::new(), hash: 0xcbf2_9ce4_8422_2325, steps: 0, is_printed }
    }

    pub(crate) fn record(&mut self, at: Duration, step: fmt::Arguments<'_>) {
        self.line.clear();
        // Writing to a string does not fail.
        let _ = write!(self.line, "{:>10}.{:06} {step}", at.as_secs(), at.subsec_micros());
        for byte in self.line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.steps += 1;
        if self.is_printed {
            // A reader may end before, as `head` does.
            let _ = writeln!(io::stdout(), "{}", self.line);
        }
    }

    /// Returns the hash of all lines: two schedules with the same hash are the same to the byte.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}
