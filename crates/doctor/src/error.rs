//! Errors of input that cannot be read, which prevent every check. Problems *in* the input are findings.

use std::path::PathBuf;

use sluicegate_sam::{Fault, Faults};

/// An input cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a template.
    #[error("{0}")]
    NotATemplate(Faults),
    /// The template does not have a parameter that a value is given for.
    #[error("{file} has no parameter {name}")]
    NoParameter {
        /// The file.
        file: String,
        /// The parameter.
        name: String,
    },
    /// A stack cannot be read.
    #[error("{call}: {reason}")]
    Stack {
        /// The call that failed.
        call: &'static str,
        /// The answer of AWS, or why there is none.
        reason: String,
    },
}

impl From<Faults> for Error {
    fn from(faults: Faults) -> Self {
        Self::NotATemplate(faults)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::NotATemplate(fault.into())
    }
}
