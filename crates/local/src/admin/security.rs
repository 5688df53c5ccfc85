//! What protects the console from other sites that the same browser shows.
//!
//! - The `Host` of a request names this machine. A site whose name resolves to 127.0.0.1 (DNS rebinding) has another.
//! - A request that another origin makes is refused, by its `Origin` and by `Sec-Fetch-Site`, except for following a
//!   link.
//! - A request that changes something has the token of this start in the header [`TOKEN_HEADER`]. The pages have it,
//!   and scripts read it at `GET /token`; another origin cannot read either. A header of this kind also needs a
//!   preflight request, which is not answered.
//! - Pages run only the scripts and styles of this port and are not shown in a frame.
//!
//! <https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html>

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, uri::Authority};

use super::problem::problem;

/// The header with the token of a request that changes something.
pub(super) const TOKEN_HEADER: &str = "x-sluicegate-token";
/// Random bytes of a token: as many as a session identifier needs, twice.
/// <https://cheatsheetseries.owasp.org/cheatsheets/Session_Management_Cheat_Sheet.html#session-id-entropy>
const TOKEN_BYTES: usize = 16;

/// The names of this machine.
const HOSTS: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The headers of every answer. Nothing is stored, because every answer is about the present.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The token of a start of the stack.
#[derive(Clone)]
pub(super) struct Token(Arc<str>);

impl Token {
    /// Returns a new token.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub(super) fn random() -> std::io::Result<Self> {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Refuses what another site asks for, and adds [`HEADERS`] to every answer.
pub(super) async fn check(State(token): State<Token>, request: Request, next: Next) -> Response {
    let mut response = match refusal(request.method(), request.headers(), &token) {
        Some((code, detail)) => problem(StatusCode::FORBIDDEN, code, &detail),
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Returns the code and the reason of a refusal.
fn refusal(method: &Method, headers: &HeaderMap, token: &Token) -> Option<(&'static str, String)> {
    let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) {
        (Some(host), None) => host,
        _ => "",
    };
    let name = host.parse::<Authority>().ok().map(|host| host.host().to_ascii_lowercase()).unwrap_or_default();
    if !HOSTS.contains(&name.as_str()) {
        let detail =
            format!("The host {host:?} is not this machine. Open the console at http://127.0.0.1 or http://localhost.");
        return Some(("host_refused", detail));
    }
    if let Some(origin) = text("origin").filter(|origin| *origin != format!("http://{host}")) {
        return Some(("origin_refused", format!("The origin {origin:?} is another site.")));
    }
    let is_of_another_site = matches!(text("sec-fetch-site").as_deref(), Some("cross-site" | "same-site"));
    if is_of_another_site && text("sec-fetch-mode").as_deref() != Some("navigate") {
        return Some(("origin_refused", "Another site asks for this.".to_owned()));
    }
    if !method.is_safe() && text(TOKEN_HEADER).as_deref() != Some(token.as_str()) {
        let detail =
            format!("A request that changes something needs the header {TOKEN_HEADER}: GET /token returns its value.");
        return Some(("token_missing", detail));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_other_sites_are_refused() {
        let token = Token("t".into());
        let check = |method: Method, headers: &[(&'static str, &str)], expected: Option<&str>| {
            let with = |mut all: HeaderMap, (name, value): &(&'static str, &str)| {
                all.append(*name, value.parse().unwrap());
                all
            };
            let headers = headers.iter().fold(HeaderMap::new(), with);
            assert_eq!(refusal(&method, &headers, &token).map(|(code, _)| code), expected, "{method} {headers:?}");
        };
        let here = ("host", "127.0.0.1:3001");
        for host in ["127.0.0.1:3001", "localhost:3001", "localhost", "LOCALHOST:1", "[::1]:3001"] {
            check(Method::GET, &[("host", host)], None);
        }
        for host in
            ["attacker.example:3001", "127.0.0.1.attacker.example", "localhost.attacker.example", "127.0.0.2", ""]
        {
            check(Method::GET, &[("host", host)], Some("host_refused"));
        }
        check(Method::GET, &[], Some("host_refused"));
        check(Method::GET, &[here, ("host", "attacker.example")], Some("host_refused"));

        let post = |more: &[(&'static str, &str)], expected| check(Method::POST, &[&[here], more].concat(), expected);
        post(&[], Some("token_missing"));
        post(&[(TOKEN_HEADER, "other")], Some("token_missing"));
        post(&[(TOKEN_HEADER, "t")], None);
        post(&[(TOKEN_HEADER, "t"), ("origin", "http://127.0.0.1:3001")], None);
        for origin in ["http://attacker.example", "http://127.0.0.1:3000", "https://127.0.0.1:3001", "null"] {
            post(&[(TOKEN_HEADER, "t"), ("origin", origin)], Some("origin_refused"));
        }
        for method in [Method::PUT, Method::DELETE, Method::PATCH] {
            check(method, &[here], Some("token_missing"));
        }
        check(
            Method::GET,
            &[here, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")],
            Some("origin_refused"),
        );
        check(Method::GET, &[here, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], None);
        check(Method::GET, &[here, ("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")], None);
    }

    #[test]
    fn each_start_has_another_token() {
        let [one, other] = [Token::random().unwrap(), Token::random().unwrap()];
        assert_eq!(one.as_str().len(), 2 * TOKEN_BYTES);
        assert_ne!(one.as_str(), other.as_str());
    }
}
