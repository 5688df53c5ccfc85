//! Where the project's files are, whatever folder of it the command runs in.

use std::path::{Path, PathBuf};

/// The OpenAPI document, from the project's root.
pub(crate) const CONTRACT: &str = "functions/ingress/openapi.yaml";
/// The SAM template, from the project's root.
pub(crate) const TEMPLATE: &str = "template.yaml";
/// What is to be on a RabbitMQ broker, from the project's root.
pub(crate) const TOPOLOGY: &str = "infra/topology.yaml";

/// The given path, or else the default here or in the nearest folder above that has it.
pub(crate) fn or_default(given: Option<&PathBuf>, default: &str) -> PathBuf {
    if let Some(given) = given {
        return given.clone();
    }
    // `..` rather than absolute paths, so that messages name files as a person here would.
    let depth = std::env::current_dir().map_or(0, |here| here.ancestors().count());
    let candidates = (0..depth.max(1)).map(|up| Path::new("").join("../".repeat(up)).join(default));
    candidates.into_iter().find(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(default))
}
