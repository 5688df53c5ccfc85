//! FIFO queues: order, group lock, deduplication, sequence numbers, receive attempts.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_group_is_locked_while_one_of_its_messages_is_in_flight() {
    let t = Fixture::new();
    let url = t.queue("q.fifo", json!({ "VisibilityTimeout": "10" })).await;
    for (group, body) in [("a", "a1"), ("b", "b1"), ("a", "a2"), ("a", "a3")] {
        t.send_to(&url, group, body).await;
    }
    let one = |max: i64| json!({ "MaxNumberOfMessages": max });
    let first = t.receive_with(&url, one(2)).await;
    assert_eq!(bodies(&first), ["a1", "a2"], "as many of one group as possible");
    let other = t.receive_with(&url, one(10)).await;
    assert_eq!(bodies(&other), ["b1"], "a is locked");
    t.delete(&url, &other[0]).await;
    t.delete(&url, &first[0]).await;
    assert!(t.receive(&url).await.is_empty(), "a2 is in flight still");
    advance_s(10).await;
    assert_eq!(bodies(&t.receive_with(&url, one(1)).await), ["a2"], "before a3, as sent");
    let expired = json!({ "QueueUrl": url, "ReceiptHandle": first[1]["ReceiptHandle"] });
    t.check("DeleteMessage", expired, "InvalidParameterValueException").await;
    assert_eq!(t.counts(&url).await, "1/0/1");
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_wakes_when_a_group_is_unlocked() {
    let t = Fixture::new();
    let url = t.queue("q.fifo", json!({})).await;
    t.send_to(&url, "a", "a1").await;
    t.send_to(&url, "a", "a2").await;
    let first = t.receive_with(&url, json!({ "MaxNumberOfMessages": 1 })).await;
    let begun = tokio::time::Instant::now();
    let delete_later = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        t.delete(&url, &first[0]).await;
    };
    let (second, ()) = tokio::join!(t.receive_with(&url, json!({ "WaitTimeSeconds": 20 })), delete_later);
    assert_eq!((bodies(&second), begun.elapsed().as_secs()), (vec!["a2"], 4));
}

#[tokio::test(start_paused = true)]
async fn duplicates_within_five_minutes_answer_the_first_id_and_are_not_stored() {
    let t = Fixture::new();
    let content = t.queue("content.fifo", json!({ "ContentBasedDeduplication": "true" })).await;
    let explicit = t.queue("explicit.fifo", json!({})).await;
    let scope = json!({ "DeduplicationScope": "messageGroup", "ContentBasedDeduplication": "true" });
    let grouped = t.queue("grouped.fifo", scope).await;
    let send = |url: &str, group: &str, body: &str, id: Option<&str>| {
        let input =
            json!({ "QueueUrl": url, "MessageBody": body, "MessageGroupId": group, "MessageDeduplicationId": id });
        t.call("SendMessage", input)
    };
    let first = send(&content, "g", "x", None).await;
    let again = send(&content, "other", "x", None).await;
    assert_eq!((&first["MessageId"], &first["SequenceNumber"]), (&again["MessageId"], &again["SequenceNumber"]));
    send(&content, "g", "x", Some("own")).await;
    send(&content, "g", "y", Some("own")).await;
    assert_eq!(t.counts(&content).await, "2/0/0", "an explicit id takes precedence over the content");
    let received = t.receive(&content).await;
    t.delete(&content, &received[0]).await;
    send(&content, "g", "x", None).await;
    assert_eq!(t.counts(&content).await, "0/0/1", "also after the first was deleted");
    advance_s(300).await;
    send(&content, "g", "x", None).await;
    assert_eq!(t.counts(&content).await, "2/0/0", "five minutes later it is a new message");
    t.call("PurgeQueue", json!({ "QueueUrl": content })).await;
    send(&content, "g", "x", None).await;
    assert_eq!(t.counts(&content).await, "1/0/0", "and after a purge");

    send(&explicit, "g", "x", Some("1")).await;
    send(&explicit, "g", "other", Some("1")).await;
    assert_eq!(t.counts(&explicit).await, "1/0/0");
    let without = json!({ "QueueUrl": explicit, "MessageBody": "x", "MessageGroupId": "g" });
    t.check("SendMessage", without, "InvalidParameterValueException").await;

    send(&grouped, "g", "x", None).await;
    send(&grouped, "h", "x", None).await;
    send(&grouped, "h", "x", None).await;
    assert_eq!(t.counts(&grouped).await, "2/0/0", "ids are per group");
}

#[tokio::test(start_paused = true)]
async fn messages_carry_group_id_and_a_growing_sequence() {
    let t = Fixture::new();
    let url = t.queue("q.fifo", json!({ "ContentBasedDeduplication": "true" })).await;
    let send =
        |body: &str| t.call("SendMessage", json!({ "QueueUrl": url, "MessageBody": body, "MessageGroupId": "g" }));
    let (one, two) = (send("1").await, send("2").await);
    let sequence = |answer: &Value| answer["SequenceNumber"].as_str().unwrap().to_owned();
    assert!(sequence(&one) < sequence(&two) && sequence(&one).len() == 20);
    let message = &t.receive(&url).await[0];
    let attributes = &message["Attributes"];
    assert_eq!(attributes["SequenceNumber"], one["SequenceNumber"]);
    assert_eq!(attributes["MessageGroupId"], "g");
    let hash = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b";
    assert_eq!(attributes["MessageDeduplicationId"], hash, "SHA-256 of the body");
    let missing = json!({ "QueueUrl": url, "MessageBody": "x" });
    t.check("SendMessage", missing, "MissingRequiredParameterException").await;
    let batch = json!({ "QueueUrl": url, "Entries": [{ "Id": "a", "MessageBody": "x" }] });
    t.check("SendMessageBatch", batch.clone(), "InvalidParameterValueException").await;
    t.check_text("SendMessageBatch", batch, "The request must contain the parameter MessageGroupId.").await;
}

#[tokio::test(start_paused = true)]
async fn the_queues_delay_applies_and_blocks_the_group() {
    let t = Fixture::new();
    let url = t.queue("q.fifo", json!({ "DelaySeconds": "10" })).await;
    let own = json!({
        "QueueUrl": url, "MessageBody": "x", "MessageGroupId": "g", "MessageDeduplicationId": "x", "DelaySeconds": 1,
    });
    t.check("SendMessage", own, "InvalidParameterValueException").await;
    t.send_to(&url, "g", "1").await;
    advance_s(5).await;
    t.send_to(&url, "g", "2").await;
    assert_eq!(t.counts(&url).await, "0/2/0");
    let set = |delay: &str| json!({ "QueueUrl": url, "Attributes": { "DelaySeconds": delay } });
    t.call("SetQueueAttributes", set("20")).await;
    advance_s(14).await;
    assert!(t.receive(&url).await.is_empty(), "a changed delay applies to waiting messages");
    advance_s(1).await;
    assert_eq!(bodies(&t.receive(&url).await), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_receive_attempt_gives_the_same_messages_with_the_same_handles() {
    let t = Fixture::new();
    let url = t.queue("q.fifo", json!({ "VisibilityTimeout": "10" })).await;
    t.send_to(&url, "g", "1").await;
    t.send_to(&url, "h", "2").await;
    let attempt = json!({ "ReceiveRequestAttemptId": "try" });
    let first = t.receive_with(&url, attempt.clone()).await;
    advance_s(9).await;
    assert_eq!(t.receive_with(&url, attempt.clone()).await, first);
    advance_s(9).await;
    assert_eq!(t.counts(&url).await, "0/0/2", "the repeat restarted the timeout");
    t.delete(&url, &first[0]).await;
    assert!(
        t.receive_with(&url, attempt.clone()).await.is_empty(),
        "one message was deleted, so the attempt id has no effect"
    );
    advance_s(1).await;
    let again = t.receive_with(&url, attempt).await;
    assert_eq!(bodies(&again), ["2"]);
    assert_eq!(again[0]["Attributes"]["ApproximateReceiveCount"], "2");
    let bad = json!({ "QueueUrl": url, "ReceiveRequestAttemptId": "a b" });
    t.check("ReceiveMessage", bad, "InvalidParameterValueException").await;
}

/// Receives three messages of a group and makes some visible again: the group delivers its messages, in order, up to
/// the first hidden one. Recorded on AWS in November 2025.
#[tokio::test(start_paused = true)]
async fn a_group_delivers_its_messages_up_to_the_first_hidden_one() {
    for (returned, delivered) in [
        (vec![], vec![]),
        (vec![0], vec!["1"]),
        (vec![1], vec![]),
        (vec![2], vec![]),
        (vec![0, 1], vec!["1", "2"]),
        (vec![0, 2], vec!["1"]),
        (vec![1, 2], vec![]),
        (vec![0, 1, 2], vec!["1", "2", "3", "4"]),
    ] {
        let t = Fixture::new();
        let url = t.queue("q.fifo", json!({})).await;
        for body in ["1", "2", "3", "4"] {
            t.send_to(&url, "g", body).await;
        }
        let received = t.receive_with(&url, json!({ "MaxNumberOfMessages": 3 })).await;
        for index in &returned {
            let handle = &received[*index]["ReceiptHandle"];
            let input = json!({ "QueueUrl": url, "ReceiptHandle": handle, "VisibilityTimeout": 0 });
            t.call("ChangeMessageVisibility", input).await;
        }
        assert_eq!(bodies(&t.receive(&url).await), delivered, "{returned:?}");
    }
}

/// A group whose messages become visible again comes after the groups that waited. Recorded on AWS.
#[tokio::test(start_paused = true)]
async fn a_returned_group_comes_after_the_waiting_groups() {
    let t = Fixture::new();
    let url = t.queue("q.fifo", json!({})).await;
    for (group, body) in [("a", "a1"), ("b", "b1"), ("b", "b2"), ("c", "c1"), ("a", "a2")] {
        t.send_to(&url, group, body).await;
    }
    let zero = |max: i64| json!({ "MaxNumberOfMessages": max, "VisibilityTimeout": 0 });
    assert_eq!(bodies(&t.receive_with(&url, zero(3)).await), ["a1", "a2", "b1"]);
    assert_eq!(bodies(&t.receive_with(&url, zero(10)).await), ["c1", "a1", "a2", "b1", "b2"]);
}
