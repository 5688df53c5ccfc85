//! What is wrong with a topology file, said so that an editor can jump to it and a person can mend it.

use std::fmt;

/// One reason why the file is no topology. Displayed as `topology.yaml:12: /queues/orders/retry: reason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, as given to [`Topology::parse`](crate::Topology::parse).
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// JSON pointer to the faulty value, or to where a missing one should be.
    pub path: String,
    /// What is wrong, and where it helps, what would be right.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, path, reason } = self;
        // The path to the whole file is empty; `#` shows that it is meant.
        let path = if path.is_empty() { "#" } else { path };
        write!(f, "{file}:{line}: {path}: {reason}")
    }
}

/// Everything that is wrong with a file, in its order; at least one. Displayed one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub(super) Vec<Fault>);

impl Faults {
    /// The faults.
    #[must_use]
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
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
