//! What the integration tests share.

pub(crate) mod forward;
pub(crate) mod processes;
pub(crate) mod proxy;
pub(crate) mod rabbitmq;
pub(crate) mod service;
pub(crate) mod stack;

use std::path::{Path, PathBuf};

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a member of the workspace").to_path_buf()
}
