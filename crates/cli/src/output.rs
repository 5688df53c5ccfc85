//! Standard output of the commands. A closed stdout pipe is not an error.

use std::{
    fmt::Display,
    io::{ErrorKind, Write as _},
};

/// Prints a line to standard output. Returns false if stdout is closed, so that the caller can stop printing.
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
