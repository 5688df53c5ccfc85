//! Faults: one error in a file each, with its place.

use std::{fmt, ops::Deref};

/// One error in a file. Displayed as `openapi.yaml:12: /paths/~1orders/post: reason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file's name, as it was given to the reader.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// JSON pointer to the faulty value, or to the place of a missing one.
    pub pointer: String,
    /// What is wrong and, where it helps, what is right.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, pointer, reason } = self;
        // The pointer to the whole document is empty; `#` makes it visible.
        let pointer = if pointer.is_empty() { "#" } else { pointer };
        write!(f, "{file}:{line}: {pointer}: {reason}")
    }
}

impl std::error::Error for Fault {}

/// The faults of a file. Displayed one a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Sorts faults into the order of the file and drops repeated ones.
    #[must_use]
    pub fn in_order(mut faults: Vec<Fault>) -> Self {
        faults.sort_by(|a, b| (a.line, &a.pointer, &a.reason).cmp(&(b.line, &b.pointer, &b.reason)));
        faults.dedup();
        Self(faults)
    }
}

impl Deref for Faults {
    type Target = [Fault];

    fn deref(&self) -> &[Fault] {
        &self.0
    }
}

impl From<Vec<Fault>> for Faults {
    fn from(faults: Vec<Fault>) -> Self {
        Self(faults)
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
