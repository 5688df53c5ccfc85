//! The verdict on a request: the alternative of `security` that admits it, or the answer to a caller without one.

use std::borrow::Cow;

use serde_json::Value;
use sluicegate_webhook::{KeyUrl, Scheme};

use super::{Caller, undecided};
use crate::rejection::{Code, Rejection};

/// The caller of a satisfied requirement or alternative.
pub(crate) struct Satisfied<'c> {
    pub(crate) caller: Caller<'c>,
    pub(super) scheme: Option<&'c Scheme>,
    pub(super) claims: Option<Value>,
}

/// An alternative that is not satisfied.
pub(super) struct Denied {
    /// The challenge of each requirement, in order.
    pub(super) challenges: Vec<String>,
    /// The reasons of the unsatisfied requirements.
    pub(super) reasons: Vec<DenialReason>,
}

/// Credentials that a request does not have.
pub(super) enum Missing {
    Header(String),
    Query(String),
    Cookie(String),
    /// Something that the gateway checks, as words.
    Gateway(&'static str),
}

impl Missing {
    /// Returns the words that follow "Send".
    fn words(&self) -> Cow<'_, str> {
        match self {
            Self::Header(name) => format!("the header {name}").into(),
            Self::Query(name) => format!("the query parameter {name}").into(),
            Self::Cookie(name) => format!("the cookie {name}").into(),
            Self::Gateway(words) => (*words).into(),
        }
    }
}

/// The reason why a requirement is not satisfied.
pub(super) enum DenialReason {
    /// The request does not have these credentials.
    Missing(Missing),
    /// `secrets_matter`: another secret could satisfy the requirement.
    Invalid { detail: Cow<'static, str>, log: String, secrets_matter: bool },
    /// The credentials are valid but lack this scope. `challenge`: that of RFC 6750, section 3.1, for a token.
    /// `secrets_matter`: newer secrets may have the scope.
    Scope { missing: String, challenge: Option<String>, secrets_matter: bool },
    /// The secrets are not available, for this reason; the text is for the operator.
    Undecided { code: Code, log: String },
    /// The decision depends on a published key.
    KeyNeeded { url: KeyUrl },
}

impl DenialReason {
    /// Ranks reasons. Within an alternative the lowest rank decides, because no secret replaces a missing header. The
    /// answer is for the alternative of the highest rank, which is closest to success.
    fn rank(&self) -> u8 {
        match self {
            Self::Missing(_) => 0,
            Self::Invalid { .. } => 1,
            Self::Scope { .. } => 2,
            Self::Undecided { .. } | Self::KeyNeeded { .. } => 3,
        }
    }

    fn secrets_matter(&self) -> bool {
        match self {
            Self::Missing(_) | Self::KeyNeeded { .. } => false,
            Self::Invalid { secrets_matter, .. } | Self::Scope { secrets_matter, .. } => *secrets_matter,
            Self::Undecided { .. } => true,
        }
    }
}

/// The first satisfied alternative, and the unsatisfied ones before it.
#[derive(Default)]
pub(super) struct Alternatives<'c> {
    pub(super) passed: Option<Satisfied<'c>>,
    pub(super) denied: Vec<Denied>,
}

impl<'c> Alternatives<'c> {
    /// Returns whether other secrets could satisfy a denied alternative.
    pub(super) fn secrets_matter(&self) -> bool {
        self.denied.iter().any(|denied| denied.reasons.iter().all(DenialReason::secrets_matter))
    }

    /// Returns the published key on which the decision depends: that of a denied alternative in which nothing is
    /// missing, also if a later one passes, whose caller would be another.
    pub(super) fn needed_key(&self) -> Option<&KeyUrl> {
        let is_complete = |denied: &&Denied| !denied.reasons.iter().any(|why| matches!(why, DenialReason::Missing(_)));
        let mut reasons = self.denied.iter().filter(is_complete).flat_map(|denied| &denied.reasons);
        reasons.find_map(|why| match why {
            DenialReason::KeyNeeded { url } => Some(url),
            _ => None,
        })
    }

    pub(super) fn into_result(self) -> Result<Satisfied<'c>, Rejection> {
        if let Some(satisfied) = self.passed {
            return Ok(satisfied);
        }
        let deciding = self.denied.iter().filter_map(|denied| denied.reasons.iter().min_by_key(|why| why.rank()));
        // `max_by_key` returns the last of equals. Reversed, the first alternative of the contract wins.
        let shown = deciding.rev().max_by_key(|why| why.rank());
        Err(match shown {
            Some(DenialReason::Scope { missing, challenge, .. }) => {
                let detail = format!("The credentials lack the scope {missing}.");
                let rejection = Rejection::new(Code::ScopeMissing, detail);
                match challenge {
                    Some(challenge) => rejection.header("www-authenticate", challenge),
                    None => rejection,
                }
            }
            Some(DenialReason::Undecided { code, log }) => undecided(*code, log),
            Some(DenialReason::KeyNeeded { url }) => undecided(Code::KeyUnavailable, &url.as_str()),
            Some(DenialReason::Invalid { detail, .. }) => {
                self.challenge(Rejection::new(Code::CredentialsInvalid, detail.clone()).log(self.log()))
            }
            Some(DenialReason::Missing(_)) | None => {
                let detail = format!("Send {}.", self.missing());
                self.challenge(Rejection::new(Code::CredentialsMissing, detail))
            }
        })
    }

    /// Adds the challenges of all alternatives in contract order (RFC 9110, section 11.6.1).
    fn challenge(&self, rejection: Rejection) -> Rejection {
        let mut challenges: Vec<&str> = Vec::new();
        for challenge in self.denied.iter().flat_map(|denied| &denied.challenges) {
            if !challenges.contains(&challenge.as_str()) {
                challenges.push(challenge);
            }
        }
        rejection.header("www-authenticate", challenges.join(", "))
    }

    fn log(&self) -> String {
        let logs = self.denied.iter().flat_map(|denied| &denied.reasons).filter_map(|why| match why {
            DenialReason::Invalid { log, .. } => Some(log.as_str()),
            _ => None,
        });
        logs.collect::<Vec<_>>().join("; ")
    }

    /// Returns the missing credentials, alternatives joined by "or".
    fn missing(&self) -> String {
        let missing = |denied: &'_ Denied| -> Vec<String> {
            let missing = denied.reasons.iter().filter_map(|why| match why {
                DenialReason::Missing(missing) => Some(missing.words().into_owned()),
                _ => None,
            });
            missing.collect()
        };
        let all: Vec<_> = self.denied.iter().map(missing).collect();
        let text = all.iter().map(|all| all.join(" and ")).collect::<Vec<_>>().join(" or ");
        // "the header a or b": the word once, if it fits all.
        match text.strip_prefix(HEADER).filter(|_| all.iter().flatten().all(|words| words.starts_with(HEADER))) {
            Some(rest) => format!("{HEADER}{}", rest.replace(HEADER, "")),
            None => text,
        }
    }
}

const HEADER: &str = "the header ";
