//! An SQS client for both the emulator in this process and a remote endpoint such as LocalStack.
//!
//! Both take an action with its AWS JSON input and return its output or an `ApiError`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use sqs_emulator::{ApiError, Sqs};
use tokio::time::timeout;

/// Limit for one call: a long poll is 20 s at most.
const CALL_S_MAX: u64 = 30;
/// The largest answer: ten messages of 1 MiB, each character escaped as six.
const ANSWER_BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// Access to the queues.
#[derive(Clone)]
pub enum SqsClient {
    /// Queues in this process.
    Emulated(Sqs),
    /// Queues at a remote endpoint.
    Remote(RemoteSqs),
}

impl SqsClient {
    /// Runs one action, such as `SendMessage`, on its AWS JSON input.
    ///
    /// # Errors
    /// The error of SQS; for a remote endpoint that cannot be reached, `ServiceUnavailable` with status 503.
    pub async fn call(&self, action: &str, input: Value) -> Result<Value, ApiError> {
        match self {
            Self::Emulated(sqs) => sqs.call(action, input).await,
            Self::Remote(remote) => remote.call(action, input).await,
        }
    }
}

/// SQS at a plain-HTTP endpoint that does not verify signatures, such as LocalStack. Clones share the connections.
#[derive(Clone)]
pub struct RemoteSqs {
    inner: Arc<SqsEndpoint>,
}

struct SqsEndpoint {
    client: Client<HttpConnector, Full<Bytes>>,
    url: Uri,
    /// Well-formed, because LocalStack reads the Region from it; the signature is a placeholder.
    authorization: String,
}

/// An endpoint URL that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("endpoint URL {url:?}: {reason}")]
pub struct EndpointError {
    url: String,
    reason: &'static str,
}

impl RemoteSqs {
    /// Creates a client for an endpoint such as `http://127.0.0.1:4566` and a Region. Nothing is sent yet.
    ///
    /// # Errors
    /// The URL is not `http://host[:port]`.
    pub fn new(endpoint_url: &str, region: &str) -> Result<Self, EndpointError> {
        let error = |reason| EndpointError { url: endpoint_url.to_owned(), reason };
        let url: Uri = endpoint_url.parse().map_err(|_| error("not a URL"))?;
        if url.scheme_str() != Some("http") {
            return Err(error("only http:// endpoints are supported"));
        }
        if url.authority().is_none() {
            return Err(error("no host"));
        }
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=test/20260101/{region}/sqs/aws4_request, SignedHeaders=host, Signature=0"
        );
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Self { inner: Arc::new(SqsEndpoint { client, url, authorization }) })
    }

    /// Runs one action over AWS JSON 1.0.
    ///
    /// # Errors
    /// The error of the endpoint, or `ServiceUnavailable` with status 503 without an answer.
    pub async fn call(&self, action: &str, input: Value) -> Result<Value, ApiError> {
        match timeout(Duration::from_secs(CALL_S_MAX), self.exchange(action, &input)).await {
            Ok(result) => result,
            Err(_) => Err(unavailable(format!("no answer within {CALL_S_MAX} s"))),
        }
    }

    async fn exchange(&self, action: &str, input: &Value) -> Result<Value, ApiError> {
        let request = Request::post(self.inner.url.clone())
            .header(header::CONTENT_TYPE, "application/x-amz-json-1.0")
            .header(header::AUTHORIZATION, &self.inner.authorization)
            .header("x-amz-target", format!("AmazonSQS.{action}"))
            .body(Full::from(input.to_string()))
            .map_err(|error| unavailable(error.to_string()))?;
        let response = self.inner.client.request(request).await.map_err(|error| unavailable(error.to_string()))?;
        let (head, body) = response.into_parts();
        let legacy_code = head.headers.get("x-amzn-query-error").and_then(|value| value.to_str().ok());
        let legacy_code = legacy_code.and_then(|text| text.split(';').next()).map(str::to_owned);
        let body =
            Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| unavailable(error.to_string()))?;
        read_answer(head.status, legacy_code, &body.to_bytes())
    }
}

fn read_answer(status: StatusCode, legacy_code: Option<String>, body: &[u8]) -> Result<Value, ApiError> {
    // Actions without output may answer an empty body.
    let parsed = if body.is_empty() { Ok(Value::Object(serde_json::Map::new())) } else { serde_json::from_slice(body) };
    let answer: Value = parsed.map_err(|_| unavailable(format!("status {status}, and the answer is not JSON")))?;
    if status.is_success() {
        return Ok(answer);
    }
    let full_name = answer["__type"].as_str().unwrap_or("UnknownError");
    let name = full_name.rsplit('#').next().unwrap_or(full_name).to_owned();
    let message = answer["message"].as_str().or_else(|| answer["Message"].as_str()).unwrap_or_default().to_owned();
    Err(ApiError::remote(name, legacy_code, status.as_u16(), message))
}

fn unavailable(message: String) -> ApiError {
    ApiError::remote("ServiceUnavailable".to_owned(), None, StatusCode::SERVICE_UNAVAILABLE.as_u16(), message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sqs_emulator::{Clock, ErrorKind, SqsConfig, serve};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_remote_endpoint_answers_as_the_emulated_queues_do() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let sqs = Sqs::new(Clock::system(), SqsConfig::default());
        sqs.set_base_url(&url);
        let server = tokio::spawn(serve(listener, sqs.clone()));
        let remote = SqsClient::Remote(RemoteSqs::new(&url, "us-east-1").unwrap());
        for client in [SqsClient::Emulated(sqs), remote] {
            let queue = client.call("CreateQueue", json!({ "QueueName": "q" })).await.unwrap();
            let url = queue["QueueUrl"].as_str().unwrap();
            client.call("SendMessage", json!({ "QueueUrl": url, "MessageBody": "héllo" })).await.unwrap();
            let received =
                client.call("ReceiveMessage", json!({ "QueueUrl": url, "WaitTimeSeconds": 1 })).await.unwrap();
            let message = &received["Messages"][0];
            assert_eq!(message["Body"], "héllo");
            let handle = &message["ReceiptHandle"];
            client.call("DeleteMessage", json!({ "QueueUrl": url, "ReceiptHandle": handle })).await.unwrap();

            let error = client.call("GetQueueUrl", json!({ "QueueName": "none" })).await.unwrap_err();
            assert!(error.is(ErrorKind::QueueDoesNotExist), "{error}");
            assert_eq!((error.status(), error.legacy_code()), (400, "AWS.SimpleQueueService.NonExistentQueue"));
        }
        server.abort();
    }

    #[test]
    fn only_plain_http_endpoints_are_accepted() {
        for (url, taken) in [("http://127.0.0.1:4566", true), ("https://sqs.aws", false), ("4566", false), ("", false)]
        {
            assert_eq!(RemoteSqs::new(url, "us-east-1").is_ok(), taken, "{url}");
        }
    }

    #[tokio::test]
    async fn an_endpoint_that_does_not_answer_is_unavailable() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = RemoteSqs::new(&url, "us-east-1").unwrap().call("ListQueues", json!({})).await.unwrap_err();
        assert_eq!((error.name(), error.status(), error.sender_fault()), ("ServiceUnavailable", 503, false));
    }
}
