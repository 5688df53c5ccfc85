//! [`Signer`]: Signature Version 4 of a JSON request, and [`Scope`], which signs any canonical request with the signing
//! key of the day kept.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

/// Characters that a canonical path escapes.
pub(crate) const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Characters that the values of a canonical query escape.
pub(crate) const ESCAPED_IN_QUERY: &AsciiSet = &ESCAPED.add(b'/');

/// The credentials, Region and service of a signature.
pub(super) struct Scope {
    credentials: Credentials,
    region: String,
    service: &'static str,
    /// The day and its key.
    key: Mutex<Option<(String, Arc<[u8]>)>>,
}

/// Signs requests to one service.
pub(super) struct Signer {
    scope: Scope,
    content_type: &'static str,
    host: String,
    canonical_path: String,
}

/// The headers that a signature adds.
pub(super) struct Signed {
    pub(super) date: String,
    pub(super) authorization: String,
}

impl Signer {
    pub(super) fn new(
        credentials: Credentials,
        region: String,
        service: &'static str,
        content_type: &'static str,
        host: String,
        path: &str,
    ) -> Self {
        let canonical_path = utf8_percent_encode(path, ESCAPED).to_string();
        Self { scope: Scope::new(credentials, region, service), content_type, host, canonical_path }
    }

    /// Signs a POST of `body` to `target` at `now`.
    pub(super) fn sign(&self, target: &str, body: &[u8], now: SystemTime) -> Signed {
        let date = timestamp(now);
        let (mut canonical, mut token_name) = (String::with_capacity(2_048), "");
        let (path, content_type, host) = (&self.canonical_path, self.content_type, &self.host);
        // Writing to a String cannot fail.
        let _ = write!(canonical, "POST\n{path}\n\ncontent-type:{content_type}\nhost:{host}\nx-amz-date:{date}\n");
        if let Some(token) = self.scope.session_token() {
            token_name = "x-amz-security-token;";
            canonical.extend(["x-amz-security-token:", token, "\n"]);
        }
        let names = ["content-type;host;x-amz-date;", token_name, "x-amz-target"];
        canonical.extend(["x-amz-target:", target, "\n\n"]);
        canonical.extend(names);
        canonical.push('\n');
        push_hex(&mut canonical, &Sha256::digest(body));

        let authorization = self.scope.authorization(&canonical, names, &date, now);
        Signed { date, authorization }
    }

    pub(super) fn session_token(&self) -> Option<&str> {
        self.scope.session_token()
    }
}

impl Scope {
    pub(super) fn new(credentials: Credentials, region: String, service: &'static str) -> Self {
        Self { credentials, region, service, key: Mutex::default() }
    }

    /// Returns the `authorization` of a canonical request. `names` are its signed headers in parts, `date` is
    /// [`timestamp`] of `now`.
    pub(super) fn authorization(&self, canonical: &str, names: [&str; 3], date: &str, now: SystemTime) -> String {
        let signature = self.signature(canonical, date, now);
        let mut authorization = String::with_capacity(384);
        let (day, region, service, key_id) = (&date[..8], &self.region, self.service, self.credentials.access_key_id());
        // Writing to a String cannot fail.
        let _ = write!(authorization, "AWS4-HMAC-SHA256 Credential={key_id}/{day}/{region}/{service}/aws4_request, ");
        authorization.push_str("SignedHeaders=");
        authorization.extend(names);
        authorization.extend([", Signature=", &signature]);
        authorization
    }

    /// Returns the signature of a canonical request. `date` is [`timestamp`] of `now`.
    pub(super) fn signature(&self, canonical: &str, date: &str, now: SystemTime) -> String {
        let (day, region, service) = (&date[..8], &self.region, self.service);
        let mut text = String::with_capacity(256);
        // Writing to a String cannot fail.
        let _ = write!(text, "AWS4-HMAC-SHA256\n{date}\n{day}/{region}/{service}/aws4_request\n");
        push_hex(&mut text, &Sha256::digest(canonical.as_bytes()));
        calculate_signature(self.key(day, now), text.as_bytes())
    }

    pub(super) fn session_token(&self) -> Option<&str> {
        self.credentials.session_token()
    }

    fn key(&self, day: &str, now: SystemTime) -> Arc<[u8]> {
        let mut kept = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((of, key)) if of == day => Arc::clone(key),
            _ => {
                let secret = self.credentials.secret_access_key();
                let key: Arc<[u8]> = generate_signing_key(secret, now, &self.region, self.service).as_ref().into();
                *kept = Some((day.to_owned(), Arc::clone(&key)));
                key
            }
        }
    }
}

/// Returns a time as `20150830T123600Z`.
pub(super) fn timestamp(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", time.hour(), time.minute(), time.second())
}

/// Appends lower-case hexadecimal digits.
pub fn push_hex(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}
