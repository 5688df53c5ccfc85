//! `sluicegate topology plan|apply|check`: compares a RabbitMQ virtual host with the exchanges, queues and policies
//! that the project's template and topology file declare, and creates missing ones.
//!
//! Credentials come from the URL or the environment and are never printed. Nothing is ever deleted.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use sluicegate_local::{TOPOLOGY_FILE, read_topology};
use sluicegate_topology::{Address, AddressError, Plan, Topology};

use crate::{CommandError, fail, input, output::say, paths, rabbitmq};

/// Compare a RabbitMQ virtual host with the queues of the template and infra/topology.yaml, or create missing objects
///
/// Username and password come from the URL, or else from RABBITMQ_USERNAME and RABBITMQ_PASSWORD.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show the objects that apply would create, those that exist, those that differ, and those not in the file
    Plan {
        #[command(flatten)]
        broker: TopologyOptions,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Create missing objects; can be repeated. Never deletes, never changes existing exchanges or queues
    Apply {
        #[command(flatten)]
        broker: TopologyOptions,
    },
    /// Exit with 0 if the broker has every object as in the file, otherwise with 1 and a list
    Check {
        #[command(flatten)]
        broker: TopologyOptions,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct TopologyOptions {
    /// The template whose queues are declared, with infra/topology.yaml beside it [default: template.yaml]
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// A topology file alone, without a template
    #[arg(long, value_name = "FILE", conflicts_with = "template")]
    file: Option<PathBuf>,
    /// amqp(s)://[USERNAME:PASSWORD@]HOST:PORT/VHOST [default: the variable RABBITMQ_URL, or amqp://127.0.0.1:5672]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The URL of the management API; `none` disables it, and policies with it [default: the conventional port of the
    /// broker]
    #[arg(long, value_name = "URL")]
    management_url: Option<String>,
    /// Another virtual host than the one in the URL
    #[arg(long, value_name = "NAME")]
    vhost: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let (Verb::Plan { broker, .. } | Verb::Apply { broker } | Verb::Check { broker, .. }) = &arguments.verb;
    let address = match address(broker) {
        Ok(address) => address,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    match work(&arguments.verb, broker, &address) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => fail(reason),
    }
}

/// Runs the command. Returns whether it succeeded.
fn work(verb: &Verb, broker: &TopologyOptions, address: &Address) -> Result<bool, CommandError> {
    let topology = match &broker.file {
        Some(file) => input::topology_file(file)?,
        None => of_template(&paths::or_default(broker.template.as_ref(), paths::TEMPLATE))?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime?;
    let plan = || runtime.block_on(sluicegate_topology::plan(&topology, address));
    match verb {
        Verb::Plan { json, .. } => show(&plan()?, *json).map(|()| true),
        Verb::Check { json, .. } => {
            let plan = plan()?;
            show(&plan, *json)?;
            Ok(plan.is_met())
        }
        Verb::Apply { .. } => {
            let applied = runtime.block_on(sluicegate_topology::apply(&topology, address));
            say(applied?);
            Ok(true)
        }
    }
}

fn of_template(template: &Path) -> Result<Topology, CommandError> {
    input::exists(template)?;
    let topology = read_topology(template)?;
    topology.ok_or_else(|| {
        format!(
            "{} declares no queue and has no {TOPOLOGY_FILE} beside it; name one with --template or --file",
            template.display()
        )
        .into()
    })
}

fn show(plan: &Plan, json: bool) -> Result<(), CommandError> {
    if json {
        say(serde_json::to_string_pretty(plan)?);
    } else {
        say(plan);
    }
    Ok(())
}

fn address(broker: &TopologyOptions) -> Result<Address, AddressError> {
    let mut address = rabbitmq::address(broker.url.as_deref())?;
    if let Some(vhost) = &broker.vhost {
        address = address.with_vhost(vhost);
    }
    match broker.management_url.as_deref() {
        None => Ok(address),
        Some("none") => Ok(address.without_management()),
        Some(url) => address.with_management(url),
    }
}
