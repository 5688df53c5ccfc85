//! Each message is settled exactly once, or the batch is returned.

use std::time::SystemTime;

use proptest::prelude::*;
use sluicegate_idempotency::{AnyStore, MemoryStore, MessageState, StatusStore as _};

use super::*;

#[tokio::test(start_paused = true)]
async fn each_outcome_has_its_queue() {
    let types = ["done", "retry", "panic", "after", "late", "reject", "hang"];
    let messages: Vec<_> = types.iter().map(|event_type| message(event_type, &format!("m-{event_type}"))).collect();
    let ran = run(&batch(&messages), &[]).await;
    assert_eq!(serde_json::to_string(&ran.answer.clone().unwrap()).unwrap(), r#"{"batchItemFailures":[]}"#);
    let confirmed = ran.fake.confirmed.lock().unwrap();
    let disposition: Vec<_> = confirmed.iter().map(|sent| (sent.id(), sent.queue.as_str(), sent.count())).collect();
    assert_eq!(
        disposition,
        [
            ("m-reject", "q.dlq", Some(1)),
            ("m-retry", "q.retry.1s", Some(1)),
            ("m-panic", "q.retry.1s", Some(1)),
            ("m-after", "q.retry.15s", Some(1)),
            ("m-late", "q.retry.3600s", Some(1)),
            ("m-hang", "q.retry.1s", Some(1)),
        ]
    );
    let rejected = &confirmed[0];
    assert_eq!(rejected.text("sluicegate-reason"), Some("bad card"));
    assert_eq!(rejected.text("sluicegate-code"), Some("card_bad"));
    assert_eq!(rejected.text("sluicegate-source"), Some("q::/"));
    assert!(confirmed[1].header("sluicegate-reason").is_none(), "a reason is for the dead-letter queue");
    assert_eq!(confirmed[1].body, b"body of m-retry");
    assert_eq!(ran.fake.in_flight_max.load(Ordering::Relaxed), 5, "copies are published concurrently");
}

#[tokio::test(start_paused = true)]
async fn a_batch_in_which_all_fail_is_republished_and_the_function_does_not_fail() {
    for types in [&["retry"; 12][..], &["panic"; 2], &["retry", "panic", "reject", "after"]] {
        let messages: Vec<_> =
            types.iter().enumerate().map(|(index, event_type)| message(event_type, &format!("m-{index}"))).collect();
        let ran = run(&batch(&messages), &[]).await;
        assert_eq!(serde_json::to_string(&ran.answer.clone().unwrap()).unwrap(), r#"{"batchItemFailures":[]}"#);
        let confirmed = ran.fake.confirmed.lock().unwrap();
        let mut ids: Vec<_> = confirmed.iter().map(Sent::id).collect();
        ids.sort_unstable();
        let mut expected: Vec<_> = (0..types.len()).map(|index| format!("m-{index}")).collect();
        expected.sort_unstable();
        assert_eq!(ids, expected, "{types:?}: each has one copy");
        assert!(confirmed.iter().all(|sent| sent.queue != "q"), "{types:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn receives_are_counted_up_to_the_limit() {
    let with = |event_type: &str, headers: Value, redelivered: bool| {
        let mut message = message(event_type, "m");
        message["basicProperties"]["headers"] = headers;
        message["redelivered"] = redelivered.into();
        message
    };
    let count = |count: i64| json!({ "sluicegate-receive-count": count });
    let dead = json!({ "sluicegate-receive-count": 9, "sluicegate-reason": { "bytes": [120] } });
    for (message, receive_count, queue) in [
        (with("retry", Value::Null, false), 1, "q.retry.1s"),
        (with("retry", Value::Null, true), 2, "q.retry.1s"),
        (with("retry", json!({ "x-delivery-count": 0 }), true), 1, "q.retry.1s"),
        (with("retry", json!({ "x-delivery-count": 1 }), true), 2, "q.retry.1s"),
        (with("retry", json!({ "x-delivery-count": 1, "sluicegate-receive-count": 1 }), true), 3, "q.dlq"),
        (with("retry", count(1), false), 2, "q.retry.1s"),
        (with("retry", count(2), false), 3, "q.dlq"),
        (with("after", count(2), false), 3, "q.dlq"),
        (with("panic", count(7), false), 8, "q.dlq"),
        (with("retry", count(i64::MAX), true), u32::MAX, "q.dlq"),
        (with("retry", count(-5), false), 1, "q.retry.1s"),
        (with("retry", json!({ "sluicegate-receive-count": "2" }), false), 1, "q.retry.1s"),
        (with("retry", dead.clone(), false), 1, "q.retry.1s"),
        (with("done", count(99), true), 101, ""),
    ] {
        let ran = run(&batch(std::slice::from_ref(&message)), &[]).await;
        assert!(ran.answer.is_ok());
        assert_eq!(ran.handled[0].receive_count(), receive_count, "{message}");
        assert_eq!(ran.queues().first().map_or("", String::as_str), queue, "{message}");
        let confirmed = ran.fake.confirmed.lock().unwrap();
        if let Some(sent) = confirmed.first() {
            assert_eq!(sent.count(), Some(receive_count.min(i32::MAX.cast_unsigned())));
            let reason = sent.text("sluicegate-reason").unwrap_or_default();
            assert_eq!(reason.starts_with("receives exhausted after "), queue == "q.dlq", "{reason}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_not_started_go_to_the_end_of_their_queue_uncounted() {
    // Ten at a time, four seconds each, ten seconds: thirty start and ten of these are cancelled.
    let mut messages: Vec<_> = (0..33).map(|n| message("slow", &format!("m-{n}"))).collect();
    for message in &mut messages {
        message["basicProperties"]["headers"] = json!({ "sluicegate-receive-count": 1 });
    }
    let ran = run(&batch(&messages), &[]).await;
    assert!(ran.answer.is_ok());
    assert_eq!(ran.handled.len(), 30);
    let shown = |queue: &str| -> Vec<_> {
        let confirmed = ran.fake.confirmed.lock().unwrap();
        let of_queue = confirmed.iter().filter(|sent| sent.queue == queue);
        of_queue.map(|sent| (sent.id().to_owned(), sent.count())).collect()
    };
    let untouched = [("m-30", 1), ("m-31", 1), ("m-32", 1)];
    assert_eq!(shown("q"), untouched.map(|(id, count)| (id.to_owned(), Some(count))));
    assert_eq!(shown("q.retry.1s").len(), 10);

    let ran = run(&batch(&messages), &[("q", &[Fate::Unroutable])]).await;
    assert!(
        ran.answer.unwrap_err().to_string().starts_with("the batch is returned: 3 of 33 messages"),
        "untouched messages have no copy"
    );
}

/// <https://github.com/Azure/azure-functions-rabbitmq-extension/issues/98>
#[tokio::test(start_paused = true)]
async fn a_copy_that_is_not_confirmed_returns_the_batch() {
    let messages = [message("done", "1"), message("retry", "2"), message("reject", "3"), message("retry", "4")];
    for fate in [Fate::Nacked, Fate::Cut, Fate::Silent] {
        let ran = run(&batch(&messages), &[("q.retry.1s", &[Fate::Confirmed, fate])]).await;
        let error = ran.answer.clone().unwrap_err().to_string();
        assert!(error.starts_with("the batch is returned: 1 of 4 messages could not be settled: "), "{error}");
        assert!(ran.took <= Duration::from_secs(11), "never past the deadline");
        let ran = run(&batch(&messages), &[("q.dlq", &[fate])]).await;
        assert!(ran.answer.is_err());
        assert_eq!(ran.queues(), [""; 0], "a batch that is returned has no copies");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_without_its_queue_is_counted_and_has_the_status_of_a_dead_letter() {
    let event = |event_type: &str| {
        let event = json!({ "specversion": "1.0", "id": event_type, "source": "/s", "type": event_type, "messagestatus": true });
        json!({ "basicProperties": {}, "redelivered": false, "data": STANDARD.encode(event.to_string()) })
    };
    let store = MemoryStore::default();
    let deadline = Instant::now() + Duration::from_secs(20);
    for id in ["retry", "after"] {
        store.open_status(id, "owner", SystemTime::now(), deadline).await.unwrap();
    }
    let source = source(Fake {
        fates: Mutex::new([("q.retry.1s".to_owned(), vec![Fate::Unroutable])].into()),
        ..Fake::default()
    });
    let any_store = AnyStore::Memory(store.clone());
    let statuses = Statuses::of(&any_store);
    let event = batch(&[event("retry"), event("after")]);
    let (settlements, answer) = settle(&source, &consumer(&Arc::default()), &event, Some(&statuses)).await;
    assert!(answer.is_ok());
    let outcomes: Vec<_> = settlements.iter().map(|settlement| settlement.disposition.as_str()).collect();
    assert_eq!(outcomes, ["rejected", "retry"], "the queue of the longer delay exists");
    assert!(settlements.iter().all(|settlement| settlement.unlogged.is_none()));

    statuses.record("r", deadline).await;
    let status = async |id| store.status(id, SystemTime::now(), deadline).await.unwrap().map(|status| status.state);
    let reason = "the retry queue q.retry.1s does not exist".to_owned();
    assert_eq!(
        status("retry").await,
        Some(MessageState::Dead { code: Some("retry_queue_missing".to_owned()), reason })
    );
    assert!(matches!(status("after").await, Some(MessageState::Retrying { receive_count: 1, .. })));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_without_its_retry_queue_keeps_its_reason() {
    let mut undecodable = message("", "m");
    undecodable["data"] = STANDARD.encode(b"\xFF").into();
    undecodable["basicProperties"]["contentType"] = "application/cloudevents+json".into();
    let codes = [(message("reject", "m"), "card_bad", "rejected"), (undecodable, "undecodable", "undecodable")];
    let missing = ("q.retry.1s".to_owned(), vec![Fate::Unroutable]);
    for (message, code, outcome) in codes {
        for fate in [Fate::Unroutable, Fate::Confirmed] {
            let source = source(Fake {
                fates: Mutex::new([("q.dlq".to_owned(), vec![fate, Fate::Confirmed]), missing.clone()].into()),
                ..Fake::default()
            });
            let event = batch(std::slice::from_ref(&message));
            let (settlements, answer) = settle(&source, &consumer(&Arc::default()), &event, None).await;
            assert!(answer.is_ok());
            assert_eq!(settlements[0].disposition.as_str(), outcome);
            let confirmed = source.broker.confirmed.lock().unwrap();
            let codes: Vec<_> =
                confirmed.iter().map(|sent| (sent.queue.as_str(), sent.text("sluicegate-code"))).collect();
            assert_eq!(codes, [("q.dlq", Some(code))]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_queue_neither_loses_a_message_nor_stops_the_others() {
    let messages = [message("done", "1"), message("retry", "2"), message("reject", "3")];
    let (retry, dead): (&[Fate], &[Fate]) = (&[Fate::Unroutable], &[Fate::Unroutable]);
    let ran = run(&batch(&messages), &[("q.retry.1s", retry)]).await;
    assert!(ran.answer.is_ok());
    assert_eq!(ran.queues(), ["q.dlq", "q.dlq"]);
    let reason = ran.fake.confirmed.lock().unwrap()[1].text("sluicegate-reason").map(str::to_owned);
    assert_eq!(reason.as_deref(), Some("the retry queue q.retry.1s does not exist"));

    let ran = run(&batch(&messages), &[("q.dlq", dead)]).await;
    assert!(ran.answer.is_ok());
    assert_eq!(ran.queues(), ["q.retry.1s", "q.retry.1s"]);

    let ran = run(&batch(&messages), &[("q.dlq", dead), ("q.retry.1s", retry)]).await;
    assert!(
        ran.answer
            .unwrap_err()
            .to_string()
            .starts_with("the batch is returned: 2 of 3 messages could not be settled: unroutable")
    );

    let name = "n".repeat(252);
    let event =
        json!({ "rmqMessagesByQueue": { format!("{name}::/"): [message("done", "1"), message("retry", "2")] } });
    let ran = run(&event, &[]).await;
    assert!(ran.answer.is_err());
    assert_eq!(ran.fake.asked.load(Ordering::Relaxed), 0, "a routing key holds 255 bytes");
}

#[tokio::test(start_paused = true)]
async fn undecodable_messages_keep_their_bytes_and_the_others_are_handled() {
    let mut claims = message("", "m-1");
    claims["basicProperties"]["contentType"] = "application/cloudevents+json".into();
    claims["data"] = STANDARD.encode(b"Order \xFF ID").into();
    let damaged = json!({ "basicProperties": { "messageId": "m-2" }, "data": "*not base64*" });
    let ran = run(&batch(&[claims, damaged, json!("garbage"), message("done", "m-3")]), &[]).await;
    assert!(ran.answer.is_ok());
    assert_eq!(ran.handled.len(), 1);
    let confirmed = ran.fake.confirmed.lock().unwrap();
    let disposition: Vec<_> =
        confirmed.iter().map(|sent| (sent.text("sluicegate-reason").unwrap(), sent.body.as_slice())).collect();
    assert_eq!(
        disposition,
        [
            ("undecodable: not UTF-8", b"Order \xFF ID".as_slice()),
            ("undecodable: data is not base64", b"*not base64*".as_slice()),
            ("undecodable: not a message", b"\"garbage\"".as_slice()),
        ]
    );
    assert!(confirmed.iter().all(|sent| sent.queue == "q.dlq" && !sent.id().is_empty()));
    assert_eq!(confirmed[0].properties.content_type().as_ref().unwrap().as_str(), "application/cloudevents+json");
}

#[tokio::test(start_paused = true)]
async fn a_message_without_an_id_gets_one_that_its_copies_keep() {
    let raw = |event_type: &str| json!({ "basicProperties": { "type": event_type }, "data": STANDARD.encode("Order ID: 12345") });
    let event = Envelope::builder("e-1", "/orders", "retry").build().unwrap().encode();
    let ran = run(&batch(&[raw("retry"), raw("retry"), json!({ "data": STANDARD.encode(event) })]), &[]).await;
    let confirmed = ran.fake.confirmed.lock().unwrap();
    let mut ids: Vec<_> = confirmed.iter().map(Sent::id).collect();
    let mut seen: Vec<_> = ran.handled.iter().map(|delivery| delivery.envelope().id()).collect();
    ids.sort_unstable();
    seen.sort_unstable();
    assert_eq!(ids, seen, "the copy has the id that the handler saw");
    assert!(ids.contains(&"e-1"));
    ids.dedup();
    assert_eq!(ids.len(), 3, "equal messages get different ids");
}

#[tokio::test(start_paused = true)]
async fn messages_of_another_virtual_host_are_not_touched() {
    let event = batch(&[message("done", "1")]).to_string();
    let received = received(&event, None).unwrap().unwrap();
    let deadlines = {
        let now = Instant::now();
        Deadlines::at(now, now, now)
    };
    let source = RabbitmqSource { vhost: Some("prod".to_owned()), ..source(Fake::default()) };
    let answer = source.batch(received, deadlines).map(drop);
    assert_eq!(
        answer.unwrap_err().to_string(),
        r#"the messages are from the virtual host "/", but RABBITMQ_URL has "prod""#
    );
}

#[test]
fn copies_keep_all_headers_but_those_of_the_broker() {
    let event = json!({ "rmqMessagesByQueue": { "a::b::v": [{ "basicProperties": {
        "contentType": "text/plain", "contentEncoding": "gzip", "deliveryMode": 1, "priority": 7, "correlationId": "c",
        "replyTo": "answers", "expiration": "60000", "messageId": "m", "timestamp": "Jan 1, 1970, 12:33:41 AM", "type": "t",
        "userId": "guest", "appId": "app", "clusterId": "cluster", "bodySize": 1,
        "headers": {
            "x-death": [{ "count": 1 }], "x-first-death-queue": { "bytes": [113] }, "x-last-death-reason": { "bytes": [113] },
            "x-delivery-count": 3, "x-acquired-count": 3, "sluicegate-receive-count": 1,
            "sluicegate-source": { "bytes": [113] }, "CC": [{ "bytes": [113] }], "kept": { "bytes": [-61, -79] },
        },
    }, "data": "" }] } });
    let event = event.to_string();
    let received = received(&event, None).unwrap().unwrap();
    let rejection = crate::Rejection::new("long", "ä".repeat(2_000));
    let properties = republish::properties(&received[0].message, "m", 4, Some(&rejection));
    let text = |text: &Option<sluicegate_queue::rabbitmq::types::ShortString>| text.as_ref().map(ToString::to_string);
    let kept = [
        text(properties.content_type()),
        text(properties.content_encoding()),
        text(properties.correlation_id()),
        text(properties.reply_to()),
        text(properties.message_id()),
        text(properties.kind()),
        text(properties.app_id()),
        text(properties.cluster_id()),
    ];
    let expected = ["text/plain", "gzip", "c", "answers", "m", "t", "app", "cluster"];
    assert_eq!(kept, expected.map(|text| Some(text.to_owned())));
    assert_eq!((properties.delivery_mode(), properties.priority()), (&Some(2), &Some(7)));
    assert_eq!((properties.timestamp(), properties.expiration()), (&Some(2_021), &None));
    assert_eq!(properties.user_id(), &None, "only the user itself may publish it");
    let headers = properties.headers().as_ref().unwrap();
    let names: Vec<_> = headers.into_iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "kept",
            "sluicegate-cc",
            "sluicegate-code",
            "sluicegate-reason",
            "sluicegate-receive-count",
            "sluicegate-source",
            "sluicegate-user-id"
        ]
    );
    let header = |name: &str| headers.inner().get(name).and_then(queue_header::text).map(str::to_owned);
    assert_eq!(header("kept").as_deref(), Some("ñ"));
    assert_eq!(header("sluicegate-source").as_deref(), Some("a::b::v"));
    assert_eq!(header("sluicegate-reason").map(|reason| reason.chars().count()), Some(1_024));
}

#[test]
fn headers_stay_within_one_frame() {
    let bytes = |len: usize| json!({ "bytes": vec![120; len] });
    let headers = json!({ "small": bytes(10), "large": bytes(90_000), "larger": bytes(100_000) });
    let event = batch(&[json!({ "basicProperties": { "headers": headers }, "data": "" })]);
    let event = event.to_string();
    let received = received(&event, None).unwrap().unwrap();
    let properties = republish::properties(&received[0].message, "m", 0, None);
    let headers = properties.headers().as_ref().unwrap();
    assert!(headers.contains_key("small") && headers.contains_key("large") && !headers.contains_key("larger"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// For any behaviour of the handlers and the broker, the invocation ends in time, no message has two confirmed
    /// copies, and on success each is either done without a copy or has exactly one.
    #[test]
    fn each_message_is_settled_exactly_once_or_the_batch_is_returned(
        picks in prop::collection::vec((0..9usize, 0..5u32), 0..30),
        retry in prop::collection::vec(0..5usize, 1..6),
        dead in prop::collection::vec(0..5usize, 1..6),
        own in prop::collection::vec(0..5usize, 1..3),
    ) {
        let types = ["done", "retry", "after", "reject", "panic", "hang", "slow", "garbage", "null"];
        let fates = [Fate::Confirmed, Fate::Nacked, Fate::Unroutable, Fate::Cut, Fate::Silent];
        let messages = picks.iter().enumerate().map(|(index, &(kind, received))| {
            let mut message = message(types[kind], &format!("m-{index}"));
            message["basicProperties"]["headers"] = json!({ "sluicegate-receive-count": received });
            match types[kind] {
                "garbage" => message["data"] = "***".into(),
                "null" => message = Value::Null,
                _ => {}
            }
            message
        });
        let event = batch(&messages.collect::<Vec<_>>());
        let fates = |picks: &[usize]| picks.iter().map(|pick| fates[*pick]).collect::<Vec<_>>();
        let (retry, dead, own) = (fates(&retry), fates(&dead), fates(&own));
        let disposition: [(&str, &[Fate]); 4] = [("q.retry.1s", &retry), ("q.retry.15s", &retry), ("q.dlq", &dead), ("q", &own)];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let ran = runtime.block_on(run(&event, &disposition));

        prop_assert!(ran.took <= Duration::from_millis(11_100), "{:?}", ran.took);
        let mut copies: Vec<_> = ran.fake.confirmed.lock().unwrap().iter().map(|sent| sent.id().to_owned()).collect();
        let total = copies.len();
        copies.sort();
        copies.dedup();
        prop_assert_eq!(copies.len(), total, "one copy at most");
        let mut handled: Vec<_> = ran.handled.iter().map(|delivery| delivery.envelope().id()).collect();
        let calls = handled.len();
        handled.sort_unstable();
        handled.dedup();
        prop_assert_eq!(handled.len(), calls, "no handler runs twice");
        if ran.answer.is_ok() {
            let done = |&&(kind, _): &&(usize, u32)| types[kind] == "done";
            prop_assert!(total + picks.iter().filter(done).count() <= picks.len());
            for (index, &(kind, _)) in picks.iter().enumerate() {
                let id = format!("m-{index}");
                let copied = copies.contains(&id);
                match types[kind] {
                    "done" => prop_assert!(!copied || !handled.contains(&id.as_str()), "done, so not copied"),
                    "slow" | "null" => {}
                    _ => prop_assert!(copied, "{id} of type {} has a copy", types[kind]),
                }
            }
        }
    }
}
