//! The real binaries of the functions.

use std::path::PathBuf;
use std::sync::Arc;

use sluicegate_local::Terminal;
use sluicegate_local::cargo_build::{self, CommandPackage};

use super::root;

/// Builds `binary` of the package in `folder` if needed. Returns its path.
pub(crate) async fn built(folder: &str, binary: &str) -> PathBuf {
    let (names, terminal) = ([binary.to_owned()], Terminal::new(Arc::new(|line| eprintln!("{line}")), false));
    let built = cargo_build::build(&root().join(folder), &names, false, Some(&command(folder)), &terminal).await;
    built.expect("the workspace builds")[binary].path.clone()
}

/// Returns the command of `cargo local`, so that the functions are built as there: those in `folder` with its broker.
fn command(folder: &str) -> CommandPackage {
    let manifest = root().join("crates/cli/Cargo.toml");
    let features = ["functions", "rabbitmq"].iter().filter(|name| **name == "functions" || folder.ends_with(*name));
    let features = features.map(|name| format!("sluicegate-cli/{name}")).collect();
    CommandPackage { manifest, default_features: false, features }
}
