//! The gateway's promises: routes, events and answers as API Gateway makes them.

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use serde_json::{Value, json};
use time::macros::datetime;

use super::event::decoded_path;
use super::{Arrival, Found, RouteTable, answer, event};

/// Requests and the events they become: `{name, request: {method, target, headers, body | body_base64}, event}`.
const EVENTS: &str = include_str!("requests.json");

/// An arrival at a fixed time with fixed ids.
fn arrival(headers: &HeaderMap) -> Arrival {
    let mut arrival = Arrival::now(3000, headers);
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
        let Found { key, parameters, .. } = routes.find(parts.method.as_str(), &path).expect("a route");
        let actual = event(&parts, &path, &Bytes::from(body), key, parameters, &arrival(&parts.headers));
        assert_eq!(actual, case["event"], "{}\n{actual:#}", case["name"]);
    }
}

/// What was sent and what an HTTP API made of it, captured on 10 July 2026: <https://github.com/hotsock/voker/pull/8>.
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
fn the_most_specific_route_wins() {
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
        assert_eq!(found, Found { key, parameters, target: &() }, "{method} {path}");
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
