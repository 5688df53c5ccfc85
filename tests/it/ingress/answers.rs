//! Answers: every rejection, in the order of the stages, and the 202.

use serde_json::Value;
use sluicegate_queue::SendError;

use super::{Broker, ORDER, ORDER_HEADERS, Store, answer, http_api, ingress, ingress_of, secret_text, shipped_with};

struct Case {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    headers: Vec<(&'static str, String)>,
    body: String,
    status: u16,
    code: &'static str,
    /// A text that the answer must contain.
    says: &'static str,
}

fn case(name: &'static str, status: u16, code: &'static str, says: &'static str) -> Case {
    let headers = ORDER_HEADERS.map(|(header, value)| (header, value.to_owned())).to_vec();
    Case { name, method: "POST", path: "/orders", headers, body: ORDER.to_owned(), status, code, says }
}

impl Case {
    fn on(mut self, method: &'static str, path: &'static str) -> Self {
        (self.method, self.path) = (method, path);
        self
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(have, _)| *have != name);
        self.headers.push((name, value.into()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(have, _)| *have != name);
        self
    }

    fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }
}

#[tokio::test]
async fn every_refusal_is_a_problem_with_its_code() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let large = format!(r#"{{"note": "{}"}}"#, "x".repeat(300 * 1024));
    let github = |signature: &str| {
        case("github", 401, "", "")
            .on("POST", "/webhooks/github")
            .header("x-hub-signature-256", signature)
            .header("x-github-event", "push")
            .header("x-github-delivery", "d-1")
            .body("Hello, World!")
    };
    let right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let wrong = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e18";
    let cases = [
        case("unknown path", 404, "route_unknown", "").on("POST", "/nowhere"),
        case("bad percent-encoding is a literal in API Gateway's decoded path", 404, "route_unknown", "")
            .on("POST", "/orders%zz"),
        case("wrong method", 405, "method_not_allowed", "").on("DELETE", "/orders"),
        case("wrong method, with what OPTIONS says, too", 405, "method_not_allowed", "POST, OPTIONS")
            .on("PUT", "/orders"),
        case("too large, before anything is parsed", 413, "payload_too_large", "262144").body(large),
        case("no key", 401, "credentials_missing", "x-api-key").without("x-api-key"),
        case("wrong key", 401, "credentials_invalid", "").header("x-api-key", "guess"),
        case("wrong key decides before bad JSON", 401, "credentials_invalid", "")
            .header("x-api-key", "guess")
            .body("{"),
        case("scope missing", 403, "scope_missing", "orders.write").header("x-api-key", "reader"),
        Case { code: "credentials_missing", ..github(right).without("x-hub-signature-256") },
        Case { code: "credentials_invalid", ..github(wrong) },
        Case { code: "credentials_invalid", ..github(right).body("Hello, World?") },
        Case { status: 400, code: "json_invalid", ..github(right).header("content-type", "application/json") },
        case("no idempotency key", 400, "idempotency_key_invalid", "dempotency").without("idempotency-key"),
        case("media type", 415, "media_type_unsupported", "application/json").header("content-type", "text/plain"),
        case("no body", 400, "body_missing", "").body(""),
        case("not JSON", 400, "json_invalid", "line 1").body("{"),
        case("nested too deeply", 400, "json_invalid", "").body(deep),
        case("quantity of the wrong type", 422, "schema_violated", "/items/0/quantity")
            .body(r#"{"order_id": "o-1", "customer_id": "c-1", "items": [{"sku": "tea", "quantity": "2"}]}"#),
        case("unknown member", 422, "schema_violated", "errors")
            .body(r#"{"order_id": "o", "customer_id": "c", "items": [{"sku": "t", "quantity": 1}], "more": 1}"#),
    ];
    let broker = Broker::default();
    let ingress = ingress(&broker, &Store::with(&secret_text()));
    for case in cases {
        let headers: Vec<_> = case.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = answer(&ingress, &http_api(case.method, case.path, &headers, &case.body)).await;
        let text = answer["body"].as_str().unwrap();
        let problem: Value = serde_json::from_str(text).unwrap_or_default();
        assert_eq!(answer["statusCode"], case.status, "{}: {answer}", case.name);
        assert_eq!(problem["code"], case.code, "{}: {answer}", case.name);
        assert_eq!(problem["status"], case.status, "{}", case.name);
        assert_eq!(answer["headers"]["content-type"], "application/problem+json", "{}", case.name);
        assert!(text.contains(case.says), "{}: {text}", case.name);
        let allow = (case.status == 405).then_some("POST, OPTIONS");
        assert_eq!(answer["headers"]["allow"].as_str(), allow, "{}", case.name);
        assert_eq!(case.status == 401, answer["headers"]["www-authenticate"].is_string(), "{}", case.name);
    }
    assert_eq!(broker.len(), 0, "nothing refused is stored");
}

#[tokio::test]
async fn a_schema_fault_does_not_quote_the_value() {
    let ingress = ingress(&Broker::default(), &Store::with(&secret_text()));
    let body = ORDER.replace('2', "\"hunter2-secret\"");
    let answer = answer(&ingress, &http_api("POST", "/orders", &ORDER_HEADERS, &body)).await;
    assert_eq!(answer["statusCode"], 422);
    assert!(!answer["body"].as_str().unwrap().contains("hunter2"), "{answer}");
}

#[tokio::test]
async fn an_accepted_order_is_an_envelope_with_the_exact_bytes() {
    let broker = Broker::default();
    let ingress = ingress(&broker, &Store::with(&secret_text()));
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [&ORDER_HEADERS[..], &[("traceparent", trace)]].concat();
    let answer = answer(&ingress, &http_api("POST", "/orders", &headers, ORDER)).await;
    assert_eq!(answer["statusCode"], 202, "{answer}");
    let (envelope, group) = broker.last().unwrap();
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["id"], envelope.id());
    assert_eq!(envelope.payload(), ORDER.as_bytes());
    assert_eq!(
        (envelope.event_type(), envelope.source(), envelope.subject(), group.as_deref()),
        ("order.placed", "/orders", Some("o-1"), Some("c-1"))
    );
    assert_eq!((envelope.principal(), envelope.operation()), (Some("acme"), Some("placeOrder")));
    assert_eq!((envelope.idempotency_key(), envelope.traceparent()), (Some("k-1"), Some(trace)));
}

#[tokio::test]
async fn a_broker_failure_is_a_503_with_retry_after_and_without_internal_details() {
    let reason = || "the internal reason".to_owned();
    // The answer has an id only if the message may be stored.
    let stored = Broker::default();
    answer(&ingress(&stored, &Store::with(&secret_text())), &http_api("POST", "/orders", &ORDER_HEADERS, ORDER)).await;
    let id = stored.last().unwrap().0.id().to_owned();
    for (sick, status, code, retry_after, perhaps_stored) in [
        (SendError::NotSent { reason: reason() }, 503, "queue_unavailable", Some("2"), None),
        (SendError::Unknown { reason: reason() }, 503, "queue_unavailable", Some("2"), Some(id.as_str())),
        (SendError::Unroutable { reason: reason() }, 503, "unroutable", Some("30"), None),
        (SendError::Refused { reason: reason(), message_at_fault: false }, 503, "queue_unavailable", Some("30"), None),
        (SendError::Refused { reason: reason(), message_at_fault: true }, 413, "payload_too_large", None, None),
    ] {
        let broker = Broker { sick: Some(sick), ..Broker::default() };
        let ingress = ingress(&broker, &Store::with(&secret_text()));
        let answer = answer(&ingress, &http_api("POST", "/orders", &ORDER_HEADERS, ORDER)).await;
        assert_eq!(answer["statusCode"], status);
        assert_eq!(answer["headers"]["retry-after"].as_str(), retry_after, "{answer}");
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!(body["code"], code);
        assert_eq!(body["id"].as_str(), perhaps_stored, "{answer}");
        assert!(!body.to_string().contains("internal reason"), "{answer}");
    }
}

#[tokio::test]
async fn the_published_document_has_no_extensions() {
    let ingress = ingress(&Broker::default(), &Store::with(&secret_text()));
    let get = answer(&ingress, &http_api("GET", "/openapi.json", &[], "")).await;
    let document: Value = serde_json::from_str(get["body"].as_str().unwrap()).unwrap();
    assert_eq!(document["paths"]["/orders"]["post"]["operationId"], "placeOrder");
    for extension in ["\"x-sluicegate\"", "\"x-secret\"", "\"x-signature\""] {
        assert!(!get["body"].as_str().unwrap().contains(extension), "{extension}");
    }
    let options = answer(&ingress, &http_api("OPTIONS", "/orders", &[], "")).await;
    assert_eq!(options["statusCode"], 204);
    assert_eq!(options["headers"]["allow"], "POST, OPTIONS");
}

#[tokio::test]
async fn head_is_answered_with_the_length_of_the_answer_to_get() {
    let ingress = ingress(&Broker::default(), &Store::with(&secret_text()));
    let events = [
        (include_str!("../../events/http-api-v2.json"), "headers"),
        (include_str!("../../events/function-url.json"), "headers"),
        (include_str!("../../events/rest-api-v1.json"), "headers"),
        (include_str!("../../events/alb.json"), "headers"),
        (include_str!("../../events/alb-multi-value.json"), "multiValueHeaders"),
    ];
    for (file, headers) in events {
        // A description and a rejection; the answer to GET has a body in both cases.
        for (path, status) in [("/openapi.json", 200), ("/orders", 405), ("/nowhere", 404)] {
            let mut event: Value = serde_json::from_str(file).unwrap();
            let mut ask = async |method: &str| {
                for (name, value) in [("rawPath", path), ("path", path), ("httpMethod", method)] {
                    event[name] = value.into();
                }
                if event["version"] == "2.0" {
                    event["requestContext"]["http"]["method"] = method.into();
                }
                answer(&ingress, &event).await
            };
            let (get, head) = (ask("GET").await, ask("HEAD").await);
            let length =
                head[headers]["content-length"].as_str().or_else(|| head[headers]["content-length"][0].as_str());
            let body = get["body"].as_str().unwrap();
            assert_eq!((&head["statusCode"], &head["body"]), (&status.into(), &"".into()), "{path}: {head}");
            assert_eq!(length, Some(body.len().to_string().as_str()), "{path}: {head}");
            assert_eq!(head[headers]["content-type"], get[headers]["content-type"], "{path}: {head}");
            assert!(get[headers]["content-length"].is_null(), "the service sets the content length itself: {get}");
        }
    }
}

#[tokio::test]
async fn a_caller_over_the_rate_limit_gets_429_with_retry_after() {
    let ingress = ingress(&Broker::default(), &Store::with(&secret_text()));
    let limit = crate::support::contract().operations()[0].enqueue.rate_limits[0].limit;
    let event = http_api("POST", "/orders", &[("x-api-key", "writer"), ("idempotency-key", "k")], "");
    let mut last = Value::Null;
    // The allowance recovers slightly during the test.
    for _ in 0..limit + limit / 2 {
        last = answer(&ingress, &event).await;
        if last["statusCode"] == 429 {
            break;
        }
    }
    assert_eq!(last["statusCode"], 429, "{last}");
    assert!(last["headers"]["retry-after"].as_str().unwrap().parse::<u64>().unwrap() >= 1);
    let other = http_api("POST", "/orders", &[("x-api-key", "old"), ("idempotency-key", "k")], "");
    assert_eq!(answer(&ingress, &other).await["statusCode"], 400, "another principal has a separate allowance");
}

#[tokio::test]
async fn a_header_and_a_query_parameter_of_one_name_keep_their_own_schemas() {
    let header = "        - $ref: '#/components/parameters/IdempotencyKey'\n";
    let query = "        - { name: idempotency-key, in: query, schema: { type: string, maxLength: 3 } }\n";
    let contract = shipped_with(&[(header, &format!("{header}{query}"))]);
    let ingress = ingress_of(contract, &Broker::default(), &Store::with(&secret_text()));
    for (key, query, status) in [("longer-than-3", "", 202), ("k", "idempotency-key=four", 400)] {
        let headers = ORDER_HEADERS.map(|(name, value)| (name, if name == "idempotency-key" { key } else { value }));
        let mut event = http_api("POST", "/orders", &headers, ORDER);
        event["rawQueryString"] = query.into();
        let answer = answer(&ingress, &event).await;
        assert_eq!(answer["statusCode"], status, "{key} {query}: {answer}");
    }
}

#[tokio::test]
async fn every_status_and_header_of_an_answer_is_in_the_document() {
    let document: Value = serde_json::from_str(crate::support::contract().public_document()).unwrap();
    let resolved = |at: &Value| match at["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap().clone(),
        None => at.clone(),
    };
    let problem = "application/problem+json";
    let gateway = "application/json";
    // The statuses with the headers and media types that the ingress or the gateway sends.
    let expected: [(u16, &[&str], &[&str]); 11] = [
        (202, &["RateLimit", "RateLimit-Policy"], &[gateway]),
        (400, &["RateLimit", "RateLimit-Policy"], &[problem, gateway]),
        (401, &["WWW-Authenticate"], &[problem]),
        (404, &[], &[problem]),
        (405, &["Allow"], &[problem]),
        (413, &["RateLimit", "RateLimit-Policy"], &[problem, gateway]),
        (415, &["Accept-Post", "Accept-Encoding", "RateLimit", "RateLimit-Policy"], &[problem]),
        (422, &["RateLimit", "RateLimit-Policy"], &[problem]),
        (429, &["Retry-After", "RateLimit", "RateLimit-Policy"], &[problem, gateway]),
        (500, &["RateLimit", "RateLimit-Policy"], &[problem, gateway]),
        (503, &["Retry-After", "RateLimit", "RateLimit-Policy"], &[problem, gateway]),
    ];
    for (path, item) in document["paths"].as_object().unwrap() {
        let responses = &item["post"]["responses"];
        for (status, headers, media_types) in expected {
            let response = resolved(&responses[status.to_string()]);
            assert!(response.is_object(), "{path} documents {status}");
            for header in headers {
                assert!(response["headers"][*header].is_object(), "{path} {status} {header}");
            }
            for media_type in media_types {
                assert!(response["content"][*media_type]["schema"].is_object(), "{path} {status} {media_type}");
            }
        }
        let description = resolved(&responses["500"])["description"].as_str().unwrap().to_owned();
        assert!(description.contains("may be stored"), "{path}: {description}");
    }
}
