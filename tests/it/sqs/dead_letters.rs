//! Redrive policies: messages received too often move to the dead-letter queue.

use aws_sdk_sqs::types::{MessageSystemAttributeName as System, QueueAttributeName as Attribute};

use crate::support::service::{Service, bodies, fault, system, unique};

const DEAD_LETTER_QUEUES: &str =
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html";

/// A redrive policy as its JSON text.
pub(super) fn policy(target_arn: &str, receive_count_max: u32) -> String {
    format!(r#"{{"deadLetterTargetArn":"{target_arn}","maxReceiveCount":{receive_count_max}}}"#)
}

pub(super) async fn a_message_received_too_often_moves_to_the_dead_letter_queue(service: &Service) {
    let dead = service.queue(&[]).await;
    let policy = policy(&service.arn(&dead).await, 2);
    let queue = service.queue(&[(Attribute::VisibilityTimeout, "0"), (Attribute::RedrivePolicy, &policy)]).await;
    let sent = service.send(&queue, "poison").await;
    for _ in 0..2 {
        service.receive_one(&queue).await;
    }
    service.check("the third receive finds nothing", service.receive(&queue, 1).await.len(), 0);
    let message = service.receive_one(&dead).await;
    service.check("the body", message.body(), Some("poison"));
    service.check("the id stays", message.message_id(), sent.message_id());
    let source = system(&message, System::DeadLetterQueueSourceArn);
    service.check("where it came from", source, service.arn(&queue).await);
}

pub(super) async fn a_dead_lettered_fifo_message_unlocks_its_group(service: &Service) {
    let dead = service.queue(&[(Attribute::FifoQueue, "true")]).await;
    let policy = policy(&service.arn(&dead).await, 1);
    let queue = service.queue(&[(Attribute::FifoQueue, "true"), (Attribute::RedrivePolicy, &policy)]).await;
    service.send_fifo(&queue, "g", "1", "poison").await;
    let first = service.receive_one(&queue).await;
    service.send_fifo(&queue, "g", "2", "fine").await;
    service.change_visibility(&queue, &first, 0).await;
    service.check("its successor", bodies(&service.receive_count(&queue, 1).await), vec!["fine"]);
    let parked = service.receive_one(&dead).await;
    service.check("the dead letter", parked.body(), Some("poison"));
    service.check("keeps its group", system(&parked, System::MessageGroupId), "g".into());
}

pub(super) async fn the_sources_of_a_dead_letter_queue_are_listed(service: &Service) {
    let dead = service.queue(&[]).await;
    let policy = policy(&service.arn(&dead).await, 3);
    let queue = service.queue(&[(Attribute::RedrivePolicy, &policy)]).await;
    let listed = service.sqs.list_dead_letter_source_queues().queue_url(&dead).send().await.expect("listed");
    service.check("its sources", listed.queue_urls().to_vec(), vec![queue.clone()]);
    let policy: serde_json::Value =
        serde_json::from_str(&service.attribute(&queue, Attribute::RedrivePolicy).await).expect("JSON");
    service.check("the receives allowed", policy["maxReceiveCount"].clone(), serde_json::json!(3));
    let remove = service.sqs.set_queue_attributes().queue_url(&queue).attributes(Attribute::RedrivePolicy, "");
    remove.send().await.expect("removed");
    service.check("it is gone", service.attribute(&queue, Attribute::RedrivePolicy).await, String::new());
}

pub(super) async fn a_bad_redrive_policy_is_refused(service: &Service) {
    let queue = service.queue(&[]).await;
    let dead = service.arn(&service.queue(&[]).await).await;
    let fifo = service.arn(&service.queue(&[(Attribute::FifoQueue, "true")]).await).await;
    let set = async |policy: String| {
        let request = service.sqs.set_queue_attributes().queue_url(&queue);
        fault(request.attributes(Attribute::RedrivePolicy, policy).send().await)
    };
    for (what, policy) in [
        ("no receives", policy(&dead, 0)),
        ("more than a thousand", policy(&dead, 1001)),
        ("no target", r#"{"maxReceiveCount":3}"#.to_owned()),
    ] {
        service.check(what, set(policy).await, "InvalidParameterValue".into());
    }
    let no_count = set(format!(r#"{{"deadLetterTargetArn":"{dead}"}}"#)).await;
    // "maxReceiveCount: … Default: 10."
    let page = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html";
    service.check_differs("no count", no_count, "ok".into(), page, "InvalidParameterValue".into());
    let nowhere = format!("arn:aws:sqs:us-east-1:000000000000:{}", unique("nowhere", ""));
    for (what, policy) in [("a target that is not there", policy(&nowhere, 3)), ("a FIFO target", policy(&fifo, 3))] {
        service.check_differs(what, set(policy).await, "InvalidParameterValue".into(), DEAD_LETTER_QUEUES, "ok".into());
    }
}

pub(super) async fn a_dead_letter_queue_can_refuse_sources(service: &Service) {
    let page = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html";
    let (invited, other) = (service.queue(&[]).await, service.queue(&[]).await);
    let by_queue =
        serde_json::json!({ "redrivePermission": "byQueue", "sourceQueueArns": [service.arn(&invited).await] });
    let closed = service.queue(&[(Attribute::RedriveAllowPolicy, r#"{"redrivePermission":"denyAll"}"#)]).await;
    let choosy = service.queue(&[(Attribute::RedriveAllowPolicy, &by_queue.to_string())]).await;
    let (closed, choosy) = (service.arn(&closed).await, service.arn(&choosy).await);
    let set = async |queue: &str, target: &str| {
        let request = service.sqs.set_queue_attributes().queue_url(queue);
        fault(request.attributes(Attribute::RedrivePolicy, policy(target, 3)).send().await)
    };
    service.check("invited", set(&invited, &choosy).await, "ok".into());
    for (what, observed) in [("not invited", set(&other, &choosy).await), ("denied", set(&other, &closed).await)] {
        service.check_differs(what, observed, "InvalidParameterValue".into(), page, "ok".into());
    }
}
