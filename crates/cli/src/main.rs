//! The `sluicegate` command, one file for each subcommand. Exit codes: 0 success, 1 failure, 2 a wrong command line.

#![allow(rustdoc::broken_intra_doc_links, reason = "the doc comments of arguments are help texts, not Markdown")]

mod add;
#[cfg(feature = "aws")]
mod aws;
mod check;
#[cfg(feature = "aws")]
mod dlq;
#[cfg(feature = "aws")]
mod doctor;
mod edit;
mod input;
mod local;
mod output;
mod paths;
mod rabbitmq;
mod remove;
#[cfg(feature = "aws")]
mod secrets;
mod send;
mod sync;
#[cfg(feature = "aws")]
mod text;
mod topology;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Signed HTTPS in, durable queue out, nothing lost in between.
#[derive(Parser)]
#[command(name = "sluicegate", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Local(local::Arguments),
    Add(add::Arguments),
    Remove(remove::Arguments),
    Check(check::Arguments),
    Send(send::Arguments),
    Sync(sync::Arguments),
    Topology(topology::Arguments),
    #[cfg(feature = "aws")]
    Dlq(dlq::Arguments),
    #[cfg(feature = "aws")]
    Doctor(doctor::Arguments),
    #[cfg(feature = "aws")]
    Secrets(secrets::Arguments),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Local(arguments) => local::run(arguments),
        Command::Add(arguments) => add::run(&arguments),
        Command::Remove(arguments) => remove::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Send(arguments) => send::run(&arguments),
        Command::Sync(arguments) => sync::run(&arguments),
        Command::Topology(arguments) => topology::run(&arguments),
        #[cfg(feature = "aws")]
        Command::Dlq(arguments) => dlq::run(&arguments),
        #[cfg(feature = "aws")]
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
