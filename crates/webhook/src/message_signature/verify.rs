//! Verification of message signatures; RFC 9421, section 3.2.

use sfv::{Dictionary, InnerList, ListEntry};

use super::{CREATED, MessageSignature, SIGNATURE, SIGNATURE_INPUT, base, content_digest};
use crate::error::SignatureError;
use crate::request::Request;
use crate::scheme::Scheme;
use crate::secret::Secret;
use crate::verify::{SIGNATURES_MAX, Verified};

/// The parameters of RFC 9421, section 2.3. A signature with another is refused: its meaning is unknown.
const PARAMETERS: [&str; 6] = [CREATED, "expires", "nonce", "alg", "keyid", "tag"];

/// The headers of the signatures.
struct Received {
    inputs: Dictionary,
    signatures: Dictionary,
}

impl Received {
    fn read(request: &Request<'_>) -> Result<Self, SignatureError> {
        let signatures = base::dictionary(request, SIGNATURE)?;
        let inputs = base::dictionary(request, SIGNATURE_INPUT)?;
        if inputs.len() > SIGNATURES_MAX {
            return Err(SignatureError::TooMany { header: SIGNATURE_INPUT.to_owned() });
        }
        Ok(Self { inputs, signatures })
    }

    /// Returns what each signature covers, with its label; only that of `label` if it is set.
    fn inputs<'a>(&'a self, label: Option<&'a str>) -> impl Iterator<Item = (&'a str, &'a ListEntry)> {
        let inputs = self.inputs.iter().map(|(known, input)| (known.as_str(), input));
        inputs.filter(move |(known, _)| label.is_none_or(|label| label == *known))
    }
}

impl MessageSignature {
    /// Verifies that one of the signatures covers what it must, and fits one of the secrets.
    pub(crate) fn verify(
        &self,
        scheme: &Scheme,
        request: &Request<'_>,
        secrets: &[Secret],
        now_unix_s: i64,
    ) -> Result<Verified, SignatureError> {
        let received = Received::read(request)?;
        scheme.read_id(request)?;
        let mut first = None;
        for (label, input) in received.inputs(self.label.as_deref()) {
            let signature = received.signatures.get(label);
            match self.verify_one(scheme, request, (label, input, signature), secrets, now_unix_s) {
                Ok(verified) => return Ok(verified),
                // Another secret could fit it, so this is the reason.
                Err(SignatureError::Mismatch) => first = Some(SignatureError::Mismatch),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        Err(first.unwrap_or_else(|| missing(SIGNATURE_INPUT, self.label.as_deref().unwrap_or_default())))
    }

    /// Returns the signature base of each signature for which the request has the components.
    pub(crate) fn bases(&self, request: &Request<'_>) -> Result<Vec<Vec<u8>>, SignatureError> {
        let received = Received::read(request)?;
        let inputs = received.inputs(self.label.as_deref());
        let (mut made, mut first) = (Vec::new(), None);
        for (_, input) in inputs {
            match list(input).and_then(|covered| base::base(covered, request)) {
                Ok(base) => made.push(base.into_bytes()),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        first.filter(|_| made.is_empty()).map_or(Ok(made), Err)
    }

    fn verify_one(
        &self,
        scheme: &Scheme,
        request: &Request<'_>,
        (label, input, signature): (&str, &ListEntry, Option<&ListEntry>),
        secrets: &[Secret],
        now_unix_s: i64,
    ) -> Result<Verified, SignatureError> {
        let covered = list(input)?;
        let signature = match signature.ok_or_else(|| missing(SIGNATURE, label))? {
            ListEntry::Item(item) if item.params.is_empty() => item.bare_item.as_byte_sequence(),
            _ => None,
        };
        let signature = signature.ok_or_else(|| SignatureError::Malformed { header: SIGNATURE.to_owned() })?;
        let keyid = self.check_parameters(scheme, covered, now_unix_s)?;
        if base::check(covered, &self.components)? {
            content_digest::check(request)?;
        }
        let base = base::base(covered, request)?;
        let pieces = [base.as_bytes().into()];
        let named = keyid.filter(|keyid| secrets.iter().any(|secret| secret.keyid.as_deref() == Some(keyid)));
        let mut fits = None;
        for (position, secret) in secrets.iter().enumerate() {
            if secret.keyid.as_deref() == named && secret.key.fits(&pieces, signature) && fits.is_none() {
                fits = Some(Verified { secret: position });
            }
        }
        fits.ok_or(SignatureError::Mismatch)
    }

    /// Checks the parameters of a signature, and returns its `keyid`.
    fn check_parameters<'a>(
        &self,
        scheme: &Scheme,
        covered: &'a InnerList,
        now_unix_s: i64,
    ) -> Result<Option<&'a str>, SignatureError> {
        let fault = |reason| Err(SignatureError::Message { reason });
        let (mut created, mut keyid, mut tag) = (None, None, None);
        for (name, value) in &covered.params {
            let (text, number) = (value.as_string().map(|text| text.as_str()), value.as_integer().map(i64::from));
            match (name.as_str(), text, number) {
                (CREATED, None, Some(at_unix_s)) => created = Some(at_unix_s),
                ("expires", None, Some(at_unix_s)) if now_unix_s > at_unix_s => return fault("has expired"),
                // The algorithm is the scheme's, never the signature's choice; section 7.3.6.
                ("alg", Some(name), None) if scheme.algorithm.message_name() != Some(name) => {
                    return fault("has another algorithm than the scheme");
                }
                ("keyid", Some(text), None) => keyid = Some(text),
                ("tag", Some(text), None) => tag = Some(text),
                ("expires", None, Some(_)) | ("alg" | "nonce", Some(_), None) => {}
                (name, ..) if PARAMETERS.contains(&name) => return fault("has a parameter of another type"),
                _ => return fault("has a parameter that is not one of RFC 9421"),
            }
        }
        if self.tag.as_deref().is_some_and(|expected| tag != Some(expected)) {
            return fault("has another tag");
        }
        let Some(created) = created else { return fault("has no time of creation") };
        if let Some(limits) = &scheme.timestamp {
            limits.check(created.to_string().as_bytes(), now_unix_s)?;
        }
        Ok(keyid)
    }
}

fn list(input: &ListEntry) -> Result<&InnerList, SignatureError> {
    match input {
        ListEntry::InnerList(list) => Ok(list),
        ListEntry::Item(_) => Err(SignatureError::Malformed { header: SIGNATURE_INPUT.to_owned() }),
    }
}

fn missing(header: &str, label: &str) -> SignatureError {
    // A label is a key of a structured field, so it has no character that a log would have to escape.
    SignatureError::Missing { place: format!("a signature {label:.64} in the header {header}") }
}
