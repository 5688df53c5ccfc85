//! One thing wrong with a contract, said so that an editor can jump to it and a person can mend it.

use std::fmt;

/// A reason the document is not a contract. Displayed as `openapi.yaml:12: /paths/~1orders/post: reason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, as given to [`Contract::parse`](crate::Contract::parse).
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// JSON pointer to the faulty value, or to where a missing one should be.
    pub pointer: String,
    /// What is wrong, and where it helps, what would be right.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, pointer, reason } = self;
        // The pointer to the whole document is empty; `#` shows that it is meant.
        let pointer = if pointer.is_empty() { "#" } else { pointer };
        write!(f, "{file}:{line}: {pointer}: {reason}")
    }
}

impl std::error::Error for Fault {}
