//! Routes, events and answers of the gateway, compared with those of API Gateway.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use serde_json::{Value, json};
use time::macros::datetime;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::answer::answer;
use super::event::{GatewayContext, decoded_path, event};
use super::routes::{RouteMatch, RouteTable};
use super::{HEAD_BYTES_MAX, Integration, Patience, serve};
use sluicegate_lambda_emulator::{Concurrency, Function, FunctionSpec};

/// Requests and the events they become: `{name, request: {method, target, headers, body | body_base64}, event}`.
const EVENTS: &str = include_str!("requests.json");

/// An arrival at a fixed time with fixed ids.
fn arrival(headers: &HeaderMap) -> GatewayContext {
    let mut arrival = GatewayContext::now(3000, headers);
    assert!(arrival.request_id.len() == 16 && arrival.request_id.ends_with('='), "{}", arrival.request_id);
    arrival.time = datetime!(2026-11-21 01:02:03.456 UTC);
    arrival.request_id = "AbCdEfGhIjKlMnO=".to_owned();
    if !headers.contains_key("x-amzn-trace-id") {
        assert_eq!(arrival.trace.len(), "Root=1-69200000-000000000000000000000000".len(), "{}", arrival.trace);
        arrival.trace = "Root=1-69200000-000000000000000000000000".to_owned();
    }
    arrival
}

#[test]
fn requests_become_payload_2_0() {
    let keys = ["POST /orders", "GET /files/{folder}/{path+}", "$default"];
    let routes = RouteTable::new(keys.map(|key| (key.to_owned(), ())));
    let cases: Vec<Value> = serde_json::from_str(EVENTS).expect("JSON");
    for case in cases {
        let given = &case["request"];
        let mut request = Request::builder()
            .method(given["method"].as_str().expect("method"))
            .uri(given["target"].as_str().expect("target"));
        for header in given["headers"].as_array().expect("headers") {
            request = request.header(header[0].as_str().expect("name"), header[1].as_str().expect("value"));
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let body: Vec<u8> = match (&given["body"], &given["body_bytes"]) {
            (Value::String(text), _) => text.clone().into_bytes(),
            (_, bytes) => serde_json::from_value(bytes.clone()).unwrap_or_default(),
        };
        let path = decoded_path(parts.uri.path()).expect("a path");
        let RouteMatch { key, parameters, .. } = routes.find(parts.method.as_str(), &path).expect("a route");
        let (body, arrival) = (Bytes::from(body), arrival(&parts.headers));
        let actual = serde_json::to_value(event(&parts, &path, &body, key, parameters, &arrival, None)).unwrap();
        assert_eq!(actual, case["event"], "{}\n{actual:#}", case["name"]);
    }
}

/// Requests and the events that an HTTP API made of them, captured on 10 July 2026:
/// <https://github.com/hotsock/voker/pull/8>.
#[test]
fn paths_are_decoded_as_http_apis_do() {
    for (sent, decoded) in [
        ("/capture/plain", Some("/capture/plain")),
        ("/capture/space%20value", Some("/capture/space value")),
        ("/capture/question%3Fvalue", Some("/capture/question")),
        ("/capture/percent%25done", None),
        ("/capture/hash%23value", Some("/capture/hash#value")),
        ("/capture/slash%2Fvalue", Some("/capture/slash/value")),
        ("/capture/unicode-%CE%BB", Some("/capture/unicode-λ")),
        ("/capture/literal%252Fvalue", Some("/capture/literal/value")),
        ("/capture/literal%253Fvalue", Some("/capture/literal?value")),
        ("/capture/literal%2525value", Some("/capture/literal%value")),
    ] {
        assert_eq!(decoded_path(sent).as_deref(), decoded, "{sent}");
    }
}

#[test]
fn the_most_specific_route_matches() {
    let keys = [
        "$default",
        "ANY /{proxy+}",
        "GET /pets/{id}",
        "ANY /pets/{id}",
        "GET /pets/new",
        "GET /pets/{id}/toys/{toy}",
        "GET /pets/mine/{rest+}",
        "POST /",
        "GET /caf%C3%A9",
    ];
    let routes = RouteTable::new(keys.map(|key| (key.to_owned(), ())));
    let check = |method: &str, path: &str, key: &str, parameters: &[(&str, &str)]| {
        let found = routes.find(method, path).expect("$default at least");
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(found, RouteMatch { key, parameters, target: &() }, "{method} {path}");
    };
    check("GET", "/pets/new", "GET /pets/new", &[]);
    check("GET", "/pets/7", "GET /pets/{id}", &[("id", "7")]);
    check("PUT", "/pets/7", "ANY /pets/{id}", &[("id", "7")]);
    check("GET", "/pets/7/toys/ball", "GET /pets/{id}/toys/{toy}", &[("id", "7"), ("toy", "ball")]);
    check("GET", "/pets/mine/a/b", "GET /pets/mine/{rest+}", &[("rest", "a/b")]);
    check("GET", "/pets/7/", "ANY /{proxy+}", &[("proxy", "pets/7/")]);
    check("GET", "/other", "ANY /{proxy+}", &[("proxy", "other")]);
    check("POST", "/", "POST /", &[]);
    check("GET", "/", "$default", &[]);
    check("GET", "/café", "GET /caf%C3%A9", &[]);
    check("OPTIONS", "*", "$default", &[]);
    assert_eq!(RouteTable::new([("GET /a".to_owned(), ())]).find("POST", "/a"), None);
}

#[test]
fn results_become_answers() {
    let check_method = |method: Method, result: &str, expected: Value| {
        let actual = match answer(result.as_bytes(), &method) {
            Err(error) => json!(error.to_string()),
            Ok(answer) => {
                let headers = answer.headers().iter().map(|(name, value)| json!([name.as_str(), value.to_str().ok()]));
                json!([answer.status().as_u16(), headers.collect::<Vec<_>>(), String::from_utf8_lossy(answer.body())])
            }
        };
        assert_eq!(actual, expected, "{method} {result}");
    };
    let check = |result: &str, expected: Value| check_method(Method::POST, result, expected);
    let json_type = json!(["content-type", "application/json"]);
    let text_type = json!(["content-type", "text/plain; charset=utf-8"]);
    check(r#"{ "any": 1.10 }"#, json!([200, [json_type], r#"{ "any": 1.10 }"#]));
    check(r#""hello""#, json!([200, [json_type], "hello"]));
    check("null", json!([200, [json_type], "null"]));
    check(r#"{"statusCode":204}"#, json!([204, [text_type], ""]));
    check(r#"{"statusCode":"202","body":"{}"}"#, json!([202, [text_type], "{}"]));
    check(
        r#"{"statusCode":202,"headers":{"Content-Type":"application/json","X-N":5,"Content-Length":"9"},"body":"{}"}"#,
        json!([202, [json_type, ["x-n", "5"]], "{}"]),
    );
    check_method(
        Method::HEAD,
        r#"{"statusCode":200,"headers":{"content-type":"application/json","content-length":"9"},"body":""}"#,
        json!([200, [["content-length", "9"], json_type], ""]),
    );
    check(
        r#"{"statusCode":200,"cookies":["a=1","b=2"]}"#,
        json!([200, [["set-cookie", "a=1"], ["set-cookie", "b=2"], text_type], ""]),
    );
    check(r#"{"statusCode":200,"body":"aGk=","isBase64Encoded":true}"#, json!([200, [text_type], "hi"]));
    let malformed = |what: &str| json!(format!("the function's result is not an answer: {what}"));
    check(r#"{"statusCode":200,"body":"%","isBase64Encoded":true}"#, malformed("isBase64Encoded, but the body is not"));
    check(r#"{"statusCode":99}"#, malformed("statusCode"));
    check(r#"{"statusCode":"x"}"#, malformed("statusCode"));
    check(r#"{"statusCode":200,"headers":{"a b":"c"}}"#, malformed("a header's name"));
    check(r#"{"statusCode":200,"headers":{"a":"b\r\nc: d"}}"#, malformed("a header's value"));
    check("nonsense", malformed("it is not JSON"));
    check("", malformed("it is not JSON"));
}

/// Longer than any answer takes.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Starts a gateway for `local-bootstrap`, which echoes its event; the function of `/full` is always throttled.
async fn gateway(patience: Patience) -> std::net::SocketAddr {
    let bootstrap = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples/local-bootstrap");
    let integration = async |concurrency: Concurrency| {
        let spec = FunctionSpec {
            name: "echo".to_owned(),
            arn: "arn:aws:lambda:us-east-1:000000000000:function:echo".to_owned(),
            binary: bootstrap.clone(),
            environment: BTreeMap::new(),
            memory_mb: 128,
            timeout: ANSWER_TIME_MAX,
            concurrency,
            freeze: false,
        };
        let function = Function::start(spec, Arc::new(|_, _| {})).await.expect("it starts");
        Integration { function, timeout: ANSWER_TIME_MAX, authorizer: None }
    };
    let echo = integration(Concurrency::Unreserved(4)).await;
    let full = integration(Concurrency::Reserved(0)).await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let routes = RouteTable::new([("ANY /{proxy+}".to_owned(), echo), ("GET /full".to_owned(), full)]);
    tokio::spawn(serve(listener, routes, Arc::new(|_| {}), patience));
    address
}

/// Sends bytes and reads until the gateway closes the connection.
async fn exchange(address: std::net::SocketAddr, sent: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(sent.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    let read = timeout(ANSWER_TIME_MAX, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "not closed after {sent:?}");
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn requests_are_refused_as_by_api_gateway() {
    let address = gateway(Patience::default()).await;
    let check = async |sent: String, status: u16, part: &str| {
        let answer = exchange(address, &sent).await;
        let shown = sent.get(..sent.len().min(80));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) || answer.starts_with(&format!("HTTP/1.0 {status} ")),
            "{shown:?}: {answer}"
        );
        assert!(answer.contains(part), "{shown:?}: {answer}");
        // As of an HTTP API without CorsConfiguration: only the function's answers have CORS headers.
        assert!(!answer.to_ascii_lowercase().contains("\r\naccess-control-"), "{shown:?}: {answer}");
        if ![431, 505].contains(&status) {
            assert!(answer.contains("apigw-requestid: "), "{answer}");
        }
    };
    let get = |headers: &str| format!("GET /a HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
    let bad = r#"{"message":"Bad Request"}"#;
    check(get("Host: a.example:3000\r\n"), 200, r#""domainName":"a.example""#).await;
    check(get("Host: [::1]:3000\r\n"), 200, "echo").await;
    check(get(""), 400, bad).await;
    check(get("Host: a\r\nHost: a\r\n"), 400, bad).await;
    check(get("Host: a\r\nHost: b\r\n"), 400, bad).await;
    check(get("Host:\r\n"), 400, bad).await;
    check(get("Host: a b\r\n"), 400, bad).await;
    check(get("Host: u@a\r\n"), 400, bad).await;
    check(get("Host: a/b\r\n"), 400, bad).await;
    check("GET /a HTTP/1.0\r\n\r\n".to_owned(), 200, "echo").await;
    check("GET /a HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), 400, bad).await;
    check(
        "GET /full HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(),
        503,
        r#"{"message":"Service Unavailable"}"#,
    )
    .await;

    let many = (0..1_000).map(|n| format!("x{n}: \r\n")).collect::<String>();
    check(get(&format!("Host: a\r\n{many}")), 200, r#""x999":"""#).await;
    let filled = |bytes: usize| {
        let rest = get("Host: a\r\nx: \r\n").len() - "\r\n".len();
        get(&format!("Host: a\r\nx: {}\r\n", "y".repeat(bytes - rest)))
    };
    check(filled(HEAD_BYTES_MAX), 200, "yyy").await;
    check(filled(HEAD_BYTES_MAX + 1), 431, r#"{"message":"Request Header Fields Too Large"}"#).await;
    check(get(&format!("Host: a\r\n{}", "a:\r\n".repeat(HEAD_BYTES_MAX / 4))), 431, "").await;

    let http2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    check(http2.to_owned(), 505, r#"{"message":"HTTP/2 is not supported here: use HTTP/1.1"}"#).await;
    let upgrade = "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    check(upgrade.to_owned(), 200, r#""headers":{"content-length":"0","host":"a","x-amzn-trace-id""#).await;
}

#[tokio::test]
async fn a_slow_client_is_disconnected() {
    let short = Duration::from_millis(200);
    let check = async |patience: Patience, sent: &str, expected: &str| {
        let answer = exchange(gateway(patience).await, sent).await;
        assert!(answer.starts_with(expected) && (!expected.is_empty() || answer.is_empty()), "{sent:?}: {answer}");
    };
    let slow_head = Patience { head: short, ..Patience::default() };
    check(slow_head, "", "").await;
    check(slow_head, "G", "").await;
    check(slow_head, "GET /a HTTP/1.1\r\nHost: a\r\n", "").await;
    check(slow_head, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK").await;
    let slow_body = Patience { body: short, ..Patience::default() };
    let post = "POST /a HTTP/1.1\r\nHost: a\r\n";
    check(slow_body, &format!("{post}Content-Length: 5\r\n\r\nabcd"), "HTTP/1.1 408 Request Timeout").await;
    check(slow_body, &format!("{post}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"), "HTTP/1.1 408 Request Timeout")
        .await;
}
