//! A workspace outside this one: its members have the dependencies, the profile and the lock file of this workspace.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::{root, stack::Stack};

/// A folder that is written again by each run, so that cargo finds what it compiled before.
pub(crate) struct OwnWorkspace(PathBuf);

impl OwnWorkspace {
    /// Writes a workspace with these members.
    pub(crate) fn new(name: &str, members: &[&str]) -> Self {
        let workspace = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
        let crates = format!("path = \"{}/crates/", root().display());
        let lines = manifest.lines().filter_map(|line| match line.split(" = ").next() {
            Some("members") => Some(format!("members = {members:?}")),
            Some("default-members") => None,
            _ => Some(line.replace("path = \"crates/", &crates)),
        });
        workspace.write("Cargo.toml", &lines.map(|line| line + "\n").collect::<String>());
        fs::copy(root().join("Cargo.lock"), workspace.path().join("Cargo.lock")).expect("copied");
        workspace
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(path, text).expect("written");
    }

    /// Writes the manifest of a function with these dependencies beside tokio.
    pub(crate) fn write_function(&self, folder: &str, name: &str, dependencies: &str) {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nedition.workspace = true\n\n[dependencies]\n\
             tokio = {{ workspace = true, features = [\"macros\", \"rt\"] }}\n{dependencies}"
        );
        self.write(&format!("{folder}/Cargo.toml"), &manifest);
    }

    /// Runs the command of a stack here, with the target folder of this workspace. The binaries of both need other
    /// names.
    pub(crate) async fn run(&self, mut command: Command) -> Stack {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
        command.current_dir(self.path()).env("CARGO_TARGET_DIR", target);
        Stack::run(command, &[], &[]).await
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}
