//! Verification with the key that a provider publishes.

use crate::body::json;
use crate::error::SignatureError;
use crate::handshake::Handshake;
use crate::key_source::{CertificateSource, KeySource};
use crate::published_keys::KeyUrl;
use crate::request::{Item, Request};
use crate::scheme::{AlgorithmBy, Scheme};
use crate::secret::{Key, Secret};
use crate::signed_text::Signed;
use crate::verify::{Candidate, Verified};

impl Candidate<'_> {
    /// Returns the secret that fits. Everything but the signature is checked before a key is asked for, so that only a
    /// request for one of the live secrets causes a fetch, where the request says which secret it is for.
    pub(crate) fn fitting_published(
        &self,
        source: &CertificateSource,
        now_unix_s: i64,
    ) -> Result<Verified, SignatureError> {
        let Self { scheme, request, item, secrets, .. } = *self;
        let place = |header: &Option<String>, body: &Option<String>| match (header, body) {
            (Some(header), _) => {
                let value =
                    request.header(header).ok_or_else(|| SignatureError::Ambiguous { header: header.clone() })?;
                let value = value.ok_or_else(|| SignatureError::MissingHeader { header: header.clone() })?;
                String::from_utf8(value.to_vec()).map_err(|_| SignatureError::Malformed { header: header.clone() })
            }
            (None, body) => {
                let pointer = body.as_deref().unwrap_or_default();
                item.text(pointer).ok_or_else(|| SignatureError::Missing { place: format!("{pointer} in the body") })
            }
        };
        let algorithm = match &scheme.algorithm_by {
            None => scheme.algorithm,
            Some(AlgorithmBy { header, body, values }) => {
                let name = place(header, body)?;
                let named = values.iter().find(|(known, _)| *known == name);
                named.map(|(_, algorithm)| *algorithm).ok_or(SignatureError::Algorithm)?
            }
        };
        let url = place(&source.header, &source.body)?;
        let subjects = source.subjects(&url).map_err(|reason| SignatureError::KeyUrl { reason })?;
        let value = scheme.secret.equals.as_ref().map(|pointer| item.text(pointer).unwrap_or_default());
        let is_meant = |secret: &str| value.as_ref().is_none_or(|value| value == secret);
        let expected = secrets.iter().enumerate().filter_map(|(position, Secret { key, .. })| match key {
            Key::Expected(secret) if is_meant(secret) => Some((position, secret)),
            _ => None,
        });
        let expected: Vec<_> = expected.collect();
        if expected.is_empty() {
            return Err(SignatureError::Mismatch);
        }
        let texts = |secret: &str| -> Vec<Vec<u8>> {
            let signed = Signed { secret: secret.as_bytes(), ..self.signed };
            let texts = scheme.signed.0.iter().filter_map(|text| text.pieces(request, item, signed));
            texts.map(|pieces| pieces.concat()).collect()
        };
        let texts: Vec<_> = expected.into_iter().map(|(position, secret)| (position, texts(secret))).collect();
        if texts.iter().all(|(_, texts)| texts.is_empty()) {
            return Err(SignatureError::NoText {
                reason: "a signed member of the body is missing, or is not one line",
            });
        }
        let keys = request.keys(&url).ok_or(SignatureError::KeyNeeded { url: KeyUrl::certificate(url, subjects) })?;
        if !keys.is_valid(now_unix_s) {
            return Err(SignatureError::KeyExpired);
        }
        let fits = |text: &Vec<u8>| {
            let fits = |signature: &Vec<u8>| keys.keys().iter().any(|key| key.fits(algorithm, text, signature));
            self.signatures.iter().any(fits)
        };
        // Neither the texts nor the keys are secret: the first that fits ends the search.
        let found = texts.iter().find(|(_, texts)| texts.iter().any(fits));
        found.map(|(position, _)| Verified { secret: *position }).ok_or(SignatureError::Mismatch)
    }
}

impl Scheme {
    /// Returns the URL that is visited to accept this handshake, if any.
    ///
    /// # Errors
    /// The URL is missing, or is not on a host of the provider.
    pub fn visit(&self, handshake: &Handshake, request: &Request<'_>) -> Result<Option<String>, SignatureError> {
        let Some(pointer) = &handshake.visits else { return Ok(None) };
        let document = json(request.body);
        let missing = || SignatureError::Missing { place: format!("{pointer} in the body") };
        let url = Item(document.as_ref()).text(pointer).ok_or_else(missing)?;
        match &self.keys {
            Some(KeySource::Certificate(source)) => {
                source.check_visit(&url).map_err(|reason| SignatureError::KeyUrl { reason })?;
                Ok(Some(url))
            }
            _ => Err(SignatureError::KeyUrl { reason: "is not on a host of the provider" }),
        }
    }
}
