//! The faults of a scheme that was written by hand.

use super::{Algorithm, Assurance, KeyEncoding, Scheme, Signature, SignedTexts, Timestamp, is_header_name};
use crate::key_source::KeySource;
use crate::signed_text::SignedText;

/// The separators of a list of `name=value`: characters that no value has.
const SEPARATORS: [char; 5] = [',', ';', '&', '|', ' '];

impl Scheme {
    /// Returns the faults of a scheme that was written by hand: the JSON pointer of each within the scheme, and the
    /// reason.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        if let Some(message) = &self.signature.message {
            return message.faults(self);
        }
        let mut faults = Vec::new();
        let mut fault = |pointer: &str, reason: &str| faults.push((pointer.to_owned(), reason.to_owned()));
        let Signature { header, body, tag, field, separator, prefix, .. } = &self.signature;
        let is_token = self.signature.is_token();
        if header.is_empty() == body.is_none() {
            fault("/signature", "set either `header` or `body`");
        }
        if tag.is_some() && field.is_some() {
            fault("/signature/tag", "`tag` and `field` are two kinds of lists; set one");
        }
        if field.is_some() != separator.is_some() {
            fault("/signature/field", "a list of `name=value` has a `field` and a `separator`; set both");
        }
        if separator.is_some_and(|separator| !SEPARATORS.contains(&separator)) {
            fault(
                "/signature/separator",
                "a value may have this character; the separator is `,`, `;`, `&`, `|` or a space",
            );
        }
        if body.is_some() && (tag.is_some() || field.is_some()) {
            fault("/signature/body", "a list of signatures is read from a header alone");
        }
        if is_token && (header.is_empty() || tag.is_some() || field.is_some()) {
            fault("/signature/claim", "a token with claims is read from a header, and is not in a list");
        }
        if !prefix.is_empty() && (tag.is_some() || field.is_some()) {
            fault("/signature/prefix", "a list has no prefix; the `tag` or `field` stands before the signature");
        }
        if self.algorithm == Algorithm::Token {
            if tag.is_some() || field.is_some() || is_token {
                fault("/signature", "the secret itself is sent; leave out `tag`, `field` and `claim`");
            }
            if self.signed != SignedTexts::default() {
                fault("/signed", "the secret itself is sent, and nothing is signed; leave out `signed`");
            }
        }
        let names = [("/signature/header", header), ("/id", &self.id)];
        let timestamp = self.timestamp.as_ref().map(|timestamp| ("/timestamp/header", &timestamp.header));
        for (pointer, names) in names.into_iter().chain(timestamp) {
            for name in names.iter() {
                // Only signatures are read from numbered headers, and a token from a single one.
                let is_numbered = pointer == "/signature/header" && !is_token;
                let numbered = || is_numbered && is_header_name(&name.replacen("{n}", "1", 1));
                if !is_header_name(name) && !numbered() {
                    fault(pointer, &format!("`{name}` is not a header name"));
                }
            }
        }
        if let Some(timestamp) = &self.timestamp {
            let Timestamp { header, field, body, claim, .. } = timestamp;
            let set = [!header.is_empty(), field.is_some(), body.is_some(), claim.is_some()];
            if set.into_iter().filter(|set| *set).count() != 1 {
                fault("/timestamp", "set one of `header`, `field`, `body` and `claim`");
            }
            if timestamp.field.is_some() && self.signature.field.is_none() {
                fault("/timestamp/field", "the signature is not in a list with fields");
            }
            let signs_time = self.signed.0.iter().all(SignedText::signs_timestamp);
            if timestamp.claim.is_some() && !is_token {
                fault("/timestamp/claim", "the signature is not a token with claims");
            }
            if timestamp.body.is_none() && timestamp.claim.is_none() && !signs_time {
                fault("/signed", "the timestamp is not signed, so anyone can change it; add {timestamp}");
            }
        }
        let signs = |wanted: fn(&SignedText) -> bool| self.signed.0.iter().all(wanted);
        if self.signed.0.is_empty() {
            fault("/signed", "the list of signed texts is empty");
        }
        if !self.id.is_empty() && !signs(SignedText::has_id) {
            fault("/id", "the id is not signed, so anyone can change it; add {id} to `signed`");
        }
        if self.id.is_empty() && self.signed.0.iter().any(SignedText::has_id) {
            fault("/signed", "{id} needs the header of the id in `id`");
        }
        if self.timestamp.as_ref().is_none_or(|timestamp| timestamp.body.is_some() || timestamp.claim.is_some())
            && self.signed.0.iter().any(SignedText::has_timestamp)
        {
            fault("/signed", "{timestamp} needs a `timestamp` in a header or a field");
        }
        for (position, handshake) in self.handshakes.iter().enumerate() {
            if !(200..=599).contains(&handshake.status) {
                fault(&format!("/handshakes/{position}/status"), "is not the status of an answer: 200 to 599");
            }
            if handshake.visits.is_some() && !(handshake.signed && matches!(self.keys, Some(KeySource::Certificate(_))))
            {
                fault(
                    &format!("/handshakes/{position}/visits"),
                    "only a signed handshake, with certificates, is confirmed",
                );
            }
            if handshake.headers.iter().any(|(name, _)| !is_header_name(name)) {
                fault(&format!("/handshakes/{position}/headers"), "a name is not a header name");
            }
        }
        let binds_body = if is_token { self.signature.claim.is_some() } else { signs(SignedText::has_body) };
        match self.assurance {
            Assurance::Signed if self.algorithm == Algorithm::Token => {
                fault("/assurance", "the secret itself is sent and nothing is signed; write `token`");
            }
            Assurance::Signed if !binds_body => {
                fault("/assurance", "not the whole body is signed; write `partial`, or add {body} to `signed`");
            }
            _ => {}
        }
        if self.keys.is_none() && self.algorithm.has_public_key() && self.secret.encoding == KeyEncoding::Text {
            fault("/secret/encoding", "a public key is hex, base64, spki or jwk");
        }
        self.key_faults(&mut fault);
        faults
    }
}
