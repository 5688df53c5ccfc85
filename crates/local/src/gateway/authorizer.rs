//! JWT authorizers: a token is checked before the function is invoked, and its claims are part of the event.
//!
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html>. The check itself is given
//! to the stack, because the keys are those of a development issuer.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use sluicegate_sam::JwtAuthorizer;

use super::exchange::refusal;

/// Returns the claims of a token that an authorizer accepts.
pub type TokenVerifier = Arc<dyn Fn(&JwtAuthorizer, &str) -> Option<Value> + Send + Sync>;

/// The authorizer of a route.
#[derive(Clone)]
pub(crate) struct Authorizer {
    /// Its settings in the template.
    pub settings: JwtAuthorizer,
    /// The check of a token.
    pub verify: TokenVerifier,
}

impl Authorizer {
    /// Returns `requestContext.authorizer` of a request with an accepted token, or the answer to any other.
    ///
    /// The challenge of a 401 has the form in
    /// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-troubleshooting-jwt.html>, `Bearer` alone
    /// without a token. No source was found for that of a 403, which has the same form with the error of RFC 6750.
    pub(super) fn authorize(&self, headers: &HeaderMap) -> Result<Value, Box<Response<Bytes>>> {
        let sent = headers.get(&self.settings.header).and_then(|value| value.to_str().ok());
        let sent = sent.ok_or_else(|| challenge(StatusCode::UNAUTHORIZED, "Unauthorized", "Bearer"))?;
        let token = match sent.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => sent,
        };
        let scopes = &self.settings.scopes;
        let error = |error: &str| format!("Bearer scope=\"{}\" error={error}", scopes.join(" "));
        let invalid = || challenge(StatusCode::UNAUTHORIZED, "Unauthorized", &error(invalid(token)));
        let claims = (self.verify)(&self.settings, token).ok_or_else(invalid)?;
        if !scopes.is_empty() && !scopes_of(&claims).any(|scope| scopes.iter().any(|needed| needed == scope)) {
            return Err(challenge(StatusCode::FORBIDDEN, "Forbidden", &error("\"insufficient_scope\"")));
        }
        let texts = claims.as_object().into_iter().flatten().map(|(name, claim)| (name.clone(), text(claim).into()));
        let texts: Value = texts.collect::<serde_json::Map<_, _>>().into();
        let scopes = if scopes.is_empty() { Value::Null } else { json!(scopes) };
        Ok(json!({ "jwt": { "claims": texts, "scopes": scopes } }))
    }
}

/// Returns the error of the challenge to a token that is not accepted.
///
/// API Gateway adds a description of the check that failed, which is known here only of a text that is not a JWT.
fn invalid(token: &str) -> &'static str {
    if token.split('.').count() == 3 {
        r#""invalid_token""#
    } else {
        r#""invalid_token" error_description="token contains an invalid number of segments""#
    }
}

fn challenge(status: StatusCode, message: &str, challenge: &str) -> Box<Response<Bytes>> {
    let mut answer = refusal(status, message);
    if let Ok(challenge) = HeaderValue::from_str(challenge) {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    Box::new(answer)
}

/// Returns the scopes of the claims `scope` and `scp`.
fn scopes_of(claims: &Value) -> impl Iterator<Item = &str> {
    let claims = ["scope", "scp"].into_iter().filter_map(|name| claims.get(name));
    claims.flat_map(|claim| {
        let list = claim.as_array().into_iter().flatten().filter_map(Value::as_str);
        list.chain(claim.as_str().into_iter().flat_map(str::split_ascii_whitespace))
    })
}

/// Returns a claim as API Gateway passes it on: as text, and a list as `[a b]`.
fn text(claim: &Value) -> String {
    match claim {
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(text).collect::<Vec<_>>().join(" ")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an authorizer that accepts one token, whose claims are these.
    fn authorizer(scopes: &[&str], claims: &Value) -> Authorizer {
        let claims = claims.clone();
        let settings = JwtAuthorizer {
            name: "Jwt".to_owned(),
            issuer: "https://a.example".to_owned(),
            audiences: vec!["api".to_owned()],
            header: "authorization".to_owned(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            is_default: false,
        };
        Authorizer { settings, verify: Arc::new(move |_, token| (token == "a.good.token").then(|| claims.clone())) }
    }

    const NOT_A_TOKEN: &str = "Bearer scope=\"\" error=\"invalid_token\" error_description=\"token contains an invalid \
                               number of segments\"";

    #[test]
    fn claims_are_texts_and_one_scope_is_enough() {
        let claims = json!({ "sub": "acme", "exp": 1_795_222_923, "admin": true, "aud": ["a", "b"], "scope": "r w" });
        let texts = json!({
            "sub": "acme", "exp": "1795222923", "admin": "true", "aud": "[a b]", "scope": "r w",
        });
        for (scopes, sent, expected) in [
            (&[][..], Some("Bearer a.good.token"), Ok(Value::Null)),
            (&[], Some("bearer  a.good.token"), Ok(Value::Null)),
            (&[], Some("a.good.token"), Ok(Value::Null)),
            (&["x", "w"], Some("Bearer a.good.token"), Ok(json!(["x", "w"]))),
            (&["x", "y"], Some("Bearer a.good.token"), Err((403, r#"Bearer scope="x y" error="insufficient_scope""#))),
            (&[], Some("Bearer a.bad.token"), Err((401, r#"Bearer scope="" error="invalid_token""#))),
            (&["x"], Some("Bearer a.bad.token"), Err((401, r#"Bearer scope="x" error="invalid_token""#))),
            (&[], Some("Basic a.good.token"), Err((401, r#"Bearer scope="" error="invalid_token""#))),
            (&[], Some("Bearer bad"), Err((401, NOT_A_TOKEN))),
            (&[], None, Err((401, "Bearer"))),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(sent) = sent {
                headers.insert("authorization", HeaderValue::from_static(sent));
            }
            let found = authorizer(scopes, &claims).authorize(&headers);
            let found = found.as_ref().map_err(|answer| {
                let challenge = answer.headers()[header::WWW_AUTHENTICATE].to_str().unwrap();
                (answer.status().as_u16(), challenge)
            });
            let expected = expected.map(|scopes| json!({ "jwt": { "claims": texts, "scopes": scopes } }));
            assert_eq!(found, expected.as_ref().map_err(|error| *error), "{scopes:?} {sent:?}");
        }
        let listed = authorizer(&["w"], &json!({ "scp": ["r", "w"] }));
        assert!(
            listed
                .authorize(&HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static("a.good.token"))]))
                .is_ok()
        );
    }
}
