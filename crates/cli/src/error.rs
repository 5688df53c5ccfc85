//! The error of a command: its text is printed after `error: `.
//!
//! A text says what happened and what to do. No command decides by the kind of an error, so what a command refuses
//! itself is one variant with its text; the errors of the libraries are variants of their own.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use sluicegate_yaml::Faults;

use crate::paths;

/// Why a command cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The arguments, the project or a service do not allow it.
    #[error("{0}")]
    Refused(String),
    /// A file that the command line names, or a file of the project, cannot be read.
    #[error("cannot read {}: {source}{}", file.display(), next_step(file, source.kind()))]
    Unreadable { file: PathBuf, source: std::io::Error },
    /// Such a file has faults.
    #[error("{} has {} fault(s)\n{faults}", file.display(), faults.len())]
    Faulty { file: PathBuf, faults: Faults },
    /// A file cannot be edited; each fault names it.
    #[error(transparent)]
    Faults(#[from] Faults),
    /// The project's topology cannot be read.
    #[error(transparent)]
    ReadTopology(#[from] sluicegate_local::TopologyError),
    /// The broker cannot be compared with the topology, or does not take it.
    #[cfg(feature = "rabbitmq")]
    #[error(transparent)]
    Topology(#[from] sluicegate_topology::Error),
    /// A dead-letter queue cannot be read or changed.
    #[cfg(feature = "aws")]
    #[error(transparent)]
    Dlq(#[from] sluicegate_dlq::Error),
    /// The archive cannot be listed or read.
    #[cfg(feature = "aws")]
    #[error(transparent)]
    Archive(#[from] sluicegate_archive::ArchiveError),
    /// The template or the stack cannot be examined.
    #[error(transparent)]
    Doctor(#[from] sluicegate_doctor::Error),
    /// The operating system does not do it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A result cannot be written as JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Returns what to do about a file that cannot be read.
fn next_step(file: &Path, kind: ErrorKind) -> &'static str {
    let is_default = [paths::CONTRACT, paths::TEMPLATE].iter().any(|default| file == Path::new(default));
    match kind {
        ErrorKind::NotFound if is_default => ": run this in the folder of a project, or name the file (see --help)",
        ErrorKind::NotFound => ": check the path",
        _ => "",
    }
}

impl From<String> for CommandError {
    fn from(text: String) -> Self {
        Self::Refused(text)
    }
}

impl From<&str> for CommandError {
    fn from(text: &str) -> Self {
        Self::Refused(text.to_owned())
    }
}
