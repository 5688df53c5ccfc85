//! FIFO queues: order, the lock of a group, deduplication.

use aws_sdk_sqs::types::{MessageSystemAttributeName as System, QueueAttributeName as Attribute};

use crate::support::service::{Service, bodies, fault, system};

const FIFO: (Attribute, &str) = (Attribute::FifoQueue, "true");

pub(super) async fn a_group_arrives_in_the_order_it_was_sent(service: &Service) {
    let queue = service.queue(&[FIFO]).await;
    for body in ["1", "2", "3", "4", "5"] {
        service.send_fifo(&queue, "g", body, body).await;
    }
    let received = service.receive(&queue, 2).await;
    service.check("the order", bodies(&received), vec!["1", "2", "3", "4", "5"]);
    service.check("the group", system(&received[0], System::MessageGroupId), "g".into());
    service.check("the deduplication id", system(&received[0], System::MessageDeduplicationId), "1".into());
}

pub(super) async fn a_group_waits_while_one_of_its_messages_is_in_flight(service: &Service) {
    let queue = service.queue(&[FIFO]).await;
    service.send_fifo(&queue, "a", "a1", "a1").await;
    let first = service.receive_one(&queue).await;
    service.send_fifo(&queue, "a", "a2", "a2").await;
    service.send_fifo(&queue, "b", "b1", "b1").await;
    service.check("only the other group", bodies(&service.receive(&queue, 1).await), vec!["b1"]);
    service.delete(&queue, &first).await;
    service.check("then the next of the group", bodies(&service.receive(&queue, 2).await), vec!["a2"]);
}

pub(super) async fn a_returned_message_keeps_its_position(service: &Service) {
    let queue = service.queue(&[FIFO]).await;
    for body in ["1", "2", "3"] {
        service.send_fifo(&queue, "g", body, body).await;
    }
    let received = service.receive(&queue, 2).await;
    for message in &received {
        service.change_visibility(&queue, message, 0).await;
    }
    service.check("the order again", bodies(&service.receive(&queue, 2).await), vec!["1", "2", "3"]);
}

pub(super) async fn a_group_is_received_up_to_its_first_hidden_message(service: &Service) {
    // The LocalStack pull request that adopted the behaviour recorded on AWS in November 2025.
    let page = "https://github.com/localstack/localstack/pull/13386";
    for (returned, aws, localstack) in [
        (vec![], vec![], vec![]),
        (vec![0], vec!["1"], vec!["1"]),
        (vec![1], vec![], vec!["2"]),
        (vec![0, 1], vec!["1", "2"], vec!["1", "2"]),
    ] {
        let queue = service.queue(&[FIFO]).await;
        for body in ["1", "2", "3"] {
            service.send_fifo(&queue, "g", body, body).await;
        }
        let received = service.receive_count(&queue, 3).await;
        for index in &returned {
            service.change_visibility(&queue, &received[*index], 0).await;
        }
        let (what, again) = (format!("visible again: {returned:?}"), service.receive(&queue, 1).await);
        if aws == localstack {
            service.check(&what, bodies(&again), aws);
        } else {
            service.check_differs(&what, bodies(&again), aws, page, localstack);
        }
    }
}

pub(super) async fn a_purge_removes_deduplication_ids(service: &Service) {
    let queue = service.queue(&[FIFO]).await;
    service.send_fifo(&queue, "g", "d", "one").await;
    service.sqs.purge_queue().queue_url(&queue).send().await.expect("purged");
    service.send_fifo(&queue, "g", "d", "two").await;
    service.check("the same id again", bodies(&service.receive(&queue, 2).await), vec!["two"]);
}

pub(super) async fn the_same_deduplication_id_is_stored_once_for_five_minutes(service: &Service) {
    let queue = service.queue(&[FIFO]).await;
    let first = service.send_fifo(&queue, "g", "d", "one").await;
    let second = service.send_fifo(&queue, "g", "d", "two").await;
    service.check("the same message id", second.message_id(), first.message_id());
    let message = service.receive_one(&queue).await;
    service.check("the first is kept", message.body(), Some("one"));
    service.delete(&queue, &message).await;
    service.send_fifo(&queue, "g", "d", "three").await;
    service.check("also after its deletion", service.receive(&queue, 1).await.len(), 0);
}

pub(super) async fn content_based_deduplication_uses_only_the_body(service: &Service) {
    let queue = service.queue(&[FIFO, (Attribute::ContentBasedDeduplication, "true")]).await;
    let send = |body: &'static str, id: Option<&'static str>| {
        let request = service.sqs.send_message().queue_url(&queue).message_body(body).message_group_id("g");
        request.set_message_deduplication_id(id.map(str::to_owned)).send()
    };
    send("same", None).await.expect("stored");
    send("same", None).await.expect("answered, not stored");
    send("other", None).await.expect("stored");
    send("same", Some("explicit")).await.expect("an explicit id wins");
    service.check("what is stored", bodies(&service.receive(&queue, 2).await), vec!["same", "other", "same"]);
}

pub(super) async fn deduplication_can_be_per_group(service: &Service) {
    let whole = service.queue(&[FIFO]).await;
    let high = (Attribute::DeduplicationScope, "messageGroup");
    let throughput = (Attribute::FifoThroughputLimit, "perMessageGroupId");
    let per_group = service.queue(&[FIFO, high, throughput]).await;
    for queue in [&whole, &per_group] {
        service.send_fifo(queue, "a", "d", "in a").await;
        service.send_fifo(queue, "b", "d", "in b").await;
    }
    service.check("per queue", service.receive_count(&whole, 1).await.len(), 1);
    service.check("no more", service.receive(&whole, 0).await.len(), 0);
    service.check("per group", service.receive_count(&per_group, 2).await.len(), 2);
}

pub(super) async fn sequence_numbers_grow(service: &Service) {
    let queue = service.queue(&[FIFO]).await;
    let mut last = 0_u128;
    for id in ["1", "2", "3"] {
        let sent = service.send_fifo(&queue, "g", id, id).await;
        let number: u128 = sent.sequence_number().expect("a sequence number").parse().expect("digits");
        service.check("larger than the one before", number > last, true);
        last = number;
    }
    let received = service.receive(&queue, 2).await;
    let numbers: Vec<_> = received.iter().map(|message| system(message, System::SequenceNumber)).collect();
    service.check("the same at receipt", numbers.last().cloned(), Some(last.to_string()));
}

pub(super) async fn a_repeated_receive_attempt_answers_the_same_messages(service: &Service) {
    let page = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html";
    let queue = service.queue(&[FIFO]).await;
    service.send_fifo(&queue, "g", "1", "one").await;
    let receive = async || {
        let request = service.sqs.receive_message().queue_url(&queue).receive_request_attempt_id("attempt-1");
        request.send().await.expect("answered").messages.unwrap_or_default()
    };
    let first = receive().await;
    service.check("received", bodies(&first), vec!["one"]);
    let again = receive().await;
    service.check_differs("the answer got lost, the attempt is repeated", bodies(&again), vec!["one"], page, vec![]);
}

pub(super) async fn missing_fifo_parameters_are_refused(service: &Service) {
    let queue = service.queue(&[FIFO]).await;
    let send = || service.sqs.send_message().queue_url(&queue).message_body("x");
    let full = || send().message_group_id("g").message_deduplication_id("d");
    let long = "g".repeat(129);
    for (what, observed, expected) in [
        ("a group", fault(send().message_deduplication_id("d").send().await), "MissingParameter"),
        ("a deduplication id", fault(send().message_group_id("g").send().await), "InvalidParameterValue"),
        ("no delay per message", fault(full().delay_seconds(1).send().await), "InvalidParameterValue"),
        ("at most 128 characters", fault(full().message_group_id(long).send().await), "InvalidParameterValue"),
        ("no spaces", fault(full().message_group_id("a b").send().await), "InvalidParameterValue"),
        ("nothing else", fault(full().send().await), "ok"),
    ] {
        service.check(what, observed, expected.into());
    }
}
