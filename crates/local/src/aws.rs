//! The AWS port: one HTTP service where every AWS tool looks for its endpoint.
//!
//! `POST /` with `X-Amz-Target: AmazonSQS.<Action>` is the embedded SQS (AWS JSON 1.0), `secretsmanager.GetSecretValue` (AWS
//! JSON 1.1) reads the development secrets. Signatures are not looked at. Anything else is refused with a text that says what
//! is there; the old SQS query protocol (`Action=…` forms with XML answers) is refused by name.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::sqs::{ApiError, Kind, Sqs};

/// Secret id or ARN to the secret string.
pub type SecretLookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The largest request: a batch of 1 MiB, each character escaped as six, and room for the rest.
const REQUEST_BYTES_MAX: usize = 8 * 1_024 * 1_024;

const JSON_1_0: &str = "application/x-amz-json-1.0";
const JSON_1_1: &str = "application/x-amz-json-1.1";

/// Answers requests until the listener fails or the future is dropped.
///
/// # Errors
/// What accepting connections gives.
pub async fn serve(listener: TcpListener, sqs: Sqs, secrets: SecretLookup) -> std::io::Result<()> {
    axum::serve(listener, router(sqs, secrets)).await
}

/// The service for an axum server.
pub fn router(sqs: Sqs, secrets: SecretLookup) -> Router {
    Router::new().fallback(answer).layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX)).with_state((sqs, secrets))
}

async fn answer(
    State((sqs, secrets)): State<(Sqs, SecretLookup)>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (content_type, namespace, answer) = match target.split_once('.') {
        Some(("AmazonSQS", action)) => {
            let answer = match parse(&body) {
                Ok(input) => sqs.call(action, input).await,
                Err(error) => Err(error),
            };
            (JSON_1_0, "com.amazonaws.sqs", answer)
        }
        Some(("secretsmanager", "GetSecretValue")) => {
            let answer = parse(&body).and_then(|input| secret(&input, &secrets));
            (JSON_1_1, "com.amazonaws.secretsmanager", answer)
        }
        _ => (JSON_1_0, "com.amazon.coral.service", Err(unknown(&method, target, &body))),
    };
    let mut response = match answer {
        Ok(output) => output.to_string().into_response(),
        Err(error) => refusal(&error, namespace),
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(id) = HeaderValue::from_str(&uuid::Uuid::now_v7().to_string()) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

fn parse(body: &[u8]) -> Result<Value, ApiError> {
    // Requests without members come with an empty body from some tools.
    let text = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(text).map_err(|error| ApiError::new(Kind::Serialization, error.to_string()))
}

fn refusal(error: &ApiError, namespace: &str) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let body = json!({ "__type": format!("{namespace}#{}", error.name()), "message": error.message() });
    let mut response = (status, body.to_string()).into_response();
    let fault = if error.sender_fault() { "Sender" } else { "Receiver" };
    if let Ok(code) = HeaderValue::from_str(&format!("{};{fault}", error.legacy_code())) {
        response.headers_mut().insert("x-amzn-query-error", code);
    }
    response
}

fn secret(input: &Value, secrets: &SecretLookup) -> Result<Value, ApiError> {
    let id = input["SecretId"].as_str().ok_or_else(|| ApiError::missing("SecretId"))?;
    let text = secrets(id)
        .ok_or_else(|| ApiError::new(Kind::SecretNotFound, "Secrets Manager can't find the specified secret."))?;
    // An ARN ends in the name, a hyphen and six characters.
    let name = match id.rsplit_once(":secret:") {
        Some((_, tail)) => tail.rsplit_once('-').map_or(tail, |(name, _)| name),
        None => id,
    };
    let arn = if id.starts_with("arn:") {
        id.to_owned()
    } else {
        format!("arn:aws:secretsmanager:us-east-1:000000000000:secret:{id}-local0")
    };
    Ok(json!({ "ARN": arn, "Name": name, "SecretString": text, "VersionStages": ["AWSCURRENT"] }))
}

fn unknown(method: &Method, target: &str, body: &[u8]) -> ApiError {
    const HERE: &str = "This endpoint has Amazon SQS (X-Amz-Target: AmazonSQS.<Action>, AWS JSON 1.0) and \
                        secretsmanager.GetSecretValue.";
    let text = if !target.is_empty() {
        format!("{target} is not supported. {HERE}")
    } else if method == Method::POST && body.starts_with(b"Action=") || contains(body, b"&Action=") {
        format!("The AWS query protocol is not supported: use an SDK or CLI that speaks AWS JSON. {HERE}")
    } else {
        format!("No X-Amz-Target header. {HERE}")
    };
    ApiError::new(Kind::UnknownOperation, text)
}

fn contains(body: &[u8], needle: &[u8]) -> bool {
    body.windows(needle.len()).any(|window| window == needle)
}
