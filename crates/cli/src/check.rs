//! `sluicegate check`: checks the contract as a build does, and compares its routes with the template's. What
//! makes the gateway or a queue refuse what the contract says is a fault too.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use sluicegate_contract::Contract;
use sluicegate_doctor::{Inventory, Project, examine};

use crate::{CommandError, fail, input, output::say, paths, sync};

/// Check the OpenAPI document and that the template has its routes; prints every fault with its line, path and reason
///
/// A warning is about a probable mistake. It does not fail this command or a build.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The document [default: functions/ingress/openapi.yaml]
    #[arg(value_name = "openapi.yaml")]
    contract: Option<PathBuf>,
    /// The template [default: template.yaml if --contract is not given, otherwise none]
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let path = paths::or_default(arguments.contract.as_ref(), paths::CONTRACT);
    let (contract, warnings) = match input::contract_with_warnings(&path) {
        Ok(read) => read,
        Err(reason) => return fail(reason),
    };
    if let Err(reason) = has_features(&path, &contract) {
        return fail(reason);
    }
    for warning in &warnings {
        say(format_args!("warning: {warning}"));
    }
    say(format_args!("{}: {} routes, no faults", path.display(), contract.operations().len()));
    if arguments.contract.is_some() && arguments.template.is_none() {
        return ExitCode::SUCCESS;
    }
    let template = paths::or_default(arguments.template.as_ref(), paths::TEMPLATE);
    let same = same_routes(&template, &contract);
    match same.and_then(|()| contradictions(&template, &contract)) {
        Ok(Contradictions { warnings, faults }) => {
            for warning in warnings {
                say(format_args!("warning: {warning}"));
            }
            if !faults.is_empty() {
                return fail(faults.join("\n"));
            }
            say(format_args!("{}: has these routes", template.display()));
            ExitCode::SUCCESS
        }
        Err(reason) => fail(reason),
    }
}

/// The result of all checks.
pub(crate) struct Checked {
    /// `None` if it has faults.
    pub(crate) contract: Option<Contract>,
    pub(crate) faults: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

/// Checks the document at `path` and the template, as the command does, and returns what it prints.
pub(crate) fn checked(path: &Path, template: &Path) -> Checked {
    let (contract, warnings) = match input::contract_with_warnings(path) {
        Ok(read) => read,
        Err(error) => return Checked { contract: None, faults: vec![error.to_string()], warnings: Vec::new() },
    };
    let mut warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    let found = has_features(path, &contract)
        .and_then(|()| same_routes(template, &contract))
        .and_then(|()| contradictions(template, &contract));
    let faults = match found {
        Ok(found) => {
            warnings.extend(found.warnings);
            found.faults
        }
        Err(error) => vec![error.to_string()],
    };
    Checked { contract: Some(contract), faults, warnings }
}

/// Checks that the manifest beside the document enables the features that the contract needs.
fn has_features(path: &Path, contract: &Contract) -> Result<(), CommandError> {
    let manifest = path.with_file_name("Cargo.toml");
    let missing = std::fs::read_to_string(&manifest).map(|text| contract.missing_features(&text)).unwrap_or_default();
    if missing.is_empty() { Ok(()) } else { Err(format!("{}: {}", path.display(), missing.join("\n")).into()) }
}

/// Checks that the template has the contract's routes; the error lists those that only one of them has, one a line.
fn same_routes(template: &Path, contract: &Contract) -> Result<(), CommandError> {
    let file = template.display().to_string();
    let drift = sync::drift(&file, &input::text(template)?, contract)?;
    if drift.is_none() {
        return Ok(());
    }
    let missing = drift.missing.iter().map(|route| format!("\n+ {route}: in the contract only, so it is answered 404"));
    let extra = drift.extra.iter().map(|route| format!("\n- {route}: in the template only"));
    let lines: String = missing.chain(extra).collect();
    Err(format!("{file} differs from the contract; run `sluicegate sync`{lines}").into())
}

/// What of the template contradicts the contract.
#[derive(Default)]
struct Contradictions {
    warnings: Vec<String>,
    faults: Vec<String>,
}

/// Returns what of the template contradicts the contract, as doctor does: CORS settings of the gateway beside `x-cors`,
/// and a delay on a FIFO queue or a topic of Kafka. It is a warning if nothing asks for the client certificates that
/// the contract accepts.
fn contradictions(template: &Path, contract: &Contract) -> Result<Contradictions, CommandError> {
    const FAULTS: [&str; 3] = ["cors-at-gateway", "delay-on-fifo", "delay-on-kafka"];
    // The domain may be in the template of another stack.
    const WARNINGS: [&str; 2] = ["mutual-tls-bypassed", "mutual-tls-missing"];
    let has_delay = contract.operations().iter().any(|operation| operation.enqueue.delay_s_max() > 0);
    if contract.cors().is_none() && !has_delay && contract.first_with_client_certificate().is_none() {
        return Ok(Contradictions::default());
    }
    let inventory = Inventory::of_template(template, &BTreeMap::new())?;
    let report = examine(&inventory, &Project { contract: Some(contract.clone()), topology: None });
    let found = |checks: &[&str]| -> Vec<String> {
        let findings = report.findings.iter().filter(|finding| checks.contains(&finding.check));
        let lines = findings.map(|finding| {
            let (file, line) = (finding.file.as_deref().unwrap_or_default(), finding.line.unwrap_or(1));
            format!("{file}:{line}: {} {}. {} {}", finding.resource, finding.what, finding.why, finding.fix)
        });
        lines.collect()
    };
    Ok(Contradictions { warnings: found(&WARNINGS), faults: found(&FAULTS) })
}
