//! The `sluicegate` command: run the whole path on a laptop, keep contract and template together, send a request as the contract asks,
//! make a RabbitMQ broker have its topology, look after dead letters, find what would lose messages.
//!
//! One file per command; this one only names them. Exit codes: 0 done, 1 it did not work out, 2 the command line is wrong.

mod aws;
mod check;
mod dlq;
mod doctor;
mod input;
mod local;
mod output;
mod paths;
mod rabbitmq;
mod send;
mod sync;
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
    Check(check::Arguments),
    Send(send::Arguments),
    Sync(sync::Arguments),
    Topology(topology::Arguments),
    Dlq(dlq::Arguments),
    Doctor(doctor::Arguments),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Local(arguments) => local::run(arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Send(arguments) => send::run(&arguments),
        Command::Sync(arguments) => sync::run(&arguments),
        Command::Topology(arguments) => topology::run(&arguments),
        Command::Dlq(arguments) => dlq::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
    }
}

/// Tells why it did not work out.
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
