//! `sluicegate secrets list`: the names, with principals, keyids and fingerprints. Values are never shown.

use clap::Args;
use serde_json::json;

use super::{
    Where,
    document::{self, Document, Summary},
    names::{Kind, Names},
};
use crate::{CommandError, output::say, text};

/// List the values by their fingerprints, the first digits of the SHA-256; never the values
///
/// A name of the contract without a list is shown as missing: its routes answer 503 secrets_missing.
#[derive(Args)]
pub(super) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Where,
}

/// The entries under a name; `None` if the secret has none.
type Row<'a> = (&'a str, Option<Result<Vec<Summary>, String>>);

pub(super) async fn list(arguments: &Arguments) -> Result<(), CommandError> {
    let names = arguments.place.names()?;
    let document = arguments.place.open().await?.read().await?;
    let rows = rows(&names, &document);
    say(if arguments.json { as_json(&rows)? } else { table(&rows) });
    Ok(())
}

fn rows<'a>(names: &'a Names, document: &'a Document) -> Vec<Row<'a>> {
    let entries = |name: &str, kind: Option<&Kind>| {
        let entries = document.entries(name);
        entries.map(|entries| entries.iter().map(|entry| document::summary(entry, kind)).collect())
    };
    let has = |name: &str| document.names().any(|known| known == name);
    let of_contract = names.iter().map(|(name, kind)| (name, has(name).then(|| entries(name, Some(kind)))));
    let is_other = |name: &&str| !names.iter().any(|(known, _)| known == *name);
    let others = document.names().filter(is_other).map(|name| (name, Some(entries(name, None))));
    of_contract.chain(others).collect()
}

fn table(rows: &[Row<'_>]) -> String {
    let mut lines = vec![["NAME", "FINGERPRINT", "PRINCIPAL OR KEYID", "SCOPES"].map(str::to_owned).to_vec()];
    let mut line = |name: &str, cells: [&str; 3]| {
        lines.push([name, cells[0], cells[1], cells[2]].map(text::line).to_vec());
    };
    for (name, entries) in rows {
        match entries {
            None => line(name, ["missing", "", ""]),
            Some(Err(_)) => line(name, ["not a list", "", ""]),
            Some(Ok(entries)) if entries.is_empty() => line(name, ["empty", "", ""]),
            Some(Ok(entries)) => {
                for Summary { fingerprint, principal, keyid, scopes, fault } in entries {
                    let fault = fault.as_ref().map(|fault| format!("unusable: {fault}"));
                    let last = fault.unwrap_or_else(|| scopes.join(","));
                    let owner = principal.as_deref().or(keyid.as_deref()).unwrap_or_default();
                    line(name, [fingerprint.as_str(), owner, last.as_str()]);
                }
            }
        }
    }
    text::table(&lines).trim_end().to_owned()
}

fn as_json(rows: &[Row<'_>]) -> Result<String, CommandError> {
    let rows = rows.iter().map(|(name, entries)| {
        let values = entries.as_ref().map(|entries| {
            let values = entries.iter().flatten().map(|Summary { fingerprint, principal, keyid, scopes, fault }| {
                json!({
                    "fingerprint": fingerprint, "principal": principal, "keyid": keyid, "scopes": scopes, "fault": fault
                })
            });
            values.collect::<Vec<_>>()
        });
        let fault = entries.as_ref().and_then(|entries| entries.as_ref().err());
        json!({ "name": name, "values": values, "fault": fault })
    });
    Ok(serde_json::to_string_pretty(&rows.collect::<Vec<_>>())?)
}
