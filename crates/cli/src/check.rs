//! `sluicegate check`: the contract check of the build, without a build.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use sluicegate_contract::Contract;

use crate::{fail, paths};

/// Check the OpenAPI document: every fault with its line, path and reason
#[derive(Args)]
pub(crate) struct Arguments {
    /// The document [default: functions/ingress/openapi.yaml]
    #[arg(value_name = "openapi.yaml")]
    contract: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let path = paths::or_default(arguments.contract.as_ref(), paths::CONTRACT);
    match read(&path) {
        Ok(contract) => {
            let count = contract.operations().len();
            println!("{}: {count} routes, no faults", path.display());
            ExitCode::SUCCESS
        }
        Err(reason) => fail(reason),
    }
}

/// Reads and checks a contract; the error tells every fault, one a line.
pub(crate) fn read(path: &PathBuf) -> Result<Contract, String> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {file}: {error}"))?;
    Contract::parse(&file, &text).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        format!("{file} has {} fault(s)\n{}", faults.len(), lines.join("\n"))
    })
}
