//! Memory and time to reject a body, bounded by its size for every schema.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use lambda_http::{Context, LambdaEvent};
use peak_alloc::PeakAlloc;
use serde_json::{Value, json};
use sluicegate_contract::Contract;
use sluicegate_ingress::{ANSWER_BYTES_MAX, FetchError, Ingress, SecretSource};
use sluicegate_queue::{Message, Producer, Receipt, SendError};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Bytes of memory for each byte of a body: `serde_json::Value` with objects of one member each is the worst case.
const DOCUMENT_PER_BYTE: usize = 128;

/// Bytes of memory for the faults.
const FAULTS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The time limit, generous for debug builds on a loaded machine: an unbounded search takes minutes or more.
const TIME_MAX: Duration = Duration::from_secs(60);

/// The cases that a debug build also runs on the largest body.
const LARGEST_IN_DEBUG: [&str; 3] = ["wrong items", "unknown members", "alternatives"];

struct Full;

impl Producer for Full {
    async fn send(&self, _message: &Message<'_>, _deadline: tokio::time::Instant) -> Result<Receipt, SendError> {
        Err(SendError::NotSent { reason: "the test has no queue".to_owned() })
    }
}

struct NoSecrets;

impl SecretSource for NoSecrets {
    async fn fetch(&self) -> Result<String, FetchError> {
        Ok("{}".to_owned())
    }
}

/// Returns an ingress with one public route that accepts JSON of this schema.
fn ingress(schema: &Value, components: &Value) -> Ingress<Full, NoSecrets> {
    let document = json!({
        "openapi": "3.1.1",
        "info": { "title": "t", "version": "1" },
        "paths": { "/take": { "post": {
            "operationId": "take",
            "security": [],
            "requestBody": { "required": true, "content": { "application/json": { "schema": schema } } },
            "x-sluicegate": { "queue": "q", "type": "t", "payloadBytes": 6_291_456 },
        } } },
        "components": { "schemas": components },
    });
    let contract = Contract::parse("openapi.yaml", &document.to_string()).unwrap();
    Ingress::new(Box::leak(Box::new(contract)), BTreeMap::from([("q".to_owned(), Full)]), NoSecrets)
}

/// Returns status, length of the answer, peak of additional memory, and time.
fn cost(ingress: &Ingress<Full, NoSecrets>, body: &str) -> (u64, usize, usize, Duration) {
    let event = json!({
        "version": "2.0",
        "rawPath": "/take",
        "rawQueryString": "",
        "headers": { "content-type": "application/json" },
        "requestContext": { "http": { "method": "POST", "sourceIp": "::1" }, "requestId": "r" },
        "body": body,
        "isBase64Encoded": false,
    });
    let event = event.to_string();
    let mut context = Context::default();
    let deadline = SystemTime::now() + Duration::from_secs(600);
    context.deadline = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().try_into().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (before, started) = (ALLOCATOR.current_usage(), Instant::now());
    ALLOCATOR.reset_peak_usage();
    let arrival = serde_json::from_str(&event).unwrap();
    let answer = runtime.block_on(ingress.handle(LambdaEvent::new(arrival, context)));
    let (peak, took) = (ALLOCATOR.peak_usage() - before, started.elapsed());
    let answer = serde_json::to_value(answer).unwrap();
    (answer["statusCode"].as_u64().unwrap(), answer["body"].as_str().unwrap().len(), peak, took)
}

/// Returns `open` and repetitions of `unit`, with each `#` replaced by a number, up to `bytes` bytes.
fn repeated(open: &str, unit: &str, close: &str, bytes: usize) -> String {
    let mut body = open.to_owned();
    for number in 0.. {
        let unit = unit.replace('#', &number.to_string());
        if body.len() + unit.len() + close.len() + 1 > bytes {
            break;
        }
        if number > 0 {
            body.push(',');
        }
        body.push_str(&unit);
    }
    body + close
}

#[test]
fn refusing_a_body_costs_little_more_than_reading_it() {
    let alternative = |kind: &str| {
        let data = json!({ "type": "array", "items": { "type": "string" } });
        json!({ "type": "object", "required": ["k", "d"], "properties": { "k": { "const": kind }, "d": data } })
    };
    let tree = json!({ "$ref": "#/components/schemas/T" });
    // Each level tries the next level twice: without a limit the number of tries is 2 to the power of the depth.
    let components = json!({ "T": { "anyOf": [
        { "type": "array", "items": tree.clone() },
        { "type": "array", "items": tree.clone(), "maxItems": 1_000_000_000 },
        { "type": "string" },
    ] } });
    let deep = |bytes: usize| format!("{}{}{}", "[".repeat(100), repeated("", "0", "", bytes - 200), "]".repeat(100));
    let list = |unit: &'static str| move |bytes: usize| repeated("[", unit, "]", bytes);
    let object = |unit: &'static str| move |bytes: usize| repeated("{", unit, "}", bytes);
    type Body = Box<dyn Fn(usize) -> String>;
    let cases: Vec<(&str, Value, Body)> = vec![
        ("wrong items", json!({ "type": "array", "items": { "type": "integer" } }), Box::new(list("\"\""))),
        (
            "unknown members",
            json!({ "properties": { "a": true }, "additionalProperties": false }),
            Box::new(object("\"#\":0")),
        ),
        (
            "unknown long members",
            json!({ "additionalProperties": false }),
            Box::new(|bytes| repeated("{", &format!("\"#{}\":0", "n".repeat(100_000)), "}", bytes)),
        ),
        (
            "alternatives",
            json!({ "items": { "oneOf": [alternative("a"), alternative("b")] } }),
            Box::new(list(r#"{"k":"b","d":[0]}"#)),
        ),
        (
            "alternatives at the top",
            json!({ "oneOf": [alternative("a"), alternative("b")] }),
            Box::new(|bytes| repeated(r#"{"k":"b","d":["#, "0", "]}", bytes)),
        ),
        ("alternatives in alternatives", tree, Box::new(deep)),
        ("items twice", json!({ "uniqueItems": true }), Box::new(|bytes| repeated("[", "#", ",0]", bytes))),
        (
            "unevaluated members",
            json!({ "allOf": [{ "properties": { "a": true } }], "unevaluatedProperties": false }),
            Box::new(object("\"#\":0")),
        ),
        ("unevaluated items", json!({ "prefixItems": [true], "unevaluatedItems": false }), Box::new(list("#"))),
        ("member names", json!({ "propertyNames": { "pattern": "^[a-z]+$" } }), Box::new(object("\"#\":0"))),
        (
            "members by pattern",
            json!({ "patternProperties": { "^[0-9]+$": { "type": "string" } } }),
            Box::new(object("\"#\":0")),
        ),
        (
            "slow pattern",
            json!({ "items": { "pattern": "^(a|a)*(?=b)c$" } }),
            Box::new(|bytes| repeated("[", &format!("\"#{}\"", "a".repeat(5_000)), "]", bytes)),
        ),
        ("not one of", json!({ "items": { "enum": [[1], { "a": 2 }] } }), Box::new(list("[[]]"))),
        ("contains", json!({ "contains": { "type": "string" } }), Box::new(list("0"))),
        (
            "the last of all",
            json!({ "items": { "type": "integer" } }),
            Box::new(|bytes| repeated("[", "0", ",\"\"]", bytes)),
        ),
    ];
    println!("{:30} {:>9} {:>12} {:>12} {:>10} {:>7}", "schema", "body", "document", "refusal", "seconds", "answer");
    for (name, schema, body) in cases {
        let (refusing, admitting) =
            (ingress(&schema, &components), ingress(&json!({ "minProperties": 0 }), &components));
        for bytes in [256 * 1024, 1_000_000, 6_000_000] {
            if bytes > 1_000_000 && cfg!(debug_assertions) && !LARGEST_IN_DEBUG.contains(&name) {
                continue;
            }
            let body = body(bytes);
            let (admitted, _, document, _) = cost(&admitting, &body);
            let (status, answer, refusal, took) = cost(&refusing, &body);
            let seconds = took.as_secs_f64();
            println!("{name:30} {:9} {document:12} {refusal:12} {seconds:10.3} {answer:7}", body.len());
            assert_eq!((admitted, status), (503, 422), "{name}");
            assert!(document <= DOCUMENT_PER_BYTE * body.len(), "{name}: {document} bytes");
            assert!(refusal <= document + FAULTS_BYTES_MAX, "{name}: {refusal} bytes, and {document} without faults");
            assert!(answer <= ANSWER_BYTES_MAX, "{name}: an answer of {answer} bytes");
            assert!(took <= TIME_MAX, "{name}: {took:?}");
        }
    }
}
