//! The sources of functions, and the detection of their changes.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

/// File extensions of sources; `openapi.yaml` is compiled in.
const SOURCE_EXTENSIONS: [&str; 4] = ["rs", "toml", "yaml", "yml"];
/// Depth limit of a scan.
const SOURCE_DEPTH_MAX: usize = 12;

/// Returns the folder whose sources a build in `folder` may use: its cargo workspace, or the folder itself without one.
#[must_use]
pub(crate) fn root(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let is_root = |folder: &&Path| {
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        manifest.lines().any(|line| line.trim() == "[workspace]")
    };
    absolute.ancestors().find(is_root).map_or_else(|| folder.to_owned(), Path::to_owned)
}

/// The newest change among the sources under a folder, and their number, which a deletion changes.
pub(crate) type Fingerprint = (Option<SystemTime>, usize);

/// Scans every source under `folder`, except build output and hidden folders.
pub(crate) fn fingerprint(folder: &Path) -> Fingerprint {
    let mut found = (None, 0);
    visit(folder, 0, &mut found);
    found
}

fn visit(folder: &Path, depth: usize, found: &mut Fingerprint) {
    // An unreadable folder is skipped: cargo reports it.
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if kind.is_dir() {
            let skipped = name.starts_with('.') || name == "target" || name == "node_modules";
            if !skipped && depth < SOURCE_DEPTH_MAX {
                visit(&path, depth + 1, found);
            }
        } else if path.extension().is_some_and(|kind| SOURCE_EXTENSIONS.iter().any(|known| kind == *known)) {
            let changed = entry.metadata().and_then(|metadata| metadata.modified()).ok();
            *found = (found.0.max(changed), found.1 + 1);
        }
    }
}

/// Returns the time a file was written.
pub(crate) fn written(binary: &Path) -> Option<SystemTime> {
    std::fs::metadata(binary).and_then(|metadata| metadata.modified()).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_root_of_a_package_is_its_workspace() {
        let folder = tempfile::tempdir().unwrap();
        let member = folder.path().join("functions/one");
        std::fs::create_dir_all(&member).unwrap();
        std::fs::write(member.join("Cargo.toml"), "[package]\nname = \"one\"\n").unwrap();
        assert_eq!(root(&member), member, "no workspace");
        std::fs::write(folder.path().join("Cargo.toml"), "[workspace]\nmembers = []\n").unwrap();
        assert_eq!(root(&member), folder.path());
        assert_eq!(root(folder.path()), folder.path());
    }

    #[test]
    fn a_change_an_addition_and_a_deletion_change_the_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, age_s: u64| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "x").unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000 - age_s)).unwrap();
        };
        let look = || fingerprint(folder.path());
        write("src/lib.rs", 100);
        let first = look();
        write("target/debug/x.rs", 0);
        write(".git/x.rs", 0);
        write("notes.txt", 0);
        assert_eq!(look(), first, "a file that is not a source changes nothing");
        write("src/lib.rs", 50);
        let changed = look();
        assert_ne!(changed, first);
        write("openapi.yaml", 200);
        assert_ne!(look(), changed);
        std::fs::remove_file(folder.path().join("openapi.yaml")).unwrap();
        assert_eq!(look(), changed);
    }
}
