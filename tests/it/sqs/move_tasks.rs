//! Message move tasks: dead letters go to their source or to a named queue.

use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{ListMessageMoveTasksResultEntry, QueueAttributeName as Attribute};

use super::dead_letters::policy;
use crate::support::service::{Service, bodies, fault, unique};

pub(super) async fn dead_letters_return_to_their_source_queues(service: &Service) {
    let (queue, dead) = with_dead_letters(service, &["one", "two"]).await;
    let dead_arn = service.arn(&dead).await;
    let started = service.sqs.start_message_move_task().source_arn(&dead_arn).send().await.expect("started");
    service.check("a handle", started.task_handle().is_some(), true);
    // With the visibility timeout 0 of the source every receive would return the same messages.
    let lengthen = service.sqs.set_queue_attributes().queue_url(&queue).attributes(Attribute::VisibilityTimeout, "60");
    lengthen.send().await.expect("set");
    let task = finished(service, &dead_arn).await;
    service.check("completed", task.status(), Some("COMPLETED"));
    service.check("how many", task.approximate_number_of_messages_moved(), 2);
    service.check("no handle once it ended", task.task_handle(), None);
    let received = service.receive_count(&queue, 2).await;
    let mut back = bodies(&received);
    back.sort_unstable();
    service.check("back in the source", back, vec!["one", "two"]);
    service.check("none left", service.receive(&dead, 0).await.len(), 0);
}

pub(super) async fn dead_letters_go_to_the_named_queue(service: &Service) {
    let (_, dead) = with_dead_letters(service, &["one"]).await;
    let other = service.queue(&[]).await;
    let dead_arn = service.arn(&dead).await;
    let request = service.sqs.start_message_move_task().source_arn(&dead_arn);
    let request = request.destination_arn(service.arn(&other).await).max_number_of_messages_per_second(500);
    request.send().await.expect("started");
    service.check("the named queue", service.receive_one(&other).await.body(), Some("one"));
    let task = finished(service, &dead_arn).await;
    service.check("where to", task.destination_arn().map(str::to_owned), Some(service.arn(&other).await));
}

pub(super) async fn only_a_dead_letter_queue_can_be_a_source(service: &Service) {
    let plain = service.arn(&service.queue(&[]).await).await;
    let nowhere = format!("arn:aws:sqs:us-east-1:000000000000:{}", unique("nowhere", ""));
    let start = |arn: &str| service.sqs.start_message_move_task().source_arn(arn).send();
    service.check("a plain queue", fault(start(&plain).await), "InvalidParameterValue".into());
    service.check("no queue", fault(start(&nowhere).await), "ResourceNotFoundException".into());
    let (_, dead) = with_dead_letters(service, &["one"]).await;
    let fast = service.sqs.start_message_move_task().source_arn(service.arn(&dead).await);
    let fast = fast.max_number_of_messages_per_second(501).send().await;
    let page = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html";
    service.check_differs("501 a second", fault(fast), "InvalidParameterValue".into(), page, "ok".into());
}

pub(super) async fn a_slow_task_can_be_cancelled(service: &Service) {
    let (_, dead) = with_dead_letters(service, &["1", "2", "3", "4", "5", "6"]).await;
    let dead_arn = service.arn(&dead).await;
    let start =
        || service.sqs.start_message_move_task().source_arn(&dead_arn).max_number_of_messages_per_second(1).send();
    let handle = start().await.expect("started").task_handle.expect("a handle");
    service.check("one at a time", start().await.is_err(), true);
    service.sqs.cancel_message_move_task().task_handle(&handle).send().await.expect("cancelled");
    let task = finished(service, &dead_arn).await;
    service.check("cancelled", task.status(), Some("CANCELLED"));
    service.check("not all moved", task.approximate_number_of_messages_moved() < 6, true);
    service.check("the rest stays", service.receive(&dead, 1).await.is_empty(), false);
}

/// Creates a queue and its dead-letter queue, and receives `bodies` until they are dead letters.
async fn with_dead_letters(service: &Service, texts: &[&str]) -> (String, String) {
    let dead = service.queue(&[]).await;
    let policy = policy(&service.arn(&dead).await, 1);
    let queue = service.queue(&[(Attribute::VisibilityTimeout, "0"), (Attribute::RedrivePolicy, &policy)]).await;
    for text in texts {
        service.send(&queue, text).await;
    }
    let started = Instant::now();
    let count = texts.len().to_string();
    while service.attribute(&dead, Attribute::ApproximateNumberOfMessages).await != count {
        assert!(started.elapsed() < Duration::from_secs(15), "not all messages became dead letters");
        service.receive(&queue, 0).await;
    }
    (queue, dead)
}

/// Waits for the end of the last task of a source. Returns the task.
async fn finished(service: &Service, source_arn: &str) -> ListMessageMoveTasksResultEntry {
    let started = Instant::now();
    loop {
        let listed = service.sqs.list_message_move_tasks().source_arn(source_arn).send().await.expect("listed");
        let task = listed.results().first().expect("a task").clone();
        if !matches!(task.status(), Some("RUNNING" | "CANCELLING")) {
            return task;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "the task did not end: {task:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
