//! A workspace outside this one: its members have the dependencies, the profile and the lock file of this workspace.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::{command::BINARY, root, stack::Stack};

/// Returns a line of `[dependencies]`: the command, with the dependencies of functions.
///
/// In a project of `sluicegate new`, functions are built beside the command. Where a test has no such package, a
/// function that depends on the command uses the same compiled dependencies, instead of another set of features.
pub(crate) fn command_dependency() -> String {
    let path = root().join("crates/cli");
    format!(
        "sluicegate-cli = {{ path = \"{}\", default-features = false, features = [\"functions\"] }}\n",
        path.display()
    )
}

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

    /// Writes a workspace with the shipped ingress function under the name `NAME-ingress`, with another contract.
    pub(crate) fn with_ingress(name: &str, contract: &str, template: &str) -> Self {
        let workspace = Self::new(name, &["functions/ingress"]);
        workspace.write("template.yaml", template);
        workspace.write("functions/ingress/openapi.yaml", contract);
        let shipped = root().join("functions/ingress");
        for file in ["build.rs", "src/main.rs"] {
            let text = fs::read_to_string(shipped.join(file)).expect("the shipped function");
            let text = text.split("#[cfg(test)]").next().expect("a first part").to_owned();
            workspace.write(&format!("functions/ingress/{file}"), &text);
        }
        let manifest = fs::read_to_string(shipped.join("Cargo.toml")).expect("its manifest");
        // Both workspaces use one target folder.
        let manifest = manifest.replace("name = \"ingress\"", &format!("name = \"{name}-ingress\""));
        let manifest = manifest.replace("\n[dependencies]\n", &format!("\n[dependencies]\n{}", command_dependency()));
        workspace.write("functions/ingress/Cargo.toml", &manifest);
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

    /// Starts the stack of this folder with the command of this repository.
    pub(crate) async fn start(&self) -> Stack {
        self.start_with(&[]).await
    }

    /// Starts it with more arguments.
    pub(crate) async fn start_with(&self, arguments: &[&str]) -> Stack {
        self.run(Command::new(BINARY.as_path()), arguments).await
    }

    /// Starts it with another command. Functions are built into the target folder of the tests, so the binaries of the
    /// two workspaces need other names.
    pub(crate) async fn run(&self, mut command: Command, arguments: &[&str]) -> Stack {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
        command.current_dir(self.path()).env("CARGO_TARGET_DIR", target);
        // Of the test, whose package is another one.
        command.env_remove("CARGO_MANIFEST_DIR");
        Stack::run(command, arguments, &[]).await
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}
