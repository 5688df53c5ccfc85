//! Dead-letter queues: the conditions for dead-lettering, and the dead letter's properties.

use super::*;

fn policy(target: &str, count: u32) -> Value {
    let arn = format!("arn:aws:sqs:us-east-1:000000000000:{target}");
    json!({ "RedrivePolicy": json!({ "deadLetterTargetArn": arn, "maxReceiveCount": count }).to_string() })
}

#[tokio::test(start_paused = true)]
async fn a_message_is_dead_lettered_at_the_receive_after_its_last() {
    let t = Fixture::new();
    let dlq = t.queue("dlq", json!({})).await;
    let url = t.queue("q", policy("dlq", 2)).await;
    let sent = t.send(&url, "poison").await;
    for _ in 0..2 {
        assert_eq!(t.receive_with(&url, json!({ "VisibilityTimeout": 5 })).await.len(), 1);
        assert_eq!(t.counts(&dlq).await, "0/0/0");
        advance_s(5).await;
    }
    assert_eq!(t.counts(&url).await, "1/0/0", "until the next receive");
    t.send(&url, "next").await;
    assert_eq!(bodies(&t.receive(&url).await), ["next"]);
    let dead = &t.receive(&dlq).await[0];
    assert_eq!(dead["MessageId"], sent["MessageId"]);
    let attributes = &dead["Attributes"];
    assert_eq!(attributes["ApproximateReceiveCount"], "3", "the count continues");
    assert_eq!(attributes["SentTimestamp"], NOW.to_string());
    assert_eq!(attributes["DeadLetterQueueSourceArn"], "arn:aws:sqs:us-east-1:000000000000:q");
    assert!(t.events().contains(&"dead poison 2 dlq".to_owned()));
    let sources = t.call("ListDeadLetterSourceQueues", json!({ "QueueUrl": dlq })).await;
    assert_eq!(sources, json!({ "queueUrls": [url] }));
}

#[tokio::test(start_paused = true)]
async fn retention_counts_from_the_first_send_on_standard_queues() {
    let t = Fixture::new();
    let dlq = t.queue("dlq", json!({ "MessageRetentionPeriod": "100" })).await;
    let url = t.queue("q", policy("dlq", 1)).await;
    t.send(&url, "a").await;
    t.receive_with(&url, json!({ "VisibilityTimeout": 60 })).await;
    advance_s(60).await;
    t.receive(&url).await;
    assert_eq!(t.counts(&dlq).await, "1/0/0");
    advance_s(40).await;
    assert_eq!(t.counts(&dlq).await, "0/0/0");
}

#[tokio::test(start_paused = true)]
async fn a_fifo_group_continues_in_order_after_a_dead_letter() {
    let t = Fixture::new();
    let dlq = t.queue("dlq.fifo", json!({})).await;
    let url = t.queue("q.fifo", policy("dlq.fifo", 1)).await;
    for body in ["1", "2", "3"] {
        t.send_to(&url, "g", body).await;
    }
    t.receive_with(&url, json!({ "MaxNumberOfMessages": 2, "VisibilityTimeout": 1 })).await;
    advance_s(1).await;
    assert_eq!(bodies(&t.receive(&url).await), ["3"]);
    let dead = t.receive(&dlq).await;
    assert_eq!(bodies(&dead), ["1", "2"]);
    assert_eq!(dead[0]["Attributes"]["MessageGroupId"], "g");
    assert_eq!(
        dead[0]["Attributes"]["MessageDeduplicationId"], dead[0]["MessageId"],
        "dead letters are never deduplicated"
    );
    assert_eq!(dead[0]["Attributes"]["SentTimestamp"], (NOW + 1_000).to_string());
}

#[tokio::test(start_paused = true)]
async fn a_chain_counts_the_receives_of_each_queue() {
    let t = Fixture::new();
    let last = t.queue("last", json!({})).await;
    let middle = t.queue("middle", policy("last", 2)).await;
    let url = t.queue("q", policy("middle", 2)).await;
    t.send(&url, "a").await;
    for queue in [&url, &url, &url, &middle, &middle, &middle] {
        t.receive_with(queue, json!({ "VisibilityTimeout": 0 })).await;
    }
    assert_eq!(t.receive(&last).await[0]["Attributes"]["ApproximateReceiveCount"], "5");
}

#[tokio::test(start_paused = true)]
async fn without_its_dead_letter_queue_a_message_is_delivered_again() {
    let t = Fixture::new();
    let dlq = t.queue("dlq", json!({})).await;
    let url = t.queue("q", policy("dlq", 1)).await;
    t.send(&url, "a").await;
    t.call("DeleteQueue", json!({ "QueueUrl": dlq })).await;
    for _ in 0..3 {
        assert_eq!(t.receive_with(&url, json!({ "VisibilityTimeout": 0 })).await.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_allow_policy_lists_the_allowed_source_queues() {
    let t = Fixture::new();
    let allow = |policy: Value| json!({ "RedriveAllowPolicy": policy.to_string() });
    let me = "arn:aws:sqs:us-east-1:000000000000:me";
    t.queue("all", allow(json!({ "redrivePermission": "allowAll" }))).await;
    t.queue("none", allow(json!({ "redrivePermission": "denyAll" }))).await;
    t.queue("some", allow(json!({ "redrivePermission": "byQueue", "sourceQueueArns": [me] }))).await;
    let bad = "InvalidParameterValueException";
    for (name, target, error) in
        [("you", "all", ""), ("you", "none", bad), ("you", "some", bad), ("me", "some", ""), ("her", "missing", bad)]
    {
        let policy = policy(target, 1);
        let name = format!("{name}{}", if error.is_empty() && name == "you" { "-ok" } else { "" });
        t.check("CreateQueue", json!({ "QueueName": name, "Attributes": policy }), error).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_its_own_dead_letter_queue_keeps_its_messages() {
    let t = Fixture::new();
    let url = t.queue("q", json!({ "VisibilityTimeout": "0" })).await;
    let policy = json!({ "deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:q", "maxReceiveCount": 1 });
    let attributes = json!({ "QueueUrl": url, "Attributes": { "RedrivePolicy": policy.to_string() } });
    t.call("SetQueueAttributes", attributes).await;
    t.send(&url, "a").await;
    let mut received = Vec::new();
    for _ in 0..4 {
        received.push(t.receive(&url).await.len());
    }
    assert_eq!(received, [1, 0, 1, 0], "delivered, dead-lettered, delivered again");
    assert_eq!(t.counts(&url).await, "1/0/0");
}
