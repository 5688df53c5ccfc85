//! The HTTP service: the SQS API in both of its protocols.
//!
//! `POST /` with `X-Amz-Target: AmazonSQS.<Action>` uses AWS JSON 1.0. A form or a URL with `Action=<Action>` uses
//! the Query protocol of older tools, which also reaches STS's `GetCallerIdentity`. Signatures are not verified;
//! Region and account come from the credential scope. Any other request is refused in its own protocol, with a text
//! that lists the supported services.

mod query;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::caller::Caller;
use crate::error::{ApiError, ErrorKind};
use crate::message::fresh_uuid;
use crate::service::Sqs;
use query::Query;

/// The largest request: a batch of 1 MiB, each character escaped as six, and room for the rest.
const REQUEST_BYTES_MAX: usize = 8 * 1_024 * 1_024;
/// The part of a larger request that is read and discarded, because many clients read the answer only after they have
/// sent the whole request.
const DROPPED_BYTES_MAX: usize = 64 * 1_024 * 1_024;
/// Digits of an account.
const ACCOUNT_DIGITS: usize = 12;
/// The longest Region accepted in a credential scope.
const REGION_CHARS_MAX: usize = 32;

/// The end of the error text for a request to another service.
const SUPPORTED: &str = "This endpoint has Amazon SQS (X-Amz-Target: AmazonSQS.<Action>, AWS JSON 1.0, or Action=<Action>, \
                         AWS Query) and STS GetCallerIdentity.";

const JSON_1_0: &str = "application/x-amz-json-1.0";
const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// Answers requests until the listener fails or the future is dropped.
///
/// # Errors
/// The error of accepting connections.
pub async fn serve(listener: TcpListener, sqs: Sqs) -> std::io::Result<()> {
    // Disables Nagle's algorithm: answers are small, and clients wait for each of them.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router(sqs)).await
}

/// Returns the service as an axum router, for a server that answers more than SQS on the same port: a layer around it
/// sees each request first.
pub fn router(sqs: Sqs) -> Router {
    Router::new().fallback(answer).with_state(sqs)
}

async fn answer(State(sqs): State<Sqs>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = read(body).await;
    let caller = caller(&head.headers, &head.uri);
    let target = head.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let request_id = fresh_uuid().to_string();
    let is_query = target.is_empty() && is_query(&head.headers, &head.uri, body.as_deref().unwrap_or_default());
    let mut response = if is_query {
        answer_query(&sqs, &caller, &head.uri, body, &request_id).await
    } else {
        answer_json(&sqs, &caller, target, body).await
    };
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

/// Reads a body.
///
/// # Errors
/// `RequestEntityTooLarge`, or `SerializationException` for a body that ends early.
async fn read(mut body: Body) -> Result<Vec<u8>, ApiError> {
    let (mut read, mut bytes) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| ApiError::new(ErrorKind::Serialization, format!("cannot read the body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        bytes = bytes.saturating_add(data.len());
        if bytes <= REQUEST_BYTES_MAX {
            read.extend_from_slice(&data);
        } else if bytes > DROPPED_BYTES_MAX {
            break;
        }
    }
    if bytes <= REQUEST_BYTES_MAX {
        return Ok(read);
    }
    let text = format!("The request is larger than {REQUEST_BYTES_MAX} bytes.");
    Err(ApiError::new(ErrorKind::RequestTooLarge, text))
}

/// Returns Region and account of the credential scope, in the header or a presigned URL, and the trace.
///
/// An access key of twelve digits is the account, as in LocalStack.
fn caller(headers: &HeaderMap, uri: &Uri) -> Caller {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let in_header = header(header::AUTHORIZATION.as_str())
        .and_then(|text| text.split_once("Credential="))
        .map(|(_, scope)| scope.split(',').next().unwrap_or_default().trim().to_owned());
    let in_url = || {
        let field = uri.query()?.split('&').find_map(|field| field.strip_prefix("X-Amz-Credential="))?;
        Some(percent_decode_str(field).decode_utf8_lossy().into_owned())
    };
    let scope = in_header.or_else(in_url).unwrap_or_default();
    let mut parts = scope.split('/');
    let (key, region) = (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
    let is_account = key.len() == ACCOUNT_DIGITS && key.bytes().all(|b| b.is_ascii_digit());
    let is_region = (1..=REGION_CHARS_MAX).contains(&region.len())
        && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    Caller {
        region: is_region.then(|| region.to_owned()),
        account: is_account.then(|| key.to_owned()),
        trace_header: header("x-amzn-trace-id").filter(|trace| !trace.is_empty()).map(str::to_owned),
    }
}

fn is_query(headers: &HeaderMap, uri: &Uri, body: &[u8]) -> bool {
    let is_form = headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(FORM));
    is_form || query::is_query(uri.query().unwrap_or_default().as_bytes()) || query::is_query(body)
}

async fn answer_query(
    sqs: &Sqs,
    caller: &Caller,
    uri: &Uri,
    body: Result<Vec<u8>, ApiError>,
    request_id: &str,
) -> Response {
    let answer = async {
        let Query { action, mut input } = query::read(uri.query().unwrap_or_default(), &body?)?;
        if action == "GetCallerIdentity" {
            return Ok((action, identity(sqs, caller)));
        }
        // Some clients name the queue by the URL they post to.
        if input.get("QueueUrl").is_none() && uri.path() != "/" {
            input["QueueUrl"] = uri.path().into();
        }
        let output = sqs.call_as(caller, &action, input).await?;
        Ok((action, output))
    };
    let (status, xml) = match answer.await {
        Ok((action, output)) => (StatusCode::OK, query::answer(&action, &output, request_id)),
        Err(error) => (status_of(&error), query::refusal(&error, request_id)),
    };
    (status, [(header::CONTENT_TYPE, "text/xml")], xml).into_response()
}

/// Answers STS's `GetCallerIdentity`, which tools call to get the account.
fn identity(sqs: &Sqs, caller: &Caller) -> Value {
    let account = caller.account.clone().unwrap_or_else(|| sqs.account());
    json!({ "Account": account, "Arn": format!("arn:aws:iam::{account}:root"), "UserId": account })
}

async fn answer_json(sqs: &Sqs, caller: &Caller, target: &str, body: Result<Vec<u8>, ApiError>) -> Response {
    let input = body.and_then(|body| parse(&body));
    let (namespace, answer) = match (target.strip_prefix("AmazonSQS."), input) {
        (Some(action), Ok(input)) => ("com.amazonaws.sqs", sqs.call_as(caller, action, input).await),
        (Some(_), Err(error)) => ("com.amazonaws.sqs", Err(error)),
        (None, _) => ("com.amazon.coral.service", Err(unknown(target))),
    };
    let mut response = match answer {
        // Not `Display`, which formats piece by piece. A `Value` can always be written.
        Ok(output) => serde_json::to_vec(&output).unwrap_or_default().into_response(),
        Err(error) => refusal(&error, namespace),
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON_1_0));
    response
}

fn parse(body: &[u8]) -> Result<Value, ApiError> {
    // Some tools send an empty body for a request without members.
    let text = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(text).map_err(|error| ApiError::new(ErrorKind::Serialization, error.to_string()))
}

fn status_of(error: &ApiError) -> StatusCode {
    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST)
}

fn refusal(error: &ApiError, namespace: &str) -> Response {
    let body = json!({ "__type": format!("{namespace}#{}", error.name()), "message": error.message() });
    let mut response = (status_of(error), body.to_string()).into_response();
    let fault = if error.sender_fault() { "Sender" } else { "Receiver" };
    if let Ok(code) = HeaderValue::from_str(&format!("{};{fault}", error.legacy_code())) {
        response.headers_mut().insert("x-amzn-query-error", code);
    }
    response
}

fn unknown(target: &str) -> ApiError {
    let what = if target.is_empty() { "A request without X-Amz-Target" } else { target };
    ApiError::new(ErrorKind::UnknownOperation, format!("{what} is not supported. {SUPPORTED}"))
}

#[cfg(test)]
mod tests {
    use http::Request;
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;

    use super::*;
    use crate::clock::Clock;
    use crate::config::SqsConfig;

    /// Posts one request; returns status, query error header and body.
    async fn post(target: &str, body: &'static str) -> (u16, String, String) {
        let mut request = Request::post("/");
        if !target.is_empty() {
            request = request.header("x-amz-target", target);
        }
        let (head, body) = exchange(request.body(Body::from(body)).unwrap()).await;
        let code = head.headers.get("x-amzn-query-error").map(|value| value.to_str().unwrap().to_owned());
        (head.status.as_u16(), code.unwrap_or_default(), body)
    }

    async fn check(target: &str, body: &'static str, status: u16, code: &str, contains: &str) {
        let answer = post(target, body).await;
        assert_eq!((answer.0, answer.1.as_str()), (status, code), "{target} {body}: {}", answer.2);
        assert!(answer.2.contains(contains), "{target} {body}: {}", answer.2);
    }

    #[tokio::test]
    async fn routes_by_target_and_names_errors_twice() {
        let no_queue = r#""__type":"com.amazonaws.sqs#QueueDoesNotExist""#;
        check("AmazonSQS.ListQueues", "", 200, "", r#"{}"#).await;
        let legacy = "AWS.SimpleQueueService.NonExistentQueue;Sender";
        check("AmazonSQS.GetQueueUrl", r#"{"QueueName":"q"}"#, 400, legacy, no_queue).await;
        check("AmazonSQS.ListQueues", "{", 400, "SerializationException;Sender", "SerializationException").await;
        check(
            "AmazonSQS.Dance",
            "{}",
            400,
            "UnknownOperationException;Sender",
            "action Dance is not valid for this endpoint",
        )
        .await;
        check("DynamoDB_20120810.ListTables", "{}", 400, "UnknownOperationException;Sender", "AmazonSQS.<Action>")
            .await;
        check("", "{}", 400, "UnknownOperationException;Sender", "without X-Amz-Target").await;
        check("", "Action=SendMessage&MessageBody=x", 400, "", "<Code>MissingParameter</Code>").await;
        check("", "Version=2012-11-05&Action=Dance", 400, "", "<Code>InvalidAction</Code>").await;
        check("", "Action=ListQueues", 200, "", "<ListQueuesResult/>").await;
        check("", "Action=GetQueueUrl&QueueName=q", 400, "", "does not exist for this wsdl version.").await;
        let identity = "<Account>000000000000</Account><Arn>arn:aws:iam::000000000000:root</Arn>";
        check("", "Action=GetCallerIdentity&Version=2011-06-15", 200, "", identity).await;
    }

    #[tokio::test]
    async fn requests_over_the_limit_are_answered_in_their_protocol() {
        let body = || Body::from(vec![b'a'; REQUEST_BYTES_MAX + 1]);
        let json = Request::post("/").header("x-amz-target", "AmazonSQS.SendMessage");
        let form = Request::post("/").header("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        let url = Request::post("/?Action=SendMessage");
        for (request, contains) in [
            (json, r#""__type":"com.amazonaws.sqs#RequestEntityTooLargeException""#),
            (form, "<Code>RequestEntityTooLarge</Code>"),
            (url, "<Code>RequestEntityTooLarge</Code>"),
        ] {
            let (status, answer) = route(request.body(body()).unwrap()).await;
            assert_eq!(status, 413, "{answer}");
            assert!(answer.contains(contains), "{answer}");
        }
    }

    #[tokio::test]
    async fn the_credential_scope_and_the_path_locate_a_queue() {
        let scope = |scope: &str| format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
        let create = "Action=CreateQueue&QueueName=q";
        for (url, authorization, expected) in [
            ("/", "", "/000000000000/q"),
            ("/", &scope("111122223333/20260101/eu-west-1/sqs/aws4_request"), "/111122223333/q"),
            ("/?X-Amz-Credential=111122223333%2F20260101%2Feu-west-1%2Fsqs%2Faws4_request", "", "/111122223333/q"),
            ("/", &scope("AKIA/20260101/eu-west-1/sqs/aws4_request"), "/000000000000/q"),
            ("/", &scope("1111222233334/20260101/<>/sqs"), "/000000000000/q"),
        ] {
            let request = Request::post(url).header("authorization", authorization).body(Body::from(create)).unwrap();
            let (status, answer) = route(request).await;
            assert!(status == 200 && answer.contains(&format!("{expected}</QueueUrl>")), "{authorization}: {answer}");
        }
        let send = Request::get("/000000000000/q?Action=SendMessage&MessageBody=m").body(Body::empty()).unwrap();
        let (status, answer) = route(send).await;
        assert!(status == 400 && answer.contains("NonExistentQueue"), "the path names the queue: {answer}");
    }

    /// Sends one request to a new service; returns status and body.
    async fn route(request: Request<Body>) -> (u16, String) {
        let (head, body) = exchange(request).await;
        (head.status.as_u16(), body)
    }

    /// Sends one request to a new service.
    async fn exchange(mut request: Request<Body>) -> (http::response::Parts, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{}", listener.local_addr().unwrap(), request.uri());
        *request.uri_mut() = url.parse().unwrap();
        let sqs = Sqs::new(Clock::system(), SqsConfig::default());
        let server = tokio::spawn(serve(listener, sqs));
        let response = Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        server.abort();
        (head, String::from_utf8(body.to_vec()).unwrap())
    }
}
