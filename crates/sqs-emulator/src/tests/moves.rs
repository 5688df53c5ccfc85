//! Message move tasks: destination, rate, status, failures.

use super::*;

fn arn(name: &str) -> String {
    format!("arn:aws:sqs:us-east-1:000000000000:{name}")
}

/// Creates queues `a` and `b` with the dead-letter queue `dlq`, and dead-letters `count` messages of each.
async fn with_dead_messages(t: &Fixture, count: usize) -> (String, String, String) {
    let dlq = t.queue("dlq", json!({})).await;
    let policy = json!({ "deadLetterTargetArn": arn("dlq"), "maxReceiveCount": 1 }).to_string();
    let a = t.queue("a", json!({ "RedrivePolicy": policy })).await;
    let b = t.queue("b", json!({ "RedrivePolicy": policy })).await;
    for url in [&a, &b] {
        for i in 0..count {
            t.send(url, &i.to_string()).await;
        }
        while !t.receive_with(url, json!({ "VisibilityTimeout": 0 })).await.is_empty() {}
    }
    t.events();
    (a, b, dlq)
}

async fn tasks(t: &Fixture) -> Vec<Value> {
    let answer = t.call("ListMessageMoveTasks", json!({ "SourceArn": arn("dlq"), "MaxResults": 10 })).await;
    answer["Results"].as_array().unwrap().clone()
}

/// Runs the tasks that are due, without advancing time.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn messages_return_to_their_source_queues_as_new_messages() {
    let t = Fixture::new();
    let (a, b, dlq) = with_dead_messages(&t, 2).await;
    let before = t.receive_with(&dlq, json!({ "VisibilityTimeout": 0 })).await;
    advance_s(1).await;
    t.call("StartMessageMoveTask", json!({ "SourceArn": arn("dlq") })).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(t.counts(&dlq).await, "0/0/0");
    for url in [&a, &b] {
        let back = t.receive(url).await;
        assert_eq!(bodies(&back), ["0", "1"]);
        let attributes = &back[0]["Attributes"];
        assert_eq!(attributes["ApproximateReceiveCount"], "1", "with the receive count reset");
        assert_eq!(attributes.get("DeadLetterQueueSourceArn"), None);
        assert_ne!(attributes["SentTimestamp"], NOW.to_string());
        assert!(before.iter().all(|old| old["MessageId"] != back[0]["MessageId"]));
    }
    let task = &tasks(&t).await[0];
    assert_eq!((&task["Status"], &task["ApproximateNumberOfMessagesMoved"]), (&json!("COMPLETED"), &json!(4)));
    assert_eq!((task.get("TaskHandle"), task.get("DestinationArn")), (None, None));
    assert!(t.events().contains(&"moved 0 dlq a".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_kept_one_task_runs_and_can_be_cancelled() {
    let t = Fixture::new();
    let (_, _, dlq) = with_dead_messages(&t, 10).await;
    let target = t.queue("target", json!({})).await;
    let start = json!({ "SourceArn": arn("dlq"), "DestinationArn": arn("target"), "MaxNumberOfMessagesPerSecond": 2 });
    let handle = t.call("StartMessageMoveTask", start.clone()).await["TaskHandle"].clone();
    settle().await;
    assert_eq!(t.counts(&target).await, "1/0/0");
    t.check("StartMessageMoveTask", start.clone(), "InvalidParameterValueException").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    settle().await;
    assert_eq!(t.counts(&target).await, "7/0/0");
    let running = &tasks(&t).await[0];
    assert_eq!(running["Status"], "RUNNING");
    assert_eq!(running["TaskHandle"], handle);
    assert_eq!(running["ApproximateNumberOfMessagesToMove"], 20);
    assert_eq!(running["MaxNumberOfMessagesPerSecond"], 2);
    assert_eq!(running["StartedTimestamp"], NOW);

    let cancel = json!({ "TaskHandle": handle });
    assert_eq!(t.call("CancelMessageMoveTask", cancel.clone()).await, json!({ "ApproximateNumberOfMessagesMoved": 7 }));
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!((t.counts(&target).await, t.counts(&dlq).await), ("7/0/0".to_owned(), "13/0/0".to_owned()));
    t.check("CancelMessageMoveTask", cancel, "UnsupportedOperation").await;
    t.call("StartMessageMoveTask", start).await;
    let all = tasks(&t).await;
    assert_eq!((&all[0]["Status"], &all[1]["Status"]), (&json!("RUNNING"), &json!("CANCELLED")), "newest first");
}

#[tokio::test(start_paused = true)]
async fn a_message_sent_to_the_dlq_directly_needs_a_destination() {
    let t = Fixture::new();
    let (_, _, dlq) = with_dead_messages(&t, 0).await;
    t.send(&dlq, "direct").await;
    t.call("StartMessageMoveTask", json!({ "SourceArn": arn("dlq") })).await;
    settle().await;
    let task = &tasks(&t).await[0];
    assert_eq!((&task["Status"], &task["FailureReason"]), (&json!("FAILED"), &json!("CouldNotDetermineMessageSource")));
    t.call("StartMessageMoveTask", json!({ "SourceArn": arn("dlq"), "DestinationArn": arn("a") })).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(tasks(&t).await[0]["Status"], "COMPLETED");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_source_queue_fails_the_task_and_keeps_the_message() {
    let t = Fixture::new();
    let (a, _, dlq) = with_dead_messages(&t, 1).await;
    t.call("DeleteQueue", json!({ "QueueUrl": a })).await;
    t.call("StartMessageMoveTask", json!({ "SourceArn": arn("dlq") })).await;
    settle().await;
    assert_eq!(tasks(&t).await[0]["FailureReason"], "AWS.SimpleQueueService.NonExistentQueue");
    assert_eq!(t.counts(&dlq).await, "2/0/0");
}

#[tokio::test(start_paused = true)]
async fn bad_tasks_are_refused() {
    let t = Fixture::new();
    with_dead_messages(&t, 0).await;
    t.queue("f.fifo", json!({})).await;
    let (missing, bad) = ("ResourceNotFoundException", "InvalidParameterValueException");
    for (input, error) in [
        (json!({ "SourceArn": arn("none") }), missing),
        (json!({ "SourceArn": "dlq" }), missing),
        (json!({ "SourceArn": arn("a") }), bad),
        (json!({ "SourceArn": arn("dlq"), "DestinationArn": arn("none") }), missing),
        (json!({ "SourceArn": arn("dlq"), "DestinationArn": arn("dlq") }), bad),
        (json!({ "SourceArn": arn("dlq"), "DestinationArn": arn("f.fifo") }), bad),
        (json!({ "SourceArn": arn("dlq"), "MaxNumberOfMessagesPerSecond": 501 }), bad),
        (json!({}), "MissingRequiredParameterException"),
    ] {
        t.check("StartMessageMoveTask", input, error).await;
    }
    t.check("CancelMessageMoveTask", json!({ "TaskHandle": "x" }), bad).await;
    t.check("CancelMessageMoveTask", json!({ "TaskHandle": "eyJ0YXNrSWQiOiJ4In0=" }), missing).await;
    // {"taskId":"x","sourceArn":"a"}
    let nowhere = json!({ "TaskHandle": "eyJ0YXNrSWQiOiJ4Iiwic291cmNlQXJuIjoiYSJ9" });
    let text = "The resource that you specified for the SourceArn parameter doesn't exist.";
    t.check_text("CancelMessageMoveTask", nowhere, text).await;
    t.check("ListMessageMoveTasks", json!({ "SourceArn": arn("none") }), missing).await;
}
