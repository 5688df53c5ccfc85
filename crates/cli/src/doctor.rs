//! `sluicegate doctor`: checks the template or a deployed stack for what loses or delays messages. Changes nothing.
//!
//! Exit codes: 0 no errors, 1 errors (with `--strict` warnings too), 2 a wrong command line or an unreadable input.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use sluicegate_contract::Contract;
use sluicegate_doctor::{Inventory, Project, Report, checks, examine};
use sluicegate_local::read_topology;

#[cfg(feature = "aws")]
use crate::aws::{self, Aws};
use crate::{CommandError, input, output::say, paths};

/// Find what silently loses or delays messages, in the template or in a deployed stack
///
/// Errors lose or block messages, warnings delay or hide them. Nothing is changed.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Check a deployed stack, including manual changes [default: check the template]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["template", "parameter"])]
    stack: Option<String>,
    /// The template, with the templates nested in it [default: template.yaml]
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// The value of a template's parameter; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = input::pair)]
    parameter: Vec<(String, String)>,
    /// The OpenAPI document [default: functions/ingress/openapi.yaml beside the template]
    #[arg(long, value_name = "FILE")]
    contract: Option<PathBuf>,
    /// The topology of the RabbitMQ broker [default: the template's queues, and infra/topology.yaml beside it]
    #[arg(long, value_name = "FILE")]
    topology: Option<PathBuf>,
    #[cfg(feature = "aws")]
    #[command(flatten)]
    aws: Aws,
    /// Exit with 1 for warnings too
    #[arg(long)]
    strict: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the list of checks without running them
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    if arguments.list {
        return list(arguments.json);
    }
    match examined(arguments).and_then(|report| show(&report, arguments.json).map(|()| report)) {
        Ok(report) if report.errors > 0 || (arguments.strict && report.warnings > 0) => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::from(2)
        }
    }
}

fn examined(arguments: &Arguments) -> Result<Report, CommandError> {
    let template = paths::or_default(arguments.template.as_ref(), paths::TEMPLATE);
    // The default paths are relative to the template's folder.
    let beside = |named: &Option<PathBuf>, usual: &str| match named {
        Some(named) => Some(named.clone()),
        None => Some(template.with_file_name(usual)).filter(|path| path.is_file()),
    };
    let project = Project {
        contract: beside(&arguments.contract, paths::CONTRACT).map(|path| input::contract(&path)).transpose()?,
        topology: match &arguments.topology {
            Some(file) => Some(input::topology_file(file)?),
            None if template.is_file() => read_topology(&template)?,
            None => None,
        },
    };
    Ok(examine(&inventory(arguments, &template)?, &project))
}

/// Examines a template with this contract, as the command does by default.
pub(crate) fn of_template(template: &Path, contract: Option<Contract>) -> Result<Report, CommandError> {
    let inventory = Inventory::of_template(template, &BTreeMap::new())?;
    Ok(examine(&inventory, &Project { contract, topology: read_topology(template)? }))
}

fn inventory(arguments: &Arguments, template: &Path) -> Result<Inventory, CommandError> {
    let Some(stack) = &arguments.stack else {
        input::exists(template)?;
        let parameters: BTreeMap<_, _> = arguments.parameter.iter().cloned().collect();
        return Ok(Inventory::of_template(template, &parameters)?);
    };
    deployed(arguments, stack).map_err(|error| format!("stack {stack}: {error}").into())
}

#[cfg(feature = "aws")]
fn deployed(arguments: &Arguments, stack: &str) -> Result<Inventory, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime?;
    let config = runtime.block_on(arguments.aws.load())?;
    let inventory = runtime.block_on(sluicegate_doctor::deployed(&config, stack));
    inventory.map_err(|error| format!("{error}\nhelp: check the stack's name, and {}", aws::ADVICE).into())
}

#[cfg(not(feature = "aws"))]
fn deployed(_: &Arguments, _: &str) -> Result<Inventory, CommandError> {
    Err("this command was built without the feature aws: in a project of `sluicegate new`, \
         run `cargo sluicegate-aws doctor --stack NAME`"
        .into())
}

fn show(report: &Report, json: bool) -> Result<(), CommandError> {
    if json {
        say(serde_json::to_string_pretty(report)?);
    } else {
        say(report);
    }
    Ok(())
}

fn list(json: bool) -> ExitCode {
    let all: Vec<_> = checks().collect();
    if json {
        match serde_json::to_string_pretty(&all) {
            Ok(text) => say(text),
            Err(error) => return crate::fail(error),
        };
    } else {
        for check in &all {
            say(format_args!("{:<8} {:<36} {}", check.severity, check.id, check.title));
        }
        say(format_args!("\n{} checks; --json adds the reason, the fix and a reference", all.len()));
    }
    ExitCode::SUCCESS
}
