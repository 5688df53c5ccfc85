//! The webhooks of a new project: removes those of the example and adds the chosen ones, with the code of
//! `sluicegate remove route` and `sluicegate add route`.

use std::{fs, path::Path};

use sluicegate_contract::{Contract, SecurityScheme};

use crate::{
    CommandError,
    add::{self, scheme::Auth},
    paths::CONTRACT,
    remove,
};

/// The queue of the webhooks.
const QUEUE: &str = "webhooks";

/// The word for no webhooks.
pub(super) const NONE: &str = "none";

/// Webhooks to receive, each once, as `--auth` of `sluicegate add route`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Webhooks(pub(super) Vec<Auth>);

impl Webhooks {
    /// Parses names that are separated by commas or spaces. An empty text and `none` mean no webhooks.
    pub(super) fn parse(text: &str) -> Result<Self, CommandError> {
        let mut webhooks = Vec::new();
        for name in text.split([',', ' ']).filter(|name| !name.is_empty() && *name != NONE) {
            let Some(known) = Auth::providers().find(|known| *known == name) else {
                let reason = "choose a provider of docs/schemes.md, such as github, stripe or standard-webhooks";
                return Err(format!("there is no webhook {name:?}: {reason}, or {NONE}").into());
            };
            if !webhooks.contains(&Auth::Provider(known)) {
                webhooks.push(Auth::Provider(known));
            }
        }
        Ok(Self(webhooks))
    }

    /// Returns the webhooks of several flags.
    pub(super) fn union(all: &[Self]) -> Self {
        let mut union = Self::default();
        for auth in all.iter().flat_map(|webhooks| &webhooks.0) {
            if !union.0.contains(auth) {
                union.0.push(*auth);
            }
        }
        union
    }

    /// Returns the types of their events, as `sluicegate add handler` takes them.
    pub(super) fn handled_types(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|auth| auth.event_type()).map(|event_type| match event_type.split_once('{') {
            None => event_type.to_owned(),
            Some((prefix, _)) => format!("{prefix}*"),
        })
    }

    /// Writes the routes, the queue and the security schemes of the webhooks into the files of a new project.
    pub(super) fn write(&self, project: &Path) -> Result<(), CommandError> {
        // Added before the example's are removed, because a contract has at least one route.
        let examples = examples(project)?;
        for route in examples {
            remove::example_route(project, &route)?;
        }
        for (auth, name) in self.0.iter().zip(self.names_of()) {
            add::webhook(project, &format!("POST /webhooks/{name}"), None, QUEUE, *auth)?;
        }
        Ok(())
    }

    fn names_of(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().filter_map(|auth| auth.scheme().signature)
    }
}

/// Returns the routes of the contract that a signature authenticates.
fn examples(project: &Path) -> Result<Vec<String>, CommandError> {
    let text =
        fs::read_to_string(project.join(CONTRACT)).map_err(|error| format!("cannot read {CONTRACT}: {error}"))?;
    let contract = Contract::parse(CONTRACT, &text)?;
    let is_signed = |scheme: &str| matches!(contract.scheme(scheme), Some(SecurityScheme::Signature { .. }));
    let operations = contract.operations().iter();
    let signed = operations.filter(|operation| operation.security.iter().flatten().any(|each| is_signed(&each.scheme)));
    Ok(signed.map(|operation| format!("{} {}", operation.method, operation.path)).collect())
}

#[cfg(test)]
mod tests {
    use super::{Auth, Webhooks};

    #[test]
    fn webhooks_are_named_by_their_schemes() {
        for (text, expected) in [
            ("", Ok(&[][..])),
            ("none", Ok(&[])),
            ("github", Ok(&[Auth::Provider("github")])),
            ("standard-webhooks, github,github", Ok(&[Auth::Provider("standard-webhooks"), Auth::Provider("github")])),
            ("api-key", Err("such as github")),
            ("github,xyz", Err("\"xyz\"")),
        ] {
            match (Webhooks::parse(text), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.0, expected, "{text:?}"),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text:?}: {error}"),
                (found, expected) => panic!("{text:?}: {found:?}, not {expected:?}"),
            }
        }
        let all =
            [Webhooks::parse("github").expect("known"), Webhooks::parse("github,standard-webhooks").expect("known")];
        assert_eq!(Webhooks::union(&all).0, [Auth::Provider("github"), Auth::Provider("standard-webhooks")]);
    }
}
