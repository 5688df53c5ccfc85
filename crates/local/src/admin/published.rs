//! [`PublishedDocument`]: the documents of development issuers, by the host of the request.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, header};

/// A document that stands in for one of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedDocument {
    /// The host, and its port if it is not 443.
    pub host: String,
    /// The path and query.
    pub path: String,
    /// The JSON text.
    pub body: String,
}

/// Answers a request for a document of a development issuer, and passes on any other.
pub(super) async fn answer(
    State(documents): State<Arc<[PublishedDocument]>>,
    request: Request,
    next: Next,
) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    match documents.iter().find(|document| document.host == host && document.path == path) {
        Some(document) => {
            ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], document.body.clone())
                .into_response()
        }
        None => next.run(request).await,
    }
}
