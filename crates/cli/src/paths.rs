//! Paths of the project's files, from any of its folders.

use std::path::{Path, PathBuf};

/// The OpenAPI document, from the project's root.
pub(crate) const CONTRACT: &str = "functions/ingress/openapi.yaml";
/// The SAM template, from the project's root.
pub(crate) const TEMPLATE: &str = "template.yaml";

/// Returns the given path, or else the default in this folder or in the nearest parent that has it.
pub(crate) fn or_default(given: Option<&PathBuf>, default: &str) -> PathBuf {
    if let Some(given) = given {
        return given.clone();
    }
    // Relative paths with `..`, so that messages show short paths.
    let depth = std::env::current_dir().map_or(0, |here| here.ancestors().count());
    let candidates = (0..depth.max(1)).map(|up| Path::new("").join("../".repeat(up)).join(default));
    candidates.into_iter().find(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(default))
}
