//! Creation of message signatures; RFC 9421, section 3.1.

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{InnerList, Integer, Item, Key, Parameters, String as Text};

use super::{CONTENT_DIGEST, CREATED, MessageSignature, SIGNATURE, SIGNATURE_INPUT, base, content_digest};
use crate::encoding::Encoding;
use crate::request::Request;
use crate::scheme::Scheme;
use crate::sign::{SignError, SigningKey};

/// The label of a signature whose scheme has none, as in the RFC's examples.
const LABEL: &str = "sig1";

impl MessageSignature {
    /// Returns the headers that sign a request: the id, the digest of the body unless the request has it, and the
    /// signature over the components that the scheme requires.
    pub(crate) fn sign(
        &self,
        scheme: &Scheme,
        key: &SigningKey,
        id: &str,
        now_unix_s: i64,
        request: &Request<'_>,
    ) -> Result<Vec<(String, String)>, SignError> {
        let mut signed = Vec::new();
        let mut headers = request.headers.clone();
        let mut add = |headers: &mut HeaderMap, name: &str, text: String| {
            let header = HeaderName::try_from(name).map_err(|_| SignError::NoText)?;
            headers.insert(header, HeaderValue::try_from(&text).map_err(|_| SignError::Id(text.clone()))?);
            signed.push((name.to_owned(), text));
            Ok::<_, SignError>(())
        };
        if !scheme.id.is_empty() {
            scheme.is_id(id.as_bytes()).then_some(()).ok_or_else(|| SignError::Id(id.to_owned()))?;
            add(&mut headers, scheme.id.first(), id.to_owned())?;
        }
        let covers_body = self.components.iter().any(|component| component == CONTENT_DIGEST);
        if covers_body && !headers.contains_key(CONTENT_DIGEST) {
            add(&mut headers, CONTENT_DIGEST, content_digest::write(request.body))?;
        }
        let created = u64::try_from(now_unix_s).ok().and_then(|now| Integer::try_from(now).ok());
        let created = created.ok_or(SignError::Time(now_unix_s))?;
        let covered = self.covered(created, key.keyid.as_deref()).ok_or(SignError::NoText)?;
        let request = Request { headers: &headers, ..*request };
        let base = base::base(&covered, &request).map_err(|_| SignError::NoText)?;
        let signature = key.sign(&[base.as_bytes().into()])?;
        let label = self.label.as_deref().unwrap_or(LABEL);
        let parameters = base::parameters(&covered).map_err(|_| SignError::NoText)?;
        signed.push((SIGNATURE_INPUT.to_owned(), format!("{label}={parameters}")));
        let signature = Encoding::Base64.encode(&signature);
        signed.push((SIGNATURE.to_owned(), format!("{label}=:{signature}:")));
        Ok(signed)
    }

    /// Returns the list of the required components, with its parameters.
    fn covered(&self, created: Integer, keyid: Option<&str>) -> Option<InnerList> {
        let text = |text: &str| Text::from_string(text.to_owned()).ok();
        let names = self.components.iter().map(|name| Some(Item::new(text(name)?)));
        let key = |name: &str| Key::from_string(name.to_owned()).ok();
        let mut params = Parameters::new();
        params.insert(key(CREATED)?, created.into());
        for (name, value) in [("keyid", keyid), ("tag", self.tag.as_deref())] {
            if let Some(value) = value {
                params.insert(key(name)?, text(value)?.into());
            }
        }
        Some(InnerList::with_params(names.collect::<Option<_>>()?, params))
    }
}
