//! The RabbitMQ topology of a project: the queues that its template declares, and `infra/topology.yaml`.

use std::path::Path;

use sluicegate_sam::TemplateDocument;
use sluicegate_topology::{Faults, Topology};

/// The path of the topology file, relative to the template's folder. A project needs it for exchanges, bindings, delays
/// and policies other than the defaults.
pub const TOPOLOGY_FILE: &str = "infra/topology.yaml";

/// A topology that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// The template or the topology file cannot be read.
    #[error("{file}: {error}")]
    Unreadable {
        /// Its path.
        file: String,
        /// The reason.
        #[source]
        error: std::io::Error,
    },
    /// The template or the topology file has faults.
    #[error(transparent)]
    Faulty(#[from] Faults),
}

/// Returns the topology of the template's broker, or `None` if the template declares no queue and has no topology file
/// beside it. Queues of the file have the file's settings; the others have the defaults of [`Topology::with_queues`].
///
/// # Errors
/// A file cannot be read or has faults.
pub fn read_topology(template: &Path) -> Result<Option<Topology>, TopologyError> {
    let text = read(template)?.unwrap_or_default();
    let document = TemplateDocument::parse(&template.display().to_string(), &text)?;
    let file = template.with_file_name(TOPOLOGY_FILE);
    let written = match read(&file)? {
        Some(text) => Some(Topology::parse(&file.display().to_string(), &text)?),
        None => None,
    };
    let mut declared = document.declared_queues().peekable();
    if written.is_none() && declared.peek().is_none() {
        return Ok(None);
    }
    Ok(Some(written.unwrap_or_default().with_queues(declared)))
}

/// Returns the text of a file, or `None` if it does not exist.
fn read(file: &Path) -> Result<Option<String>, TopologyError> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(TopologyError::Unreadable { file: file.display().to_string(), error }),
    }
}
