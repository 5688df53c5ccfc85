//! The HTTP service: the SQS API in both of its protocols.
//!
//! `POST /` with `X-Amz-Target: AmazonSQS.<Action>` uses AWS JSON 1.0. A form or a URL with `Action=<Action>` uses
//! the Query protocol of older tools, which also reaches STS's `GetCallerIdentity`. Signatures are not verified;
//! Region and account come from the credential scope. Any other request is refused in its own protocol, with a text
//! that lists the supported services.

mod connections;
mod query;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::caller::Caller;
use crate::error::{ApiError, ErrorKind};
use crate::message::fresh_uuid;
use crate::service::Sqs;
pub use connections::serve_with;
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

const JSON_1_0: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");
const XML: HeaderValue = HeaderValue::from_static("text/xml");
const FORM: &[u8] = b"application/x-www-form-urlencoded";

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const TRACE: HeaderName = HeaderName::from_static("x-amzn-trace-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const QUERY_ERROR: HeaderName = HeaderName::from_static("x-amzn-query-error");

/// Answers requests until the listener fails or the future is dropped.
///
/// # Errors
/// The error of accepting connections.
pub async fn serve(listener: TcpListener, sqs: Sqs) -> std::io::Result<()> {
    serve_with(listener, move |request| {
        let sqs = sqs.clone();
        async move { answer(&sqs, request).await }
    })
    .await
}

/// Answers one request, for a server that answers more than SQS on the same port (see [`serve_with`]).
pub async fn answer(sqs: &Sqs, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = read(body).await;
    let target = head.headers.get(TARGET).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut request_id = uuid::Uuid::encode_buffer();
    let request_id: &str = fresh_uuid().hyphenated().encode_lower(&mut request_id);
    let is_query = target.is_empty() && is_query(&head.headers, &head.uri, body.as_deref().unwrap_or_default());
    let mut response = if is_query {
        answer_query(sqs, &head.headers, &head.uri, body, request_id).await
    } else {
        answer_json(sqs, &head.headers, &head.uri, target, body).await
    };
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Reads a body.
///
/// # Errors
/// `RequestEntityTooLarge`, or `SerializationException` for a body that ends early.
async fn read(mut body: Incoming) -> Result<Bytes, ApiError> {
    let (mut read, mut bytes) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| ApiError::new(ErrorKind::Serialization, format!("cannot read the body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        bytes = bytes.saturating_add(data.len());
        if bytes <= REQUEST_BYTES_MAX {
            // A small body is one piece, which needs no copy.
            if read.is_empty() && body.is_end_stream() {
                return Ok(data);
            }
            read.extend_from_slice(&data);
        } else if bytes > DROPPED_BYTES_MAX {
            break;
        }
    }
    if bytes <= REQUEST_BYTES_MAX {
        return Ok(read.into());
    }
    let text = format!("The request is larger than {REQUEST_BYTES_MAX} bytes.");
    Err(ApiError::new(ErrorKind::RequestTooLarge, text))
}

/// Returns Region and account of the credential scope, in the header or a presigned URL, and the trace.
///
/// An access key of twelve digits is the account, as in LocalStack.
fn caller(headers: &HeaderMap, uri: &Uri) -> Caller {
    let in_header = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
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
        trace_header: trace_header(headers),
    }
}

fn trace_header(headers: &HeaderMap) -> Option<String> {
    headers.get(TRACE)?.to_str().ok().filter(|trace| !trace.is_empty()).map(str::to_owned)
}

fn is_query(headers: &HeaderMap, uri: &Uri, body: &[u8]) -> bool {
    let is_form = headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(FORM));
    is_form || query::is_query(uri.query().unwrap_or_default().as_bytes()) || query::is_query(body)
}

async fn answer_query(
    sqs: &Sqs,
    headers: &HeaderMap,
    uri: &Uri,
    body: Result<Bytes, ApiError>,
    request_id: &str,
) -> Response<Full<Bytes>> {
    let answer = async {
        let caller = caller(headers, uri);
        let Query { action, mut input } = query::read(uri.query().unwrap_or_default(), &body?)?;
        if action == "GetCallerIdentity" {
            return Ok((action, identity(sqs, &caller)));
        }
        // Some clients name the queue by the URL they post to.
        if input.get("QueueUrl").is_none() && uri.path() != "/" {
            input["QueueUrl"] = uri.path().into();
        }
        let output = sqs.call_as(&caller, &action, input).await?;
        Ok((action, output))
    };
    let (status, xml) = match answer.await {
        Ok((action, output)) => (StatusCode::OK, query::answer(&action, &output, request_id)),
        Err(error) => (status_of(&error), query::refusal(&error, request_id)),
    };
    response(status, XML, xml.into())
}

/// Answers STS's `GetCallerIdentity`, which tools call to get the account.
fn identity(sqs: &Sqs, caller: &Caller) -> Value {
    let account = caller.account.clone().unwrap_or_else(|| sqs.account());
    json!({ "Account": account, "Arn": format!("arn:aws:iam::{account}:root"), "UserId": account })
}

async fn answer_json(
    sqs: &Sqs,
    headers: &HeaderMap,
    uri: &Uri,
    target: &str,
    body: Result<Bytes, ApiError>,
) -> Response<Full<Bytes>> {
    let (namespace, answer) = match (target.strip_prefix("AmazonSQS."), &body) {
        (Some(action), Ok(body)) => ("com.amazonaws.sqs", call(sqs, headers, uri, action, body).await),
        (Some(_), Err(error)) => ("com.amazonaws.sqs", Err(error.clone())),
        (None, _) => ("com.amazon.coral.service", Err(unknown(target))),
    };
    match answer {
        Ok(output) => response(StatusCode::OK, JSON_1_0, output.into()),
        Err(error) => refusal(&error, namespace),
    }
}

/// Runs an action on its JSON text; returns the answer's.
async fn call(sqs: &Sqs, headers: &HeaderMap, uri: &Uri, action: &str, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    // Some tools send an empty body for a request without members.
    let input = if body.is_empty() { b"{}" } else { body };
    let caller = match action {
        // Only a new queue takes account and Region.
        "CreateQueue" => caller(headers, uri),
        _ => Caller { trace_header: trace_header(headers), ..Caller::default() },
    };
    sqs.call_json(&caller, action, input).await
}

fn status_of(error: &ApiError) -> StatusCode {
    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST)
}

fn response(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

fn refusal(error: &ApiError, namespace: &str) -> Response<Full<Bytes>> {
    let body = json!({ "__type": format!("{namespace}#{}", error.name()), "message": error.message() });
    let mut response = response(status_of(error), JSON_1_0, body.to_string().into());
    let fault = if error.sender_fault() { "Sender" } else { "Receiver" };
    if let Ok(code) = HeaderValue::from_str(&format!("{};{fault}", error.legacy_code())) {
        response.headers_mut().insert(QUERY_ERROR, code);
    }
    response
}

fn unknown(target: &str) -> ApiError {
    let what = if target.is_empty() { "A request without X-Amz-Target" } else { target };
    ApiError::new(ErrorKind::UnknownOperation, format!("{what} is not supported. {SUPPORTED}"))
}

#[cfg(test)]
mod tests {
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
        let (head, body) = exchange(request.body(Full::from(body)).unwrap()).await;
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
        // Of two members of a name the last counts, and a text that is not JSON is reported first.
        check("AmazonSQS.ListQueues", r#"{"MaxResults":"x","MaxResults":1}"#, 200, "", r#"{}"#).await;
        check("AmazonSQS.SendMessage", r#"{"QueueUrl":7}"#, 400, "SerializationException;Sender", "expected a string")
            .await;
        check("AmazonSQS.Dance", "{", 400, "SerializationException;Sender", "SerializationException").await;
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
        let body = || Full::from(vec![b'a'; REQUEST_BYTES_MAX + 1]);
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
            let request = Request::post(url).header("authorization", authorization).body(Full::from(create)).unwrap();
            let (status, answer) = route(request).await;
            assert!(status == 200 && answer.contains(&format!("{expected}</QueueUrl>")), "{authorization}: {answer}");
        }
        let send = Request::get("/000000000000/q?Action=SendMessage&MessageBody=m").body(Full::default()).unwrap();
        let (status, answer) = route(send).await;
        assert!(status == 400 && answer.contains("NonExistentQueue"), "the path names the queue: {answer}");
    }

    /// Sends one request to a new service; returns status and body.
    async fn route(request: Request<Full<Bytes>>) -> (u16, String) {
        let (head, body) = exchange(request).await;
        (head.status.as_u16(), body)
    }

    /// Sends one request to a new service.
    async fn exchange(mut request: Request<Full<Bytes>>) -> (http::response::Parts, String) {
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
