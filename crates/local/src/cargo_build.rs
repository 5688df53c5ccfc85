//! Cargo builds of the functions.
//!
//! Cargo's diagnostics go to the terminal unchanged, and its progress too unless the terminal shows it in its own way;
//! the paths of the executables come from cargo's JSON messages.

mod progress;
mod workspace;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Stdio,
};

use serde::Deserialize;
use tokio::process::Command;

pub use progress::BuildProgress;
pub use workspace::CommandPackage;
use workspace::Workspace;

use crate::terminal::Terminal;

/// The failure of a build.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Cargo does not start.
    #[error("cannot run cargo: {0} (install Rust from https://rustup.rs)")]
    Cargo(#[source] std::io::Error),
    /// Cargo failed and printed the reason.
    #[error("cargo failed; see its errors above")]
    Failed,
    /// The functions do not compile. Cargo printed the errors.
    #[error("the functions do not compile; see cargo's errors above")]
    Compile(FailedBuild),
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
pub(crate) async fn only_binary(folder: &Path, terminal: &Terminal) -> Result<String, BuildError> {
    let mut binaries = Workspace::read(folder, terminal).await?.binaries();
    match (binaries.pop(), binaries.is_empty()) {
        (Some(binary), true) => Ok(binary),
        (last, _) => {
            binaries.extend(last);
            Err(BuildError::Ambiguous { folder: folder.to_owned(), binaries })
        }
    }
}

/// The names of the binaries to build, by folder.
pub(crate) type Folders = BTreeMap<PathBuf, Vec<String>>;

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
/// A build with optimisation is equal to the deployed one: it selects only the packages in the folder, not that of the
/// running command.
///
/// # Errors
/// Cargo does not start or fails, or a name is not a binary.
pub async fn build(
    folder: &Path,
    names: &[String],
    release: bool,
    running: Option<&CommandPackage>,
    terminal: &Terminal,
) -> Result<BTreeMap<String, Executable>, BuildError> {
    let selection = match running {
        _ if release => vec!["--release".to_owned()],
        Some(running) => Workspace::read(folder, terminal).await?.selection(&[(folder, names)], running),
        None => Vec::new(),
    };
    build_selected(folder, names, &selection, terminal).await
}

/// Builds the named binaries of several folders; returns the executables by folder and name.
///
/// Folders of one workspace are built by one call of cargo, except with optimisation: a deployed function has only the
/// features that its package enables.
///
/// # Errors
/// As [`build`].
pub(crate) async fn build_all(
    folders: &Folders,
    release: bool,
    running: Option<&CommandPackage>,
    terminal: &Terminal,
) -> Result<BTreeMap<PathBuf, BTreeMap<String, Executable>>, BuildError> {
    let names: Vec<String> = folders.values().flatten().cloned().collect();
    let are_distinct = names.iter().collect::<BTreeSet<_>>().len() == names.len();
    if let (Some(running), Some((first, _))) = (running, folders.first_key_value())
        && folders.len() > 1
        && are_distinct
        && !release
    {
        let parts: Vec<_> = folders.iter().map(|(folder, names)| (folder.as_path(), names.as_slice())).collect();
        let selection = Workspace::read(first, terminal).await?.selection(&parts, running);
        if !selection.is_empty() {
            let built = build_selected(first, &names, &selection, terminal).await?;
            let of = |names: &[String]| -> BTreeMap<_, _> {
                names.iter().filter_map(|name| built.get_key_value(name)).map(|(k, v)| (k.clone(), v.clone())).collect()
            };
            return Ok(folders.iter().map(|(folder, names)| (folder.clone(), of(names))).collect());
        }
    }
    let mut executables = BTreeMap::new();
    for (folder, names) in folders {
        executables.insert(folder.clone(), build(folder, names, release, running, terminal).await?);
    }
    Ok(executables)
}

async fn build_selected(
    folder: &Path,
    names: &[String],
    selection: &[String],
    terminal: &Terminal,
) -> Result<BTreeMap<String, Executable>, BuildError> {
    let build = FailedBuild { folder: folder.to_owned(), names: names.to_vec(), selection: selection.to_vec() };
    let command = build.command("json-render-diagnostics");
    let output = run(command, terminal).await.map_err(|error| match error {
        BuildError::Failed => BuildError::Compile(build),
        error => error,
    });
    let built = executables(&output?);
    let found = names.iter().map(|name| match built.get(name) {
        Some(built) => Ok((name.clone(), built.clone())),
        None => Err(BuildError::Missing(name.clone())),
    });
    found.collect()
}

/// A build that failed.
#[derive(Debug)]
pub struct FailedBuild {
    folder: PathBuf,
    names: Vec<String>,
    selection: Vec<String>,
}

impl FailedBuild {
    fn command(&self, format: &str) -> Command {
        let mut command = cargo_in(&self.folder);
        command.arg("build").arg(format!("--message-format={format}"));
        command.args(self.names.iter().flat_map(|name| ["--bin", name])).args(&self.selection);
        command
    }

    /// Returns the compiler's errors. It compiles what failed once more, because cargo prints them to the terminal
    /// alone.
    pub(crate) async fn errors(&self) -> String {
        let mut command = self.command("json");
        command.stdin(Stdio::null()).kill_on_drop(true);
        command.output().await.map_or_else(|error| error.to_string(), |output| compiler_errors(&output.stdout))
    }
}

/// Reads the compiler's errors from cargo's messages.
fn compiler_errors(messages: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Message {
        message: Diagnostic,
    }
    #[derive(Deserialize)]
    struct Diagnostic {
        level: String,
        rendered: String,
    }
    let messages = messages.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let errors = messages.filter(|message: &Message| message.message.level.starts_with("error"));
    errors.map(|message| message.message.rendered).collect()
}

/// Returns a command that runs cargo, without the variables that cargo set for this program.
#[must_use]
pub fn cargo() -> std::process::Command {
    let mut command = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(names_a_package) {
            command.env_remove(name);
        }
    }
    command
}

fn cargo_in(folder: &Path) -> Command {
    let mut command = Command::from(cargo());
    command.current_dir(folder);
    command
}

/// Runs the command and returns its standard output. Standard error goes to the terminal.
async fn run(mut command: Command, terminal: &Terminal) -> Result<Vec<u8>, BuildError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let progress = progress::capture(&mut command, terminal);
    let mut cargo = command.spawn().map_err(BuildError::Cargo)?;
    let stderr = cargo.stderr.take();
    let (output, ()) = tokio::join!(cargo.wait_with_output(), progress::show(progress, stderr, terminal));
    let output = output.map_err(BuildError::Cargo)?;
    if output.status.success() { Ok(output.stdout) } else { Err(BuildError::Failed) }
}

/// Returns whether cargo sets this variable for the programs it runs. Build scripts such as ring's depend on it: if it
/// were passed on, cargo would rebuild them and their dependents whenever the command is started differently.
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

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

    #[tokio::test]
    async fn a_failed_build_has_the_compilers_errors() {
        let terminal = Terminal::new(Arc::new(|_: &str| {}), false);
        let folder = tempfile::tempdir().unwrap();
        let manifest = "[package]\nname = \"sample-wrong\"\nedition = \"2021\"\n[workspace]\n";
        std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        std::fs::create_dir(folder.path().join("src")).unwrap();
        std::fs::write(folder.path().join("src/main.rs"), "fn main() { let unused = 1; missing(); }").unwrap();
        let built = build(folder.path(), &["sample-wrong".to_owned()], false, None, &terminal).await;
        let Err(BuildError::Compile(failed)) = built else { panic!("{built:?}") };
        let errors = failed.errors().await;
        assert!(errors.starts_with("error[E0425]: cannot find function `missing`"), "{errors}");
        assert!(errors.contains("src/main.rs:1") && !errors.contains("warning"), "{errors}");
    }

    #[tokio::test]
    async fn a_package_without_exactly_one_binary_must_name_it() {
        let terminal = Terminal::new(Arc::new(|_: &str| {}), false);
        let check = async |name: &str, files: &[&str], expected: Result<&str, &str>| {
            let folder = tempfile::tempdir().unwrap();
            let manifest = format!("[package]\nname = \"{name}\"\nedition = \"2021\"\n[workspace]\n");
            std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
            for file in files {
                let path = folder.path().join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "fn main() {}").unwrap();
            }
            let found = only_binary(folder.path(), &terminal).await.map_err(|error| error.to_string());
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

    #[tokio::test]
    async fn a_build_reports_its_progress_as_cargo_counts_it() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = "[package]\nname = \"sample-progress\"\nedition = \"2021\"\n[workspace]\n";
        std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        std::fs::create_dir(folder.path().join("src")).unwrap();
        let printed = Arc::<Mutex<Vec<String>>>::default();
        let sink = Arc::clone(&printed);
        let terminal = Terminal::json(Arc::new(move |line: &str| sink.lock().unwrap().push(line.to_owned())));
        for (main, is_built) in [("fn main() {}", true), ("fn main() { wrong }", false)] {
            std::fs::write(folder.path().join("src/main.rs"), main).unwrap();
            let built = build(folder.path(), &["sample-progress".to_owned()], false, None, &terminal).await;
            assert_eq!(built.is_ok(), is_built, "{built:?}");
            let events = std::mem::take(&mut *printed.lock().unwrap()).join("\n");
            let running = r#""event":"build","state":"running","built":0,"units":1,"crates":"sample-progress(bin)"}"#;
            assert!(events.contains(running), "{events}");
        }
    }
}
