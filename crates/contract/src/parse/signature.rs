//! `x-signature`: a provider of the catalog, one with other limits, or a scheme of the contract's own.

use serde_json::Value;
use sluicegate_webhook::{Assurance, Provider, Scheme};
use sluicegate_yaml::{Node, pointer};

use super::checker::ContractChecker;
use crate::CUSTOM;

/// Returns the provider and its scheme.
pub(super) fn scheme(checker: &mut ContractChecker<'_>, at: &Node) -> Option<(String, Scheme)> {
    let (name, mut scheme, accept) = if let Some(slug) = at.text() {
        let scheme = provider(checker, at, slug)?.scheme.clone();
        (slug.to_owned(), scheme, None)
    } else {
        checker.mapping(at)?;
        let accept = at.get("accept");
        match at.get("scheme") {
            Some(slug_at) => {
                checker.fields(at, &["scheme", "pastSeconds", "futureSeconds", "accept", "audience"])?;
                let slug = checker.text(slug_at)?;
                let mut scheme = provider(checker, slug_at, slug)?.scheme.clone();
                for (field, is_past) in [("pastSeconds", true), ("futureSeconds", false)] {
                    let Some(limit_at) = at.get(field) else { continue };
                    let seconds = checker.integer(limit_at, 0..=LIMIT_S_MAX)?;
                    let Some(timestamp) = &mut scheme.timestamp else {
                        checker.fault(limit_at, format!("{slug} signs no time, so there is no limit to set"));
                        return None;
                    };
                    let setting = if is_past { &mut timestamp.past_seconds } else { &mut timestamp.future_seconds };
                    *setting = Some(seconds);
                }
                (slug.to_owned(), scheme, accept)
            }
            None => (CUSTOM.to_owned(), custom(checker, at)?, accept),
        }
    };
    set_audience(checker, at, &name, &mut scheme)?;
    let accepted = match accept {
        Some(accept) => checker.choice(accept, ACCEPTED)?,
        None => Assurance::Signed,
    };
    if scheme.assurance < accepted {
        let (what, word) = match scheme.assurance {
            Assurance::Token => ("sends the secret and signs nothing", "token"),
            _ => ("signs only a part of the body", "partial"),
        };
        let write = match name.as_str() {
            CUSTOM => format!("add `accept: {word}`"),
            slug => format!("write `{{ scheme: {slug}, accept: {word} }}`"),
        };
        checker.fault(at, format!("{name} {what}: to accept that, {write}"));
        return None;
    }
    Some((name, scheme))
}

/// The longest limit for the time of signing. Ours: a day.
const LIMIT_S_MAX: u64 = 86_400;

/// Sets the audience of a token, which a provider makes for any receiver.
fn set_audience(checker: &mut ContractChecker<'_>, at: &Node, name: &str, scheme: &mut Scheme) -> Option<()> {
    let given = at.get("audience").filter(|_| at.get("scheme").is_some());
    match (scheme.open_claim(), given) {
        (None, None) => {}
        (None, Some(given)) => {
            checker.fault(given, format!("{name} has no audience to set"));
            return None;
        }
        (Some(claim), None) => {
            let claim = &claim.name;
            let reason = match name {
                CUSTOM => format!("the claim `{claim}` has no values, so no token has one of them"),
                _ => format!("write `audience: …` beside `scheme: {name}`: the `{claim}` of its tokens for you"),
            };
            checker.fault(at, reason);
            return None;
        }
        (Some(claim), Some(given)) => claim.values.push(checker.text(given)?.to_owned()),
    }
    Some(())
}

const ACCEPTED: &[(&str, Assurance)] =
    &[("signed", Assurance::Signed), ("partial", Assurance::Partial), ("token", Assurance::Token)];

fn provider(checker: &mut ContractChecker<'_>, at: &Node, slug: &str) -> Option<&'static Provider> {
    let found = Provider::named(slug);
    if found.is_none() {
        let similar = Provider::similar(slug);
        let hint = similar.map(|provider| format!(", did you mean `{}`?", provider.slug)).unwrap_or_default();
        let reason = format!("`{slug}` is not a known signature scheme{hint} (docs/schemes.md lists them)");
        checker.fault(at, reason);
    }
    found
}

/// Returns the scheme that the contract describes, in the vocabulary of [`Scheme`].
fn custom(checker: &mut ContractChecker<'_>, at: &Node) -> Option<Scheme> {
    let mut value = serde_json::to_value(at).ok()?;
    if let Value::Object(fields) = &mut value {
        fields.remove("accept");
    }
    let read = serde_path_to_error::deserialize::<_, Scheme>(value);
    let scheme = match read {
        Ok(scheme) => scheme,
        Err(error) => {
            let mut place = at.pointer().to_owned();
            for segment in error.path() {
                match segment {
                    serde_path_to_error::Segment::Map { key } => place = pointer::child(&place, key),
                    serde_path_to_error::Segment::Seq { index } => place = pointer::child(&place, &index.to_string()),
                    _ => {}
                }
            }
            checker.fault_at(&place, error.into_inner());
            return None;
        }
    };
    let faults = scheme.faults();
    for (within, reason) in &faults {
        checker.fault_at(&format!("{}{within}", at.pointer()), reason);
    }
    faults.is_empty().then_some(scheme)
}
