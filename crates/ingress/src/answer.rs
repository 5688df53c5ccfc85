//! HTTP answers, in the form of the service that sent the event.

use std::{borrow::Cow, collections::BTreeMap};

use http::StatusCode;
use serde::Serialize;

use crate::event::Origin;

/// An HTTP answer with a text body.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers, each name once.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The body, empty for none.
    pub body: String,
}

impl Answer {
    /// Returns an answer with a body of this media type.
    #[must_use]
    pub fn new(status: StatusCode, content_type: &str, body: String) -> Self {
        Self { status, headers: vec![("content-type".into(), content_type.to_owned())], body }
    }

    /// Returns the answer to HEAD: the headers of the answer to GET, with the length of the omitted body (RFC 9110,
    /// section 9.3.2).
    #[must_use]
    pub fn without_body(mut self) -> Self {
        self.headers.push(("content-length".into(), self.body.len().to_string()));
        self.body.clear();
        self
    }

    /// Returns the Lambda answer. All services share one shape and read different fields of it.
    ///
    /// HTTP APIs, Function URLs and REST APIs read `headers`. A load balancer needs a status description, and
    /// `multiValueHeaders` instead of `headers` if its target group is configured for them.
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
    headers: Option<BTreeMap<Cow<'static, str>, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<BTreeMap<Cow<'static, str>, [String; 1]>>,
    body: String,
    is_base64_encoded: bool,
}
