//! Metric lines against the specification of the embedded metric format. Invalid lines are not written.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use serde_json::{Value, json};
use sluicegate_telemetry::{
    Admission, DIMENSIONS_MAX, Deliveries, Error, LINE_BYTES_MAX, Line, METRICS_MAX, Metric, VALUES_MAX, Value as Is,
};

fn at() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_795_251_597_123)
}

/// Parses the lines and checks each.
fn read(out: &[u8]) -> Vec<Value> {
    let schema = serde_json::from_str(include_str!("../fixtures/emf.schema.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let text = std::str::from_utf8(out).unwrap();
    assert!(text.ends_with('\n'));
    let lines = text.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        let faults: Vec<_> = schema.iter_errors(&line).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{faults:#?}\n{line:#}");
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
            let names = directive["Metrics"].as_array().unwrap().iter().map(|metric| &metric["Name"]);
            let named =
                names.chain(directive["Dimensions"].as_array().unwrap().iter().flat_map(|set| set.as_array().unwrap()));
            for name in named {
                assert!(!line[name.as_str().unwrap()].is_null(), "{name} has no value: {line:#}");
            }
        }
        line
    });
    lines.collect()
}

#[test]
fn an_accepted_request_is_one_line() {
    let mut out = Vec::new();
    let admission = Admission { refused: None, enqueue: Some(Duration::from_micros(3_456)) };
    admission.write_to(&mut out, "ingress", at()).unwrap();
    let expected = json!({
        "_aws": {
            "Timestamp": 1_795_251_597_123_u64,
            "CloudWatchMetrics": [{
                "Namespace": "Sluicegate",
                "Dimensions": [["function"]],
                "Metrics": [
                    { "Name": "accepted", "Unit": "Count" },
                    { "Name": "enqueue_ms", "Unit": "Milliseconds" },
                ],
            }],
        },
        "function": "ingress",
        "accepted": 1,
        "enqueue_ms": 3.456,
    });
    assert_eq!(read(&out), [expected]);
}

#[test]
fn a_refused_request_is_counted_with_its_code_too() {
    let mut out = Vec::new();
    let admission = Admission { refused: Some("schema_violated"), enqueue: None };
    admission.write_to(&mut out, "ingress", at()).unwrap();
    let line = read(&out).remove(0);
    let directive = &line["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(directive["Dimensions"], json!([["function"], ["function", "code"]]));
    assert_eq!(directive["Metrics"], json!([{ "Name": "refused", "Unit": "Count" }]));
    assert_eq!((&line["refused"], &line["code"]), (&json!(1), &json!("schema_violated")));
}

#[test]
fn a_batch_larger_than_a_line_takes_more_lines_and_is_counted_once() {
    let handlers = (0..250).map(Duration::from_millis).collect();
    let deliveries =
        Deliveries { done: 240, retried: 10, oldest: Some(Duration::from_secs(9)), handlers, ..Deliveries::default() };
    let mut out = Vec::new();
    deliveries.write_to(&mut out, "consumer", "orders", at()).unwrap();
    let lines = read(&out);
    let of = |name: &str| lines.iter().map(|line| line[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("received"), [json!(250), Value::Null, Value::Null]);
    assert_eq!(of("oldest_ms"), [json!(9000.0), Value::Null, Value::Null]);
    assert_eq!(
        of("handler_ms").iter().map(|times| times.as_array().unwrap().len()).collect::<Vec<_>>(),
        [100, 100, 50]
    );
    assert_eq!(lines[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["function", "queue"]]));
    let names = |line: &Value| {
        let metrics = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
        metrics.iter().map(|metric| metric["Name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = ["received", "done", "retried", "rejected", "undecodable", "returned", "oldest_ms", "handler_ms"];
    assert_eq!(names(&lines[0]), all);
    assert_eq!(names(&lines[2]), ["handler_ms"]);
}

#[test]
fn lines_that_cloudwatch_would_drop_are_not_written() {
    let many = vec![1.0; VALUES_MAX + 1];
    let metrics = |count: usize| {
        let name = |index: usize| &*Box::leak(format!("m{index}").into_boxed_str());
        (0..count).map(|index| Metric { name: name(index), value: Is::Count(1) }).collect::<Vec<_>>()
    };
    let long = "x".repeat(1_025);
    let wide = vec!["f"; DIMENSIONS_MAX + 1];
    let fine: (&[(&str, &str)], &[&[&str]]) = (&[("f", "v")], &[&["f"]]);
    let one = |value| vec![Metric { name: "m", value }];
    for (what, (dimensions, sets), metrics, writes) in [
        ("within every limit", fine, one(Is::Millis(0.5)), true),
        ("the largest number of metrics", fine, metrics(METRICS_MAX), true),
        ("too many metrics", fine, metrics(METRICS_MAX + 1), false),
        ("too many values", fine, one(Is::MillisEach(&many)), false),
        ("the largest number of values", fine, one(Is::MillisEach(&many[1..])), true),
        ("not a number", fine, one(Is::Millis(f64::NAN)), false),
        ("infinite", fine, one(Is::Millis(f64::INFINITY)), false),
        ("infinite among others", fine, one(Is::MillisEach(&[1.0, f64::NEG_INFINITY])), false),
        ("an empty dimension", (&[("f", "")], fine.1), metrics(1), false),
        ("a blank dimension", (&[("f", " ")], fine.1), metrics(1), false),
        ("a dimension that is not ASCII", (&[("f", "ö")], fine.1), metrics(1), false),
        ("a long dimension", (&[("f", &long)], fine.1), metrics(1), false),
        ("a set with a missing dimension", (fine.0, &[&["f", "q"]]), metrics(1), false),
        ("too many dimensions", (fine.0, &[&wide]), metrics(1), false),
        ("a metric named like a dimension", (&[("m0", "v")], &[&["m0"]]), metrics(1), false),
        ("a duplicate metric", fine, [metrics(1), metrics(1)].concat(), false),
        ("a metric named like the metadata", fine, vec![Metric { name: "_aws", value: Is::Count(1) }], false),
    ] {
        let mut out = Vec::new();
        let written = Line { at: at(), dimensions, sets, metrics: &metrics }.write_to(&mut out);
        assert_eq!(written.is_ok(), writes, "{what}: {written:?}");
        assert_eq!(out.is_empty(), !writes, "{what}");
    }
}

#[test]
fn a_line_longer_than_a_log_event_is_not_written() {
    let value = "x".repeat(1_000);
    let names: Vec<String> = (0..1_100).map(|index| format!("d{index}")).collect();
    let dimensions: Vec<_> = names.iter().map(|name| (name.as_str(), value.as_str())).collect();
    let mut out = b"before".to_vec();
    let written = Line { at: at(), dimensions: &dimensions, sets: &[&["d0"]], metrics: &[] }.write_to(&mut out);
    assert!(matches!(written, Err(Error::TooMany { what: "bytes", max: LINE_BYTES_MAX, .. })), "{written:?}");
    assert_eq!(out, b"before");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// For any queue name and any results: valid lines with the right sums.
    #[test]
    fn deliveries_are_always_valid_lines(
        queue in "\\PC{0,80}",
        counts in prop::array::uniform6(0..10_000u64),
        oldest_ms in prop::option::of(any::<u64>()),
        handlers_us in prop::collection::vec(any::<u64>(), 0..301),
    ) {
        let [done, duplicate, retried, rejected, undecodable, returned] = counts;
        let handlers = handlers_us.iter().copied().map(Duration::from_micros).collect();
        let oldest = oldest_ms.map(Duration::from_millis);
        let deliveries = Deliveries { done, duplicate, retried, rejected, undecodable, returned, oldest, handlers };
        let mut out = Vec::new();
        deliveries.write_to(&mut out, "consumer", &queue, at()).unwrap();
        let lines = read(&out);
        prop_assert_eq!(lines[0]["received"].as_u64(), Some(counts.iter().sum::<u64>()));
        prop_assert_eq!(lines[0]["duplicate"].as_u64(), Some(duplicate).filter(|count| *count > 0));
        prop_assert_eq!(lines[0]["oldest_ms"].is_null(), oldest_ms.is_none());
        let times: usize = lines.iter().filter_map(|line| line["handler_ms"].as_array()).map(Vec::len).sum();
        prop_assert_eq!(times, handlers_us.len());
    }
}
