//! `sluicegate sync`: the routes of the contract, written into the template.
//!
//! The contract says which routes there are; the template must say it again, as events of the ingress function. Everything
//! else of the template stays as it is, byte for byte: comments, order, line ends. Before anything is written, the new text is
//! read again: its routes must be the contract's, and what is not a route must say what it said before.

mod edit;
mod rest;
mod template;
#[cfg(test)]
mod tests;
mod yaml;

use std::{fmt, path::PathBuf, process::ExitCode};

use clap::Args;
use sluicegate_contract::Contract;
use sluicegate_doctor::Drift;

use crate::{fail, input, output::say, paths};
use edit::Edits;
use rest::Rest;
use template::Outline;
use yaml::Node;

/// Write the routes of the OpenAPI document into the template, and leave the rest of it as it is
#[derive(Args)]
pub(crate) struct Arguments {
    /// Write nothing; tell what differs and exit with 1 if anything does
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

/// Whether all is well now.
fn work(arguments: &Arguments) -> Result<bool, String> {
    let contract = input::contract(&paths::or_default(arguments.contract.as_ref(), paths::CONTRACT))?;
    let path = paths::or_default(arguments.template.as_ref(), paths::TEMPLATE);
    let file = path.display();
    let text = input::text(&path)?;
    let synced = sync(&text, &contract).map_err(|refusal| format!("{file}:{refusal}"))?;
    let Some(synced) = synced else {
        say(format_args!("{file}: has the routes of the contract"));
        return Ok(true);
    };
    for line in &synced.told {
        say(line);
    }
    if arguments.check {
        say(format_args!("{file}: differs from the contract; `sluicegate sync` mends it"));
        return Ok(false);
    }
    std::fs::write(&path, synced.text).map_err(|error| format!("cannot write {file}: {error}"))?;
    say(format_args!("{file}: written"));
    Ok(true)
}

/// A template with the routes of the contract.
#[derive(Debug)]
struct Synced {
    text: String,
    /// What has changed, a line for each.
    told: Vec<String>,
}

/// Why a template is left alone.
#[derive(Debug)]
struct Refusal {
    /// From 1.
    line: usize,
    reason: String,
}

impl Refusal {
    fn at(text: &str, byte: usize, reason: String) -> Self {
        Self { line: text[..byte].matches('\n').count() + 1, reason }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.line, self.reason)
    }
}

/// The template as the contract wants it; `None` if it is already.
fn sync(text: &str, contract: &Contract) -> Result<Option<Synced>, Refusal> {
    let root = Node::parse(text)?;
    let outline = Outline::read(text, &root)?;
    let edits = Edits::between(text, &outline, contract)?;
    if edits.is_empty() {
        return Ok(None);
    }
    let synced = Synced { text: edits.apply(text), told: edits.told };
    if is_unharmed(&synced.text, contract, &Rest::of(&root, &outline)) {
        return Ok(Some(synced));
    }
    let reason =
        "is written in a way that sync would damage, so nothing was written; change the routes by hand".to_owned();
    Err(Refusal { line: 1, reason })
}

/// Whether the routes are the contract's now, and the rest is as it was.
fn is_unharmed(text: &str, contract: &Contract, before: &Rest) -> bool {
    let read = || {
        let root = Node::parse(text)?;
        let outline = Outline::read(text, &root)?;
        let edits = Edits::between(text, &outline, contract)?;
        Ok::<_, Refusal>(edits.is_empty() && Rest::of(&root, &outline).comes_from(before, &outline))
    };
    read().unwrap_or(false) && drift(text, contract).is_ok_and(|drift| drift.is_none())
}

/// The routes that one has and the other has not.
pub(crate) fn drift(template: &str, contract: &Contract) -> Result<Drift, String> {
    let root = Node::parse(template).map_err(|refusal| refusal.to_string())?;
    let routes = template::routes(&root);
    Ok(Drift::between(contract, routes.iter().map(String::as_str)))
}
