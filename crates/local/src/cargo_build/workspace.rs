//! The packages of a cargo workspace, and the selection for a build.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{BuildError, cargo_in, run};
use crate::terminal::Terminal;

/// The default feature of a function that only its deployed build has.
const DEPLOY: &str = "deploy";

/// The package of the running command, as `cargo run` names it. A build selects it beside the functions of the same
/// workspace.
///
/// Cargo resolves the features of dependencies over all packages of a build. If the command is among them, the
/// functions use its compiled dependencies. The command itself is not compiled again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandPackage {
    /// Its `Cargo.toml`.
    pub manifest: PathBuf,
    /// Whether it was built with its default features.
    pub default_features: bool,
    /// The other features that it was built with, as `PACKAGE/FEATURE`: its features, or those of its dependencies.
    pub features: Vec<String>,
}

/// The workspace that a folder belongs to.
pub(super) struct Workspace {
    packages: Vec<Package>,
    /// The manifest of the package in the folder, if there is one.
    manifest: PathBuf,
}

/// A member of a workspace.
struct Package {
    /// Cargo's id, which `--package` accepts.
    id: String,
    name: String,
    manifest: PathBuf,
    binaries: Vec<String>,
    /// What the feature `default` enables; `None` if there is no such feature.
    default_features: Option<Vec<String>>,
}

impl Package {
    /// Returns whether [`DEPLOY`] is a default feature. The others are features too, which `--features` accepts: not
    /// `dep:name` or `name/feature`.
    fn has_deploy(&self) -> bool {
        let default = self.default_features.as_deref().unwrap_or_default();
        default.iter().any(|name| name == DEPLOY) && !default.iter().any(|name| name.contains([':', '/']))
    }

    /// Returns the arguments for the default features, without [`DEPLOY`].
    fn default_features(&self) -> Vec<String> {
        let names: Vec<&str> = match &self.default_features {
            Some(features) if self.has_deploy() => {
                features.iter().map(String::as_str).filter(|&name| name != DEPLOY).collect()
            }
            Some(_) => vec!["default"],
            None => Vec::new(),
        };
        names.into_iter().map(|name| format!("{}/{name}", self.name)).collect()
    }
}

impl Workspace {
    /// Reads the workspace of `folder` from `cargo metadata`.
    ///
    /// # Errors
    /// Cargo does not start or cannot read the manifests.
    pub(super) async fn read(folder: &Path, terminal: &Terminal) -> Result<Self, BuildError> {
        let mut command = cargo_in(folder);
        command.args(["metadata", "--no-deps", "--format-version", "1"]);
        let output = run(command, terminal).await?;
        Ok(Self { packages: packages(&output), manifest: manifest_in(folder) })
    }

    /// Returns the package in the folder, or all packages if the folder has none.
    fn selected(&self) -> impl Iterator<Item = &Package> {
        let has_package = self.packages.iter().any(|package| package.manifest == self.manifest);
        self.packages.iter().filter(move |package| !has_package || package.manifest == self.manifest)
    }

    /// Returns the binaries that a build in the folder may make.
    pub(super) fn binaries(&self) -> Vec<String> {
        self.selected().flat_map(|package| package.binaries.clone()).collect()
    }

    /// Returns the arguments that select the packages of the binaries of `folders` and of `command`. There are none if
    /// the command is of another workspace or has a binary of the same name, and if one of several folders has no
    /// package of this workspace.
    pub(super) fn selection(&self, folders: &[(&Path, &[String])], command: &CommandPackage) -> Vec<String> {
        let binaries: Vec<_> = folders.iter().flat_map(|(_, binaries)| *binaries).collect();
        let has_any = |package: &&Package| package.binaries.iter().any(|binary| binaries.contains(&binary));
        let functions: Vec<_> = match folders {
            [_] => self.selected().filter(has_any).collect(),
            _ => {
                let package = |(folder, _): &(&Path, &[String])| {
                    let manifest = manifest_in(folder);
                    self.packages.iter().find(|package| package.manifest == manifest).filter(has_any)
                };
                folders.iter().map(package).collect::<Option<_>>().unwrap_or_default()
            }
        };
        let manifest = command.manifest.canonicalize().unwrap_or_else(|_| command.manifest.clone());
        let Some(running) = self.packages.iter().find(|package| package.manifest == manifest && !has_any(package))
        else {
            return Vec::new();
        };
        if functions.is_empty() {
            return Vec::new();
        }
        let packages = functions.iter().copied().chain([running]);
        let mut arguments: Vec<_> = packages.flat_map(|package| ["--package".to_owned(), package.id.clone()]).collect();
        let mut features = command.features.clone();
        if !command.default_features || functions.iter().any(|package| package.has_deploy()) {
            // The flag applies to all packages of the build.
            arguments.push("--no-default-features".to_owned());
            features.extend(functions.iter().flat_map(|package| package.default_features()));
            if command.default_features {
                features.extend(running.default_features());
            }
        }
        arguments.extend(features.into_iter().flat_map(|feature| ["--features".to_owned(), feature]));
        arguments
    }
}

/// Returns the path of the manifest in a folder, as cargo names it; empty if there is none.
fn manifest_in(folder: &Path) -> PathBuf {
    folder.join("Cargo.toml").canonicalize().unwrap_or_default()
}

/// Reads the packages from the output of `cargo metadata`.
fn packages(metadata: &[u8]) -> Vec<Package> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Member>,
    }
    #[derive(Deserialize)]
    struct Member {
        id: String,
        name: String,
        manifest_path: PathBuf,
        targets: Vec<Target>,
        #[serde(default)]
        features: std::collections::BTreeMap<String, Vec<String>>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
        kind: Vec<String>,
    }
    let Ok(Metadata { packages }) = serde_json::from_slice(metadata) else { return Vec::new() };
    let package = |member: Member| {
        let binaries = member.targets.into_iter().filter(|target| target.kind.iter().any(|kind| kind == "bin"));
        Package {
            id: member.id,
            name: member.name,
            manifest: member.manifest_path,
            binaries: binaries.map(|target| target.name).collect(),
            default_features: member.features.get("default").cloned(),
        }
    };
    packages.into_iter().map(package).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A package's `Cargo.toml` is below `/w`; its id is its name in parentheses.
    fn metadata() -> Vec<u8> {
        let package = |name: &str, features: Value, targets: &[(&str, &str)]| {
            let targets: Vec<_> = targets.iter().map(|(name, kind)| json!({ "name": name, "kind": [kind] })).collect();
            let (id, manifest) = (format!("({name})"), format!("/w/{name}/Cargo.toml"));
            json!({ "id": id, "name": name, "manifest_path": manifest, "features": features, "targets": targets })
        };
        let packages = json!({ "packages": [
            package("a", json!({}), &[("a", "lib"), ("handler", "bin")]),
            package("b", json!({ "default": ["x"], "x": [] }), &[("one", "bin"), ("two", "bin")]),
            package("c", json!({}), &[("c", "lib"), ("t", "test")]),
            package("d", json!({ "default": ["deploy", "x"], "deploy": [], "x": [] }), &[("deployed", "bin")]),
            package("tool", json!({ "default": ["y"], "y": [] }), &[("tool", "bin")]),
        ] });
        packages.to_string().into_bytes()
    }

    fn workspace(manifest: &str) -> Workspace {
        Workspace { packages: packages(&metadata()), manifest: manifest.into() }
    }

    #[test]
    fn the_binaries_of_a_folder_are_those_of_its_package_or_workspace() {
        for (manifest, expected) in [
            ("/w/a/Cargo.toml", &["handler"][..]),
            ("/w/b/Cargo.toml", &["one", "two"]),
            ("/w/c/Cargo.toml", &[]),
            ("/w/Cargo.toml", &["handler", "one", "two", "deployed", "tool"]),
        ] {
            assert_eq!(workspace(manifest).binaries(), expected, "{manifest}");
        }
        assert!(packages(b"not JSON").is_empty());
    }

    #[test]
    fn the_packages_of_the_functions_and_of_the_command_are_selected() {
        let check = |manifest: &str, binaries: &[&str], command: (&str, bool, &[&str]), expected: &str| {
            let (path, default_features, features) = command;
            let features = features.iter().map(|&name| name.to_owned()).collect();
            let command = CommandPackage { manifest: path.into(), default_features, features };
            let binaries: Vec<_> = binaries.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(
                workspace(manifest).selection(&[(Path::new("/w"), &binaries)], &command).join(" "),
                expected,
                "{manifest} {command:?}"
            );
        };
        let plain = ("/w/tool/Cargo.toml", true, &[][..]);
        check("/w/a/Cargo.toml", &["handler"], plain, "--package (a) --package (tool)");
        check("/w/b/Cargo.toml", &["one"], plain, "--package (b) --package (tool)");
        check("/w/Cargo.toml", &["handler", "two"], plain, "--package (a) --package (b) --package (tool)");
        let trimmed = ("/w/tool/Cargo.toml", false, &["tool/functions"][..]);
        let expected = "--package (a) --package (tool) --no-default-features --features tool/functions";
        check("/w/a/Cargo.toml", &["handler"], trimmed, expected);
        let expected =
            "--package (b) --package (tool) --no-default-features --features tool/functions --features b/default";
        check("/w/b/Cargo.toml", &["one"], trimmed, expected);
        let expected = "--package (d) --package (tool) --no-default-features --features tool/functions --features d/x";
        check("/w/d/Cargo.toml", &["deployed"], trimmed, expected);
        let expected = "--package (d) --package (tool) --no-default-features --features d/x --features tool/default";
        check("/w/d/Cargo.toml", &["deployed"], plain, expected);
        // A command of another workspace, one with a binary of the same name, and a binary that does not exist.
        check("/w/a/Cargo.toml", &["handler"], ("/elsewhere/Cargo.toml", true, &[]), "");
        check("/w/Cargo.toml", &["tool"], plain, "");
        check("/w/a/Cargo.toml", &["wrong"], plain, "");
    }

    #[test]
    fn folders_of_one_workspace_are_selected_together() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let package = |name: &str, binary: &str| {
            let manifest = root.join(name).join("Cargo.toml");
            std::fs::create_dir_all(root.join(name)).unwrap();
            std::fs::write(&manifest, "").unwrap();
            json!({ "id": format!("({name})"), "name": name, "manifest_path": manifest,
                    "targets": [{ "name": binary, "kind": ["bin"] }] })
        };
        let packages = json!({ "packages": [package("a", "one"), package("b", "two"), package("tool", "tool")] });
        let (one, two) = (["one".to_owned()], ["two".to_owned()]);
        let command =
            CommandPackage { manifest: root.join("tool/Cargo.toml"), default_features: true, features: Vec::new() };
        let workspace =
            Workspace { packages: super::packages(packages.to_string().as_bytes()), manifest: PathBuf::new() };
        for (second, expected) in [("b", "--package (a) --package (b) --package (tool)"), ("tool", ""), ("none", "")] {
            let folders = [(&*root.join("a"), &one[..]), (&*root.join(second), &two[..])];
            assert_eq!(workspace.selection(&folders, &command).join(" "), expected, "{second}");
        }
    }
}
