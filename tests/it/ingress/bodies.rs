//! Bodies: accepted forms, and rejections with the pointer of each fault and without the values sent.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluicegate_contract::Contract;
use sluicegate_ingress::{ANSWER_BYTES_MAX, Ingress};
use sluicegate_queue::SendError;

use super::{Broker, ORDER, ORDER_HEADERS, Store, answer, http_api, ingress, ingress_of, secret_text, shipped_with};

/// Returns an ingress with the contract of [`taking_contract`] and one queue.
pub(super) fn taking(operation: &Value, broker: &Broker) -> Ingress<Broker, Store> {
    let producers = BTreeMap::from([("q".to_owned(), broker.clone())]);
    Ingress::new(taking_contract(operation), producers, Store::with(&secret_text()))
}

/// Returns a contract with one public route `POST /take/{name}` and the settings of the case.
pub(super) fn taking_contract(operation: &Value) -> &'static Contract {
    let mut post = json!({
        "operationId": "take",
        "security": [],
        "parameters": [
            { "name": "name", "in": "path", "required": true },
            { "name": "q", "in": "query" },
        ],
        "x-sluicegate": { "queue": "q", "type": "t", "payloadBytes": 1_000_000 },
    });
    for (name, value) in operation.as_object().unwrap() {
        match name.as_str() {
            "x-sluicegate" => post[name].as_object_mut().unwrap().extend(value.as_object().unwrap().clone()),
            _ => post[name] = value.clone(),
        }
    }
    let document = json!({
        "openapi": "3.1.1",
        "info": { "title": "t", "version": "1" },
        "paths": { "/take/{name}": { "post": post } },
        "components": { "schemas": {
            "Node": { "properties": { "value": { "type": "integer" }, "next": { "$ref": "#/components/schemas/Node" } } },
        } },
    });
    Box::leak(Box::new(Contract::parse("openapi.yaml", &document.to_string()).unwrap()))
}

/// Returns an operation with a JSON body of this schema.
fn body(schema: Value) -> Value {
    json!({ "requestBody": { "required": true, "content": { "application/json": { "schema": schema } } } })
}

fn event(path: &str, headers: &[(&str, &str)], body: &str) -> Value {
    let mut event = http_api("POST", path, headers, body);
    event["rawQueryString"] = "".into();
    if headers.iter().all(|(name, _)| *name != "content-type") {
        event["headers"]["content-type"] = "application/json".into();
    }
    event
}

/// Returns status and code, and pointer and text of each fault.
async fn refusal<P: sluicegate_queue::Producer>(
    ingress: &Ingress<P, Store>,
    event: &Value,
) -> (u64, String, Vec<(String, String)>) {
    let answer = answer(ingress, event).await;
    let text = answer["body"].as_str().unwrap();
    assert!(text.len() <= ANSWER_BYTES_MAX, "{} bytes", text.len());
    let problem: Value = serde_json::from_str(text).unwrap();
    let text = |fault: &Value, member: &str| fault[member].as_str().unwrap().to_owned();
    let faults = problem["errors"].as_array().into_iter().flatten();
    let faults = faults.map(|fault| (text(fault, "pointer"), text(fault, "detail"))).collect();
    (answer["statusCode"].as_u64().unwrap(), problem["code"].as_str().unwrap_or_default().to_owned(), faults)
}

/// Each fault has its pointer and the expectation of the schema there.
#[tokio::test]
async fn the_faults_of_a_document_have_their_pointers() {
    let check = async |schema: Value, document: Value, expected: &[(&str, &str)]| {
        let ingress = taking(&body(schema.clone()), &Broker::default());
        let (status, code, faults) = refusal(&ingress, &event("/take/a", &[], &document.to_string())).await;
        let what = format!("{schema} {document}: {faults:?}");
        assert_eq!(
            (status, code.as_str()),
            if expected.is_empty() { (202, "") } else { (422, "schema_violated") },
            "{what}"
        );
        assert_eq!(faults.len(), expected.len(), "{what}");
        for ((pointer, detail), (place, says)) in faults.iter().zip(expected) {
            assert!(pointer == place && detail.contains(says), "{what}");
        }
    };
    let kind = |kind: &str, data: Value| json!({ "required": ["k", "d"], "properties": { "k": { "const": kind }, "d": { "properties": data, "additionalProperties": false } } });
    let events =
        json!([kind("a", json!({ "x": { "type": "integer" } })), kind("b", json!({ "y": { "type": "integer" } }))]);

    check(json!({ "required": ["a", "b"] }), json!({}), &[("", "\"a\" is a required"), ("", "\"b\" is a required")])
        .await;
    check(
        json!({ "properties": { "a": true }, "additionalProperties": false }),
        json!({ "a": 0, "b/c": 0 }),
        &[("/b~1c", "not allowed")],
    )
    .await;
    check(
        json!({ "items": { "type": "integer" } }),
        json!([0, "x", 1.5, 1.0]),
        &[("/1", "integer"), ("/2", "integer")],
    )
    .await;
    check(json!({ "prefixItems": [true], "items": false }), json!([0, 1]), &[("/1", "not allowed")]).await;
    check(json!({ "uniqueItems": true }), json!([0, 0.0]), &[("", "non-unique")]).await;
    check(
        json!({ "patternProperties": { "^x": { "maximum": 1 } }, "additionalProperties": { "type": "string" } }),
        json!({ "x1": 2, "y": 2 }),
        &[("/x1", "maximum"), ("/y", "string")],
    )
    .await;
    check(json!({ "propertyNames": { "maxLength": 1 } }), json!({ "ab": 0 }), &[("/ab", "name is not allowed")]).await;
    check(json!({ "dependentRequired": { "a": ["b"] } }), json!({ "a": 0 }), &[("", "\"b\"")]).await;
    check(json!({ "dependentSchemas": { "a": { "required": ["b"] } } }), json!({ "a": 0 }), &[("", "\"b\"")]).await;
    check(json!({ "not": { "type": "object" } }), json!({}), &[("", "`not`")]).await;
    check(
        json!({ "if": { "required": ["a"] }, "then": { "required": ["b"] }, "else": { "required": ["c"] } }),
        json!({ "a": 0 }),
        &[("", "\"b\"")],
    )
    .await;
    check(
        json!({ "if": { "required": ["a"] }, "then": { "required": ["b"] }, "else": { "required": ["c"] } }),
        json!({}),
        &[("", "\"c\"")],
    )
    .await;
    check(json!({ "contains": { "type": "string" }, "minContains": 2 }), json!(["", 0]), &[("", "`contains`")]).await;
    check(json!({ "contains": { "type": "string" }, "minContains": 0 }), json!([0]), &[]).await;
    check(
        json!({ "allOf": [{ "$ref": "#/components/schemas/Node" }] }),
        json!({ "next": { "next": { "value": "x" } } }),
        &[("/next/next/value", "integer")],
    )
    .await;
    check(
        json!({ "properties": { "a": true }, "unevaluatedProperties": false }),
        json!({ "b": 0 }),
        &[("", "unevaluatedProperties")],
    )
    .await;
    check(
        json!({ "properties": { "a": { "prefixItems": [true], "unevaluatedItems": false } } }),
        json!({ "a": [0, 1] }),
        &[("/a", "unevaluatedItems")],
    )
    .await;
    // Reports the alternative that matched furthest.
    for keyword in ["oneOf", "anyOf"] {
        check(json!({ keyword: events }), json!({ "k": "b", "d": { "y": "x" } }), &[("/d/y", "integer")]).await;
        check(json!({ keyword: events }), json!({ "k": "a", "d": { "y": 1 } }), &[("/d/y", "not allowed")]).await;
        check(json!({ keyword: events }), json!({ "k": "b" }), &[("", "\"d\" is a required")]).await;
        check(
            json!({ "items": { keyword: events } }),
            json!([{ "k": "a", "d": {} }, { "k": "a", "d": { "x": null } }]),
            &[("/1/d/x", "integer")],
        )
        .await;
        check(
            json!({ "items": { keyword: [{ "type": "string" }, { "type": "null" }] } }),
            json!(["", null, 0]),
            &[("/2", "\"string\"; or ")],
        )
        .await;
    }
    check(json!({ "oneOf": [{ "type": "integer" }, { "minimum": 0 }] }), json!(1), &[("", "matches 2 alternatives")])
        .await;
    // At most 32 faults.
    let wrong = vec![json!("x"); 100];
    let places: Vec<String> = (0..32).map(|index| format!("/{index}")).collect();
    let expected: Vec<_> = places.iter().map(|place| (place.as_str(), "integer")).collect();
    check(json!({ "items": { "type": "integer" } }), json!(wrong), &expected).await;
}

/// The size of an answer is bounded, and long values of the request are not in it.
#[tokio::test]
async fn an_answer_is_short_for_any_request() {
    let long = "n".repeat(100_000);
    let strict = json!({ "type": "object", "additionalProperties": false, "propertyNames": { "maxLength": 3 } });
    let nested = json!({ "type": "object", "additionalProperties": { "additionalProperties": false } });
    let many = |name: &str| {
        let members: Vec<String> = (0..500).map(|number| format!("\"{name}{number}\": 0")).collect();
        format!("{{{}}}", members.join(","))
    };
    for (schema, sent) in [
        (&strict, many("unknown")),
        (&strict, many(&"\\u0001".repeat(200))),
        (&strict, format!(r#"{{"{long}": 0}}"#)),
        (&nested, format!(r#"{{"{long}": {{"{long}": 0}}}}"#)),
        (&nested, format!(r#"{{"a": {{"{long}": 0}}}}"#)),
        (&json!({ "maxLength": 5 }), format!("\"{long}\"")),
        (&json!({ "enum": [long] }), format!("\"{long}{long}\"")),
        (&json!({ "pattern": "^[a-m]*$" }), format!("\"{long}\"")),
        (&json!({ "const": vec![long.clone(); 5] }), "0".to_owned()),
        (
            &json!({ "required": (0..1_000).map(|number| format!("{number}{}", "m".repeat(200))).collect::<Vec<_>>() }),
            "{}".to_owned(),
        ),
        (&strict, format!(r#"{{"{long}": 0, "{long}": 0}}"#)),
    ] {
        let ingress = taking(&body(schema.clone()), &Broker::default());
        let (status, _, faults) = refusal(&ingress, &event("/take/a", &[], &sent)).await;
        assert!([400, 422].contains(&status) && !faults.is_empty(), "{status} {faults:?}");
        for (pointer, detail) in faults {
            assert!(pointer.len() <= 256 && detail.len() <= 256, "{pointer} {detail}");
            assert!(!pointer.contains(&long[..300]) && !detail.contains(&long[..300]), "{pointer} {detail}");
        }
    }
    // A pointer is cut between two names, and the fault says so.
    let (_, _, faults) = refusal(
        &taking(&body(nested), &Broker::default()),
        &event("/take/a", &[], &format!(r#"{{"a": {{"{long}": 0}}}}"#)),
    )
    .await;
    assert!(
        faults[0].0 == "/a" && faults[0].1.contains("too long") && faults[0].1.contains("not allowed"),
        "{faults:?}"
    );
    // The same holds for parameters, paths and media types.
    let mut operation = body(json!({ "type": "array" }));
    operation["parameters"] = json!([
        { "name": "name", "in": "path", "required": true, "schema": { "maxLength": 10 } },
        { "name": "q", "in": "query", "schema": { "enum": [long] } },
    ]);
    let ingress = taking(&operation, &Broker::default());
    for (path, query, content_type) in [
        (format!("/take/{long}"), String::new(), "application/json".to_owned()),
        (format!("/{long}"), String::new(), "application/json".to_owned()),
        ("/take/a".to_owned(), format!("q={long}x"), "application/json".to_owned()),
        ("/take/a".to_owned(), String::new(), long.clone()),
    ] {
        let mut event = event(&path, &[("content-type", &content_type)], "[]");
        event["rawQueryString"] = query.into();
        assert_ne!(refusal(&ingress, &event).await.0, 202, "{path}");
    }
}

#[tokio::test]
async fn a_body_is_accepted_only_by_a_route_that_declares_one() {
    let broker = Broker::default();
    let ingress = taking(&json!({}), &broker);
    for (content_type, sent, expected) in [
        ("application/json", "{}", (400, "body_unexpected")),
        ("text/plain", " ", (400, "body_unexpected")),
        ("application/json", "", (202, "")),
    ] {
        let (status, code, _) = refusal(&ingress, &event("/take/a", &[("content-type", content_type)], sent)).await;
        assert_eq!((status, code.as_str()), expected, "{content_type} {sent:?}");
    }
    assert_eq!(broker.len(), 1);
}

#[tokio::test]
async fn a_duplicate_member_is_refused_where_the_document_matters() {
    let schema = || body(json!({ "properties": { "quantity": { "minimum": 1 } } }));
    let mut template = body(json!({ "type": "object" }));
    template["x-sluicegate"] = json!({ "subject": "{body#/a}" });
    let twice = r#"{"quantity": 0, "quantity": 1}"#;
    let escaped = r#"{"a": "x", "l": [{"b": 0, "\u0062": 0}]}"#;
    for (operation, sent, expected) in [
        (schema(), twice, Some("/quantity")),
        (schema(), escaped, Some("/l/0/b")),
        (template, escaped, Some("/l/0/b")),
        (body(json!({ "type": "object" })), twice, None),
        (body(json!(true)), escaped, None),
        (body(json!({ "description": "Anything" })), escaped, None),
    ] {
        let broker = Broker::default();
        let (status, code, faults) = refusal(&taking(&operation, &broker), &event("/take/a", &[], sent)).await;
        let places: Vec<_> = faults.iter().map(|(pointer, _)| pointer.as_str()).collect();
        match expected {
            Some(pointer) => {
                assert_eq!((status, code.as_str(), places.as_slice()), (400, "json_invalid", &[pointer][..]), "{sent}")
            }
            None => assert_eq!((status, broker.last().unwrap().0.payload().as_ref()), (202, sent.as_bytes()), "{sent}"),
        }
    }
}

/// Half a surrogate pair is valid JSON but not a Rust string, so it must pass as bytes.
#[tokio::test]
async fn documents_without_a_schema_pass_byte_for_byte() {
    let half = r#" {"text": "\ud800", "again": "\udc00\ud83d"} "#;
    let deep = format!("{{\"a\": {}0{}}}", "[".repeat(1_000), "]".repeat(1_000));
    let plain = json!({ "requestBody": { "content": { "application/json": {} } } });
    for (operation, sent, expected) in [
        (body(json!({ "type": "object" })), half, (202, "")),
        (body(json!({ "type": "object" })), &deep, (202, "")),
        (body(json!({ "type": "object" })), "[]", (422, "schema_violated")),
        (body(json!({ "type": "object" })), "{", (400, "json_invalid")),
        (body(json!({})), r#""\udead""#, (202, "")),
        (plain, "\n[1]\n", (202, "")),
        (body(json!({ "required": ["text"] })), half, (400, "json_invalid")),
    ] {
        let broker = Broker::default();
        let (status, code, _) = refusal(&taking(&operation, &broker), &event("/take/a", &[], sent)).await;
        assert_eq!((status, code.as_str()), expected, "{sent}");
        if status == 202 {
            let stored = broker.last().unwrap().0;
            let read = sluicegate_envelope::Envelope::decode(&stored.encode()).unwrap();
            assert_eq!(read.payload().as_ref(), sent.as_bytes(), "{sent}");
            assert!(sluicegate_queue::sqs::is_sendable(&stored.encode()), "{sent}");
        }
    }
}

#[tokio::test]
async fn a_value_unfit_for_an_event_is_reported_at_its_source() {
    let long = "x".repeat(2_049);
    let with = |template: &str| {
        let mut operation = body(json!({ "properties": { "id": { "type": "string" } } }));
        operation["x-sluicegate"] = json!({ "subject": template, "group": "g", "type": "t" });
        operation
    };
    for (template, path, id, expected, says) in [
        ("{body#/id}", "/take/a", "\\u0000", 422, "/id"),
        ("{body#/id}", "/take/a", "\\uffff", 422, "/id"),
        ("{body#/id}", "/take/a", "\u{1fffe}", 422, "/id"),
        ("{body#/id}", "/take/a", "\u{fdd0}", 422, "/id"),
        ("{body#/id}", "/take/a", &long, 422, "/id"),
        ("{path.name}-{body#/id}", "/take/a", "\\u0085", 422, "/id"),
        ("{body#/other}", "/take/a", "", 422, "/other"),
        ("{path.name}", "/take/a\u{7}b", "", 400, "The path "),
        ("{header.x-h}", "/take/a", "", 400, "header x-h "),
        ("{query.q}", "/take/a", "", 400, "query parameter q "),
        ("{query.none}", "/take/a", "", 400, "query parameter none "),
    ] {
        let ingress = taking(&with(template), &Broker::default());
        let mut event = event(path, &[("x-h", "a\tb")], &format!("{{\"id\": \"{id}\"}}"));
        event["rawQueryString"] = "q=%00".into();
        let answer = answer(&ingress, &event).await;
        let text = answer["body"].as_str().unwrap();
        assert_eq!(answer["statusCode"], expected, "{template}: {answer}");
        assert!(text.contains(says), "{template}: {text}");
        assert!(!text.contains("subject") && !text.contains("attribute"), "{template}: {text}");
    }
}

#[tokio::test]
async fn the_shipped_contract_refuses_orders_that_the_handler_could_not_parse() {
    let check = async |from: &str, to: &str, expected: (u64, &str), pointer: Option<&str>| {
        let ingress = ingress(&Broker::default(), &Store::with(&secret_text()));
        let sent = ORDER.replacen(from, to, 1);
        assert_ne!(sent, ORDER);
        let (status, code, faults) = refusal(&ingress, &http_api("POST", "/orders", &ORDER_HEADERS, &sent)).await;
        assert_eq!((status, code.as_str()), expected, "{to}: {faults:?}");
        assert_eq!(faults.first().map(|(pointer, _)| pointer.as_str()), pointer, "{to}");
    };
    let wrong = (422, "schema_violated");
    for odd in
        ["ü", "\\u0000", "a\\tb", "a\\nb", "\\u007f", "\\u009f", "\\ufdd0", "\\ufffe", "\\uffff", "\\ud83f\\udffe", ""]
    {
        check("o-1", odd, wrong, Some("/order_id")).await;
        check("c-1", odd, wrong, Some("/customer_id")).await;
    }
    check("o-1", "Order 1/~", (202, ""), None).await;
    for number in ["4294967296", "1e10", "0", "1.5", "-1", "1000001"] {
        check("\"quantity\": 2", &format!("\"quantity\": {number}"), wrong, Some("/items/0/quantity")).await;
    }
    check("\"quantity\": 2", "\"quantity\": 0, \"quantity\": 1", (400, "json_invalid"), Some("/items/0/quantity"))
        .await;
}

#[tokio::test]
async fn a_delivery_id_with_a_tab_is_refused_by_its_name() {
    let broker = Broker::default();
    let ingress = ingress(&broker, &Store::with(&secret_text()));
    let right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let headers = [("x-hub-signature-256", right), ("x-github-event", "push"), ("x-github-delivery", "a\tb")];
    let answer = answer(&ingress, &event("/webhooks/github", &headers, "Hello, World!")).await;
    assert_eq!(answer["statusCode"], 400, "{answer}");
    assert!(answer["body"].as_str().unwrap().contains("The header x-github-delivery must be"), "{answer}");
}

#[tokio::test]
async fn a_body_is_stored_byte_for_byte() {
    let operation = json!({ "requestBody": { "required": true, "content": {
        "application/json": { "schema": { "type": "object" } }, "text/plain": {} } } });
    let ingress_and_broker = || {
        let broker = Broker::default();
        (taking(&operation, &broker), broker)
    };
    let utf8 = "application/json; charset=utf-8";
    for (headers, expected, stored) in [
        (&[("content-type", "application/json;\tcharset=utf-8")][..], (202, ""), utf8),
        (
            &[("content-type", "Application/JSON ; charset=\"UTF-8\"\t")],
            (202, ""),
            "application/json; charset=\"UTF-8\"",
        ),
        (&[("content-type", "application/json; charset=utf-16")], (415, "media_type_unsupported"), ""),
        (&[("content-type", "application/json; charset=iso-8859-1")], (415, "media_type_unsupported"), ""),
        (&[("content-type", "text/plain; charset=iso-8859-1")], (202, ""), "text/plain; charset=iso-8859-1"),
        (&[("content-encoding", "gzip")], (415, "content_encoding_unsupported"), ""),
        (&[("content-encoding", "identity, br")], (415, "content_encoding_unsupported"), ""),
        (&[("content-encoding", "gzip"), ("content-type", "text/plain")], (415, "content_encoding_unsupported"), ""),
        (&[("content-encoding", "Identity")], (202, ""), "application/json"),
        (&[("content-encoding", "")], (202, ""), "application/json"),
    ] {
        let (ingress, broker) = ingress_and_broker();
        let answer = answer(&ingress, &event("/take/a", headers, "{}")).await;
        let problem: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!(answer["statusCode"], expected.0, "{headers:?}: {answer}");
        assert_eq!(problem["code"].as_str().unwrap_or_default(), expected.1, "{headers:?}");
        let encodings = &answer["headers"]["accept-encoding"];
        assert_eq!(encodings == "identity", expected.1 == "content_encoding_unsupported", "{headers:?}: {answer}");
        if expected.0 == 202 {
            assert_eq!(broker.last().unwrap().0.content_type(), Some(stored), "{headers:?}");
        }
    }
    // Authentication uses the raw bytes, before the content coding is checked.
    let shipped = ingress(&Broker::default(), &Store::with(&secret_text()));
    let right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    for (signature, status) in [(right, 415), ("sha256=00", 401)] {
        let headers = [
            ("x-hub-signature-256", signature),
            ("x-github-event", "push"),
            ("x-github-delivery", "d"),
            ("content-encoding", "gzip"),
        ];
        let answer = answer(&shipped, &event("/webhooks/github", &headers, "Hello, World!")).await;
        assert_eq!(answer["statusCode"], status, "{answer}");
    }
}

/// With about:blank, the title is the reason phrase of the status (RFC 9457, section 4.2.1).
#[tokio::test]
async fn a_title_is_the_reason_phrase_of_the_status() {
    let ingress = taking(&body(json!({ "type": "array" })), &Broker::default());
    for (path, sent, title) in
        [("/nowhere", "[]", "Not Found"), ("/take/a", "{", "Bad Request"), ("/take/a", "{}", "Unprocessable Entity")]
    {
        let answer = answer(&ingress, &event(path, &[], sent)).await;
        let problem: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!((&problem["title"], problem["type"].is_null()), (&title.into(), true), "{answer}");
    }
}

/// The example answers of the contract are real answers.
#[tokio::test]
async fn the_examples_of_the_contract_are_real_answers() {
    let one_a_minute = shipped_with(&[("limit: 6000", "limit: 1")]);
    let document: Value = serde_json::from_str(crate::support::contract().public_document()).unwrap();
    let order = |headers: &[(&str, &str)], body: &str| {
        let headers = [&ORDER_HEADERS[..], headers].concat();
        http_api("POST", "/orders", &headers, body)
    };
    let with = |from: &str, to: &str| ORDER.replacen(from, to, 1);
    let mut no_key = order(&[], ORDER);
    no_key["headers"].as_object_mut().unwrap().remove("x-api-key");
    let events = [
        ("BadRequest", order(&[], &with("2", "2, \"quantity\": 2"))),
        ("Unauthenticated", no_key),
        ("Forbidden", order(&[("x-api-key", "reader")], ORDER)),
        ("NotFound", http_api("POST", "/nowhere", &[], "")),
        ("PayloadTooLarge", order(&[], &"x".repeat(262_145))),
        ("UnsupportedMediaType", order(&[("content-type", "text/plain")], ORDER)),
        ("Invalid", order(&[], &with("2", "0"))),
        ("TooManyRequests", order(&[], ORDER)),
        ("Unavailable", order(&[], ORDER)),
    ];
    for (name, event) in &events {
        let broker = Broker::default();
        let sick = Broker { sick: Some(SendError::NotSent { reason: String::new() }), ..Broker::default() };
        let (ingress, times) = match *name {
            "TooManyRequests" => (ingress_of(one_a_minute, &broker, &Store::with(&secret_text())), 2),
            "Unavailable" => (ingress(&sick, &Store::with(&secret_text())), 1),
            _ => (ingress(&broker, &Store::with(&secret_text())), 1),
        };
        let mut last = Value::Null;
        for _ in 0..times {
            last = answer(&ingress, event).await;
        }
        let response = &document["components"]["responses"][*name];
        let example = &response["content"]["application/problem+json"]["example"];
        let problem: Value = serde_json::from_str(last["body"].as_str().unwrap()).unwrap();
        assert_eq!((&last["statusCode"], &problem), (&example["status"], example), "{name}");
        // Every header that the contract declares as required is present.
        for (header, described) in response["headers"].as_object().into_iter().flatten() {
            let sent = &last["headers"][header.to_ascii_lowercase()];
            assert!(sent.is_string() || described["required"] != true, "{name}: {header}");
        }
    }
    let responses = document["components"]["responses"].as_object().unwrap();
    let with_example = responses.values().filter(|r| r["content"]["application/problem+json"]["example"].is_object());
    assert_eq!(with_example.count(), events.len());
}

#[tokio::test]
async fn a_message_larger_than_the_queues_limit_is_refused_with_its_size() {
    let operation = json!({ "requestBody": { "content": { "text/plain": {} } } });
    let sick = Some(SendError::TooLarge { bytes: 1_053_800, bytes_max: 1_048_576 });
    let ingress = taking(&operation, &Broker { sick, ..Broker::default() });
    let sent = event("/take/a", &[("content-type", "text/plain")], &"x".repeat(790_000));
    let answer = answer(&ingress, &sent).await;
    let text = answer["body"].as_str().unwrap();
    assert_eq!(answer["statusCode"], 413, "{text}");
    // The base64 of 790,000 bytes has 1,053,336, so the envelope has 464.
    let expected = "The body has 790000 bytes, and base64, because it is not plain JSON, makes it a third longer: with its \
                    envelope 1053800, and the queue accepts 1048576. The largest such body that fits has 786084 bytes.";
    assert!(text.contains(expected), "{text}");
}
