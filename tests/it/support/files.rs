//! The text files of the repository, for tests that check all of them against a rule.

use std::fs;
use std::path::{Path, PathBuf};

use super::root;

/// Folders without sources: build output, installed packages, version control.
const SKIPPED: &[&str] = &["target", "node_modules", ".git", ".hypothesis", "__pycache__"];

/// Returns the path, relative to the root, and the text of each file that is UTF-8.
pub(crate) fn all() -> Vec<(String, String)> {
    let mut found = Vec::new();
    visit(&root(), &mut found);
    assert!(found.len() > 100, "the sources are found");
    found
}

/// Returns those files of [`all`] that are Rust below one of `folders`.
pub(crate) fn rust(folders: &[&str]) -> Vec<(String, String)> {
    let is_below = |path: &str| folders.iter().any(|folder| Path::new(path).starts_with(folder));
    all().into_iter().filter(|(path, _)| path.ends_with(".rs") && is_below(path)).collect()
}

fn visit(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path: PathBuf = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        if path.is_symlink() || SKIPPED.contains(&name) {
            continue;
        }
        if path.is_dir() {
            visit(&path, found);
        } else if let Ok(text) = fs::read_to_string(&path) {
            let relative = path.strip_prefix(root()).expect("below the root");
            found.push((relative.to_str().expect("UTF-8").to_owned(), text));
        }
    }
}
