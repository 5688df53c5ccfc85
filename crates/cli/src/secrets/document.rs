//! The secret's text: a JSON object with a list of live values under each name.
//!
//! The entries are those of [`secret_entry`](sluicegate_contract::secret_entry). Errors do not quote the text. What a
//! change does not name stays, unusable entries included.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use sluicegate_contract::secret_entry::{ApiKey, SigningSecret};
use sluicegate_envelope::Envelope;
use sluicegate_webhook::Secret;

use super::names::Kind;

/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html>
const SECRET_BYTES_MAX: usize = 65_536;
/// Number of hexadecimal digits of a displayed fingerprint.
const FINGERPRINT_CHARS: usize = 12;
/// Smallest number of digits that identify a value.
const FINGERPRINT_CHARS_MIN: usize = 8;
/// Number of hexadecimal digits of a SHA-256.
const SHA256_CHARS: usize = 64;

/// The lists of a secret.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Document(Map<String, Value>);

/// The result of a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Whether the document has changed.
    pub(super) is_new: bool,
    /// The number of values that were removed.
    pub(super) removed: usize,
    /// The number of values in the list now.
    pub(super) live: usize,
}

/// An entry of a list, without its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Summary {
    /// The first digits of the SHA-256 of the key or secret.
    pub(super) fingerprint: String,
    /// The principal of an API key.
    pub(super) principal: Option<String>,
    /// The `keyid` that signatures name a signing secret with.
    pub(super) keyid: Option<String>,
    /// The scopes of an API key.
    pub(super) scopes: Vec<String>,
    /// The reason why ingress does not use the entry.
    pub(super) fault: Option<String>,
}

impl Document {
    /// Parses the text of the secret.
    ///
    /// # Errors
    /// It is not a JSON object.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        // The message of serde_json can quote the text.
        let parsed = serde_json::from_str(text).map(Self);
        parsed.map_err(|_| {
            "its value is not a JSON object with a list under each name: nothing was changed; check that --stack or --secret-id is this API's"
                .to_owned()
        })
    }

    /// Returns the text to store.
    ///
    /// # Errors
    /// It is longer than the limit of Secrets Manager.
    pub(super) fn text(&self) -> Result<String, String> {
        let text = Value::Object(self.0.clone()).to_string();
        if text.len() > SECRET_BYTES_MAX {
            return Err(format!(
                "the secret would have {} bytes, and Secrets Manager stores {SECRET_BYTES_MAX}: remove values first",
                text.len()
            ));
        }
        Ok(text)
    }

    /// Returns the names of the document.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns the entries under a name; none if the name is missing.
    ///
    /// # Errors
    /// The value is not a list.
    pub(super) fn entries(&self, name: &str) -> Result<&[Value], String> {
        match self.0.get(name) {
            None => Ok(&[]),
            Some(Value::Array(entries)) => Ok(entries),
            Some(_) => Err(format!(
                "its {name:?} is not a list: nothing was changed; check that --stack or --secret-id is this API's"
            )),
        }
    }

    /// Checks that there is a list under every name, which a secret for another purpose does not have.
    fn check(&self) -> Result<(), String> {
        self.names().try_for_each(|name| self.entries(name).map(|_| ()))
    }

    /// Adds an entry. An existing API key gets the new scopes, an existing secret the new `keyid`. `replace` removes
    /// the other values of its principal, or of its `keyid`, or those without either.
    ///
    /// # Errors
    /// A value is not a list, or the list has the key under another principal.
    pub(super) fn add(&mut self, name: &str, entry: Value, replace: bool) -> Result<Change, String> {
        self.check()?;
        let (principal, own) = (principal(&entry), fingerprint(&entry));
        let before = self.entries(name)?.to_vec();
        let is_same = |other: &Value| fingerprint(other) == own;
        let taken = |other: &&Value| is_same(other) && self::principal(other) != principal;
        if let Some(owner) = before.iter().find(taken) {
            let owner = self::principal(owner).unwrap_or("another principal");
            return Err(format!("the key is {owner}'s already, and one key has one principal: generate another"));
        }
        let is_replaced = |other: &Value| replace && owner(other) == owner(&entry);
        let mut after: Vec<Value> =
            before.iter().filter(|other| !is_replaced(other) || is_same(other)).cloned().collect();
        let removed = before.len() - after.len();
        match after.iter_mut().find(|other| is_same(other)) {
            Some(known) => *known = entry,
            None => after.push(entry),
        }
        let change = Change { is_new: after != before, removed, live: after.len() };
        self.0.insert(name.to_owned(), after.into());
        Ok(change)
    }

    /// Removes the value with this fingerprint, or more of its digits.
    ///
    /// # Errors
    /// A value is not a list, or the fingerprint matches no value or several.
    pub(super) fn remove(&mut self, name: &str, wanted: &str) -> Result<Change, String> {
        self.check()?;
        let mut entries = self.entries(name)?.to_vec();
        let is_it = |entry: &Value| fingerprint(entry).starts_with(wanted);
        match entries.iter().filter(|entry| is_it(entry)).count() {
            1 => {}
            0 => {
                return Err(format!(
                    "{name} has no value with the fingerprint {wanted}: see `sluicegate secrets list`"
                ));
            }
            several => {
                return Err(format!("{several} values of {name} have the fingerprint {wanted}: pass more digits"));
            }
        }
        entries.retain(|entry| !is_it(entry));
        let change = Change { is_new: true, removed: 1, live: entries.len() };
        self.0.insert(name.to_owned(), entries.into());
        Ok(change)
    }
}

/// Returns the entry of an API key.
///
/// # Errors
/// The principal cannot be an attribute of an event.
pub(super) fn api_key(key: &str, principal: &str, scopes: &[String]) -> Result<Value, String> {
    let key = ApiKey { sha256: Sha256::digest(key).into(), principal: principal.to_owned(), scopes: scopes.to_vec() };
    let entry = key.entry();
    match fault(&entry, &Kind::ApiKey { scopes: None }) {
        None => Ok(entry),
        Some(fault) => Err(fault),
    }
}

/// Returns the parts of an entry that may be shown. Without a kind, only its form is checked.
pub(super) fn summary(entry: &Value, kind: Option<&Kind>) -> Summary {
    let is_key = entry.is_object() && SigningSecret::parse(entry).is_err();
    let guess = is_key.then_some(Kind::ApiKey { scopes: None });
    let fault = kind.or(guess.as_ref()).and_then(|kind| fault(entry, kind));
    let scopes = entry["scopes"].as_array().into_iter().flatten();
    Summary {
        fingerprint: shown(&fingerprint(entry)).to_owned(),
        principal: principal(entry).map(str::to_owned),
        keyid: keyid(entry).map(str::to_owned),
        scopes: scopes.filter_map(|scope| scope.as_str().map(str::to_owned)).collect(),
        fault,
    }
}

/// Returns the fingerprint of a key or a secret, as it is shown.
pub(super) fn fingerprint_of(value: &str) -> String {
    shown(&hex(&Sha256::digest(value))).to_owned()
}

/// Parses the fingerprint of the command line.
pub(super) fn parse_fingerprint(text: &str) -> Result<String, String> {
    let is_hex = text.chars().all(|c| c.is_ascii_hexdigit());
    if is_hex && (FINGERPRINT_CHARS_MIN..=SHA256_CHARS).contains(&text.len()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(format!(
        "expected are {FINGERPRINT_CHARS_MIN} to {SHA256_CHARS} hexadecimal digits, as `secrets list` shows them"
    ))
}

fn principal(entry: &Value) -> Option<&str> {
    entry["principal"].as_str()
}

fn keyid(entry: &Value) -> Option<&str> {
    entry["keyid"].as_str()
}

/// Returns whose value an entry is: those of one owner replace each other.
fn owner(entry: &Value) -> Option<&str> {
    principal(entry).or_else(|| keyid(entry))
}

/// Returns the SHA-256 of a key or secret in hexadecimal digits. An entry that is neither gets that of its JSON text,
/// so that it can be removed too.
fn fingerprint(entry: &Value) -> String {
    match (SigningSecret::parse(entry), entry["sha256"].as_str()) {
        (Ok(secret), _) => hex(&Sha256::digest(secret.text)),
        (_, Some(sha256)) if is_sha256(sha256) => sha256.to_ascii_lowercase(),
        _ => hex(&Sha256::digest(entry.to_string())),
    }
}

/// Returns the reason why ingress does not use an entry. It does not quote the entry.
fn fault(entry: &Value, kind: &Kind) -> Option<String> {
    match kind {
        Kind::ApiKey { .. } => match ApiKey::parse(entry) {
            Ok(ApiKey { principal, .. }) => {
                Envelope::builder("id", "/", "type").principal(principal).build().err().map(|error| error.to_string())
            }
            Err(fault) => Some(fault.to_string()),
        },
        Kind::Signature { .. } | Kind::VerifyToken => {
            let SigningSecret { keyid, text } = match SigningSecret::parse(entry) {
                Ok(secret) => secret,
                Err(fault) => return Some(fault.to_string()),
            };
            let read = match kind {
                Kind::Signature { scheme, .. } => scheme.secret_of(keyid, text),
                _ => Secret::verify_token(text),
            };
            read.err().map(|error| error.to_string())
        }
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == SHA256_CHARS && text.chars().all(|c| c.is_ascii_hexdigit())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn shown(fingerprint: &str) -> &str {
    &fingerprint[..FINGERPRINT_CHARS.min(fingerprint.len())]
}

#[cfg(test)]
mod tests;
