//! The issuer of the tokens of clients: its keys, which it rotates, and the server on which it publishes them.
//!
//! A token is a JSON Web Token (RFC 7519) with an Ed25519 signature (RFC 8037). That is written here again, as the
//! ingress would agree with its own library also if both are wrong.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use sluicegate_aws_client::http_client::Dialer;
use tokio::time::sleep;

use crate::BoxError;
use crate::clock::START_UNIX_S;
use crate::credentials::{Tolerance, live};
use crate::fault::{Kind, Site};
use crate::forgery::Forgery;
use crate::http_server::{self, Cut};
use crate::scenario::SKEW_MAX;
use crate::world::{Injected, World};

/// The claim `iss` of its tokens, and where it publishes its keys.
pub(crate) const ISSUER: &str = "https://login.example.com/";
const CONFIGURATION: &str = "/.well-known/openid-configuration";
const KEY_SET: &str = "/keys";

/// The claim `aud` of the tokens for the API.
pub(crate) const AUDIENCE: &str = "https://api.example.com";

/// The names and the private keys, the second after a rotation, and what an attacker signs with.
const KEYS: [(&str, [u8; 32]); 2] = [("first", [4; 32]), ("second", [5; 32])];
const OTHER_PRIVATE_KEY: [u8; 32] = [6; 32];

/// How long before the rotation the second key is published. Longer than the minute in which the ingress does not
/// fetch a key set again that lacks a key.
const PUBLISHED_BEFORE: Duration = Duration::from_secs(90);

/// How long after the rotation the first key is published: longer than its tokens are accepted.
const PUBLISHED_AFTER: Duration = Duration::from_secs(900);

/// How long a token is valid.
const LIFETIME: Duration = Duration::from_secs(300);

/// `skewSeconds` of the contract.
const LEEWAY: Duration = Duration::from_secs(60);

/// How far the clock of the ingress may be from the time at which a token was issued.
pub(crate) const TOLERANCE: Tolerance = Tolerance { late: LIFETIME.saturating_add(LEEWAY), early: LEEWAY };

/// How long the ingress uses a key set without reading it again: it is refreshed after an hour, and used for a day more
/// while the issuer is down (docs/authentication.md).
const UNREAD_MAX: Duration = Duration::from_secs(25 * 3_600);

/// Returns the token of a client, which may be forged, `at` a time, if the issuer rotates its keys at `changes_at`.
pub(crate) fn token(at: Duration, changes_at: Duration, forgery: Option<Forgery>) -> Result<String, BoxError> {
    let present = KEYS[usize::from(at >= changes_at)];
    let is_retired = at > changes_at + PUBLISHED_AFTER + UNREAD_MAX;
    let (key_id, private_key) = match forgery {
        Some(Forgery::RetiredKey) if is_retired => KEYS[0],
        Some(Forgery::RetiredKey | Forgery::OtherKey) => (present.0, OTHER_PRIVATE_KEY),
        Some(Forgery::UnknownKey) => ("unknown", OTHER_PRIVATE_KEY),
        _ => present,
    };
    // More than a wrong clock explains.
    let margin = SKEW_MAX + Duration::from_secs(2);
    let issued_at = at + Duration::from_secs(START_UNIX_S);
    let issued_at = match forgery {
        Some(Forgery::Replayed) => issued_at - (TOLERANCE.late + margin),
        Some(Forgery::Postdated) => issued_at + TOLERANCE.early + margin,
        _ => issued_at,
    };
    let audience = if forgery == Some(Forgery::OtherAudience) { "https://other.example.com" } else { AUDIENCE };
    let claims = json!({
        "iss": ISSUER,
        "aud": audience,
        "sub": "client",
        "iat": issued_at.as_secs(),
        "exp": (issued_at + LIFETIME).as_secs(),
    });
    let header = json!({ "alg": "EdDSA", "kid": key_id, "typ": "JWT" });
    let text = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
    let signature = key_pair(&private_key)?.sign(text.as_bytes());
    Ok(format!("{text}.{}", encoded(signature)))
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn key_pair(private_key: &[u8]) -> Result<Ed25519KeyPair, BoxError> {
    Ed25519KeyPair::from_seed_unchecked(private_key).map_err(|error| error.to_string().into())
}

/// Returns the key set that is published at a time.
fn key_set(now: Duration, changes_at: Duration) -> Result<Value, BoxError> {
    let published = [now < changes_at + PUBLISHED_AFTER, now + PUBLISHED_BEFORE > changes_at];
    let keys = live(KEYS, published).map(|(key_id, private_key)| {
        let key = encoded(key_pair(&private_key)?.public_key());
        Ok(json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": key_id, "x": key }))
    });
    Ok(json!({ "keys": keys.collect::<Result<Vec<_>, BoxError>>()? }))
}

/// Returns what opens the connections of an execution environment to the server.
pub(crate) fn dialer(world: &Arc<World>, environment: u64) -> Dialer {
    let world = Arc::clone(world);
    http_server::dialer_to(move |request| answer(Arc::clone(&world), environment, request))
}

async fn answer(world: Arc<World>, environment: u64, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Cut> {
    let path = request.uri().path();
    let fault = world.fault(Site::Issuer, environment);
    world.ledger().keys_fetched(world.now(), environment, path, fault.is_none());
    let status = match fault {
        Some(Injected { kind: Kind::CutBefore, .. }) => return Err(Cut),
        Some(Injected { kind: Kind::Fails, .. }) => 500,
        Some(Injected { kind: Kind::Throttled, .. }) => 429,
        Some(Injected { mut rng, .. }) => {
            sleep(Duration::from_millis(rng.u64(500..5_000))).await;
            200
        }
        None => 200,
    };
    let document = match path {
        CONFIGURATION => {
            Ok(json!({ "issuer": ISSUER, "jwks_uri": format!("{}{KEY_SET}", ISSUER.trim_end_matches('/')) }))
        }
        KEY_SET => key_set(world.now(), world.scenario.key_changes_at),
        _ => Err(format!("the issuer has no {path}").into()),
    };
    let document = document.map_err(|error| {
        world.failed(&*error);
        Cut
    })?;
    let body = if status == 200 { document.to_string() } else { String::new() };
    Response::builder().status(status).body(Full::from(body)).map_err(|_| Cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_published_before_its_tokens_and_after_them() {
        let changes_at = Duration::from_secs(1_000);
        for (now, expected) in [
            (0, &["first"][..]),
            (910, &["first"]),
            (911, &["first", "second"]),
            (1_899, &["first", "second"]),
            (1_900, &["second"]),
        ] {
            let set = key_set(Duration::from_secs(now), changes_at).unwrap();
            let names: Vec<_> =
                set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
            assert_eq!(names, expected, "{now}");
        }
    }
}
