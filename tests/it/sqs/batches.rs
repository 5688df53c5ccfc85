//! Batches: every entry is answered, an invalid entry fails alone, a malformed batch is refused as a whole.

use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, SendMessageBatchRequestEntry,
};

use crate::support::service::{Service, bodies, fault, handle};

fn entry(id: &str, body: &str) -> SendMessageBatchRequestEntry {
    SendMessageBatchRequestEntry::builder().id(id).message_body(body).build().expect("an entry")
}

pub(super) async fn a_batch_answers_every_entry(service: &Service) {
    let queue = service.queue(&[]).await;
    let ids: Vec<String> = (0..10).map(|n| format!("entry_{n}-x")).collect();
    let entries = ids.iter().map(|id| entry(id, &format!("body of {id}"))).collect();
    let answer = service.sqs.send_message_batch().queue_url(&queue).set_entries(Some(entries)).send().await;
    let answer = answer.expect("answered");
    service.check("none failed", answer.failed().len(), 0);
    let mut sent: Vec<_> = answer.successful().iter().map(|each| (each.id(), each.message_id().to_owned())).collect();
    sent.sort();
    service.check(
        "all are answered",
        sent.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        ids.iter().map(String::as_str).collect(),
    );
    let received = service.receive_count(&queue, 10).await;
    for (id, message_id) in sent {
        let message = received.iter().find(|each| each.message_id() == Some(&message_id)).expect("it arrives");
        service.check("the body of that entry", message.body(), Some(format!("body of {id}").as_str()));
    }
}

pub(super) async fn an_invalid_entry_fails_alone(service: &Service) {
    let queue = service.queue(&[]).await;
    let entries = vec![entry("good", "fine"), entry("bad", "bell \u{7}"), entry("also-good", "fine too")];
    let answer = service.sqs.send_message_batch().queue_url(&queue).set_entries(Some(entries)).send().await;
    let answer = answer.expect("answered with 200");
    let mut good: Vec<_> = answer.successful().iter().map(|each| each.id()).collect();
    good.sort_unstable();
    service.check("the good ones", good, vec!["also-good", "good"]);
    let bad: Vec<_> = answer.failed().iter().map(|each| (each.id(), each.code())).collect();
    service.check("the bad one", bad, vec![("bad", "InvalidMessageContents")]);
    let page = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_BatchResultErrorEntry.html";
    service.check_differs("it is the sender's fault", answer.failed()[0].sender_fault(), true, page, false);
    let received = service.receive_count(&queue, 2).await;
    let mut arrived = bodies(&received);
    arrived.sort_unstable();
    service.check("what arrives", arrived, vec!["fine", "fine too"]);
}

pub(super) async fn malformed_batches_are_refused_as_a_whole(service: &Service) {
    let queue = service.queue(&[]).await;
    let eleven = (0..11).map(|n| entry(&n.to_string(), "x")).collect();
    let long_id = "a".repeat(81);
    for (what, entries, expected) in [
        ("no entries", vec![], "EmptyBatchRequest"),
        ("eleven entries", eleven, "TooManyEntriesInBatchRequest"),
        ("the same id twice", vec![entry("a", "1"), entry("a", "2")], "BatchEntryIdsNotDistinct"),
        ("a dot in an id", vec![entry("a.b", "1")], "InvalidBatchEntryId"),
        ("an empty id", vec![entry("", "1")], "InvalidBatchEntryId"),
        ("81 characters of id", vec![entry(&long_id, "1")], "InvalidBatchEntryId"),
    ] {
        let answer = service.sqs.send_message_batch().queue_url(&queue).set_entries(Some(entries)).send().await;
        service.check(what, fault(answer), expected.into());
    }
    service.check("nothing was stored", service.receive(&queue, 0).await.len(), 0);
    let none = service.sqs.delete_message_batch().queue_url(&queue).set_entries(Some(vec![])).send().await;
    service.check("nothing to delete", fault(none), "EmptyBatchRequest".into());
    let none = service.sqs.change_message_visibility_batch().queue_url(&queue).set_entries(Some(vec![])).send().await;
    service.check("nothing to change", fault(none), "EmptyBatchRequest".into());
}

pub(super) async fn a_batch_shares_one_mebibyte(service: &Service) {
    let queue = service.queue(&[]).await;
    let half = "a".repeat(512 * 1024);
    let send = async |second: &str| {
        let entries = vec![entry("one", &half), entry("two", second)];
        fault(service.sqs.send_message_batch().queue_url(&queue).set_entries(Some(entries)).send().await)
    };
    service.check("1 MiB together", send(&half).await, "ok".into());
    service.check("a byte more", send(&format!("{half}a")).await, "BatchRequestTooLong".into());
}

pub(super) async fn visibility_and_deletion_in_batches_report_each_entry(service: &Service) {
    let queue = service.queue(&[]).await;
    service.send(&queue, "one").await;
    service.send(&queue, "two").await;
    let received = service.receive_count(&queue, 2).await;
    let change = |id: &str, handle: &str| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(id).receipt_handle(handle);
        entry.visibility_timeout(0).build().expect("an entry")
    };
    let request = service.sqs.change_message_visibility_batch().queue_url(&queue);
    let request = request.entries(change("a", handle(&received[0]))).entries(change("b", "garbage"));
    let answer = request.entries(change("c", handle(&received[1]))).send().await.expect("answered with 200");
    service.check("changed", answer.successful().iter().map(|each| each.id()).collect::<Vec<_>>(), vec!["a", "c"]);
    let failed: Vec<_> = answer.failed().iter().map(|each| (each.id(), each.code())).collect();
    service.check("not changed", failed, vec![("b", "ReceiptHandleIsInvalid")]);

    let again = service.receive_count(&queue, 2).await;
    let delete = |id: &str, handle: &str| {
        DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(handle).build().expect("an entry")
    };
    let request = service.sqs.delete_message_batch().queue_url(&queue);
    let request = request.entries(delete("a", handle(&again[0]))).entries(delete("b", "garbage"));
    let answer = request.entries(delete("c", handle(&again[1]))).send().await.expect("answered with 200");
    service.check("deleted", answer.successful().iter().map(|each| each.id()).collect::<Vec<_>>(), vec!["a", "c"]);
    let failed: Vec<_> = answer.failed().iter().map(|each| (each.id(), each.code())).collect();
    service.check("not deleted", failed, vec![("b", "ReceiptHandleIsInvalid")]);
}
