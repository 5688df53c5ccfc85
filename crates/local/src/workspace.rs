//! Builds the functions with cargo, and tells when their sources have changed.
//!
//! Cargo's own progress and diagnostics go to the terminal untouched; which executables came out is read from its messages.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, SystemTime},
};

use serde::Deserialize;
use tokio::process::Command;

/// How often the sources are looked at.
pub const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// Sources are files of these kinds; `openapi.yaml` is compiled in.
const SOURCE_EXTENSIONS: [&str; 4] = ["rs", "toml", "yaml", "yml"];
/// The deepest folder looked at.
const SOURCE_DEPTH_MAX: usize = 12;

/// The functions are not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No cargo.
    #[error("cannot run cargo: {0} (install Rust from https://rustup.rs)")]
    Cargo(#[source] std::io::Error),
    /// The compiler said why.
    #[error("the functions do not compile; the compiler's reasons are above")]
    Failed,
    /// The template names a binary the workspace does not have.
    #[error("cargo built no binary `{0}`; Metadata: BuildProperties: Binary in the template must name one")]
    Missing(String),
}

/// Builds these binaries in `folder` and says where they are.
///
/// # Errors
/// Cargo is not there or fails, or a binary is none.
pub async fn build(folder: &Path, names: &[String], release: bool) -> Result<BTreeMap<String, PathBuf>, BuildError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(names_a_package) {
            command.env_remove(name);
        }
    }
    command.arg("build").arg("--message-format=json-render-diagnostics").current_dir(folder);
    command.args(names.iter().flat_map(|name| ["--bin", name]));
    if release {
        command.arg("--release");
    }
    // Not `Command::output`, which would take the standard error too.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    let cargo = command.spawn().map_err(BuildError::Cargo)?;
    let output = cargo.wait_with_output().await.map_err(BuildError::Cargo)?;
    if !output.status.success() {
        return Err(BuildError::Failed);
    }
    let built = executables(&output.stdout);
    let found = names.iter().map(|name| match built.get(name) {
        Some(path) => Ok((name.clone(), path.clone())),
        None => Err(BuildError::Missing(name.clone())),
    });
    found.collect()
}

/// Whether cargo sets this variable for what it runs, which may be us. Some build scripts look at it, ring's for one: if it
/// were passed on, cargo would build them and all above them again whenever it is started in another way.
fn names_a_package(variable: &str) -> bool {
    ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|prefix| variable.starts_with(prefix))
}

/// The executables that cargo's messages name.
fn executables(messages: &[u8]) -> BTreeMap<String, PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        target: Option<Target>,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    let messages = messages.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    messages.filter_map(|message: Message| Some((message.target?.name, message.executable?))).collect()
}

/// The folder whose sources a build in `folder` may use: that of its cargo workspace, or itself without one.
#[must_use]
pub fn root(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let is_root = |folder: &&Path| {
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        manifest.lines().any(|line| line.trim() == "[workspace]")
    };
    absolute.ancestors().find(is_root).map_or_else(|| folder.to_owned(), Path::to_owned)
}

/// The newest change among the sources under a folder, and how many there are (a deletion is a change too).
pub type Fingerprint = (Option<SystemTime>, usize);

/// Looks at every source under `folder`, except build output and hidden folders.
pub fn fingerprint(folder: &Path) -> Fingerprint {
    let mut found = (None, 0);
    visit(folder, 0, &mut found);
    found
}

fn visit(folder: &Path, depth: usize, found: &mut Fingerprint) {
    // What cannot be read cannot be compiled either; cargo will say so.
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

/// When an executable was written.
pub fn written(binary: &Path) -> Option<SystemTime> {
    std::fs::metadata(binary).and_then(|metadata| metadata.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_read_from_cargos_messages() {
        let messages = br#"{"reason":"compiler-artifact","target":{"name":"serde"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"ingress"},"executable":"/t/ingress","fresh":true}
not JSON
{"reason":"build-finished","success":true}
"#;
        assert_eq!(executables(messages), BTreeMap::from([("ingress".to_owned(), PathBuf::from("/t/ingress"))]));
    }

    #[test]
    fn a_build_uses_the_sources_of_its_whole_workspace() {
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
        assert_eq!(look(), first, "what is no source changes nothing");
        write("src/lib.rs", 50);
        let changed = look();
        assert_ne!(changed, first);
        write("openapi.yaml", 200);
        assert_ne!(look(), changed);
        std::fs::remove_file(folder.path().join("openapi.yaml")).unwrap();
        assert_eq!(look(), changed);
    }
}
