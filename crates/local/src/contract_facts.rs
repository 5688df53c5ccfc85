//! [`ContractFacts`]: what the console needs of the contract, given by the caller, since the stack reads no contract.

use std::{collections::BTreeSet, fmt, sync::Arc};

use http::HeaderMap;

use crate::project::Project;

/// Names of headers that carry a credential by their definition.
/// <https://www.rfc-editor.org/rfc/rfc9110#section-11>, <https://www.rfc-editor.org/rfc/rfc6265>, and those of AWS.
const CREDENTIAL_HEADERS: [&str; 5] =
    ["authorization", "cookie", "proxy-authorization", "x-amz-security-token", "x-api-key"];

/// The value that is shown in place of a credential.
const REPLACED: &str = "(credential)";

/// The places of credentials in a request. They are kept in memory and never shown.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Lower-case names of headers, besides those that are credentials by their definition.
    pub headers: BTreeSet<String>,
    /// Names of parameters of the query.
    pub query: BTreeSet<String>,
}

impl Credentials {
    /// Returns the value of a header as it may be shown.
    pub(crate) fn header<'a>(&self, name: &str, value: &'a str) -> &'a str {
        let is_credential = CREDENTIAL_HEADERS.contains(&name) || self.headers.contains(name);
        if is_credential { REPLACED } else { value }
    }

    /// Returns a query as it may be shown.
    pub(crate) fn query(&self, query: &str) -> String {
        let shown = query.split('&').map(|pair| {
            let name = form_urlencoded::parse(pair.as_bytes()).next().map(|(name, _)| name.into_owned());
            match (name, pair.split_once('=')) {
                (Some(name), Some((written, _))) if self.query.contains(&name) => format!("{written}={REPLACED}"),
                _ => pair.to_owned(),
            }
        });
        shown.collect::<Vec<_>>().join("&")
    }
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
    /// The code of the refusal.
    pub code: String,
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
        let credentials = Credentials { headers: names(&["x-token"]), query: names(&["key", "a b"]) };
        for (name, shown) in [("authorization", REPLACED), ("x-token", REPLACED), ("x-tokens", "v"), ("host", "v")] {
            assert_eq!(credentials.header(name, "v"), shown, "{name}");
        }
        for (query, shown) in [
            ("", ""),
            ("a=1&key=secret&b", "a=1&key=(credential)&b"),
            ("%6bey=secret", "%6bey=(credential)"),
            ("a+b=secret&keys=1&key", "a+b=(credential)&keys=1&key"),
        ] {
            assert_eq!(credentials.query(query), shown);
        }
    }
}
