//! Messages on a standard queue: visibility, delay, retention, receipt handles, long polls, attributes, limits.

use super::*;
use crate::limits::{IN_FLIGHT_MAX, MESSAGE_BYTES};
use crate::message::Draft;
use crate::queue::Receive;

#[tokio::test(start_paused = true)]
async fn a_message_is_hidden_until_its_visibility_timeout_ends_and_is_counted() {
    let t = Fixture::new();
    let url = t.queue("q", json!({ "VisibilityTimeout": "10" })).await;
    let sent = t.send(&url, "a").await;
    let first = t.receive(&url).await;
    assert_eq!(bodies(&first), ["a"]);
    assert_eq!(first[0]["MessageId"], sent["MessageId"]);
    assert_eq!(first[0]["Attributes"]["ApproximateReceiveCount"], "1");
    assert_eq!(first[0]["Attributes"]["SentTimestamp"], NOW.to_string());
    assert_eq!(t.counts(&url).await, "0/0/1");
    advance_s(9).await;
    assert!(t.receive(&url).await.is_empty());
    advance_s(1).await;
    let second = t.receive(&url).await;
    assert_eq!(second[0]["Attributes"]["ApproximateReceiveCount"], "2");
    assert_eq!(second[0]["Attributes"]["ApproximateFirstReceiveTimestamp"], NOW.to_string());
    assert_ne!(second[0]["ReceiptHandle"], first[0]["ReceiptHandle"]);

    t.delete(&url, &first[0]).await;
    assert_eq!(t.counts(&url).await, "0/0/1", "an old handle succeeds without effect");
    t.delete(&url, &second[0]).await;
    t.delete(&url, &second[0]).await;
    assert_eq!(t.counts(&url).await, "0/0/0");
    assert_eq!(t.events(), ["sent a q", "received a 1", "received a 2", "deleted a"]);
}

#[tokio::test(start_paused = true)]
async fn an_expired_receipt_still_deletes_until_the_next_receive() {
    let t = Fixture::new();
    let url = t.queue("q", json!({ "VisibilityTimeout": "1" })).await;
    t.send(&url, "a").await;
    let received = t.receive(&url).await;
    advance_s(5).await;
    t.delete(&url, &received[0]).await;
    assert_eq!(t.counts(&url).await, "0/0/0");
}

#[tokio::test(start_paused = true)]
async fn visibility_can_be_changed_up_to_12_hours_from_the_receive() {
    let t = Fixture::new();
    let url = t.queue("q", json!({})).await;
    t.send(&url, "a").await;
    let handle = t.receive(&url).await[0]["ReceiptHandle"].clone();
    let change = |timeout: i64| json!({ "QueueUrl": url, "ReceiptHandle": handle, "VisibilityTimeout": timeout });
    t.check("ChangeMessageVisibility", change(43_200), "").await;
    advance_s(10).await;
    t.check("ChangeMessageVisibility", change(43_191), "InvalidParameterValueException").await;
    t.check("ChangeMessageVisibility", change(43_190), "").await;
    t.check("ChangeMessageVisibility", change(43_201), "InvalidParameterValueException").await;
    t.check("ChangeMessageVisibility", change(-1), "InvalidParameterValueException").await;
    t.check("ChangeMessageVisibility", change(0), "").await;
    assert_eq!(t.counts(&url).await, "1/0/0");
    t.check("ChangeMessageVisibility", change(5), "").await;
    assert_eq!(t.counts(&url).await, "1/0/0", "a visible message stays visible");
    t.receive(&url).await;
    t.check("ChangeMessageVisibility", change(0), "").await;
    assert_eq!(t.counts(&url).await, "1/0/0", "an older handle works");
    let again = t.receive(&url).await;
    assert!(again.iter().all(|message| !message["ReceiptHandle"].as_str().unwrap().contains('-')));
    t.delete(&url, &again[0]).await;
    t.check("ChangeMessageVisibility", change(5), "InvalidParameterValueException").await;
    let bad = json!({ "QueueUrl": url, "ReceiptHandle": "bm8=", "VisibilityTimeout": 1 });
    t.check("ChangeMessageVisibility", bad, "ReceiptHandleIsInvalid").await;
    assert!(t.events().contains(&"visibility a 0".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn delays_of_queue_and_message_hide_and_retention_removes() {
    let t = Fixture::new();
    let url = t.queue("q", json!({ "DelaySeconds": "5", "MessageRetentionPeriod": "60" })).await;
    t.send(&url, "queue's delay").await;
    let own = |body: &str, delay: i64| json!({ "QueueUrl": url, "MessageBody": body, "DelaySeconds": delay });
    t.call("SendMessage", own("none", 0)).await;
    t.call("SendMessage", own("long", 900)).await;
    t.check("SendMessage", own("x", 901), "InvalidParameterValueException").await;
    assert_eq!(t.counts(&url).await, "1/2/0");
    assert_eq!(bodies(&t.receive(&url).await), ["none"]);
    advance_s(5).await;
    assert_eq!(bodies(&t.receive(&url).await), ["queue's delay"]);
    t.events();
    advance_s(55).await;
    assert_eq!(t.counts(&url).await, "0/0/0", "after 60 s all messages are removed, delayed or in flight");
    assert_eq!(t.events(), ["expired queue's delay", "expired none", "expired long"]);
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_on_a_send_on_a_visibility_timeout_and_in_time() {
    let t = Fixture::new();
    let url = t.queue("q", json!({ "VisibilityTimeout": "3", "ReceiveMessageWaitTimeSeconds": "20" })).await;
    let begun = tokio::time::Instant::now();
    let send_later = async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        t.send(&url, "a").await;
    };
    let (received, ()) = tokio::join!(t.receive(&url), send_later);
    assert_eq!((bodies(&received), begun.elapsed().as_secs()), (vec!["a"], 7));
    assert_eq!(t.receive(&url).await[0]["Attributes"]["ApproximateReceiveCount"], "2");
    assert_eq!(begun.elapsed().as_secs(), 10, "visible again after three seconds");
    let short = t.receive_with(&url, json!({ "WaitTimeSeconds": 2 })).await;
    assert_eq!((short.len(), begun.elapsed().as_secs()), (0, 12));
    assert!(t.receive_with(&url, json!({ "WaitTimeSeconds": 0 })).await.is_empty());

    let input = json!({ "QueueUrl": url, "WaitTimeSeconds": 20, "MaxNumberOfMessages": 1 });
    t.receive(&url).await;
    t.call("SetQueueAttributes", json!({ "QueueUrl": url, "Attributes": { "VisibilityTimeout": "60" } })).await;
    t.receive(&url).await;
    let delete_later = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        t.call("DeleteQueue", json!({ "QueueUrl": url })).await;
    };
    let (error, ()) = tokio::join!(t.refuse("ReceiveMessage", input), delete_later);
    assert_eq!(error.name(), "QueueDoesNotExist");
}

#[tokio::test(start_paused = true)]
async fn the_queues_visibility_timeout_applies_as_of_the_delivery_not_the_start_of_the_poll() {
    for name in ["q", "q.fifo"] {
        let check = async |more: Value, hidden_s: u64| {
            let t = Fixture::new();
            let url = t.queue(name, json!({ "VisibilityTimeout": "600" })).await;
            let mut input = json!({ "WaitTimeSeconds": 20 });
            input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let meanwhile = async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                t.call("SetQueueAttributes", json!({ "QueueUrl": url, "Attributes": { "VisibilityTimeout": "3" } }))
                    .await;
                match name {
                    "q" => t.send(&url, "a").await,
                    _ => t.send_to(&url, "g", "a").await,
                }
            };
            let (received, _) = tokio::join!(t.receive_with(&url, input), meanwhile);
            assert_eq!(bodies(&received), ["a"]);
            advance_s(hidden_s - 1).await;
            assert_eq!(t.counts(&url).await, "0/0/1", "{name} {more}");
            advance_s(1).await;
            assert_eq!(t.counts(&url).await, "1/0/0", "{name} {more}");
        };
        check(json!({}), 3).await;
        check(json!({ "VisibilityTimeout": 30 }), 30).await;
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_long_polls_share_messages_without_repeats() {
    let t = Fixture::new();
    let url = t.queue("q", json!({})).await;
    let poll = || t.receive_with(&url, json!({ "WaitTimeSeconds": 5, "MaxNumberOfMessages": 1 }));
    let send = async {
        t.send(&url, "a").await;
        t.send(&url, "b").await;
    };
    let (one, two, three, ()) = tokio::join!(poll(), poll(), poll(), send);
    let mut all: Vec<_> = [one, two, three].concat().iter().map(|m| m["Body"].as_str().unwrap().to_owned()).collect();
    all.sort();
    assert_eq!(all, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn digests_match_amazons() {
    let t = Fixture::new();
    let url = t.queue("q", json!({})).await;
    let sent = t
        .call(
            "SendMessage",
            json!({
                "QueueUrl": url,
                "MessageBody": "hi",
                "MessageAttributes": {
                    "s": { "DataType": "String", "StringValue": "é" },
                    "n": { "DataType": "Number", "StringValue": "12" },
                    "b": { "DataType": "Binary.x", "BinaryValue": "AAE=" },
                },
                "MessageSystemAttributes": {
                    "AWSTraceHeader": { "DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793" },
                },
            }),
        )
        .await;
    // Computed with Python's hashlib after "Calculating the MD5 message digest" of sqs-message-metadata.
    assert_eq!(sent["MD5OfMessageBody"], "49f68a5c8493ec2c0bf489821c21fc3b");
    assert_eq!(sent["MD5OfMessageAttributes"], "94ba6fe768f34eb209ea33c66eba3d99");
    assert_eq!(sent["MD5OfMessageSystemAttributes"], "62a56dd927315f2b2e12832b84617ea5");

    let all = &t.receive_with(&url, json!({ "VisibilityTimeout": 0 })).await[0];
    assert_eq!(all["MD5OfMessageAttributes"], sent["MD5OfMessageAttributes"]);
    assert_eq!(all["MessageAttributes"]["b"], json!({ "DataType": "Binary.x", "BinaryValue": "AAE=" }));
    assert_eq!(all["Attributes"]["AWSTraceHeader"], "Root=1-5759e988-bd862e3fe1be46a994272793");
    let wanted = json!({ "VisibilityTimeout": 0, "MessageAttributeNames": ["n"], "MessageSystemAttributeNames": [] });
    let one = &t.receive_with(&url, wanted).await[0];
    assert_eq!(
        one["MD5OfMessageAttributes"], "fb15aa095c960d23a9b4b638d9dccc6f",
        "the digest covers the returned attributes"
    );
    assert_eq!(one["MessageAttributes"], json!({ "n": { "DataType": "Number", "StringValue": "12" } }));
    assert_eq!(one.get("Attributes"), None);
}

#[tokio::test(start_paused = true)]
async fn attributes_are_shown_by_name_prefix_and_all() {
    let t = Fixture::new();
    let url = t.queue("q", json!({ "VisibilityTimeout": "0" })).await;
    let text = json!({ "DataType": "String", "StringValue": "x" });
    let attributes = json!({ "foo.a": text, "foo.b": text, "bar": text });
    t.call("SendMessage", json!({ "QueueUrl": url, "MessageBody": "m", "MessageAttributes": attributes })).await;
    for (names, shown) in [
        (json!([]), ""),
        (json!(["All"]), "bar foo.a foo.b"),
        (json!([".*"]), "bar foo.a foo.b"),
        (json!(["foo.*"]), "foo.a foo.b"),
        (json!(["bar", "foo.b", "none"]), "bar foo.b"),
    ] {
        let message = &t.receive_with(&url, json!({ "MessageAttributeNames": names })).await[0];
        let keys = message["MessageAttributes"].as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
        assert_eq!(keys.unwrap_or_default().join(" "), shown, "{names}");
    }
    let legacy = json!({ "MessageSystemAttributeNames": null, "AttributeNames": ["SentTimestamp", "Policy"] });
    let message = &t.receive_with(&url, legacy).await[0];
    assert_eq!(message["Attributes"], json!({ "SentTimestamp": NOW.to_string() }));
    let unknown = json!({ "QueueUrl": url, "MessageSystemAttributeNames": ["Nope"] });
    t.check("ReceiveMessage", unknown, "InvalidAttributeName").await;
}

#[tokio::test(start_paused = true)]
async fn message_rules_are_checked() {
    let t = Fixture::new();
    let url = t.queue("q", json!({})).await;
    let max = usize::try_from(*MESSAGE_BYTES.end()).unwrap();
    let long = "x".repeat(max);
    let bad = "InvalidParameterValueException";
    let many = |count: usize| -> Value {
        (0..count).map(|i| (format!("a{i}"), json!({ "DataType": "String", "StringValue": "x" }))).collect()
    };
    let one = |name: &str, data_type: &str, field: &str, value: &str| json!({ name: { "DataType": data_type, field: value } });
    for (input, error) in [
        (json!({ "MessageBody": "\t\n\r \u{D7FF}\u{E000}\u{FFFD}\u{10FFFF}" }), ""),
        (json!({ "MessageBody": "\u{0}" }), "InvalidMessageContents"),
        (json!({ "MessageBody": "\u{FFFE}" }), "InvalidMessageContents"),
        (json!({ "MessageBody": "" }), "MissingRequiredParameterException"),
        (json!({}), "MissingRequiredParameterException"),
        (json!({ "MessageBody": 1 }), "SerializationException"),
        (json!({ "MessageBody": long }), ""),
        (json!({ "MessageBody": format!("{long}x") }), bad),
        (json!({ "MessageBody": long, "MessageAttributes": many(1) }), bad),
        (json!({ "MessageBody": "m", "MessageAttributes": many(10) }), ""),
        (json!({ "MessageBody": "m", "MessageAttributes": many(11) }), bad),
        (json!({ "MessageBody": "m", "MessageAttributes": one("a-b_c.d", "String", "StringValue", "x") }), ""),
        (json!({ "MessageBody": "m", "MessageAttributes": one("AWS.x", "String", "StringValue", "x") }), bad),
        (json!({ "MessageBody": "m", "MessageAttributes": one("amazon.x", "String", "StringValue", "x") }), bad),
        (json!({ "MessageBody": "m", "MessageAttributes": one(".x", "String", "StringValue", "x") }), bad),
        (json!({ "MessageBody": "m", "MessageAttributes": one("x.", "String", "StringValue", "x") }), bad),
        (json!({ "MessageBody": "m", "MessageAttributes": one("x..y", "String", "StringValue", "x") }), bad),
        (json!({ "MessageBody": "m", "MessageAttributes": one("x y", "String", "StringValue", "x") }), bad),
        (json!({ "MessageBody": "m", "MessageAttributes": one(&"x".repeat(257), "String", "StringValue", "x") }), bad),
        (json!({ "MessageBody": "m", "MessageAttributes": one("x", "String", "StringValue", "") }), bad),
        (json!({ "MessageBody": "m", "MessageAttributes": one("x", "String", "StringValue", "\u{1}") }), bad),
        (json!({ "MessageBody": "m", "MessageAttributes": one("x", "String.custom", "StringValue", "x") }), ""),
        (json!({ "MessageBody": "m", "MessageAttributes": one("x", "Stringy", "StringValue", "x") }), bad),
        (json!({ "MessageBody": "m", "MessageAttributes": one("x", "Number.int", "StringValue", "-1.5e10") }), ""),
        (json!({ "MessageBody": "m", "MessageAttributes": one("x", "Number", "StringValue", "one") }), bad),
        (json!({ "MessageBody": "m", "MessageAttributes": one("x", "Number", "StringValue", &"1".repeat(39)) }), bad),
        (json!({ "MessageBody": "m", "MessageAttributes": one("x", "Binary", "BinaryValue", "AA==") }), ""),
        (json!({ "MessageBody": "m", "MessageAttributes": one("x", "Binary", "BinaryValue", "A") }), bad),
        (json!({ "MessageBody": "m", "MessageAttributes": one("x", "Binary", "StringValue", "AA==") }), bad),
        (
            json!({ "MessageBody": "m", "MessageAttributes": one("x", "String", "StringListValues", "x") }),
            "SerializationException",
        ),
        (
            json!({ "MessageBody": "m", "MessageSystemAttributes": one("AWSTraceHeader", "String", "StringValue", "R") }),
            "",
        ),
        (
            json!({ "MessageBody": "m", "MessageSystemAttributes": one("AWSTraceHeader", "Number", "StringValue", "1") }),
            bad,
        ),
        (json!({ "MessageBody": "m", "MessageSystemAttributes": one("SenderId", "String", "StringValue", "x") }), bad),
        (json!({ "MessageBody": "m", "MessageGroupId": "tenant" }), ""),
        (json!({ "MessageBody": "m", "MessageGroupId": "a b" }), bad),
        (json!({ "MessageBody": "m", "MessageDeduplicationId": "d" }), bad),
    ] {
        let mut input = input;
        input["QueueUrl"] = url.as_str().into();
        t.check("SendMessage", input, error).await;
    }
    for (input, error) in [
        (json!({ "MaxNumberOfMessages": 0 }), bad),
        (json!({ "MaxNumberOfMessages": 11 }), bad),
        (json!({ "WaitTimeSeconds": 21 }), bad),
        (json!({ "VisibilityTimeout": 43_201 }), bad),
        (json!({ "VisibilityTimeout": 43_200 }), ""),
    ] {
        let mut input = input;
        input["QueueUrl"] = url.as_str().into();
        t.check("ReceiveMessage", input, error).await;
    }
}

#[tokio::test(start_paused = true)]
async fn batches_report_every_entry_and_invalid_calls_are_refused_as_a_whole() {
    let t = Fixture::new();
    let url = t.queue("q", json!({})).await;
    let send = |entries: Value| json!({ "QueueUrl": url, "Entries": entries });
    let entry = |id: &str| json!({ "Id": id, "MessageBody": "x" });
    let numbered = |count: usize| -> Value { (0..count).map(|i| entry(&i.to_string())).collect() };
    let half = "x".repeat(600_000);
    for (entries, error) in [
        (json!([]), "EmptyBatchRequest"),
        (Value::Null, "EmptyBatchRequest"),
        (numbered(11), "TooManyEntriesInBatchRequest"),
        (json!([entry("a"), entry("a")]), "BatchEntryIdsNotDistinct"),
        (json!([entry("a b")]), "InvalidBatchEntryId"),
        (json!([entry("")]), "InvalidBatchEntryId"),
        (json!([entry(&"i".repeat(81))]), "InvalidBatchEntryId"),
        (json!([{ "MessageBody": "x" }]), "MissingRequiredParameterException"),
        (json!([{ "Id": "a", "MessageBody": half }, { "Id": "b", "MessageBody": half }]), "BatchRequestTooLong"),
        (numbered(10), ""),
    ] {
        t.check("SendMessageBatch", send(entries), error).await;
    }
    assert_eq!(t.counts(&url).await, "10/0/0", "a refused call sends nothing");

    let mixed = json!([entry("good"), { "Id": "bad", "MessageBody": "\u{1}" }, { "Id": "late", "MessageBody": "x", "DelaySeconds": -1 }]);
    let answer = t.call("SendMessageBatch", send(mixed)).await;
    assert_eq!(answer["Successful"][0]["Id"], "good");
    assert_eq!(answer["Failed"][0]["Id"], "bad");
    assert_eq!(answer["Failed"][0]["Code"], "InvalidMessageContents");
    assert_eq!(answer["Failed"][0]["SenderFault"], true);
    assert_eq!(answer["Failed"][1]["Code"], "InvalidParameterValue");

    let good = t.call("SendMessageBatch", send(json!([entry("alone")]))).await;
    assert_eq!(good.get("Failed"), None, "absent, as AWS answers");
    let bad = t.call("SendMessageBatch", send(json!([{ "Id": "bad", "MessageBody": "\u{1}" }]))).await;
    assert_eq!(bad.get("Successful"), None);

    let received = t.receive(&url).await;
    let handles = json!([
        { "Id": "0", "ReceiptHandle": received[0]["ReceiptHandle"], "VisibilityTimeout": 0 },
        { "Id": "1", "ReceiptHandle": "junk", "VisibilityTimeout": 0 },
    ]);
    for action in ["ChangeMessageVisibilityBatch", "DeleteMessageBatch"] {
        let answer = t.call(action, send(handles.clone())).await;
        assert_eq!((&answer["Successful"][0]["Id"], answer["Successful"].as_array().unwrap().len()), (&json!("0"), 1));
        assert_eq!(answer["Failed"][0]["Code"], "ReceiptHandleIsInvalid", "{action}");
    }
    assert_eq!(t.counts(&url).await, "2/0/9");
    let small = t.queue("small", json!({ "MaximumMessageSize": "1024" })).await;
    let long = json!([{ "Id": "a", "MessageBody": "a".repeat(1_025) }]);
    let answer = t.call("SendMessageBatch", json!({ "QueueUrl": small, "Entries": long })).await;
    let text = "One or more parameters cannot be validated. Reason: Message must be shorter than 1024 bytes.";
    assert_eq!(answer["Failed"][0]["Message"], text);
}

#[tokio::test(start_paused = true)]
async fn too_many_in_flight_is_over_limit_on_standard_queues_and_nothing_on_fifo() {
    for name in ["q", "q.fifo"] {
        let t = Fixture::new();
        let url = t.queue(name, json!({})).await;
        t.sqs.with_engine(|engine, now| {
            let queue = engine.queue(name, now).unwrap();
            for i in 0..=IN_FLIGHT_MAX {
                let group = Some(format!("g{i}"));
                let draft = Draft { body: "m".to_owned(), group, ..Draft::default() };
                queue.insert(draft.into_message(now), 0, now);
            }
            let all = Receive { messages_max: usize::MAX, visibility_s: Some(600), attempt_id: None };
            assert_eq!(queue.receive(&all, None, now).unwrap().messages.len(), IN_FLIGHT_MAX);
        });
        let short = json!({ "QueueUrl": url });
        t.check("ReceiveMessage", short.clone(), if name == "q" { "OverLimit" } else { "" }).await;
        t.check("ReceiveMessage", json!({ "QueueUrl": url, "WaitTimeSeconds": 1 }), "").await;
        advance_s(600).await;
        t.check("ReceiveMessage", short, "").await;
        assert_eq!(t.counts(&url).await, format!("{}/0/1", IN_FLIGHT_MAX));
    }
}

#[tokio::test(start_paused = true)]
async fn messages_without_a_trace_header_get_the_callers() {
    let t = Fixture::new();
    let url = t.queue("q", json!({})).await;
    let caller = Caller { trace_header: Some("Root=1-a-b".to_owned()), ..Caller::default() };
    let own = json!({ "AWSTraceHeader": { "DataType": "String", "StringValue": "Root=1-own" } });
    for (action, input) in [
        ("SendMessage", json!({ "QueueUrl": url, "MessageBody": "1" })),
        ("SendMessage", json!({ "QueueUrl": url, "MessageBody": "2", "MessageSystemAttributes": own })),
        ("SendMessageBatch", json!({ "QueueUrl": url, "Entries": [{ "Id": "a", "MessageBody": "3" }] })),
    ] {
        let sent = t.sqs.call_as(&caller, action, input.clone()).await.unwrap();
        let with_digest = input.get("MessageSystemAttributes").is_some();
        assert_eq!(sent.get("MD5OfMessageSystemAttributes").is_some(), with_digest, "{sent}");
    }
    t.send(&url, "4").await;
    let received = t.receive(&url).await;
    let traces: Vec<_> = received.iter().map(|message| message["Attributes"]["AWSTraceHeader"].as_str()).collect();
    assert_eq!(traces, [Some("Root=1-a-b"), Some("Root=1-own"), Some("Root=1-a-b"), None]);
}

#[tokio::test(start_paused = true)]
async fn attribute_names_may_be_in_any_script_and_a_star_requests_all() {
    let t = Fixture::new();
    let url = t.queue("q", json!({ "VisibilityTimeout": "0" })).await;
    let attributes = json!({
        "attr.1øßä": { "DataType": "String", "StringValue": "a" },
        "other": { "DataType": "Number", "StringValue": "1" },
    });
    let input = |attributes: &Value| json!({ "QueueUrl": url, "MessageBody": "m", "MessageAttributes": attributes });
    let sent = t.call("SendMessage", input(&attributes)).await;
    for (names, found) in [(json!(["*"]), true), (json!(["All"]), true), (json!([".*"]), true), (json!(["a*"]), false)]
    {
        let message = &t.receive_with(&url, json!({ "MessageAttributeNames": names })).await[0];
        let expected = if found { (Some(&attributes), Some(&sent["MD5OfMessageAttributes"])) } else { (None, None) };
        assert_eq!((message.get("MessageAttributes"), message.get("MD5OfMessageAttributes")), expected, "{names}");
    }
    for name in ["§", "(", "a b", "a-!"] {
        let attributes = json!({ name: { "DataType": "String", "StringValue": "a" } });
        t.check("SendMessage", input(&attributes), "InvalidParameterValueException").await;
    }
}
