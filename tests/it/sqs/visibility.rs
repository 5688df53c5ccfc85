//! Visibility timeouts, receive counts and receipt handles.

use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{MessageSystemAttributeName as System, QueueAttributeName as Attribute};

use crate::support::service::{Service, fault, handle, system};

const CHANGE_VISIBILITY: &str =
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html";
const DELETE_MESSAGE: &str =
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteMessage.html";

pub(super) async fn a_received_message_is_hidden_and_becomes_visible_again(service: &Service) {
    let queue = service.queue(&[(Attribute::VisibilityTimeout, "1")]).await;
    let sent = service.send(&queue, "again").await;
    let first = service.receive_one(&queue).await;
    let received = Instant::now();
    service.check("hidden", service.receive(&queue, 0).await.len(), 0);
    let second = service.receive_one(&queue).await;
    service.check("for its timeout", received.elapsed() >= Duration::from_millis(800), true);
    service.check("the same message", second.message_id(), sent.message_id());
    service.check("a receipt handle per receive", second.receipt_handle() == first.receipt_handle(), false);
}

pub(super) async fn receives_are_counted(service: &Service) {
    let queue = service.queue(&[(Attribute::VisibilityTimeout, "0")]).await;
    service.send(&queue, "counted").await;
    for count in ["1", "2", "3"] {
        let message = service.receive_one(&queue).await;
        service.check("the receive count", system(&message, System::ApproximateReceiveCount), count.into());
    }
}

pub(super) async fn visibility_can_be_ended_and_extended(service: &Service) {
    let queue = service.queue(&[(Attribute::VisibilityTimeout, "1")]).await;
    service.send(&queue, "held").await;
    let first = service.receive_one(&queue).await;
    service.change_visibility(&queue, &first, 60).await;
    service.check("still hidden after the queue's timeout", service.receive(&queue, 2).await.len(), 0);
    service.change_visibility(&queue, &first, 0).await;
    service.check("visible at once", service.receive(&queue, 0).await.len(), 1);
}

pub(super) async fn a_receive_can_set_the_visibility_timeout(service: &Service) {
    let queue = service.queue(&[]).await;
    service.send(&queue, "short").await;
    let request = service.sqs.receive_message().queue_url(&queue).visibility_timeout(1).wait_time_seconds(2);
    service.check("received", request.send().await.expect("answered").messages().len(), 1);
    service.receive_one(&queue).await;
    service.check("the queue's own timeout again", service.receive(&queue, 2).await.len(), 0);
}

pub(super) async fn a_change_of_visibility_needs_an_existing_message(service: &Service) {
    let queue = service.queue(&[]).await;
    service.send(&queue, "visible").await;
    let message = service.receive_one(&queue).await;
    let change = |handle: &str, timeout_s| {
        let request = service.sqs.change_message_visibility().queue_url(&queue).receipt_handle(handle);
        request.visibility_timeout(timeout_s).send()
    };
    let beyond = fault(change(handle(&message), 43_201).await);
    service.check_differs("over 12 hours", beyond, "InvalidParameterValue".into(), CHANGE_VISIBILITY, "ok".into());
    service.change_visibility(&queue, &message, 0).await;
    service.check("visible again", fault(change(handle(&message), 5).await), "ok".into());
    let again = service.receive_one(&queue).await;
    service.check("the older handle", fault(change(handle(&message), 0).await), "ok".into());
    service.check("made it visible", service.receive_one(&queue).await.body(), again.body());
    service.change_visibility(&queue, &message, 0).await;
    let deleted = service.receive_one(&queue).await;
    service.delete(&queue, &deleted).await;
    let after = fault(change(handle(&deleted), 5).await);
    service.check("deleted", after, "InvalidParameterValue".into());
    service.check("no receipt handle", fault(change("garbage", 5).await), "ReceiptHandleIsInvalid".into());
}

pub(super) async fn an_old_receipt_handle_deletes_nothing_once_the_message_was_received_again(service: &Service) {
    let queue = service.queue(&[]).await;
    service.send(&queue, "twice").await;
    let first = service.receive_one(&queue).await;
    service.change_visibility(&queue, &first, 0).await;
    let second = service.receive_one(&queue).await;
    service.delete(&queue, &first).await;
    let request = service.sqs.change_message_visibility().queue_url(&queue).receipt_handle(handle(&second));
    let changed = fault(request.visibility_timeout(0).send().await);
    // AWS: "if you attempt to delete with an old receipt handle, the request succeeds, but the message might not be
    // deleted".
    service.check_differs("still held", changed, "ok".into(), DELETE_MESSAGE, "InvalidParameterValue".into());
    let left = service.receive(&queue, 1).await.len();
    service.check_differs("still there", left, 1, DELETE_MESSAGE, 0);
}

pub(super) async fn deleting_twice_succeeds(service: &Service) {
    let queue = service.queue(&[]).await;
    service.send(&queue, "once").await;
    let message = service.receive_one(&queue).await;
    service.delete(&queue, &message).await;
    service.delete(&queue, &message).await;
    let garbage = service.sqs.delete_message().queue_url(&queue).receipt_handle("garbage").send().await;
    service.check("no receipt handle", fault(garbage), "ReceiptHandleIsInvalid".into());
}
