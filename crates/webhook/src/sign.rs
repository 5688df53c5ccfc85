//! Computes signatures, and makes the headers a sender would.

use hmac::Mac;
use hmac::digest::CtOutput;
use sha2::Sha256;

use crate::scheme::{Mark, Part, Scheme};
use crate::secret::Secret;

impl Scheme {
    /// The headers that sign `body` as message `id` at this time, in seconds since 1970. Schemes that sign no id or no
    /// timestamp leave it out.
    pub fn sign(&self, secret: &Secret, id: &str, now_unix_s: i64, body: &[u8]) -> Vec<(&'static str, String)> {
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
        [id, timestamp, signature].into_iter().flatten().collect()
    }

    pub(crate) fn mac(
        &self,
        secret: &Secret,
        id: &[u8],
        timestamp: &[u8],
        body: &[u8],
    ) -> CtOutput<hmac::Hmac<Sha256>> {
        let mut mac = secret.keyed.clone();
        for part in self.signed {
            mac.update(match part {
                Part::Id => id,
                Part::Timestamp => timestamp,
                Part::Body => body,
                Part::Literal(text) => text.as_bytes(),
            });
        }
        mac.finalize()
    }
}
