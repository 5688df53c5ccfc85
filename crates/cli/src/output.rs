//! What a command prints, which may be more than anybody wants to read.

use std::{
    fmt::Display,
    io::{ErrorKind, Write as _},
};

/// Prints a line to standard output. False if nobody reads it (any more): whoever wrote `| head` has seen enough, and nothing is
/// wrong.
pub(crate) fn say(line: impl Display) -> bool {
    match writeln!(std::io::stdout().lock(), "{line}") {
        Ok(()) => true,
        Err(error) => {
            if error.kind() != ErrorKind::BrokenPipe {
                eprintln!("error: cannot print: {error}");
            }
            false
        }
    }
}
