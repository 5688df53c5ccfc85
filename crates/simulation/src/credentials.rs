//! [`Credentials`]: what clients prove with who they are: an API key, the signature of a webhook, or a token of an
//! issuer. Also the secret that has the keys of the first two.
//!
//! A webhook is signed as [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md)
//! says. That is written here again, as the ingress would agree with its own library also if both are wrong.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sluicegate_contract::secret_entry::ApiKey;
use sluicegate_ingress::{OUTAGE_GRACE, REFRESH_AFTER};

use crate::BoxError;
use crate::clock::{START_UNIX_S, Skew};
use crate::forgery::Forgery;
use crate::ingress::TIMEOUT;
use crate::issuer;
use crate::scenario::SKEW_MAX;

/// The names of the lists of the secret.
pub(crate) const API_KEYS: &str = "api-keys";
pub(crate) const WEBHOOK_SECRETS: &str = "standard-webhooks";

/// The API keys of the clients, the second after a rotation.
const KEYS: [&str; 2] = ["first-key", "second-key"];

/// What webhooks are signed with, the second after a rotation, and what an attacker signs with.
const SIGNING_KEYS: [[u8; 32]; 2] = [[1; 32], [2; 32]];
const OTHER_SIGNING_KEY: [u8; 32] = [3; 32];

/// How long both are in the secret before and after clients change. Longer than [`UNREAD_MAX`].
const OVERLAP: Duration = Duration::from_secs(4_200);

/// How long the ingress uses a secret without reading it again, also while the store is away.
const UNREAD_MAX: Duration = REFRESH_AFTER.saturating_add(OUTAGE_GRACE);

/// How far the clock of the ingress may be from the time of a signature.
const TOLERANCE: Tolerance = Tolerance { late: Duration::from_secs(300), early: Duration::from_secs(300) };

/// How old a webhook is that an attacker sends again. No wrong clock takes it for a new one.
const REPLAYED_AFTER: Duration = TOLERANCE.late.saturating_add(SKEW_MAX).saturating_add(Duration::from_secs(60));

/// How the messages that are no items of a batch are authenticated. Batches have an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scheme {
    ApiKey,
    Webhook,
    Token,
}

/// Returns the text of the secret, if clients change what they prove themselves with at `changes_at`.
pub(crate) fn secret(now: Duration, changes_at: Duration) -> Value {
    let valid = [now < changes_at + OVERLAP, now + OVERLAP > changes_at];
    let api_key = |key: &str| {
        ApiKey { sha256: Sha256::digest(key).into(), principal: "client".to_owned(), scopes: vec![] }.entry()
    };
    let signing_key = |key: [u8; 32]| format!("whsec_{}", BASE64_STANDARD.encode(key)).into();
    json!({
        API_KEYS: live(KEYS, valid).map(api_key).collect::<Vec<_>>(),
        WEBHOOK_SECRETS: live(SIGNING_KEYS, valid).map(signing_key).collect::<Vec<Value>>(),
    })
}

/// Returns those of two keys that are valid.
pub(crate) fn live<T>(both: [T; 2], valid: [bool; 2]) -> impl Iterator<Item = T> {
    both.into_iter().zip(valid).filter_map(|(one, is_valid)| is_valid.then_some(one))
}

/// The headers of a request that say who has sent it.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Credentials {
    #[serde(rename_all = "kebab-case")]
    ApiKey {
        x_api_key: &'static str,
    },
    #[serde(rename_all = "kebab-case")]
    Signature {
        webhook_id: String,
        webhook_timestamp: String,
        webhook_signature: String,
    },
    Token {
        authorization: String,
    },
}

impl Credentials {
    /// Returns an API key.
    pub(crate) fn api_key(now: Duration, changes_at: Duration) -> Self {
        Self::ApiKey { x_api_key: KEYS[usize::from(now >= changes_at)] }
    }

    /// Returns a token, which may be forged.
    pub(crate) fn token(now: Duration, changes_at: Duration, forgery: Option<Forgery>) -> Result<Self, BoxError> {
        Ok(Self::Token { authorization: format!("Bearer {}", issuer::token(now, changes_at, forgery)?) })
    }

    /// Returns the signature of a webhook, which may be forged.
    pub(crate) fn signature(
        (now, changes_at): (Duration, Duration),
        id: String,
        body: &str,
        forgery: Option<Forgery>,
    ) -> Self {
        let at = match forgery {
            Some(Forgery::Replayed) => (now + Duration::from_secs(START_UNIX_S)) - REPLAYED_AFTER,
            Some(Forgery::Postdated) => now + Duration::from_secs(START_UNIX_S) + REPLAYED_AFTER,
            _ => now + Duration::from_secs(START_UNIX_S),
        };
        let is_retired = now > changes_at + OVERLAP + UNREAD_MAX + TIMEOUT;
        let key = match forgery {
            Some(Forgery::RetiredKey) if is_retired => SIGNING_KEYS[0],
            Some(Forgery::RetiredKey | Forgery::OtherKey) => OTHER_SIGNING_KEY,
            _ => SIGNING_KEYS[usize::from(now >= changes_at)],
        };
        let timestamp = at.as_secs().to_string();
        let (signed_id, signed_body) = match forgery {
            Some(Forgery::OtherId) => ("another", body),
            Some(Forgery::OtherBody) => (&*id, "{}"),
            _ => (&*id, body),
        };
        let text = format!("{signed_id}.{timestamp}.{signed_body}");
        let mac = Hmac::<Sha256>::new_from_slice(&key).map(|mac| mac.chain_update(text).finalize().into_bytes());
        let signature = format!("v1,{}", mac.map(|mac| BASE64_STANDARD.encode(mac)).unwrap_or_default());
        Self::Signature { webhook_id: id, webhook_timestamp: timestamp, webhook_signature: signature }
    }
}

/// How far the clock of the ingress may be from the time of a signature or a token.
#[derive(Clone, Copy)]
pub(crate) struct Tolerance {
    /// How late it may be.
    pub(crate) late: Duration,
    /// How early it may be.
    pub(crate) early: Duration,
}

/// Whether the ingress must accept a signature or a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    Valid,
    /// By the clock of the ingress, it was made at about the first or the last time that is accepted.
    Uncertain,
    Invalid,
}

impl Validity {
    /// Returns the validity of credentials of when the request came, for an ingress with this clock that has answered
    /// `within` that time.
    pub(crate) fn new(scheme: Scheme, skew: Skew, within: Duration) -> Self {
        let Tolerance { late, early } = match scheme {
            Scheme::ApiKey => return Self::Valid,
            Scheme::Webhook => TOLERANCE,
            Scheme::Token => issuer::TOLERANCE,
        };
        // The ingress goes by whole seconds.
        let second = Duration::from_secs(1);
        let (least, most, tolerance) = match skew {
            Skew::Ahead(by) => (by, by + within + second, late),
            Skew::Behind(by) => (by.saturating_sub(within + second), by + second, early),
        };
        if most <= tolerance {
            Self::Valid
        } else if least > tolerance + second {
            Self::Invalid
        } else {
            Self::Uncertain
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_valid_as_far_as_the_clock_is_right() {
        let s = Duration::from_secs;
        for (skew, within, expected) in [
            (Skew::NONE, 0, Validity::Valid),
            (Skew::Ahead(s(299)), 0, Validity::Valid),
            (Skew::Ahead(s(290)), 9, Validity::Valid),
            (Skew::Ahead(s(290)), 10, Validity::Uncertain),
            (Skew::Ahead(s(301)), 0, Validity::Uncertain),
            (Skew::Ahead(s(302)), 0, Validity::Invalid),
            (Skew::Behind(s(299)), 10, Validity::Valid),
            (Skew::Behind(s(310)), 10, Validity::Uncertain),
            (Skew::Behind(s(313)), 10, Validity::Invalid),
        ] {
            assert_eq!(Validity::new(Scheme::Webhook, skew, s(within)), expected, "{skew:?} {within}");
        }
        for (skew, expected) in [
            (Skew::Ahead(s(359)), Validity::Valid),
            (Skew::Ahead(s(362)), Validity::Invalid),
            (Skew::Behind(s(59)), Validity::Valid),
            (Skew::Behind(s(63)), Validity::Invalid),
        ] {
            assert_eq!(Validity::new(Scheme::Token, skew, s(0)), expected, "{skew:?}");
        }
    }

    #[test]
    fn the_secret_has_both_while_clients_change() {
        let counts = [0, 4_199, 4_200, 9_000, 14_201].map(|now| {
            let secret = secret(Duration::from_secs(now), Duration::from_secs(10_000));
            [API_KEYS, WEBHOOK_SECRETS].map(|list| secret[list].as_array().map_or(0, Vec::len))
        });
        assert_eq!(counts, [[1; 2], [1; 2], [1; 2], [2; 2], [1; 2]]);
    }
}
