//! Redrives of FIFO queues: order, blocked groups, deduplication.

use super::*;
use crate::dlq::faults::{Fate, Faults};

async fn dead_letter_fifo(service: &Service, queues: &Queues, group: &str, numbers: impl IntoIterator<Item = usize>) {
    let arn = service.arn(&queues.source).await;
    for number in numbers {
        let request = service.sqs.send_message().queue_url(&queues.dead).message_body(order(number));
        let request = request.message_group_id(group).message_deduplication_id(number.to_string());
        request.set_message_attributes(Some(rejected("r", &arn))).send().await.expect("stored");
    }
}

pub(super) async fn groups_are_redriven_in_order(service: &Service) {
    let queues = Queues::create(service, true).await;
    for number in 0..60 {
        dead_letter_fifo(service, &queues, ["a", "b", "c"][number % 3], [number]).await;
    }
    let redriven = on(service, &["redrive", name(&queues.dead), "--one-by-one"]).await;
    redriven.expect(0, &["60 redriven of 60 that match, 60 looked at"]);
    let arrived = drained(service, &queues.source).await;
    assert_eq!(arrived.len(), 60);
    for group in 0..3 {
        let expected: Vec<String> = (0..60).filter(|number| number % 3 == group).map(order).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        let of_group = arrived.iter().filter_map(|message| message.body().filter(|body| expected.contains(body)));
        assert_eq!(of_group.collect::<Vec<_>>(), expected, "group {group}");
    }
}

pub(super) async fn a_filter_that_blocks_a_group_is_reported(service: &Service) {
    let queues = Queues::create(service, true).await;
    dead_letter_fifo(service, &queues, "a", 0..15).await;
    dead_letter_fifo(service, &queues, "b", [100]).await;
    let redriven = on(service, &["redrive", name(&queues.dead), "--where", "/number~^(3|100)$"]).await;
    redriven.expect(0, &["2 redriven of 2", "could not be reached", "FIFO"]);
    assert_eq!(bodies(&drained(service, &queues.source).await), orders([3, 100]));
    let left = drained(service, &queues.dead).await;
    let expected: Vec<String> = (0..15).filter(|number| *number != 3).map(order).collect();
    assert_eq!(left.iter().filter_map(|message| message.body()).collect::<Vec<_>>(), expected);
}

/// A deletion fails after the message was sent: the next redrive does not store it twice.
pub(super) async fn an_interrupted_redrive_stores_a_message_once(service: &Service) {
    let queues = Queues::create(service, true).await;
    dead_letter_fifo(service, &queues, "a", 0..3).await;
    let faults = Faults::start(&service.url, |operation, _| match operation {
        "DeleteMessage" => Fate::Refused,
        _ => Fate::Fine,
    })
    .await;
    let redrive = |url: &str| {
        let arguments = ["redrive", name(&queues.dead), "--one-by-one", "--endpoint-url", url];
        ran(dlq(&arguments))
    };
    redrive(&faults.url)
        .await
        .expect(1, &["0 redriven of 3", "perhaps not removed here", "1 stay and may be stored", "2 left"]);
    redrive(&service.url).await.expect(0, &["3 redriven of 3"]);
    let arrived = drained(service, &queues.source).await;
    assert_eq!(arrived.iter().filter_map(|message| message.body()).collect::<Vec<_>>(), [order(0), order(1), order(2)]);
    // A later redrive of the same messages stores them again.
    for (number, message) in arrived.iter().enumerate() {
        let request = service.sqs.send_message().queue_url(&queues.dead).message_body(order(number));
        let request = request.message_group_id("a").message_deduplication_id(format!("again-{number}"));
        request.set_message_attributes(message.message_attributes().cloned()).send().await.expect("stored");
    }
    redrive(&service.url).await.expect(0, &["3 redriven of 3"]);
    let arrived = drained(service, &queues.source).await;
    assert_eq!(arrived.len(), 3);
    assert_eq!(attribute(&arrived[0], "sluicegate-redrives"), Some("2"));
}
