//! [`Output`]: the standard output, with lines that are held for a common write.

use std::io::{self, Write, stdout};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes after which held lines are written.
const HELD_BYTES_MAX: usize = 64 * 1_024;

/// The held lines of the process.
static HELD: Mutex<Held> = Mutex::new(Held { lines: Vec::new(), is_holding: false });

/// Runs `work`, which may hold lines, and writes them whenever it waits and when it ends. It is pinned by the caller,
/// because an async function would have room for it twice.
pub fn flushed<F: Future + Unpin>(mut work: F) -> impl Future<Output = F::Output> {
    std::future::poll_fn(move |context| {
        let _turn = Turn::start();
        Pin::new(&mut work).poll(context)
    })
}

/// One poll of the work. Its end writes the held lines, after a panic as well.
struct Turn;

impl Turn {
    fn start() -> Self {
        held(|held| held.is_holding = true);
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // A closed standard output cannot be reported anywhere.
        let _ = held(|held| {
            held.is_holding = false;
            held.write_out(&mut stdout())
        });
    }
}

/// Writes lines, or holds them if `may_hold`.
pub(crate) fn write(lines: &[u8], may_hold: bool) -> io::Result<()> {
    held(|held| held.push(lines, may_hold, &mut stdout()))
}

fn held<T>(access: impl FnOnce(&mut Held) -> T) -> T {
    access(&mut HELD.lock().unwrap_or_else(PoisonError::into_inner))
}

struct Held {
    lines: Vec<u8>,
    /// Whether the end of a [`Turn`] will write what is held.
    is_holding: bool,
}

impl Held {
    /// Appends lines, and writes all of them unless they may be held.
    fn push(&mut self, lines: &[u8], may_hold: bool, out: &mut impl Write) -> io::Result<()> {
        self.lines.extend_from_slice(lines);
        if may_hold && self.is_holding && self.lines.len() < HELD_BYTES_MAX {
            return Ok(());
        }
        self.write_out(out)
    }

    /// Writes the lines with one call, and keeps the buffer for the next ones.
    fn write_out(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let written = out.write_all(&self.lines);
        self.lines.clear();
        self.lines.shrink_to(HELD_BYTES_MAX);
        written
    }
}

/// Makes writers for the lines of tracing.
pub(super) struct Output {
    held: &'static str,
}

impl Output {
    /// Holds lines of the crate `held`.
    pub(super) fn new(held: &'static str) -> Self {
        Self { held }
    }
}

impl MakeWriter<'_> for Output {
    type Writer = LineWriter;

    fn make_writer(&self) -> LineWriter {
        LineWriter { may_hold: false }
    }

    fn make_writer_for(&self, line: &Metadata<'_>) -> LineWriter {
        LineWriter { may_hold: *line.level() >= Level::INFO && line.target().starts_with(self.held) }
    }
}

/// Writes one line.
pub(super) struct LineWriter {
    may_hold: bool,
}

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        write(line, self.may_hold)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts the writes.
    #[derive(Default)]
    struct Writes(Vec<Vec<u8>>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Pushes lines, each with whether it may be held, and ends the turn. Expects these writes.
    fn check(is_holding: bool, lines: &[(&str, bool)], expected: &[&str]) {
        let (mut held, mut writes) = (Held { lines: Vec::new(), is_holding }, Writes::default());
        for (line, may_hold) in lines {
            held.push(line.as_bytes(), *may_hold, &mut writes).unwrap();
        }
        held.write_out(&mut writes).unwrap();
        let written: Vec<_> = writes.0.iter().map(|bytes| str::from_utf8(bytes).unwrap()).collect();
        assert_eq!(written, expected, "{is_holding} {lines:?}");
    }

    #[test]
    fn lines_keep_their_order_and_wait_only_for_the_end_of_a_turn() {
        check(true, &[("done 1\n", true), ("done 2\n", true), ("metrics\n", true)], &["done 1\ndone 2\nmetrics\n"]);
        check(true, &[("done\n", true), ("retry\n", false), ("done\n", true)], &["done\nretry\n", "done\n"]);
        check(false, &[("done 1\n", true), ("done 2\n", true)], &["done 1\n", "done 2\n"]);
        let long = "x".repeat(HELD_BYTES_MAX - 1);
        check(true, &[("a", true), (&long, true), ("b", true)], &[&format!("a{long}"), "b"]);
        check(true, &[], &[]);
    }

    #[test]
    fn a_failed_write_does_not_repeat_lines() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut held = Held { lines: Vec::new(), is_holding: false };
        assert!(held.push(b"line\n", false, &mut Full).is_err());
        assert!(held.lines.is_empty());
    }
}
