//! Valid requests to start from: the vectors of every provider, and of RFC 9421.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use sluicegate_webhook::{Provider, Request, Scheme, Secret};

/// A request in its parts, with headers that may be there twice.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

/// A valid request, with what verifies it.
#[derive(Debug)]
pub(crate) struct Valid {
    pub(crate) name: String,
    pub(crate) scheme: Scheme,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) parts: Parts,
    pub(crate) now_unix_s: i64,
}

impl Parts {
    /// Returns the headers; `None` if they cannot be received.
    pub(crate) fn headers(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(HeaderName::try_from(name.as_str()).ok()?, HeaderValue::from_bytes(value).ok()?);
        }
        Some(headers)
    }

    pub(crate) fn request<'r>(&'r self, headers: &'r HeaderMap) -> Request<'r> {
        Request::new(headers, &self.body).at(&self.method, &self.url)
    }
}

/// Returns every valid request of the vectors.
pub(crate) fn requests() -> Vec<Valid> {
    let files = [
        include_str!("../../../../tests/vectors/webhook/github.json"),
        include_str!("../../../../tests/vectors/webhook/standard-webhooks.json"),
        include_str!("../../../../tests/vectors/webhook/published.json"),
        include_str!("../../../../tests/vectors/webhook/computed.json"),
        include_str!("../../../../tests/vectors/webhook/message-signatures.json"),
        include_str!("../../../../tests/vectors/webhook/rfc9421.json"),
    ];
    let read = |file: &str| {
        let mut read: Value = serde_json::from_str(file).unwrap();
        let key = if read["cases"].is_array() { "cases" } else { "vectors" };
        serde_json::from_value::<Vec<Value>>(read[key].take()).unwrap()
    };
    let vectors = files.into_iter().flat_map(read).filter(|vector| vector["error"].is_null());
    vectors.map(|vector| valid(&vector)).collect()
}

fn valid(vector: &Value) -> Valid {
    let text = |name: &str| vector[name].as_str().map(str::to_owned);
    let scheme: Scheme = match &vector["scheme"] {
        Value::String(slug) => Provider::named(slug).unwrap().scheme.clone(),
        scheme => serde_json::from_value(scheme.clone()).unwrap(),
    };
    let secret = |entry: &Value| {
        let text = entry.as_str().or_else(|| entry["secret"].as_str()).unwrap();
        scheme.secret_of(entry["keyid"].as_str(), text).unwrap()
    };
    let headers = vector["headers"].as_array().unwrap().iter();
    let headers =
        headers.map(|pair| (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().unwrap().as_bytes().to_vec()));
    let body = text("body").map(String::into_bytes);
    let parts = Parts {
        method: text("method").unwrap_or_else(|| "POST".to_owned()),
        url: text("url").unwrap_or_default(),
        headers: headers.collect(),
        body: body.unwrap_or_else(|| STANDARD.decode(vector["body_base64"].as_str().unwrap()).unwrap()),
    };
    Valid {
        name: format!("{}: {}", vector["scheme"], vector["name"]),
        secrets: vector["secrets"].as_array().unwrap().iter().map(secret).collect(),
        parts,
        now_unix_s: vector["now_unix_s"].as_i64().unwrap(),
        scheme,
    }
}
