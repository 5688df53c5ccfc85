//! The Prometheus page for given metric lines.

use serde_json::json;

use super::*;

fn line(namespace: &str, sets: &[&[&str]], metrics: &[(&str, &str, Value)], dimensions: &[(&str, &str)]) -> String {
    let definitions: Vec<_> = metrics.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
    let directive = json!({ "Namespace": namespace, "Dimensions": sets, "Metrics": definitions });
    let mut line = json!({ "_aws": { "Timestamp": 1_795_251_597_123_u64, "CloudWatchMetrics": [directive] } });
    metrics.iter().for_each(|(name, _, value)| line[name] = value.clone());
    dimensions.iter().for_each(|(name, value)| line[name] = (*value).into());
    line.to_string()
}

/// Checks that the page has all these lines.
fn check(metrics: &Metrics, queues: &[Value], expected: &[&str]) {
    let page = metrics.page(queues);
    for line in expected {
        assert!(page.lines().any(|other| other == *line), "{line}\nis not on\n{page}");
    }
}

#[test]
fn lines_add_up_and_keep_their_dimensions() {
    let metrics = Metrics::default();
    let accepted = line(
        "Sluicegate",
        &[&["function"]],
        &[("accepted", "Count", json!(1)), ("enqueue_ms", "Milliseconds", json!(2.5))],
        &[("function", "ingress")],
    );
    let refused = line(
        "Sluicegate",
        &[&["function"], &["function", "code"]],
        &[("refused", "Count", json!(1))],
        &[("function", "ingress"), ("code", "schema_violated")],
    );
    assert!(metrics.take(&accepted) && metrics.take(&accepted) && metrics.take(&refused));
    check(
        &metrics,
        &[],
        &[
            "# TYPE sluicegate_accepted_total counter",
            r#"sluicegate_accepted_total{function="ingress"} 2"#,
            r#"sluicegate_refused_total{code="schema_violated",function="ingress"} 1"#,
            "# TYPE sluicegate_enqueue_seconds histogram",
            r#"sluicegate_enqueue_seconds_bucket{function="ingress",le="0.001"} 0"#,
            r#"sluicegate_enqueue_seconds_bucket{function="ingress",le="0.0025"} 2"#,
            r#"sluicegate_enqueue_seconds_bucket{function="ingress",le="+Inf"} 2"#,
            r#"sluicegate_enqueue_seconds_sum{function="ingress"} 0.005"#,
            r#"sluicegate_enqueue_seconds_count{function="ingress"} 2"#,
        ],
    );
}

#[test]
fn deliveries_are_counted_by_outcome() {
    let metrics = Metrics::default();
    let of_queue = [("function", "consumer"), ("queue", "orders")];
    for (done, oldest_ms) in [(2, 1_500.0), (1, 250.0)] {
        let counts = [
            ("received", "Count", json!(done + 1)),
            ("done", "Count", json!(done)),
            ("undecodable", "Count", json!(1)),
            ("duplicate", "Count", json!(4)),
            ("oldest_ms", "Milliseconds", json!(oldest_ms)),
            ("handler_ms", "Milliseconds", json!(vec![40.0; done])),
        ];
        assert!(metrics.take(&line("Sluicegate", &[&["function", "queue"]], &counts, &of_queue)));
    }
    check(
        &metrics,
        &[],
        &[
            r#"sluicegate_received_total{function="consumer",queue="orders"} 5"#,
            r#"sluicegate_deliveries_total{function="consumer",outcome="done",queue="orders"} 3"#,
            r#"sluicegate_deliveries_total{function="consumer",outcome="duplicate",queue="orders"} 8"#,
            r#"sluicegate_deliveries_total{function="consumer",outcome="undecodable",queue="orders"} 2"#,
            "# TYPE sluicegate_oldest_seconds gauge",
            r#"sluicegate_oldest_seconds{function="consumer",queue="orders"} 0.25"#,
            r#"sluicegate_handler_seconds_count{function="consumer",queue="orders"} 3"#,
            r#"sluicegate_handler_seconds_bucket{function="consumer",queue="orders",le="0.05"} 3"#,
        ],
    );
}

#[test]
fn metrics_of_other_namespaces_are_served_under_any_name() {
    let metrics = Metrics::default();
    let all = [
        ("sales.eu", "Count", json!(2)),
        ("wait_us", "Microseconds", json!([1_000, 2_000])),
        ("size", "Bytes", json!(7)),
        ("text", "Count", json!("no number")),
    ];
    let dimensions = [("le", "a\"b\\c\nd"), ("Größe", "x")];
    assert!(metrics.take(&line("2 Shops/Web", &[&["le", "Größe", "missing"]], &all, &dimensions)));
    let labels = r#"exported_le="a\"b\\c\nd""#;
    check(
        &metrics,
        &[],
        &[
            &format!("_2_shops_web_sales_eu_total{{Gr__e=\"x\",{labels}}} 2"),
            &format!("_2_shops_web_wait_seconds_count{{Gr__e=\"x\",{labels}}} 2"),
            "# TYPE _2_shops_web_size summary",
            &format!("_2_shops_web_size_sum{{Gr__e=\"x\",{labels}}} 7"),
        ],
    );
    assert!(!metrics.page(&[]).contains("text"));
    // A counter does not decrease, and a family keeps its first kind.
    for (name, unit, value) in [("a", "Count", 2), ("a", "Count", -1), ("a_total", "None", 5), ("a", "Count", 1)] {
        assert!(metrics.take(&line("n", &[&[]], &[(name, unit, json!(value))], &[])));
    }
    check(&metrics, &[], &["n_a_total 3"]);
}

#[test]
fn only_metric_lines_are_collected() {
    let metrics = Metrics::default();
    for line in [
        "",
        " INFO accepted request_id=\"x\"",
        r#"{"level":"INFO","fields":{"message":"accepted"}}"#,
        r#"{"_aws":{}}"#,
        r#"{"_aws":{"CloudWatchMetrics":[{"Namespace":"n"}]}}"#,
        r#"{"_aws":{"CloudWatchMetrics":"#,
        r#"["_aws"]"#,
    ] {
        assert!(!metrics.take(line), "{line}");
    }
}

#[test]
fn every_queue_is_counted_and_an_unreachable_one_is_left_out() {
    let queues = [
        json!({ "name": "orders", "url": "http://x", "dead_letters": false, "visible": 3, "in_flight": 1, "delayed": 0 }),
        json!({ "name": "orders.dlq", "broker": "rabbitmq", "dead_letters": true, "visible": 2, "in_flight": 0 }),
        json!({ "name": "gone", "error": "there is no such queue" }),
    ];
    let metrics = Metrics::default();
    metrics.function("ingress", FunctionCounts::default());
    check(
        &metrics,
        &queues,
        &[
            r#"sluicegate_queue_messages{broker="sqs",dead_letters="false",queue="orders",state="visible"} 3"#,
            r#"sluicegate_queue_messages{broker="sqs",dead_letters="false",queue="orders",state="delayed"} 0"#,
            r#"sluicegate_queue_messages{broker="rabbitmq",dead_letters="true",queue="orders.dlq",state="visible"} 2"#,
            r#"sluicegate_function_invocations_total{function="ingress"} 0"#,
        ],
    );
    assert!(!metrics.page(&queues).contains("gone"));
}
