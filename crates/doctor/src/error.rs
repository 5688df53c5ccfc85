//! Errors that prevent any check: the input cannot be read. What is wrong *in* the input is a finding.

use std::path::PathBuf;

use sluicegate_sam::{Fault, Faults};

/// What was named cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not there, or is not to be read.
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
    /// A value was given for a parameter that the template does not have.
    #[error("{file} has no parameter {name}")]
    NoParameter {
        /// The file, as it was named.
        file: String,
        /// The parameter.
        name: String,
    },
    /// A stack cannot be read.
    #[error("{call}: {reason}")]
    Stack {
        /// The call that failed.
        call: &'static str,
        /// What AWS answered.
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
