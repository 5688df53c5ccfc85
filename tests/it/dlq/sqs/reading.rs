//! Reading dead letters: `list`, `show`, and errors for what does not exist.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::*;

pub(super) async fn dead_letter_queues_are_listed_with_their_depth_and_sources(service: &Service) {
    let queues = Queues::create(service, false).await;
    let fifo = Queues::create(service, true).await;
    let lonely = service.queue(&[]).await;
    dead_letter_orders(service, &queues, 3).await;
    let listed = on(service, &["list", "--json"]).await.expect(0, &[]);
    let listed: Vec<Value> = serde_json::from_str(&listed.out).expect("JSON");
    let find = |url: &str| listed.iter().find(|each| each["queue"] == name(url)).cloned();
    let expected = json!({"queue": name(&queues.dead), "messages": 3, "sources": [name(&queues.source)]});
    assert_eq!(find(&queues.dead), Some(expected));
    assert_eq!(find(&fifo.dead).expect("the FIFO one")["messages"], 0);
    assert_eq!((find(&lonely), find(&queues.source)), (None, None));
    on(service, &["list"]).await.expect(0, &["QUEUE", name(&queues.dead), name(&fifo.source)]);
}

pub(super) async fn reading_leaves_messages_unchanged(service: &Service) {
    let queues = Queues::create(service, false).await;
    dead_letter_orders(service, &queues, 23).await;
    let dead = name(&queues.dead);
    on(service, &["list", dead]).await.expect(0, &["23 of the 23 messages"]);
    on(service, &["list", &service.arn(&queues.dead).await, "--each"]).await.expect(0, &["23 of the 23 messages"]);
    on(service, &["show", &queues.dead, "id-22"]).await.expect(0, &[]);
    on(service, &["redrive", dead, "--dry-run"]).await.expect(0, &["23 would be redriven", name(&queues.source)]);
    on(service, &["purge", dead, "--dry-run"]).await.expect(0, &["23 would be deleted"]);
    on(service, &["edit", dead, "id-1", "--set", "/number=2", "--dry-run"]).await.expect(0, &[r#""number": 2,"#]);
    let left = drained(service, &queues.dead).await;
    assert_eq!((left.len(), bodies(&left)), (23, orders(0..23)), "all messages, visible at once");
    assert_eq!(attribute(&left[0], "sluicegate-redrives"), None);
    assert_eq!(service.depth(&queues.source).await, 0);
}

pub(super) async fn messages_are_grouped_by_reason_and_listed_each(service: &Service) {
    let queues = Queues::create(service, false).await;
    dead_letter_orders(service, &queues, 5).await;
    dead_letter(service, &queues, "no envelope", HashMap::new()).await;
    let listed = on(service, &["list", name(&queues.dead), "--json"]).await.expect(0, &["6 of the 6 messages"]);
    let groups: Vec<Value> = serde_json::from_str(&listed.out).expect("JSON");
    let facts: Vec<_> =
        groups.iter().map(|group| ["code", "reason", "count", "types"].map(|name| &group[name])).collect();
    let (stock, card) =
        (json!({"order.placed": 1, "order.changed": 2}), json!({"order.placed": 1, "order.changed": 1}));
    assert_eq!(facts[0], [&json!("out_of_stock"), &json!("no stock"), &json!(3), &stock]);
    assert_eq!(facts[1], [&Value::Null, &json!("bad card"), &json!(2), &card]);
    let unknown = json!("no reason recorded: another program stored it here");
    assert_eq!(facts[2], [&Value::Null, &unknown, &json!(1), &json!({"": 1})]);
    assert!(groups[0]["oldest"].as_str() <= groups[0]["newest"].as_str() && groups[0]["oldest"].is_string());
    on(service, &["list", name(&queues.dead)])
        .await
        .expect(0, &["COUNT", "CODE", "order.changed:2,order.placed:1  out_of_stock  no stock"]);

    let each = on(service, &["list", name(&queues.dead), "--each", "--json", "--reason", "^bad"]).await;
    let each: Vec<Value> =
        each.expect(0, &["2 of the 6"]).out.lines().map(|line| line.parse().expect("JSON")).collect();
    let arn = service.arn(&queues.source).await;
    for message in &each {
        assert_eq!((&message["source_queue"], &message["receive_count"]), (&json!(arn), &json!(3)), "{message}");
        assert_eq!(message["dead_lettered_at"].as_str().map(|time| time.ends_with('Z')), Some(true), "{message}");
    }
    assert_eq!(each.len(), 2);
    let coded = on(service, &["list", name(&queues.dead), "--each", "--json", "--code", "out_of_*"]).await;
    assert_eq!(coded.expect(0, &["3 of the 6"]).out.matches(r#""code":"out_of_stock""#).count(), 3);
    on(service, &["list", name(&queues.dead), "--each"]).await.expect(0, &["id-4  order.changed", "(no envelope)"]);
}

pub(super) async fn one_message_is_shown_completely(service: &Service) {
    let queues = Queues::create(service, false).await;
    let mut attributes = rejected("bad card", &service.arn(&queues.source).await);
    attributes.insert("raw".into(), binary(&[0, 255]));
    dead_letter(service, &queues, &order(7), attributes).await;
    let dead = name(&queues.dead);
    let shown = on(service, &["show", dead, "id-7"]).await;
    let payload = r#"{"number": 7, "price": 1.10, "note": "größe 😀"}"#;
    shown.expect(0, &["bad card", "order.changed", "AP8=", payload, "received there  3", "specversion"]);
    let body = on(service, &["show", dead, "id-7", "--body"]).await.expect(0, &[]);
    assert_eq!(body.out, order(7), "byte for byte");
    let shown = on(service, &["show", dead, "id-7", "--json"]).await.expect(0, &[]);
    let shown: Value = serde_json::from_str(&shown.out).expect("JSON");
    assert_eq!((&shown["body"], &shown["attributes"]["raw"]), (&json!(order(7)), &json!("AP8=")));
    on(service, &["show", dead, shown["broker_id"].as_str().expect("an id")]).await.expect(0, &["id-7"]);
}

pub(super) async fn impossible_requests_are_errors(service: &Service) {
    let queues = Queues::create(service, false).await;
    dead_letter_orders(service, &queues, 1).await;
    let dead = name(&queues.dead);
    on(service, &["show", dead, "id-8"]).await.expect(1, &["no message id-8 among the 1"]);
    on(service, &["list", &nowhere()]).await.expect(1, &["the queue does not exist"]);
    on(service, &["list", "arn:aws:sns:us-east-1:0:topic"]).await.expect(1, &["not the ARN of a queue"]);
    on(service, &["redrive", dead, "--to", &nowhere()]).await.expect(1, &["the queue does not exist"]);
    on(service, &["redrive", dead, "--to", dead, "--one-by-one"]).await.expect(1, &["the queue it is in"]);
    for (option, value, says) in [
        ("--match", "(", "unclosed group"),
        ("--reason", "[", "unclosed character class"),
        ("--where", "/a", "/json/pointer=VALUE"),
        ("--since", "yesterday", "how long ago"),
        ("--rate", "0/s", "such as 50/s"),
    ] {
        on(service, &["redrive", dead, option, value]).await.expect(2, &[says]);
    }
    on(service, &["purge", dead]).await.expect(2, &["--yes"]);
    on(service, &["edit", dead, "id-0", "--set", "/a=b"]).await.expect(2, &["not JSON"]);
    on(service, &["edit", dead, "id-0"]).await.expect(1, &["EDITOR"]);
    let unreachable = ran(dlq(&["list", dead, "--endpoint-url", "http://127.0.0.1:1"])).await;
    unreachable.expect(1, &["error: "]);
    assert_eq!(drained(service, &queues.dead).await.len(), 1);
}
