//! `sluicegate sync`: writes the routes of the contract, the table of idempotency keys, rate limits and statuses, the
//! bucket of large payloads and the archive into the template.
//!
//! The contract defines the routes; the template repeats them as events of the ingress function. The rest of the
//! template stays byte for byte: comments, order, line ends. The result is read again before it is written: its routes
//! must be the contract's, and everything else must be unchanged.

mod additions;
mod archive;
mod authorizer;
mod bucket;
mod edit;
mod manifests;
mod rest;
mod status;
mod table;
mod template;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use sluicegate_contract::{Contract, Drift};
use sluicegate_sam::{Faults, TemplateDocument};

use crate::{CommandError, fail, input, output::say, paths};
pub(crate) use authorizer::with_authorizer;
use edit::Edits;
use rest::Rest;
use template::Outline;

/// Write the routes of the OpenAPI document, and the table, bucket and archive they need, into the template; the rest
/// stays
#[derive(Args)]
pub(crate) struct Arguments {
    /// Write nothing; print the differences, and exit with 1 if there are any
    #[arg(long)]
    check: bool,
    /// The template [default: template.yaml]
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// The OpenAPI document [default: functions/ingress/openapi.yaml]
    #[arg(long, value_name = "FILE")]
    contract: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match work(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => fail(reason),
    }
}

/// Returns whether template and contract agree now.
fn work(arguments: &Arguments) -> Result<bool, CommandError> {
    let contract_path = paths::or_default(arguments.contract.as_ref(), paths::CONTRACT);
    let contract = input::contract(&contract_path)?;
    let path = paths::or_default(arguments.template.as_ref(), paths::TEMPLATE);
    let file = path.display().to_string();
    let text = input::text(&path)?;
    let synced = sync(&file, &text, &contract)?;
    let (routed, mut changes) = synced.map_or((None, Vec::new()), |synced| (Some(synced.text), synced.changes));
    let consumer_has_store = contract.has_status() || manifests::consumer_has_store(&contract_path)?;
    let routed_text = routed.as_deref().unwrap_or(&text);
    let with_table = table::with_table(&file, routed_text, &contract, consumer_has_store, &mut changes)?;
    let edited = with_table.or(routed);
    let with_status = status::with_status(&file, edited.as_deref().unwrap_or(&text), &contract, &mut changes)?;
    let edited = with_status.or(edited);
    let with_archive = archive::with_archive(&file, edited.as_deref().unwrap_or(&text), &contract, &mut changes)?;
    let edited = with_archive.or(edited);
    let with_bucket = bucket::with_bucket(&file, edited.as_deref().unwrap_or(&text), &contract, &mut changes)?;
    let edited = with_bucket.or(edited);
    let is_on_rabbitmq = archive::is_on_rabbitmq(edited.as_deref().unwrap_or(&text));
    let mut written: Vec<_> = edited.map(|text| (path, text)).into_iter().collect();
    written.extend(manifests::with_features(&contract_path, &contract, consumer_has_store, &mut changes)?);
    written.extend(archive::files(&contract_path, &contract, is_on_rabbitmq, &mut changes)?);
    if written.is_empty() {
        say(format_args!("{file}: has the routes of the contract"));
        return Ok(true);
    }
    for line in &changes {
        say(line);
    }
    if arguments.check {
        say(format_args!("{file}: differs from the contract; run `sluicegate sync`"));
        return Ok(false);
    }
    for (path, text) in written {
        let file = path.display();
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
        }
        std::fs::write(&path, text).map_err(|error| format!("cannot write {file}: {error}"))?;
        say(format_args!("{file}: written"));
    }
    Ok(true)
}

/// A template with the routes of the contract.
#[derive(Debug)]
pub(crate) struct Synced {
    pub text: String,
    /// The changes, one a line.
    changes: Vec<String>,
}

/// A template to be edited, with its text.
struct Template<'t> {
    text: &'t str,
    document: TemplateDocument,
}

impl<'t> Template<'t> {
    /// Reads a template. A duplicate key is refused, because it is not clear which of the two to edit.
    fn read(file: &str, text: &'t str) -> Result<Self, Faults> {
        let mut document = TemplateDocument::parse(file, text)?;
        match std::mem::take(&mut document.duplicates) {
            none if none.is_empty() => Ok(Self { text, document }),
            duplicates => Err(duplicates.into()),
        }
    }

    fn fault(&self, pointer: &str, reason: impl Into<String>) -> Faults {
        self.document.fault(pointer, reason).into()
    }
}

/// Returns the template with the routes of the contract; `None` if it has them already.
pub(crate) fn sync(file: &str, text: &str, contract: &Contract) -> Result<Option<Synced>, Faults> {
    let template = Template::read(file, text)?;
    let outline = Outline::read(&template)?;
    let edits = Edits::between(&template, &outline, contract)?;
    if edits.is_empty() {
        return Ok(None);
    }
    let synced = Synced { text: edits.apply(text), changes: edits.changes };
    if only_routes_changed(&synced.text, contract, &Rest::of(&template, &outline)) {
        return Ok(Some(synced));
    }
    Err(template.fault("", "sync would damage this template, so it wrote nothing: change the routes by hand"))
}

/// Returns whether the routes are those of the contract, and the rest is unchanged.
fn only_routes_changed(text: &str, contract: &Contract, before: &Rest) -> bool {
    let read = || {
        let template = Template::read("", text)?;
        let outline = Outline::read(&template)?;
        let edits = Edits::between(&template, &outline, contract)?;
        Ok::<_, Faults>(edits.is_empty() && Rest::of(&template, &outline).comes_from(before, &outline))
    };
    read().unwrap_or(false) && drift("", text, contract).is_ok_and(|drift| drift.is_none())
}

/// Returns the name of the function that has the routes of a template.
pub(crate) fn routed_function(file: &str, text: &str) -> Result<String, CommandError> {
    let read = || Ok::<_, Faults>(Outline::read(&Template::read(file, text)?)?.function);
    Ok(read()?)
}

/// Returns the routes that only one of the two has.
pub(crate) fn drift(file: &str, text: &str, contract: &Contract) -> Result<Drift, Faults> {
    let template = Template::read(file, text)?;
    let routes = template::routes(&template.document);
    Ok(Drift::between(contract, routes.iter().map(String::as_str)))
}
