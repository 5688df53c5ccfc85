//! [`Project`]: what the console shows and sends of the project's contract, given by the caller, since the stack reads
//! no contract; and the requests that it sends to the API.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

use crate::{
    gateway::INVOKE_BYTES_MAX,
    sources::{self, Fingerprint},
};

/// A request to the API.
#[derive(Clone, Debug, Default)]
pub struct ApiRequest {
    /// The method.
    pub method: String,
    /// The path and query.
    pub target: String,
    /// The headers, without those of the connection.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

/// The contract and the template as they are now. Its functions may block.
pub trait Project: Send + Sync {
    /// Returns what the contract says, with the faults of `sluicegate check` and the findings of `sluicegate doctor`:
    /// `{"routes", "faults", "warnings", "findings"}`.
    fn describe(&self) -> Value;

    /// Returns a request to a route, such as `POST /orders`: a body from the examples or the schema of the contract,
    /// with the development credentials. `api` is the URL of the API.
    ///
    /// # Errors
    /// The contract has no such route, or no request to it can be made. The text is for the user.
    fn sample(&self, route: &str, api: &str) -> Result<ApiRequest, String>;

    /// Returns a request that arrived at `at_unix_s` as it is sent again: with a new signature if its own was valid
    /// then and is too old now.
    fn renew(&self, request: ApiRequest, at_unix_s: i64, api: &str) -> ApiRequest;
}

/// A project whose description is kept until its sources change.
#[derive(Clone)]
pub(crate) struct WatchedProject {
    pub(crate) project: Arc<dyn Project>,
    /// The folder of the sources.
    folder: PathBuf,
    seen: Arc<Mutex<Option<(Fingerprint, Value)>>>,
}

impl WatchedProject {
    /// Watches the folder of a template.
    pub(crate) fn new(project: Arc<dyn Project>, template: &Path) -> Self {
        let folder = template.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self { project, folder: folder.to_owned(), seen: Arc::default() }
    }

    /// Returns [`Project::describe`] of the sources as they are now. It blocks.
    pub(crate) fn describe(&self) -> Value {
        let now = sources::fingerprint(&self.folder);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match &*seen {
            Some((then, described)) if *then == now => described.clone(),
            _ => seen.insert((now, self.project.describe())).1.clone(),
        }
    }
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct ApiAnswer {
    pub(crate) status: StatusCode,
    /// The id of the request.
    pub(crate) request_id: Option<String>,
    pub(crate) body: Value,
}

/// A client of the API. Clones share the connections.
#[derive(Clone)]
pub(crate) struct ApiClient {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The request is not one of HTTP.
    #[error("the request cannot be sent: {0}")]
    Request(#[from] http::Error),
    /// The API is not reached: its functions may not have started.
    #[error("the API does not answer: {0}")]
    Unreached(#[from] hyper_util::client::legacy::Error),
    /// The answer ends early, or is too large.
    #[error("the answer cannot be read: {0}")]
    Answer(String),
}

impl ApiClient {
    /// Creates a client of the API at this URL.
    pub(crate) fn new(url: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, url: url.trim_end_matches('/').to_owned() }
    }

    /// Returns the URL of the API.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub(crate) async fn send(&self, request: ApiRequest) -> Result<ApiAnswer, ApiError> {
        let ApiRequest { method, target, headers, body } = request;
        let mut request =
            Request::builder().method(method.as_str()).uri(format!("{}{target}", self.url)).body(body.into())?;
        *request.headers_mut() = headers;
        let (head, body) = self.client.request(request).await?.into_parts();
        let body = Limited::new(body, INVOKE_BYTES_MAX).collect().await;
        let body = body.map_err(|error| ApiError::Answer(error.to_string()))?.to_bytes();
        let request_id = head.headers.get("apigw-requestid").and_then(|id| id.to_str().ok());
        Ok(ApiAnswer {
            status: head.status,
            request_id: request_id.map(str::to_owned),
            body: serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into()),
        })
    }
}
