//! The `sluicegate` command as a library, one file for each subcommand.
//!
//! A project that pins the command in its own lock file has a package with this main:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     sluicegate_cli::run()
//! }
//! ```
//!
//! ```toml
//! [package]
//! name = "sluicegate"
//!
//! [dependencies]
//! sluicegate-cli = { version = "0.1", default-features = false, features = ["functions"] }
//! ```
//!
//! and in `.cargo/config.toml` the alias `local = "run --package sluicegate --bin sluicegate -- local"`.
//!
//! The exit code is 0 on success, 1 on failure and 2 for a wrong command line.
//!
//! Features:
//! - `aws` (default): `dlq`, `replay`, `secrets` and `doctor --stack`, which call AWS. The AWS SDK is most of the
//!   compile time.
//! - `rabbitmq` (default): `local --rabbitmq` and `topology`, which connect to a broker. Without it, `cargo run` builds
//!   the command again with it when one of them is asked for.
//! - `kafka` (default): `local --kafka`. Without it, `cargo run` builds the command again, as with `rabbitmq`.
//! - `functions`: adds no code. The command is compiled with the dependencies and features of functions, so that a
//!   build of functions in the same workspace reuses the compiled dependencies.

#![allow(rustdoc::broken_intra_doc_links, reason = "the doc comments of arguments are help texts, not Markdown")]

mod add;
#[cfg(feature = "aws")]
mod aws;
mod check;
mod console;
mod development;
#[cfg(feature = "aws")]
mod dlq;
mod doctor;
mod edit;
mod error;
mod input;
#[cfg(feature = "aws")]
mod interrupt;
#[cfg(feature = "aws")]
mod kafka;
mod local;
mod local_project;
mod new;
mod output;
mod paths;
#[cfg(feature = "aws")]
mod progress;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(not(all(feature = "dynamodb", feature = "kafka", feature = "rabbitmq")))]
mod rebuild;
mod remove;
#[cfg(feature = "aws")]
mod replay;
#[cfg(feature = "aws")]
mod secrets;
mod send;
mod sync;
#[cfg(feature = "aws")]
mod text;
#[cfg(feature = "rabbitmq")]
mod topology;
mod webhook;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use error::CommandError;

/// Signed HTTPS in, durable queue out, nothing lost in between.
#[derive(Parser)]
#[command(name = "sluicegate", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    New(new::Arguments),
    Local(local::Arguments),
    Add(add::Arguments),
    Remove(remove::Arguments),
    Check(check::Arguments),
    Send(send::Arguments),
    Sync(sync::Arguments),
    #[cfg(feature = "rabbitmq")]
    Topology(topology::Arguments),
    #[cfg(not(feature = "rabbitmq"))]
    Topology(rebuild::TopologyArguments),
    Webhook(webhook::Arguments),
    #[cfg(feature = "aws")]
    Dlq(dlq::Arguments),
    #[cfg(feature = "aws")]
    Replay(replay::Arguments),
    Doctor(doctor::Arguments),
    #[cfg(feature = "aws")]
    Secrets(secrets::Arguments),
}

/// Runs the command line of this process and returns its exit code.
#[must_use]
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::New(arguments) => new::run(&arguments),
        Command::Local(arguments) => local::run(arguments),
        Command::Add(arguments) => add::run(&arguments),
        Command::Remove(arguments) => remove::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Send(arguments) => send::run(&arguments),
        Command::Sync(arguments) => sync::run(&arguments),
        #[cfg(feature = "rabbitmq")]
        Command::Topology(arguments) => topology::run(&arguments),
        #[cfg(not(feature = "rabbitmq"))]
        Command::Topology(_) => rebuild::with(local::RABBITMQ_FEATURE, "topology", "a RabbitMQ client"),
        Command::Webhook(arguments) => webhook::run(&arguments),
        #[cfg(feature = "aws")]
        Command::Dlq(arguments) => dlq::run(&arguments),
        #[cfg(feature = "aws")]
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        #[cfg(feature = "aws")]
        Command::Secrets(arguments) => secrets::run(&arguments),
    }
}

/// Prints the error and returns the exit code of a failure.
fn fail(reason: impl std::fmt::Display) -> ExitCode {
    eprintln!("error: {reason}");
    ExitCode::FAILURE
}

/// Prints the error and what to do next; returns the exit code of a failure.
#[cfg(feature = "aws")]
fn fail_with_advice(reason: impl std::fmt::Display, advice: &str) -> ExitCode {
    eprintln!("error: {reason}\nhelp: {advice}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_valid() {
        super::Cli::command().debug_assert();
    }
}
