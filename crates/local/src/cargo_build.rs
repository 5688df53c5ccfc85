//! Cargo builds of the functions, and the detection of changed sources.
//!
//! Cargo's progress and diagnostics go to the terminal unchanged; the paths of the executables come from its JSON
//! messages.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, SystemTime},
};

use serde::Deserialize;
use tokio::process::Command;

/// Pause between two scans of the sources.
pub(crate) const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// File extensions of sources; `openapi.yaml` is compiled in.
const SOURCE_EXTENSIONS: [&str; 4] = ["rs", "toml", "yaml", "yml"];
/// Depth limit of a scan.
const SOURCE_DEPTH_MAX: usize = 12;

/// The failure of a build.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Cargo does not start.
    #[error("cannot run cargo: {0} (install Rust from https://rustup.rs)")]
    Cargo(#[source] std::io::Error),
    /// Cargo failed and printed the reason.
    #[error("the functions do not compile; see cargo's errors above")]
    Failed,
    /// The template names a binary that the workspace does not have.
    #[error("cargo built no binary `{0}`; Metadata: BuildProperties: Binary in the template must name one")]
    Missing(String),
    /// The template names no binary, and the package does not have exactly one.
    #[error(
        "{}: {}; name one with Metadata: BuildProperties: Binary in the template", folder.display(),
        if binaries.is_empty() { "no package with a binary".to_owned() } else { format!("several binaries ({})", binaries.join(", ")) }
    )]
    Ambiguous {
        /// The function's `CodeUri`.
        folder: PathBuf,
        /// The binaries to choose from.
        binaries: Vec<String>,
    },
    /// Cargo writes two packages' binaries to one path, so the second replaces the first.
    #[error("two packages build {}: give one of the binaries another name", path.display())]
    SamePath {
        /// The executable.
        path: PathBuf,
    },
}

/// Returns the binary that SAM runs for a function without `Binary`: the only one of the package in `folder`, or of the
/// workspace if the folder has no package.
///
/// # Errors
/// Cargo does not start or cannot read the manifest, or the package does not have exactly one binary.
pub(crate) async fn only_binary(folder: &Path) -> Result<String, BuildError> {
    let mut command = cargo(folder);
    command.args(["metadata", "--no-deps", "--format-version", "1"]);
    let output = run(command).await?;
    let manifest = folder.join("Cargo.toml").canonicalize().unwrap_or_default();
    let mut binaries = binaries_of(&output, &manifest);
    match (binaries.pop(), binaries.is_empty()) {
        (Some(binary), true) => Ok(binary),
        (last, _) => {
            binaries.extend(last);
            Err(BuildError::Ambiguous { folder: folder.to_owned(), binaries })
        }
    }
}

/// Reads from `cargo metadata` the binaries of the package with this manifest, or of all packages if none has it.
fn binaries_of(metadata: &[u8], manifest: &Path) -> Vec<String> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        manifest_path: PathBuf,
        targets: Vec<Target>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
        kind: Vec<String>,
    }
    let Ok(Metadata { mut packages }) = serde_json::from_slice(metadata) else { return Vec::new() };
    if packages.iter().any(|package| package.manifest_path == manifest) {
        packages.retain(|package| package.manifest_path == manifest);
    }
    let targets = packages.into_iter().flat_map(|package| package.targets);
    targets.filter(|target| target.kind.iter().any(|kind| kind == "bin")).map(|target| target.name).collect()
}

/// A built binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executable {
    /// Its path.
    pub path: PathBuf,
    /// Cargo's id of the package it belongs to.
    pub package: String,
}

/// Builds the named binaries in `folder`; returns the executables by name.
///
/// # Errors
/// Cargo does not start or fails, or a name is not a binary.
pub async fn build(folder: &Path, names: &[String], release: bool) -> Result<BTreeMap<String, Executable>, BuildError> {
    let mut command = cargo(folder);
    command.arg("build").arg("--message-format=json-render-diagnostics");
    command.args(names.iter().flat_map(|name| ["--bin", name]));
    if release {
        command.arg("--release");
    }
    let built = executables(&run(command).await?);
    let found = names.iter().map(|name| match built.get(name) {
        Some(built) => Ok((name.clone(), built.clone())),
        None => Err(BuildError::Missing(name.clone())),
    });
    found.collect()
}

/// Returns a command that runs cargo in `folder`.
fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(names_a_package) {
            command.env_remove(name);
        }
    }
    command.current_dir(folder);
    command
}

/// Runs the command and returns its standard output. Standard error goes to the terminal, which `Command::output`
/// prevents.
async fn run(mut command: Command) -> Result<Vec<u8>, BuildError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    let cargo = command.spawn().map_err(BuildError::Cargo)?;
    let output = cargo.wait_with_output().await.map_err(BuildError::Cargo)?;
    if output.status.success() { Ok(output.stdout) } else { Err(BuildError::Failed) }
}

/// Returns whether cargo sets this variable for the programs it runs. Build scripts such as ring's read it: passed
/// on, it makes cargo rebuild them and their dependents whenever it is started in another way.
fn names_a_package(variable: &str) -> bool {
    ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|prefix| variable.starts_with(prefix))
}

/// Reads the executables from cargo's messages.
fn executables(messages: &[u8]) -> BTreeMap<String, Executable> {
    #[derive(Deserialize)]
    struct Message {
        package_id: Option<String>,
        target: Option<Target>,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    let messages = messages.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let built = messages.filter_map(|message: Message| {
        let executable = Executable { path: message.executable?, package: message.package_id.unwrap_or_default() };
        Some((message.target?.name, executable))
    });
    built.collect()
}

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
    use super::*;

    #[test]
    fn executables_are_read_from_cargos_messages() {
        let messages = br#"{"reason":"compiler-artifact","target":{"name":"serde"},"executable":null}
{"reason":"compiler-artifact","package_id":"p","target":{"kind":["bin"],"name":"ingress"},"executable":"/t/ingress","fresh":true}
not JSON
{"reason":"build-finished","success":true}
"#;
        let ingress = Executable { path: PathBuf::from("/t/ingress"), package: "p".to_owned() };
        assert_eq!(executables(messages), BTreeMap::from([("ingress".to_owned(), ingress)]));
    }

    #[test]
    fn the_only_binary_of_the_package_or_workspace_is_run() {
        let metadata = br#"{"packages":[
            {"manifest_path":"/w/a/Cargo.toml","targets":[{"name":"a","kind":["lib"]},{"name":"handler","kind":["bin"]}]},
            {"manifest_path":"/w/b/Cargo.toml","targets":[{"name":"one","kind":["bin"]},{"name":"two","kind":["bin"]}]},
            {"manifest_path":"/w/c/Cargo.toml","targets":[{"name":"c","kind":["lib"]},{"name":"t","kind":["test"]}]}]}"#;
        for (manifest, expected) in [
            ("/w/a/Cargo.toml", &["handler"][..]),
            ("/w/b/Cargo.toml", &["one", "two"]),
            ("/w/c/Cargo.toml", &[]),
            ("/w/Cargo.toml", &["handler", "one", "two"]),
        ] {
            assert_eq!(binaries_of(metadata, Path::new(manifest)), expected, "{manifest}");
        }
        assert!(binaries_of(b"not JSON", Path::new("/w/a/Cargo.toml")).is_empty());
    }

    #[tokio::test]
    async fn a_package_without_exactly_one_binary_must_name_it() {
        let check = async |name: &str, files: &[&str], expected: Result<&str, &str>| {
            let folder = tempfile::tempdir().unwrap();
            let manifest = format!("[package]\nname = \"{name}\"\nedition = \"2021\"\n[workspace]\n");
            std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
            for file in files {
                let path = folder.path().join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "fn main() {}").unwrap();
            }
            let found = only_binary(folder.path()).await.map_err(|error| error.to_string());
            match (&found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                _ => panic!("{found:?} is not {expected:?}"),
            }
        };
        check("orders", &["src/main.rs"], Ok("orders")).await;
        check("orders", &["src/bin/handler.rs"], Ok("handler")).await;
        check("orders", &["src/bin/a.rs", "src/bin/b.rs"], Err("several binaries (a, b)")).await;
        check("orders", &["src/lib.rs"], Err("no package with a binary; name one with Metadata")).await;
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
