//! The answer in the form the service that brought the request understands.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Serialize;

use crate::event::Origin;

/// An HTTP answer; every body this function sends is text.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Each header once.
    pub headers: Vec<(&'static str, String)>,
    /// UTF-8 text, empty for none.
    pub body: String,
}

impl Answer {
    /// An answer with a body of that media type.
    #[must_use]
    pub fn new(status: StatusCode, content_type: &str, body: String) -> Self {
        Self { status, headers: vec![("content-type", content_type.to_owned())], body }
    }

    /// The answer to HEAD: the headers of the answer to GET, with the length of the body that is left out (RFC 9110,
    /// section 9.3.2).
    #[must_use]
    pub fn without_body(mut self) -> Self {
        self.headers.push(("content-length", self.body.len().to_string()));
        self.body.clear();
        self
    }

    /// What Lambda is given: one shape, whose fields each service reads as it needs.
    ///
    /// HTTP APIs, Function URLs and REST APIs take `headers`; a load balancer wants a status description, and
    /// `multiValueHeaders` in place of `headers` when its target group is set so.
    #[must_use]
    pub fn for_origin(self, origin: Origin) -> LambdaAnswer {
        let status_description = matches!(origin, Origin::Alb { .. })
            .then(|| format!("{} {}", self.status.as_u16(), self.status.canonical_reason().unwrap_or_default()));
        let (headers, multi_value_headers) = if origin == (Origin::Alb { multi: true }) {
            (None, Some(self.headers.into_iter().map(|(name, value)| (name, [value])).collect()))
        } else {
            (Some(self.headers.into_iter().collect()), None)
        };
        LambdaAnswer {
            status_code: self.status.as_u16(),
            status_description,
            headers,
            multi_value_headers,
            body: self.body,
            is_base64_encoded: false,
        }
    }
}

/// The JSON of a Lambda proxy answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LambdaAnswer {
    status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<&'static str, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<BTreeMap<&'static str, [String; 1]>>,
    body: String,
    is_base64_encoded: bool,
}
