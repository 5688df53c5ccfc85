//! What the integration tests share.

pub(crate) mod forward;
pub(crate) mod processes;
pub(crate) mod prometheus;
pub(crate) mod proxy;
pub(crate) mod rabbitmq;
pub(crate) mod service;
pub(crate) mod stack;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a member of the workspace").to_path_buf()
}

/// Cargo in the workspace's root, as a shell would start it.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    like_a_shell(command.current_dir(root()));
    command
}

/// Takes away what cargo told this process about its package. Some build scripts look at it, ring's for one, and would be run
/// again, with all above them built again, by each cargo that finds it changed.
pub(crate) fn like_a_shell(command: &mut Command) {
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
    {
        command.env_remove(name);
    }
}
