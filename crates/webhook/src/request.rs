//! [`Request`]: the received bytes that a signature may cover.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::HeaderMap;
use ring::digest;
use serde_json::Value;

use crate::encoding::Encoding;
use crate::published_keys::PublishedKeys;
use crate::signed_text::FORM_MEDIA_TYPE;

/// The parts of a request that a signature may cover, as they arrived.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    pub(crate) method: &'r str,
    pub(crate) url: &'r str,
    pub(crate) headers: &'r HeaderMap,
    pub(crate) body: &'r [u8],
    pub(crate) keys: &'r [Arc<PublishedKeys>],
}

impl<'r> Request<'r> {
    /// Returns a POST with these headers and this body, at no URL: enough for schemes that do not sign the URL.
    #[must_use]
    pub fn new(headers: &'r HeaderMap, body: &'r [u8]) -> Self {
        Self { method: "POST", url: "", headers, body, keys: &[] }
    }

    /// Sets the method, in upper case, and the URL as the provider called it, with its host and query.
    #[must_use]
    pub fn at(mut self, method: &'r str, url: &'r str) -> Self {
        (self.method, self.url) = (method, url);
        self
    }

    /// Adds published keys, each found by its URL, for schemes that need some.
    #[must_use]
    pub fn with_keys(mut self, keys: &'r [Arc<PublishedKeys>]) -> Self {
        self.keys = keys;
        self
    }

    /// Returns the published keys of this URL.
    pub(crate) fn keys(&self, url: &str) -> Option<&'r PublishedKeys> {
        self.keys.iter().find(|keys| keys.url() == url).map(|keys| &**keys)
    }

    /// Returns the value of a header, `Some(None)` if it is absent, and `None` if it is there more than once.
    pub(crate) fn header(&self, name: &str) -> Option<Option<&'r [u8]>> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(http::HeaderValue::as_bytes);
        values.next().is_none().then_some(value)
    }

    /// Returns the first value of a parameter of the query, decoded.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        let query = self.url.split_once('?').map_or("", |(_, query)| query);
        let found = form_urlencoded::parse(query.as_bytes()).find(|(known, _)| known == name);
        found.map(|(_, value)| value.into_owned())
    }

    /// Returns the headers that the header `name` lists. It must list itself, and `required` unless that is empty.
    pub(crate) fn listed(&self, name: &str, required: &str) -> Option<String> {
        let list = std::str::from_utf8(self.header(name)??).ok()?.to_ascii_lowercase();
        let names: BTreeSet<&str> = list.split(',').map(str::trim).collect();
        if !names.contains(name) || !(required.is_empty() || names.contains(required)) {
            return None;
        }
        let values = names.into_iter().map(|name| {
            let value = std::str::from_utf8(self.header(name)??).ok()?;
            Some(format!("{name}:{}", value.trim()))
        });
        Some(values.collect::<Option<Vec<_>>>()?.join(";"))
    }

    /// Returns whether the body is a form.
    pub(crate) fn is_form(&self) -> bool {
        let media_type = self.header("content-type").flatten().unwrap_or_default();
        media_type.to_ascii_lowercase().starts_with(FORM_MEDIA_TYPE.as_bytes())
    }

    /// Returns the names and values of a form, sorted by name and then by value, each value once.
    ///
    /// For another media type: nothing, if `bodySHA256` in the query is the SHA-256 of the body, and `None` otherwise.
    ///
    /// <https://www.twilio.com/docs/usage/webhooks/webhooks-security#validating-signatures-from-twilio>
    pub(crate) fn form_text(&self) -> Option<String> {
        self.header("content-type")?;
        if self.is_form() {
            let mut fields: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for (name, value) in form_urlencoded::parse(self.body) {
                fields.entry(name.into_owned()).or_default().insert(value.into_owned());
            }
            let values = fields.iter().flat_map(|(name, values)| values.iter().flat_map(move |value| [name, value]));
            return Some(values.map(String::as_str).collect());
        }
        let query = self.url.split_once('?').map_or("", |(_, query)| query);
        let mut hashes = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "bodySHA256");
        let sent = Encoding::Hex.decode(hashes.next()?.1.as_bytes())?;
        let hash = digest::digest(&digest::SHA256, self.body);
        (hashes.next().is_none() && sent == hash.as_ref()).then(String::new)
    }
}

/// The JSON value that pointers start from: the body, or an item of it. Absent for a body that is not JSON.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Item<'j>(pub(crate) Option<&'j Value>);

impl Item<'_> {
    /// Returns the text of a string, number or boolean at this JSON pointer.
    pub(crate) fn text(self, pointer: &str) -> Option<String> {
        match self.0?.pointer(pointer)? {
            Value::String(text) => Some(text.clone()),
            value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
            _ => None,
        }
    }
}
