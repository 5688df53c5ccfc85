//! Builds the command again with a client of RabbitMQ or Kafka or with DynamoDB, if it was built without, and runs it
//! in the place of this process.
//!
//! `cargo local` leaves them out, because most projects have their queues on SQS and no table, and each is a good part
//! of the build.

use std::{ffi::OsString, os::unix::process::CommandExt as _, path::PathBuf, process::ExitCode};

use sluicegate_local::cargo_build::{CommandPackage, cargo};

use crate::{fail, local::command_package};

/// The variable that counts the builds, so that a package without the feature ends.
const COUNT: &str = "SLUICEGATE_REBUILDS";
/// Largest number of builds in a row. Another `cargo local` may replace the built file before it runs.
const COUNT_MAX: u32 = 10;

/// Compare a RabbitMQ virtual host with the queues of the template and infra/topology.yaml, or create missing objects
#[cfg(not(feature = "rabbitmq"))]
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct TopologyArguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    all: Vec<OsString>,
}

/// Runs this command line with a feature of this crate. Returns only if that fails.
pub(crate) fn with(feature: &str, what: &str, needed: &str) -> ExitCode {
    let count = std::env::var(COUNT).ok().and_then(|count| count.parse().ok()).unwrap_or(0);
    let Some(package) = command_package().filter(|_| count < COUNT_MAX) else {
        return fail(format_args!(
            "{what} needs {needed}, which this command was built without: build it with the feature `{feature}`"
        ));
    };
    eprintln!("{what} needs {needed}: building the command with the feature `{feature}`");
    let mut cargo = cargo();
    cargo.args(arguments(package, feature)).env(COUNT, (count + 1).to_string());
    fail(format_args!("cannot run cargo: {} (install Rust from https://rustup.rs)", cargo.exec()))
}

/// Returns cargo's arguments: the package with its features and this one, and the arguments of this process.
fn arguments(package: CommandPackage, feature: &str) -> Vec<OsString> {
    let mut own = std::env::args_os();
    let binary = own.next().map(PathBuf::from).and_then(|path| Some(path.file_name()?.to_owned()));
    let mut arguments = vec!["run".into(), "--manifest-path".into(), package.manifest.into_os_string()];
    arguments.extend(binary.into_iter().flat_map(|name| ["--bin".into(), name]));
    if !package.default_features {
        arguments.push("--no-default-features".into());
    }
    let features = package.features.into_iter().chain([feature.to_owned()]);
    arguments.extend(features.flat_map(|feature| ["--features".into(), feature.into()]));
    arguments.push("--".into());
    arguments.extend(own);
    arguments
}
