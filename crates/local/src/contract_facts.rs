//! [`ContractFacts`]: what the console needs of the contract, given by the caller, since the stack reads no contract.

use std::{collections::BTreeSet, fmt, sync::Arc};

use http::{HeaderMap, StatusCode};

use crate::project::Project;

/// Parts of the names of headers and parameters whose values are credentials, whatever the contract says. A name too
/// many hides a harmless value.
const CREDENTIAL_NAMES: [&str; 7] = ["api-key", "authorization", "cookie", "credential", "password", "secret", "token"];

/// The value that is shown in place of a credential.
const REPLACED: &str = "(credential)";

/// The places of credentials in a request. They are kept in memory and never shown.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Lower-case names of headers, besides those that are known by their names.
    pub headers: BTreeSet<String>,
    /// Names of parameters of the query, besides those that are known by their names.
    pub query: BTreeSet<String>,
}

impl Credentials {
    /// Returns the value of a header as it may be shown.
    pub(crate) fn header<'a>(&self, name: &str, value: &'a str) -> &'a str {
        if is_credential(name) || self.headers.contains(name) { REPLACED } else { value }
    }

    /// Returns a query as it may be shown.
    pub(crate) fn query(&self, query: &str) -> String {
        let shown = query.split('&').map(|pair| {
            let name = form_urlencoded::parse(pair.as_bytes()).next().map(|(name, _)| name.into_owned());
            match (name, pair.split_once('=')) {
                (Some(name), Some((written, _))) if is_credential(&name) || self.query.contains(&name) => {
                    format!("{written}={REPLACED}")
                }
                _ => pair.to_owned(),
            }
        });
        shown.collect::<Vec<_>>().join("&")
    }
}

fn is_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    CREDENTIAL_NAMES.iter().any(|part| name.contains(part))
}

/// A request that was refused, as it arrived.
#[derive(Debug)]
pub struct RefusedRequest {
    /// The method.
    pub method: String,
    /// The path and query.
    pub target: String,
    /// The headers, without those of the connection.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// The time of arrival, in seconds since 1970.
    pub at_unix_s: i64,
    /// The status of the refusal.
    pub status: StatusCode,
}

/// A fact that explains a refusal: a name, such as `cause`, and a sentence. It has no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The kind of the fact.
    pub name: &'static str,
    /// The fact.
    pub text: String,
}

/// Explains why a request was refused.
pub type Explainer = Arc<dyn Fn(&RefusedRequest) -> Vec<Finding> + Send + Sync>;

/// What the contract says of requests.
#[derive(Clone, Default)]
pub struct ContractFacts {
    /// The credentials of its security schemes.
    pub credentials: Credentials,
    /// The explanation of a refusal, beyond its answer.
    pub explain: Option<Explainer>,
    /// The contract and the template as they are now.
    pub project: Option<Arc<dyn Project>>,
}

impl fmt::Debug for ContractFacts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ContractFacts").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_replaced() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let credentials = Credentials { headers: names(&["x-partner"]), query: names(&["key", "a b"]) };
        for (name, shown) in [
            ("authorization", REPLACED),
            ("x-hook-secret", REPLACED),
            ("x-partner", REPLACED),
            ("x-partners", "v"),
            ("idempotency-key", "v"),
        ] {
            assert_eq!(credentials.header(name, "v"), shown, "{name}");
        }
        for (query, shown) in [
            ("", ""),
            ("a=1&key=secret&b", "a=1&key=(credential)&b"),
            ("%6bey=secret", "%6bey=(credential)"),
            ("hub.verify_token=secret&hub.mode=a", "hub.verify_token=(credential)&hub.mode=a"),
            ("a+b=secret&keys=1&key", "a+b=(credential)&keys=1&key"),
        ] {
            assert_eq!(credentials.query(query), shown);
        }
    }
}
