//! Reading of events and messages.

use proptest::prelude::*;

use super::*;

fn read(event: &str) -> Option<Result<Vec<Received>, EventError>> {
    received(event, None)
}

fn fixture(name: &str) -> Vec<Received> {
    let (_, text, _) = FIXTURES.iter().find(|(known, ..)| *known == name).unwrap();
    read(text).unwrap().unwrap()
}

/// <https://github.com/aws/aws-lambda-dotnet/issues/1562>
#[test]
fn every_fixture_is_read() {
    for (name, text, messages) in FIXTURES {
        assert_eq!(read(text).unwrap().unwrap().len(), messages, "{name}");
    }
    let guide = &fixture("guide")[0].message;
    assert_eq!((guide.queue.name.as_str(), guide.queue.vhost.as_deref()), ("pizzaQueue", Some("/")));
    assert_eq!(guide.properties.content_type().as_ref().unwrap().as_str(), "text/plain");
    assert_eq!((guide.properties.priority(), guide.properties.timestamp()), (&Some(34), &Some(2_021)));
    assert_eq!(guide.header("header1").and_then(queue_header::text), Some("value1"));
    assert_eq!(guide.header("numberInHeader"), Some(&AMQPValue::LongInt(10)));
    assert_eq!(guide.data.as_deref(), Ok(br#"{"timeout":0,"data":"CZrmf0Gw8Ov4bqLQxD4E"}"#.as_slice()));
    for (n, received) in (1..).zip(fixture("null-priority")) {
        assert_eq!(received.message.data, Ok(format!("Hello World {n}").into_bytes()));
        assert_eq!((received.message.redelivered, received.message.properties), (true, BasicProperties::default()));
    }
}

#[test]
fn the_queue_ends_where_the_expected_virtual_host_begins() {
    for (key, vhost, queue, read) in [
        ("orders::/", None, "orders", "/"),
        ("orders::a::b", Some("a::b"), "orders", "a::b"),
        ("orders::eu::a::b", Some("a::b"), "orders::eu", "a::b"),
        ("orders::eu::prod", Some("prod"), "orders::eu", "prod"),
        ("orders::eu::prod", None, "orders::eu", "prod"),
        ("orders::eu::prod", Some("test"), "orders::eu", "prod"),
    ] {
        let event = json!({ "eventSource": "aws:rmq", "rmqMessagesByQueue": { key: [{ "data": "" }] } });
        let event = event.to_string();
        let received = received(&event, vhost).unwrap().unwrap();
        let found = &received[0].message.queue;
        assert_eq!((found.name.as_str(), found.vhost.as_deref()), (queue, Some(read)), "{key} {vhost:?}");
    }
}

#[test]
fn a_messages_age_counts_from_its_event_else_from_its_timestamp() {
    let time = time::OffsetDateTime::from_unix_timestamp_nanos(1_795_251_597_123_000_000).unwrap();
    let with = Envelope::builder("e", "/", "t").time(time).build().unwrap();
    let without = Envelope::builder("e", "/", "t").build().unwrap();
    let stamped = json!({ "basicProperties": { "timestamp": "Jan 1, 1970, 12:33:41 AM" }, "data": "" });
    let event = batch(&[stamped, json!({ "data": "" })]);
    let received = read(&event.to_string()).unwrap().unwrap();
    let source = source(Fake::default());
    let (now, failure) = (Instant::now(), Mutex::default());
    let deadlines = Deadlines::at(now, now, now);
    let batch = Batch {
        source: &source,
        received,
        deadlines,
        placed: Vec::new(),
        not_dead_lettered: Mutex::default(),
        dead_lettered_instead: Mutex::default(),
        failure,
    };
    for (index, envelope, expected) in [
        (0, Some(&with), Some(1_795_251_597_123)),
        (0, Some(&without), Some(2_021_000)),
        (0, None, Some(2_021_000)),
        (1, Some(&without), None),
        (1, None, None),
    ] {
        assert_eq!(batch.sent_unix_ms(index, envelope), expected);
    }
}

#[test]
fn headers_are_converted_back_to_amqp_types() {
    let queues = fixture("queues");
    let orders = &queues[0].message;
    let Some(AMQPValue::FieldArray(deaths)) = orders.header("x-death") else { panic!("x-death is an array of tables") };
    let AMQPValue::FieldTable(death) = &deaths.as_slice()[1] else { panic!("a table") };
    assert_eq!(death.inner()["count"], AMQPValue::LongInt(1));
    assert_eq!(death.inner()["time"], AMQPValue::Timestamp(1_795_251_598));
    let AMQPValue::FieldArray(keys) = &death.inner()["routing-keys"] else { panic!("an array") };
    assert_eq!(keys.as_slice().iter().filter_map(queue_header::text).collect::<Vec<_>>(), ["order.placed", "größe"]);
    let legacy = &queues[1].message;
    assert_eq!(legacy.header("none"), Some(&AMQPValue::Void));
    assert_eq!(legacy.header("ratio"), Some(&AMQPValue::Double(0.5)));
    assert_eq!(legacy.header("big"), Some(&AMQPValue::LongLongInt(9_007_199_254_740_993)));
    let odd = &queues[2].message;
    assert_eq!((odd.queue.name.as_str(), odd.queue.vhost.as_deref()), ("odd::name::with::colons", Some("/")));
}

#[test]
fn events_of_other_sources_are_refused() {
    for (event, expected) in [
        (r#"{"Records":[]}"#, None),
        (r#"{"eventSource":"aws:mq","messages":[]}"#, None),
        ("[]", None),
        ("1", None),
        (r#"{"rmqMessagesByQueue":null}"#, None),
        (r#"{"rmqMessagesByQueue":{}}"#, Some(true)),
        (r#"{"rmqMessagesByQueue":{"q::/":[]}}"#, Some(true)),
        (r#"{"rmqMessagesByQueue":[]}"#, Some(false)),
        (r#"{"eventSource":"aws:rmq"}"#, Some(false)),
        (r#"{"rmqMessagesByQueue":{"q::/":{}}}"#, Some(false)),
        (r#"{"rmqMessagesByQueue":{"q::/":[],"q::/":7}}"#, Some(false)),
    ] {
        assert_eq!(read(event).map(|messages| messages.is_ok()), expected, "{event}");
    }
}

/// The envelope of a message with these properties and this body: id, type, source, content type and payload, or the
/// reason.
fn check(properties: &Value, data: &[u8], expected: Result<[&str; 5], &str>) {
    let message = json!({ "basicProperties": properties, "data": STANDARD.encode(data) });
    let event = json!({ "rmqMessagesByQueue": { "a b::c::/": [message] } }).to_string();
    let received = read(&event).unwrap().unwrap();
    let envelope = envelope::envelope(&received[0].message, "fresh");
    let reason = envelope.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let shown = envelope.as_ref().map_err(|_| reason.as_str()).map(|envelope| {
        let payload = String::from_utf8_lossy(&envelope.payload()).into_owned();
        let content_type = envelope.content_type().unwrap_or_default().to_owned();
        [
            envelope.id().to_owned(),
            envelope.event_type().to_owned(),
            envelope.source().to_owned(),
            content_type,
            payload,
        ]
    });
    assert_eq!(shown, expected.map(|parts| parts.map(str::to_owned)), "{properties}");
}

#[test]
fn cloudevents_are_decoded_and_other_messages_are_raw() {
    let bytes = |text: &str| json!({ "bytes": text.as_bytes() });
    let event = br#"{"specversion":"1.0","id":"e-1","source":"/s","type":"t","data":{"a":1}}"#;
    let own = Ok(["e-1", "t", "/s", "", r#"{"a":1}"#]);
    let content_type = |content_type: &str| json!({ "contentType": content_type });
    let raw_source = "/rabbitmq/%2F/a%20b::c";
    // Structured, strictly.
    check(&content_type("application/cloudevents+json"), event, own);
    check(&content_type("Application/CloudEvents+JSON; charset=utf-8"), event, own);
    check(&content_type("application/cloudevents+json"), b"{}", Err("attribute specversion is missing"));
    check(&content_type("application/cloudevents+json"), b"Order ID: 12345", Err("not JSON (line 1, column 1)"));
    check(&content_type("application/cloudevents+json"), b"\xFF", Err("not UTF-8"));
    let other = Err("a CloudEvent in the format application/cloudevents+avro cannot be read");
    check(&content_type("application/cloudevents+avro"), b"", other);
    // The body is a CloudEvent, although the content type is not that of CloudEvents.
    check(&Value::Null, event, own);
    check(&content_type("application/json"), event, own);
    check(&content_type("application/vnd.shop+json"), event, own);
    check(
        &content_type("text/plain"),
        event,
        Ok(["fresh", "rabbitmq.message", raw_source, "text/plain", std::str::from_utf8(event).unwrap()]),
    );
    // Raw.
    check(&Value::Null, b"Order ID: 12345", Ok(["fresh", "rabbitmq.message", raw_source, "", "Order ID: 12345"]));
    check(&Value::Null, b"", Ok(["fresh", "rabbitmq.message", raw_source, "", ""]));
    check(
        &content_type("application/json"),
        b" [1] ",
        Ok(["fresh", "rabbitmq.message", raw_source, "application/json", " [1] "]),
    );
    check(&json!({ "type": "order", "messageId": "m" }), b"x", Ok(["fresh", "order", raw_source, "", "x"]));
    check(&json!({ "type": "a\u{0}\u{FFFE}" }), b"x", Ok(["fresh", "a%00%EF%BF%BE", raw_source, "", "x"]));
    // Binary mode.
    for prefix in ["cloudEvents:", "cloudEvents_"] {
        let header = |name: &str| format!("{prefix}{name}");
        let mut headers = json!({
            header("specversion"): bytes("1.0"), header("id"): bytes("e-2"), header("source"): bytes("/s"),
            header("type"): bytes("t"), header("time"): "Jan 1, 1970, 12:33:41 AM", header("shard"): 7,
        });
        let properties = |headers: &Value| json!({ "contentType": "text/csv", "headers": headers });
        check(&properties(&headers), b"a;\xFF", Ok(["e-2", "t", "/s", "text/csv", "a;\u{FFFD}"]));
        headers[header("shard")] = json!([1]);
        check(&properties(&headers), b"", Err(r#"attribute "shard" has a value of the wrong type"#));
        headers[header("shard")] = Value::Null;
        headers[header("id")] = Value::Null;
        check(&properties(&headers), b"", Err("attribute id is missing"));
        headers[header("data")] = bytes("x");
        check(&properties(&headers), b"", Err(r#""data" is not the name of an attribute"#));
    }
}

#[test]
fn a_raw_message_keeps_its_time_and_trace() {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (header, expected) in [(trace, Some(trace)), ("00-x", None), ("\u{1}", None)] {
        let properties = json!({
            "timestamp": "Jan 1, 1970, 12:33:41\u{202F}AM", "headers": { "traceparent": { "bytes": header.as_bytes() } },
        });
        let received =
            read(&batch(&[json!({ "basicProperties": properties, "data": "" })]).to_string()).unwrap().unwrap();
        let envelope = envelope::envelope(&received[0].message, "fresh").unwrap();
        assert_eq!(envelope.traceparent(), expected);
        assert_eq!(envelope.time().map(|time| time.unix_timestamp()), Some(2_021));
    }
}

/// Everything of a message except a generated id.
fn shown(received: &Received) -> String {
    format!("{:?}", received.message)
}

/// Every place in the event below its messages.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let mut child = |name: &str, value: &Value| {
        let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        found.push(at.clone());
        places(value, &at, found);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| child(name, value)),
        Value::Array(values) => values.iter().enumerate().for_each(|(index, value)| child(&index.to_string(), value)),
        _ => {}
    }
}

/// A change of one field of one message does not affect how the others are read, and the batch is settled.
#[tokio::test(start_paused = true)]
async fn a_changed_field_affects_its_own_message_only() {
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let changes = [
        Value::Null,
        json!(true),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("\u{0}::\u{202F}AM Jan 1, 1970, 12:33:41 AM"),
        json!("z".repeat(300)),
        json!([]),
        json!({}),
        json!({ "bytes": [1, 256, -129] }),
        json!([{ "x".repeat(300): 1 }]),
        deep,
    ];
    for (name, text, count) in FIXTURES {
        let event: Value = serde_json::from_str(text).unwrap();
        let before: Vec<_> = read(&event.to_string()).unwrap().unwrap().iter().map(shown).collect();
        let mut index = 0;
        for (key, messages) in event["rmqMessagesByQueue"].as_object().unwrap() {
            for (number, message) in messages.as_array().into_iter().flatten().enumerate() {
                let message_at = format!("/rmqMessagesByQueue/{}/{number}", key.replace('/', "~1"));
                let mut found = vec![message_at.clone()];
                places(message, &message_at, &mut found);
                for at in found {
                    for change in &changes {
                        let mut event = event.clone();
                        *event.pointer_mut(&at).unwrap() = change.clone();
                        let after = read(&event.to_string()).unwrap().unwrap();
                        assert_eq!(after.len(), count, "{name} {at} {change}");
                        for (other, after) in after.iter().enumerate().filter(|(other, _)| *other != index) {
                            assert_eq!(shown(after), before[other], "{name} {at} {change}");
                        }
                    }
                    let mut event = event.clone();
                    *event.pointer_mut(&at).unwrap() = changes[at.len() % changes.len()].clone();
                    assert!(run(&event, &[]).await.answer.is_ok(), "{name} {at}");
                }
                index += 1;
            }
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "rmqMessagesByQueue",
        "eventSource",
        "basicProperties",
        "headers",
        "bytes",
        "data",
        "redelivered",
        "priority",
        "timestamp",
        "messageId",
        "contentType",
        "type",
        "cloudEvents:id",
        "cloudEvents:specversion",
        "sluicegate-receive-count",
        "q::/",
        "::",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(vec!["aws:rmq", "T3JkZXI=", "application/cloudevents+json", "Jan 1, 1970, 12:33:41 AM"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((prop_oneof![names.clone().prop_map(str::to_owned), any::<String>()], inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any JSON as the event, as the messages and as one message beside a good one: no panic, and the good one is
    /// handled.
    #[test]
    fn any_json_is_handled(garbage in any_json(), vhost: String) {
        let _ = read(&garbage.to_string());
        let _ = read(&json!({ "rmqMessagesByQueue": garbage }).to_string());
        let _ = read(&json!({ "rmqMessagesByQueue": { vhost.clone(): garbage } }).to_string());
        let good = message("done", "good");
        let event = json!({ "rmqMessagesByQueue": { "q::/": [good.clone(), garbage.clone(), good] } });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let ran = runtime.block_on(run(&event, &[]));
        prop_assert!(ran.answer.is_ok());
        prop_assert_eq!(ran.handled.iter().filter(|delivery| delivery.envelope().id() == "good").count(), 2);
    }
}
