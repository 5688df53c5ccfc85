//! The names of the contract's `x-secret`, and the kind of values under each.

use std::collections::{BTreeMap, BTreeSet};

use sluicegate_contract::{Contract, SecurityScheme};
use sluicegate_webhook::{Provider, Scheme};

/// A name at least this similar to a misspelt one is suggested, as clap does.
const SIMILARITY_MIN: f64 = 0.7;

/// The kind of the values under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// API keys, stored as digests. `scopes` are those that operations require; `None` without a contract.
    ApiKey { scopes: Option<BTreeSet<String>> },
    /// Signing secrets of this provider.
    Signature { provider: String, scheme: Box<Scheme> },
    /// Verify tokens, which a provider repeats in its handshake.
    VerifyToken,
}

impl Kind {
    /// Returns the kind of a provider of the catalog.
    pub(super) fn of(provider: &Provider) -> Self {
        Self::Signature { provider: provider.slug.clone(), scheme: Box::new(provider.scheme.clone()) }
    }
}

/// The names of a contract. The default is for a folder without a contract.
#[derive(Debug, Default)]
pub(super) struct Names {
    file: Option<String>,
    kinds: BTreeMap<String, Kind>,
}

impl Names {
    /// Returns the names that the operations of the contract need.
    pub(super) fn of(file: &str, contract: &Contract) -> Self {
        let mut kinds = BTreeMap::new();
        for requirement in contract.operations().iter().flat_map(|operation| operation.security.iter().flatten()) {
            let security = contract.scheme(&requirement.scheme);
            if let Some(tokens) = security.and_then(SecurityScheme::verify_tokens) {
                kinds.insert(tokens, Kind::VerifyToken);
            }
            match security {
                Some(SecurityScheme::ApiKey { secret, .. } | SecurityScheme::Basic { secret }) => {
                    let kind = kinds.entry(secret.clone()).or_insert(Kind::ApiKey { scopes: Some(BTreeSet::new()) });
                    if let Kind::ApiKey { scopes: Some(scopes) } = kind {
                        scopes.extend(requirement.scopes.iter().cloned());
                    }
                }
                Some(SecurityScheme::Signature { secret, provider, scheme, .. }) => {
                    let (provider, scheme) = (provider.clone(), scheme.clone());
                    kinds.insert(secret.clone(), Kind::Signature { provider, scheme });
                }
                Some(SecurityScheme::Token { .. } | SecurityScheme::Gateway { .. }) | None => {}
            }
        }
        Self { file: Some(file.to_owned()), kinds }
    }

    /// Returns the names with their kinds.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Kind)> {
        self.kinds.iter().map(|(name, kind)| (name.as_str(), kind))
    }

    /// Returns the kind of the values under a name. Without a contract, `is_api_key` or the name of a scheme decides.
    ///
    /// # Errors
    /// The contract does not have the name, or the kind of its values is unknown.
    pub(super) fn kind(&self, name: &str, is_api_key: bool) -> Result<Kind, String> {
        if let Some(kind) = self.kinds.get(name) {
            return Ok(kind.clone());
        }
        let Some(file) = &self.file else {
            return match Provider::named(name) {
                _ if is_api_key => Ok(Kind::ApiKey { scopes: None }),
                Some(found) => Ok(Kind::of(found)),
                None => Err(format!(
                    "the kind of {name:?} is unknown without the contract: run this in the project's folder, or pass --contract FILE"
                )),
            };
        };
        let near = self.kinds.keys().map(|known| (strsim::jaro_winkler(name, known), known));
        let near = near.filter(|(likeness, _)| *likeness >= SIMILARITY_MIN).max_by(|a, b| a.0.total_cmp(&b.0));
        let hint = near.map(|(_, known)| format!(" (did you mean {known:?}?)")).unwrap_or_default();
        let all = self.kinds.keys().cloned().collect::<Vec<_>>().join(", ");
        Err(format!("{file} has no x-secret {name:?}{hint}: use one of {all}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_refused_with_the_nearest_one() {
        let key = Kind::ApiKey { scopes: Some(BTreeSet::new()) };
        let github = Kind::of(Provider::named("github").unwrap());
        let kinds = [("api-keys", key.clone()), ("github", github.clone())];
        let kinds = kinds.map(|(name, kind)| (name.to_owned(), kind)).into();
        let names = Names { file: Some("o.yaml".to_owned()), kinds };
        let check = |name: &str, expected: Result<&Kind, &str>| {
            assert_eq!(names.kind(name, false).as_ref().map_err(String::as_str), expected, "{name}");
        };
        check("api-keys", Ok(&key));
        check("github", Ok(&github));
        check(
            "api-key",
            Err(r#"o.yaml has no x-secret "api-key" (did you mean "api-keys"?): use one of api-keys, github"#),
        );
        check(
            "Github",
            Err(r#"o.yaml has no x-secret "Github" (did you mean "github"?): use one of api-keys, github"#),
        );
        check("xyz", Err(r#"o.yaml has no x-secret "xyz": use one of api-keys, github"#));
    }

    #[test]
    fn a_provider_with_verify_tokens_has_two_lists() {
        let yaml = "openapi: 3.1.0\ninfo: { title: t, version: v }\npaths:\n  /hook:\n    post:\n      \
                    operationId: hook\n      security: [{ s: [] }]\n      \
                    requestBody: { content: { application/json: {} } }\n      x-sluicegate: { queue: hooks }\n\
                    components:\n  securitySchemes:\n    \
                    s: { type: apiKey, in: header, name: x-hub-signature-256, x-secret: m, x-signature: meta }\n";
        let contract = Contract::parse("o.yaml", yaml).unwrap();
        let names = Names::of("o.yaml", &contract);
        assert_eq!(names.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["m", "m-verify-token"]);
        assert_eq!(names.kind("m-verify-token", false), Ok(Kind::VerifyToken));
        let lists = crate::development::lists(&contract);
        assert_eq!(lists["m-verify-token"], serde_json::json!(["dev-m-verify-token"]));
    }

    #[test]
    fn without_a_contract_the_options_or_a_schemes_name_decide() {
        let none = Names::default();
        assert_eq!(none.kind("partners", true), Ok(Kind::ApiKey { scopes: None }));
        assert_eq!(none.kind("github", false), Ok(Kind::of(Provider::named("github").unwrap())));
        assert!(none.kind("partners", false).unwrap_err().contains("--contract"));
    }
}
