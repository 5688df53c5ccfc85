//! The table of providers in docs/schemes.md, written from the catalog.
//!
//! After a change of the catalog: `UPDATE=1 cargo test -p sluicegate-tests docs::schemes`.

use std::fmt::Write as _;
use std::fs;

use sluicegate_webhook::{Assurance, Provider, Scheme, Source};

use super::page::Page;
use crate::support::root;

const PAGE: &str = "docs/schemes.md";
const MARK: &str = "<!-- generated: UPDATE=1 cargo test -p sluicegate-tests docs::schemes -->\n";

fn table() -> String {
    let mut table = String::from("\n| `x-signature` | provider | protects | time limit | key | type | from |\n");
    table.push_str("|---|---|---|---|---|---|---|\n");
    let mut notes = String::from("\n");
    for Provider { slug, name, docs, source, note, scheme, event_type, key } in Provider::all() {
        let protects = match scheme.assurance {
            Assurance::Signed => "all",
            Assurance::Partial => "a part",
            Assurance::Token => "nothing",
        };
        // Within a table, `|` is escaped in code too.
        let in_code = |template: &str| format!("`{}`", template.replace('|', "\\|"));
        let (key, event_type) = (key.as_deref().map_or("none".to_owned(), in_code), in_code(event_type));
        let (Source::Sdk(from) | Source::Docs(from) | Source::Secondary(from)) = source;
        let limit = limit(scheme);
        writeln!(table, "| `{slug}` | [{name}]({docs}) | {protects} | {limit} | {key} | {event_type} | {from} |")
            .expect("written");
        if !note.is_empty() {
            writeln!(notes, "- `{slug}`: {note}").expect("written");
        }
    }
    table + &notes
}

fn limit(scheme: &Scheme) -> String {
    let Some(timestamp) = &scheme.timestamp else { return "none".to_owned() };
    match (timestamp.past_seconds, timestamp.future_seconds) {
        (None, None) => "none".to_owned(),
        (Some(past), None) => format!("{past} s old"),
        (Some(past), Some(future)) if past == future => format!("{past} s"),
        (past, Some(future)) => format!("{} s old, {future} s ahead", past.unwrap_or_default()),
    }
}

#[test]
fn the_page_lists_the_catalog() {
    let page = Page::read(PAGE).text;
    let (text, _) = page.split_once(MARK).expect("the mark of the table");
    let computed = format!("{text}{MARK}{}", table());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(root().join(PAGE), &computed).expect("written");
    }
    let page = Page::read(PAGE).text;
    assert_eq!(page, computed, "UPDATE=1 cargo test -p sluicegate-tests docs::schemes writes it anew");
}

#[test]
fn the_number_of_providers_is_that_of_the_catalog() {
    let number = format!("{} providers", Provider::all().len());
    for path in ["README.md", "docs/architecture.md"] {
        assert!(Page::read(path).text.contains(&number), "{path} does not say {number}");
    }
}

/// The schemes that the page shows are accepted.
#[test]
fn every_scheme_of_the_page_is_accepted() {
    let page = Page::read(PAGE).text;
    let base = fs::read_to_string(root().join("functions/ingress/openapi.yaml")).expect("the contract");
    let (shipped_name, shipped_scheme) = ("name: x-hub-signature-256\n", "      x-signature: github\n");
    assert!(base.contains(shipped_name) && base.contains(shipped_scheme), "the contract has another form");
    let inline = page.lines().filter_map(|line| line.split_once("`x-signature: ")?.1.split_once('`'));
    let mut schemes: Vec<String> = inline.map(|(scheme, _)| scheme.to_owned()).collect();
    for own in page.split("```yaml\nx-signature:\n").skip(1) {
        let (own, _) = own.split_once("```").expect("the end of a scheme of your own");
        let own: String = own.lines().map(|line| format!("      {line}\n")).collect();
        schemes.push(format!("\n{own}"));
    }
    assert!(schemes.len() > 4, "{schemes:?}");
    for scheme in schemes {
        // The header is checked against the scheme: it is the one that the fault names.
        let with = |name: &str| {
            let yaml = base.replace(shipped_name, &format!("name: {name}\n"));
            let yaml = yaml.replace(shipped_scheme, &format!("      x-signature: {scheme}\n"));
            sluicegate_contract::Contract::parse("openapi.yaml", &yaml)
        };
        let faults = with("X-Unknown").err().map(|faults| faults.to_string()).unwrap_or_default();
        let name = faults.split_once("write ").map_or("X-Unknown", |(_, name)| name.split_whitespace().next().unwrap());
        let result = with(name);
        assert!(result.is_ok(), "{scheme}: {}", result.unwrap_err());
    }
}
