//! Helpers of the integration tests.

pub(crate) mod command;
pub(crate) mod conclusion;
pub(crate) mod files;
pub(crate) mod forward;
pub(crate) mod function_binary;
pub(crate) mod kafka;
pub(crate) mod outage;
pub(crate) mod own_workspace;
pub(crate) mod processes;
pub(crate) mod project;
pub(crate) mod prometheus;
pub(crate) mod proxy;
pub(crate) mod rabbitmq;
pub(crate) mod service;
pub(crate) mod stack;
pub(crate) mod webhook;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use lambda_http::Context;
use sluicegate_contract::{Contract, EmbeddedContract};

/// Returns the root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a member of the workspace").to_path_buf()
}

/// Returns the shipped contract, decoded from the bytes that a build embeds.
pub(crate) fn contract() -> &'static Contract {
    static CONTRACT: LazyLock<Contract> = LazyLock::new(|| {
        let yaml = std::fs::read_to_string(root().join("functions/ingress/openapi.yaml")).expect("the contract");
        let parsed = Contract::parse("openapi.yaml", &yaml).expect("the contract is sound");
        let json: &str = serde_json::to_string(&parsed).expect("JSON").leak();
        let public_document: &str = parsed.public_document().to_owned().leak();
        EmbeddedContract::new(json, public_document).load().expect("the embedded contract decodes")
    });
    &CONTRACT
}

/// Returns the context of an invocation of a function with this timeout.
pub(crate) fn context(timeout: Duration) -> Context {
    let deadline = (SystemTime::now() + timeout).duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
    let mut context = Context::default();
    context.deadline = deadline.as_millis().try_into().expect("a deadline");
    context
}

/// Returns a cargo command in the root of the workspace, with the environment of a shell.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    like_a_shell(command.current_dir(root()));
    command
}

/// Removes the variables that cargo set for this package. Some build scripts, such as ring's, depend on them: with
/// other values cargo would run them again and rebuild every dependent crate.
pub(crate) fn like_a_shell(command: &mut Command) {
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
    {
        command.env_remove(name);
    }
}
