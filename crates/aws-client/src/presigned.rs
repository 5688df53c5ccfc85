//! [`PresignedGet`]: a request whose signature is in its URL, so that the URL proves the credentials of its sender.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::time::SystemTime;

use percent_encoding::utf8_percent_encode;
use sha2::{Digest, Sha256};

use crate::AwsEnvironment;
use crate::signer::{ESCAPED_IN_QUERY, Scope, push_hex, timestamp};

/// The only header that is signed, as a parameter of the query.
const SIGNED_HEADERS: &str = "&X-Amz-SignedHeaders=host";

/// A GET of `/` with an action.
#[derive(Clone, Copy, Debug)]
pub struct PresignedGet<'a> {
    /// The name of the service in the signature.
    pub service: &'static str,
    /// The host of the URL.
    pub host: &'a str,
    /// The value of `Action`.
    pub action: &'a str,
    /// The time for which the URL is valid, in seconds.
    pub lifetime_s: u32,
}

impl PresignedGet<'_> {
    /// Returns the URL, signed at `now`. Its parameters are in the order of the SDKs for Python.
    #[must_use]
    pub fn url(&self, environment: &AwsEnvironment, now: SystemTime) -> String {
        let Self { service, host, action, lifetime_s } = *self;
        let (credentials, region, date) = (environment.credentials(), environment.region(), timestamp(now));
        let scope = Scope::new(credentials.clone(), region.to_owned(), service);
        let encoded = |text: &str| utf8_percent_encode(text, ESCAPED_IN_QUERY).to_string();
        let credential = format!("{}/{}/{region}/{service}/aws4_request", credentials.access_key_id(), &date[..8]);
        let head = format!(
            "Action={}&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={date}&X-Amz-Expires={lifetime_s}",
            encoded(action),
            encoded(&credential),
        );
        let token = scope.session_token().map(|token| format!("&X-Amz-Security-Token={}", encoded(token)));
        let token = token.unwrap_or_default();
        // A canonical query is in the order of its names.
        let mut canonical = format!("GET\n/\n{head}{token}{SIGNED_HEADERS}\nhost:{host}\n\nhost\n");
        push_hex(&mut canonical, &Sha256::digest(b""));
        let signature = scope.signature(&canonical, &date, now);
        format!("https://{host}/?{head}{SIGNED_HEADERS}{token}&X-Amz-Signature={signature}")
    }
}
