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
use axum::serve::ListenerExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::sqs::{ApiError, Kind, Sqs};

/// Secret id or ARN to the secret string.
pub type SecretLookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The largest request: a batch of 1 MiB, each character escaped as six, and room for the rest.
const REQUEST_BYTES_MAX: usize = 8 * 1_024 * 1_024;

/// What is here, for those who look for something else.
const SUPPORTED: &str = "This endpoint has Amazon SQS (X-Amz-Target: AmazonSQS.<Action>, AWS JSON 1.0) and \
                         secretsmanager.GetSecretValue.";

const JSON_1_0: &str = "application/x-amz-json-1.0";
const JSON_1_1: &str = "application/x-amz-json-1.1";

/// Answers requests until the listener fails or the future is dropped.
///
/// # Errors
/// What accepting connections gives.
pub async fn serve(listener: TcpListener, sqs: Sqs, secrets: SecretLookup) -> std::io::Result<()> {
    // Answers are small and asked for one at a time: waiting to fill a packet only delays them.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router(sqs, secrets)).await
}

/// The service for an axum server.
pub fn router(sqs: Sqs, secrets: SecretLookup) -> Router {
    Router::new().fallback(answer).layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX)).with_state((sqs, secrets))
}

async fn answer(State((sqs, secrets)): State<(Sqs, SecretLookup)>, headers: HeaderMap, body: Bytes) -> Response {
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
        None if is_query_protocol(&body) => return refuse_query_protocol(),
        _ => (JSON_1_0, "com.amazon.coral.service", Err(unknown(target))),
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

fn unknown(target: &str) -> ApiError {
    let what = if target.is_empty() { "A request without X-Amz-Target" } else { target };
    ApiError::new(Kind::UnknownOperation, format!("{what} is not supported. {SUPPORTED}"))
}

/// Whether this is a form of the old query protocol, which STS and SDKs before 2023 speak.
fn is_query_protocol(body: &[u8]) -> bool {
    const FIELD: &[u8] = b"&Action=";
    body.starts_with(&FIELD[1..]) || body.windows(FIELD.len()).any(|window| window == FIELD)
}

/// Refused in XML, because the clients that send such forms show the text of nothing else.
fn refuse_query_protocol() -> Response {
    let xml = "<ErrorResponse><Error><Type>Sender</Type><Code>UnknownOperationException</Code><Message>The AWS query \
               protocol is not supported: use an SDK or CLI that speaks AWS JSON.</Message></Error></ErrorResponse>";
    (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "text/xml")], xml).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt as _;
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;

    use super::*;
    use crate::clock::Clock;
    use crate::sqs::SqsConfig;

    /// Posts one request; gives status, query error header and body.
    async fn post(target: &str, body: &'static str) -> (u16, String, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let secrets: SecretLookup =
            Arc::new(|id| (id == "dev" || id.ends_with(":secret:dev-AbCdEf")).then(|| "{}".into()));
        let server = tokio::spawn(serve(listener, Sqs::new(Clock::system(), SqsConfig::default()), secrets));
        let mut request = Request::post(url);
        if !target.is_empty() {
            request = request.header("x-amz-target", target);
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let code = head.headers.get("x-amzn-query-error").map(|value| value.to_str().unwrap().to_owned());
        let body = body.collect().await.unwrap().to_bytes();
        server.abort();
        (head.status.as_u16(), code.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap())
    }

    async fn check(target: &str, body: &'static str, status: u16, code: &str, contains: &str) {
        let answer = post(target, body).await;
        assert_eq!((answer.0, answer.1.as_str()), (status, code), "{target} {body}: {}", answer.2);
        assert!(answer.2.contains(contains), "{target} {body}: {}", answer.2);
    }

    #[tokio::test]
    async fn routes_by_target_and_names_errors_twice() {
        let no_queue = r#""__type":"com.amazonaws.sqs#QueueDoesNotExist""#;
        let no_secret = r#""__type":"com.amazonaws.secretsmanager#ResourceNotFoundException""#;
        let get = "secretsmanager.GetSecretValue";
        check("AmazonSQS.ListQueues", "", 200, "", r#"{}"#).await;
        let legacy = "AWS.SimpleQueueService.NonExistentQueue;Sender";
        check("AmazonSQS.GetQueueUrl", r#"{"QueueName":"q"}"#, 400, legacy, no_queue).await;
        check("AmazonSQS.ListQueues", "{", 400, "SerializationException;Sender", "SerializationException").await;
        check("AmazonSQS.Dance", "{}", 400, "UnknownOperationException;Sender", "action Dance is not valid for this endpoint").await;
        check(get, r#"{"SecretId":"dev"}"#, 200, "", r#""Name":"dev","SecretString":"{}""#).await;
        let arn = r#"{"SecretId":"arn:aws:secretsmanager:us-east-1:000000000000:secret:dev-AbCdEf"}"#;
        check(get, arn, 200, "", r#""Name":"dev""#).await;
        check(get, r#"{"SecretId":"x"}"#, 400, "ResourceNotFoundException;Sender", no_secret).await;
        check("DynamoDB_20120810.ListTables", "{}", 400, "UnknownOperationException;Sender", "AmazonSQS.<Action>")
            .await;
        check("", "{}", 400, "UnknownOperationException;Sender", "without X-Amz-Target").await;
        check("", "Action=SendMessage&MessageBody=x", 400, "", "query protocol is not supported").await;
        check("", "Version=2012-11-05&Action=SendMessage", 400, "", "<Code>UnknownOperationException</Code>").await;
    }
}
