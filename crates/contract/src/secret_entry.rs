//! Entries of the secret: what stands in the list under an `x-secret` name.
//!
//! An API key is `{"sha256": "<hex>", "principal": "…", "scopes": ["…"]}`; a signing secret is a string, in the form
//! that its provider shows, or `{"keyid": "…", "secret": "…"}` for the HTTP Message Signatures that name it. The
//! ingress reads entries, and `sluicegate secrets` writes them.

use std::fmt;

use serde_json::{Value, json};
use sluicegate_webhook::decode_hex;

/// An API key, stored as a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
    /// The principal of the key; not empty.
    pub principal: String,
    /// The scopes of the key; `*` is every scope.
    pub scopes: Vec<String>,
}

/// The reason why an entry is not used. It does not quote the entry, which is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// An API key is not an object.
    #[error("it is not an object with sha256, principal and scopes")]
    Object,
    /// The digest of an API key is not one.
    #[error("sha256 is not 64 hexadecimal digits")]
    Sha256,
    /// An API key has no principal.
    #[error("principal is not a string, or is empty")]
    Principal,
    /// The scopes of an API key are not strings.
    #[error("scopes is not a list of strings")]
    Scopes,
    /// A signing secret is not one.
    #[error("it is neither a string nor an object with keyid and secret")]
    Text,
}

/// A signing secret, or a public key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SigningSecret<'e> {
    /// The name that a signature gives it; `None` for most.
    pub keyid: Option<&'e str>,
    /// The secret, in the form that its provider shows.
    pub text: &'e str,
}

impl ApiKey {
    /// Parses an entry. One without `scopes` has none.
    ///
    /// # Errors
    /// The entry is not an API key.
    pub fn parse(entry: &Value) -> Result<Self, EntryFault> {
        let entry = entry.as_object().ok_or(EntryFault::Object)?;
        let text = |name| entry.get(name).and_then(Value::as_str);
        let sha256 = text("sha256").and_then(parse_sha256).ok_or(EntryFault::Sha256)?;
        let principal = text("principal").filter(|text| !text.is_empty()).ok_or(EntryFault::Principal)?;
        let scopes = match entry.get("scopes") {
            None => Some(Vec::new()),
            Some(scopes) => scopes.as_array().and_then(|all| {
                let texts = all.iter().map(|scope| scope.as_str().map(str::to_owned));
                texts.collect()
            }),
        };
        Ok(Self { sha256, principal: principal.to_owned(), scopes: scopes.ok_or(EntryFault::Scopes)? })
    }

    /// Returns the entry.
    #[must_use]
    pub fn entry(&self) -> Value {
        let sha256: String = self.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({ "sha256": sha256, "principal": self.principal, "scopes": self.scopes })
    }
}

impl<'e> SigningSecret<'e> {
    /// Parses an entry.
    ///
    /// # Errors
    /// The entry is not a signing secret.
    pub fn parse(entry: &'e Value) -> Result<Self, EntryFault> {
        if let Some(text) = entry.as_str() {
            return Ok(Self { keyid: None, text });
        }
        let text = |name| entry.get(name).and_then(Value::as_str);
        let (keyid, text) = text("keyid").zip(text("secret")).ok_or(EntryFault::Text)?;
        Ok(Self { keyid: Some(keyid), text })
    }

    /// Returns the entry.
    #[must_use]
    pub fn entry(self) -> Value {
        match self.keyid {
            None => self.text.into(),
            Some(keyid) => json!({ "keyid": keyid, "secret": self.text }),
        }
    }
}

impl fmt::Debug for SigningSecret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningSecret").field("keyid", &self.keyid).finish_non_exhaustive()
    }
}

/// Parses 64 hexadecimal digits.
fn parse_sha256(text: &str) -> Option<[u8; 32]> {
    decode_hex(text.as_bytes())?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{ApiKey, EntryFault, SigningSecret};

    #[test]
    fn an_api_key_is_a_digest_with_a_principal() {
        let hex = "00ff".repeat(16);
        let bytes = [0, 255].repeat(16).try_into().expect("32 bytes");
        let key = |scopes: &[&str]| {
            let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
            Ok(ApiKey { sha256: bytes, principal: "acme".to_owned(), scopes })
        };
        for (entry, expected) in [
            (json!({ "sha256": hex, "principal": "acme", "scopes": ["a", "*"] }), key(&["a", "*"])),
            (json!({ "sha256": hex.to_uppercase(), "principal": "acme" }), key(&[])),
            (json!("a text"), Err(EntryFault::Object)),
            (Value::Null, Err(EntryFault::Object)),
            (json!({ "principal": "acme" }), Err(EntryFault::Sha256)),
            (json!({ "sha256": hex[1..], "principal": "acme" }), Err(EntryFault::Sha256)),
            (json!({ "sha256": hex.replace('f', "g"), "principal": "acme" }), Err(EntryFault::Sha256)),
            (json!({ "sha256": format!("{hex}00"), "principal": "acme" }), Err(EntryFault::Sha256)),
            (json!({ "sha256": "é".repeat(32), "principal": "acme" }), Err(EntryFault::Sha256)),
            (json!({ "sha256": hex }), Err(EntryFault::Principal)),
            (json!({ "sha256": hex, "principal": "" }), Err(EntryFault::Principal)),
            (json!({ "sha256": hex, "principal": "acme", "scopes": null }), Err(EntryFault::Scopes)),
            (json!({ "sha256": hex, "principal": "acme", "scopes": ["a", 1] }), Err(EntryFault::Scopes)),
        ] {
            let parsed = ApiKey::parse(&entry);
            assert_eq!(parsed, expected, "{entry}");
            if let Ok(key) = parsed {
                assert_eq!(ApiKey::parse(&key.entry()).as_ref(), Ok(&key), "{entry}");
            }
        }
    }

    #[test]
    fn a_signing_secret_is_a_text_and_may_have_a_name() {
        for (entry, expected) in [
            (json!("hush"), Ok(SigningSecret { keyid: None, text: "hush" })),
            (json!({ "keyid": "a", "secret": "hush" }), Ok(SigningSecret { keyid: Some("a"), text: "hush" })),
            (json!(["hush"]), Err(EntryFault::Text)),
            (json!({ "keyid": "a" }), Err(EntryFault::Text)),
            (json!({ "secret": "hush" }), Err(EntryFault::Text)),
            (json!({ "keyid": 1, "secret": "hush" }), Err(EntryFault::Text)),
        ] {
            let parsed = SigningSecret::parse(&entry);
            assert_eq!(parsed, expected, "{entry}");
            assert!(!format!("{parsed:?}").contains("hush"), "{parsed:?}");
            if let Ok(secret) = parsed {
                assert_eq!(secret.entry(), entry);
            }
        }
    }
}
