//! Signature computation, and the headers of a signed request.

use hmac::Mac;
use hmac::digest::CtOutput;
use http::HeaderValue;
use sha2::Sha256;

use crate::scheme::{Mark, Scheme, SignedPart};
use crate::secret::Secret;
use crate::verify::{SignatureError, is_id};

impl Scheme {
    /// Returns the headers that sign `body` as message `id` at this time, in seconds since 1970. Schemes without an id
    /// or a timestamp omit it.
    ///
    /// # Errors
    /// [`Scheme::verify`] would refuse the id or the time: an id that is empty, has a full stop or is not a header
    /// value, or a time before 1970.
    pub fn sign(
        &self,
        secret: &Secret,
        id: &str,
        now_unix_s: i64,
        body: &[u8],
    ) -> Result<Vec<(&'static str, String)>, SignatureError> {
        if let Some(header) = self.id.and_then(|names| names.first()) {
            let fits = is_id(id.as_bytes()) && HeaderValue::from_str(id).is_ok();
            fits.then_some(()).ok_or(SignatureError::Malformed { header })?;
        }
        if let Some(header) = self.timestamp.as_ref().and_then(|timestamp| timestamp.headers.first()) {
            (now_unix_s >= 0).then_some(()).ok_or(SignatureError::TimestampMalformed { header })?;
        }
        let timestamp = now_unix_s.to_string();
        let mac = self.mac(secret, id.as_bytes(), timestamp.as_bytes(), body).into_bytes();
        let encoded = self.encoding.encode(&mac);
        let signature = match self.mark {
            Mark::Prefix(prefix) => format!("{prefix}{encoded}"),
            Mark::WordBefore(word) => format!("{word},{encoded}"),
        };
        let first = |names: &'static [&'static str]| names.first().copied();
        let id = self.id.and_then(first).map(|name| (name, id.to_owned()));
        let timestamp = self.timestamp.as_ref().and_then(|header| first(header.headers)).map(|name| (name, timestamp));
        let signature = first(self.signature).map(|name| (name, signature));
        Ok([id, timestamp, signature].into_iter().flatten().collect())
    }

    pub(crate) fn mac(
        &self,
        secret: &Secret,
        id: &[u8],
        timestamp: &[u8],
        body: &[u8],
    ) -> CtOutput<hmac::Hmac<Sha256>> {
        let mut mac = secret.keyed.clone();
        for part in self.signed_before_body {
            mac.update(match part {
                SignedPart::Id => id,
                SignedPart::Timestamp => timestamp,
                SignedPart::Literal(text) => text.as_bytes(),
            });
        }
        mac.update(body);
        mac.finalize()
    }
}
