//! Tests of patterns: matching, refused patterns, and bodies read as JSON or text.

use serde_json::json;

use super::*;

fn order() -> Value {
    json!({
        "messageId": "m-1",
        "body": r#"{"type":"order.placed","total":42.5,"tags":["tea","gift"],"note":null,"paid":true,"customer":{"id":"C-1"}}"#,
        "messageAttributes": { "tenant": { "stringValue": "blue", "dataType": "String" } },
    })
}

fn passes(patterns: &[Value], record: &Value) -> bool {
    Filters::parse(patterns).unwrap().pass(record)
}

#[test]
fn a_pattern_matches_by_the_rule_syntax() {
    let body = |field: Value| json!({ "body": field });
    let cases = [
        (json!({ "messageId": ["m-1"] }), true),
        (json!({ "messageId": ["m-2", "m-1"] }), true),
        (json!({ "messageId": ["m-2"] }), false),
        (json!({ "messageAttributes": { "tenant": { "stringValue": ["blue"] } } }), true),
        (json!({ "messageAttributes": { "tenant": { "stringValue": ["red"] } } }), false),
        (body(json!({ "type": [{ "prefix": "order." }] })), true),
        (body(json!({ "type": [{ "prefix": "refund." }, { "suffix": ".placed" }] })), true),
        (body(json!({ "type": [{ "suffix": ".paid" }] })), false),
        (body(json!({ "type": [{ "equals-ignore-case": "ORDER.Placed" }] })), true),
        (body(json!({ "type": [{ "anything-but": "order.placed" }] })), false),
        (body(json!({ "type": [{ "anything-but": ["a", "b"] }] })), true),
        (body(json!({ "type": [{ "anything-but": { "prefix": "order" } }] })), false),
        (body(json!({ "missing": [{ "anything-but": "a" }] })), false),
        (body(json!({ "total": [42.5] })), true),
        (body(json!({ "total": ["42.5"] })), false),
        (body(json!({ "total": [{ "numeric": ["=", 42.50] }] })), true),
        (body(json!({ "total": [{ "numeric": [">", 40, "<=", 42.5] }] })), true),
        (body(json!({ "total": [{ "numeric": [">", 40, "<", 42.5] }] })), false),
        (body(json!({ "type": [{ "numeric": [">", 0] }] })), false),
        (body(json!({ "note": [null] })), true),
        (body(json!({ "paid": [true] })), true),
        (body(json!({ "paid": [false] })), false),
        (body(json!({ "tags": ["gift"] })), true),
        (body(json!({ "tags": ["coffee"] })), false),
        (body(json!({ "customer": { "id": ["C-1"] } })), true),
        (body(json!({ "note": [{ "exists": true }], "gone": [{ "exists": false }] })), true),
        (body(json!({ "customer": [{ "exists": true }] })), false),
        (body(json!({ "gone": { "deeper": [{ "exists": false }] } })), true),
        (body(json!({ "type": ["order.placed"], "paid": [false] })), false),
        (body(json!({ "$or": [{ "paid": [false] }, { "total": [{ "numeric": [">", 1] }] }] })), true),
        (body(json!({ "paid": [false], "$or": [{ "paid": [true] }, { "total": [1] }] })), false),
        (json!({ "$or": [{ "messageId": ["x"] }, { "body": { "paid": [true] } }] }), true),
    ];
    for (pattern, expected) in cases {
        assert_eq!(passes(std::slice::from_ref(&pattern), &order()), expected, "{pattern}");
    }
}

#[test]
fn body_and_pattern_must_have_the_same_format() {
    let (json_pattern, text_pattern) = (json!({ "body": { "a": [1] } }), json!({ "body": [{ "prefix": "hello" }] }));
    let no_body_pattern = json!({ "messageId": ["m-1"] });
    let cases = [
        ("hello world", &text_pattern, true),
        ("good bye", &text_pattern, false),
        ("hello world", &json_pattern, false),
        ("{\"a\":1}", &json_pattern, true),
        ("{\"a\":2}", &json_pattern, false),
        ("\"hello\"", &text_pattern, false),
        ("hello world", &no_body_pattern, true),
        ("{\"a\":2}", &no_body_pattern, true),
    ];
    for (body, pattern, expected) in cases {
        assert_eq!(
            passes(std::slice::from_ref(pattern), &json!({ "messageId": "m-1", "body": body })),
            expected,
            "{body} {pattern}"
        );
    }
}

#[test]
fn one_matching_filter_is_enough_and_without_filters_all_records_pass() {
    let (no, yes) = (json!({ "messageId": ["x"] }), json!({ "messageId": ["m-1"] }));
    assert!(passes(&[no.clone(), yes], &order()));
    assert!(!passes(&[no.clone(), no], &order()));
    assert!(passes(&[], &order()));
}

#[test]
fn a_bad_pattern_is_refused_with_its_place() {
    let cases = [
        (json!([]), "filter 1: must be an object"),
        (json!({}), "filter 1: must not be empty"),
        (json!({ "body": {} }), "filter 1/body: must not be empty"),
        (json!({ "body": "a" }), "filter 1/body: must be an object or a non-empty array"),
        (json!({ "body": [] }), "filter 1/body: must be an object or a non-empty array"),
        (json!({ "body": [["a"]] }), "filter 1/body/0: must not be an array"),
        (json!({ "body": [{ "wildcard": "a*" }] }), "filter 1/body/0/wildcard: is not an operator"),
        (json!({ "body": [{ "prefix": 1 }] }), "filter 1/body/0/prefix: must be a string"),
        (json!({ "body": [{ "prefix": "a", "suffix": "b" }] }), "filter 1/body/0: must have exactly one operator"),
        (json!({ "body": [{ "exists": "yes" }] }), "filter 1/body/0/exists: must be true or false"),
        (
            json!({ "a/b": [{ "numeric": ["~", 1] }] }),
            "filter 1/a~1b/0/numeric: must be like [\">\", 0] or [\">\", 0, \"<=\", 5]",
        ),
        (json!({ "a": [{ "anything-but": [] }] }), "filter 1/a/0/anything-but: must list strings or numbers"),
        (json!({ "$or": [{ "a": [1] }] }), "filter 1/$or: must be an array of at least two patterns"),
        (json!({ "a": ["x".repeat(PATTERN_CHARS_MAX)] }), "filter 1: a pattern has at most 4096 characters"),
    ];
    for (pattern, expected) in cases {
        assert_eq!(Filters::parse(&[pattern]).unwrap_err().to_string(), expected);
    }
    let eleven = vec![json!({ "a": [1] }); FILTERS_MAX + 1];
    assert_eq!(Filters::parse(&eleven).unwrap_err().to_string(), "filter 11: a mapping has at most 10 filters");
}

#[test]
fn data_of_rabbitmq_is_matched_after_decoding() {
    let check = |pattern: Value, data: &[u8], expected: bool| {
        let filters = Filters::parse(std::slice::from_ref(&pattern)).unwrap();
        let record = json!({ "basicProperties": { "type": "t" }, "redelivered": false, "data": "encoded" });
        assert_eq!(filters.pass_decoded(&record, "data", data), expected, "{pattern} {data:?}");
    };
    let nested = json!({ "data": { "kind": ["b"] } });
    check(nested.clone(), b"{\"kind\":\"b\"}", true);
    check(nested.clone(), b"{\"kind\":\"a\"}", false);
    check(nested.clone(), b"plain", false);
    check(nested, &[0xff], false);
    check(json!({ "data": ["plain"] }), b"plain", true);
    check(json!({ "data": ["{}"] }), b"{}", false);
    check(json!({ "data": ["encoded"] }), b"plain", false);
    check(json!({ "basicProperties": { "type": ["t"] } }), b"plain", true);
    check(json!({ "body": ["plain"] }), b"plain", false);
}
