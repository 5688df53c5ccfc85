//! Requests signed as a provider signs them.

use http::HeaderMap;
use sluicegate_webhook::{Provider, Request};

/// Returns the headers of `body`, signed with `secret` as message `id` at this time.
pub(crate) fn signed(provider: &str, secret: &str, id: &str, at_unix_s: i64, body: &[u8]) -> Vec<(String, String)> {
    let scheme = &Provider::named(provider).expect("the catalog has it").scheme;
    let secret = scheme.secret(secret).expect("a secret of the provider");
    let headers = HeaderMap::new();
    scheme.sign(&secret, id, at_unix_s, &Request::new(&headers, body)).expect("it can be signed")
}

/// Returns the signature of `body` as GitHub sends it, in X-Hub-Signature-256.
pub(crate) fn github_signature(secret: &str, body: &[u8]) -> String {
    signed("github", secret, "", 0, body).remove(0).1
}
