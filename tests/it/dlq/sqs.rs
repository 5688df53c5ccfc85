//! Dead letters on SQS, standard and FIFO: the `dlq` command against sqs-emulator and LocalStack.

mod edits;
mod fifo;
mod interruptions;
mod moves;
mod reading;
mod redrives;

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;
use std::time::Duration;

use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{Message, MessageAttributeValue, QueueAttributeName as Attribute};
use sluicegate_envelope::Envelope;

use super::binary::{BINARY, Ran, dlq, ran};
use crate::support::service::{Kind, Service, on_both_services, run_case, unique};

const FIFO: (Attribute, &str) = (Attribute::FifoQueue, "true");

/// The time limit of a case.
const CASE_TIME_MAX: Duration = Duration::from_secs(120);

fn run(kind: Kind, case: impl AsyncFnOnce(&Service)) {
    LazyLock::force(&BINARY);
    run_case(kind, CASE_TIME_MAX, case);
}

on_both_services! {
    reading:
        dead_letter_queues_are_listed_with_their_depth_and_sources
        reading_leaves_messages_unchanged
        messages_are_grouped_by_reason_and_listed_each
        one_message_is_shown_completely
        impossible_requests_are_errors;
    redrives:
        a_redriven_message_keeps_its_attributes
        a_message_goes_to_its_source_or_to_the_given_queue
        only_matching_messages_are_redriven
        messages_that_cannot_be_sent_stay
        a_message_that_fails_again_is_left_for_the_next_redrive
        taken_messages_stay_hidden_until_released;
    fifo:
        groups_are_redriven_in_order
        a_filter_that_blocks_a_group_is_reported
        an_interrupted_redrive_stores_a_message_once;
    moves:
        a_move_task_moves_every_message
        a_move_is_cancelled_by_ctrl_c
        an_endpoint_without_move_tasks_is_redriven_one_by_one;
    edits:
        a_member_is_corrected_and_the_message_redriven
        a_body_is_replaced_by_a_file_or_in_an_editor
        a_purge_asks_and_deletes_only_what_matches;
    interruptions:
        ctrl_c_completes_messages_in_flight_and_releases_the_rest
        a_kill_loses_no_message
        lost_answers_lose_no_message;
}

/// A queue and its dead-letter queue, by URL.
struct Queues {
    source: String,
    dead: String,
}

impl Queues {
    async fn create(service: &Service, fifo: bool) -> Self {
        let kind: &[(Attribute, &str)] = if fifo { &[FIFO] } else { &[] };
        let dead = service.queue(kind).await;
        let policy = format!(r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":1}}"#, service.arn(&dead).await);
        let with_policy = [kind, &[(Attribute::RedrivePolicy, &policy)]].concat();
        let source = service.queue(&with_policy).await;
        Self { source, dead }
    }
}

/// Returns the name of the queue at this URL.
fn name(url: &str) -> &str {
    url.rsplit('/').next().expect("a name")
}

/// Runs the command against the service.
async fn on(service: &Service, arguments: &[&str]) -> Ran {
    ran(dlq(&[arguments, &["--endpoint-url", &service.url]].concat())).await
}

/// An order in its envelope.
fn order(number: usize) -> String {
    let payload = format!(r#"{{"number": {number}, "price": 1.10, "note": "größe 😀"}}"#);
    let kind = if number.is_multiple_of(3) { "order.placed" } else { "order.changed" };
    let envelope = Envelope::builder(format!("id-{number}"), "/orders", kind);
    envelope.payload(Some("application/json"), payload).build().expect("an envelope").encode()
}

fn text(value: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type("String").string_value(value).build().expect("an attribute")
}

fn number(value: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type("Number.int").string_value(value).build().expect("an attribute")
}

fn binary(value: &[u8]) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type("Binary").binary_value(Blob::new(value)).build().expect("an attribute")
}

/// Returns the attributes that the consumer adds to a message it rejects.
fn rejected(reason: &str, source_arn: &str) -> HashMap<String, MessageAttributeValue> {
    HashMap::from([
        ("sluicegate-reason".to_owned(), text(reason)),
        ("sluicegate-receive-count".to_owned(), number("3")),
        ("sluicegate-source".to_owned(), text(source_arn)),
    ])
}

/// Sends a message to the dead-letter queue as the consumer does.
async fn dead_letter(
    service: &Service,
    queues: &Queues,
    body: &str,
    attributes: HashMap<String, MessageAttributeValue>,
) {
    let request = service.sqs.send_message().queue_url(&queues.dead).message_body(body);
    request.set_message_attributes(Some(attributes)).send().await.expect("stored");
}

/// Sends orders 0, 1, … to the dead-letter queue.
async fn dead_letter_orders(service: &Service, queues: &Queues, count: usize) {
    let arn = service.arn(&queues.source).await;
    for number in 0..count {
        let is_even = number.is_multiple_of(2);
        let mut attributes = rejected(if is_even { "no stock" } else { "bad card" }, &arn);
        // The others are of an earlier version, which recorded no code.
        attributes.extend(is_even.then(|| ("sluicegate-code".to_owned(), text("out_of_stock"))));
        dead_letter(service, queues, &order(number), attributes).await;
    }
}

/// Receives and deletes every visible message of the queue.
async fn drained(service: &Service, url: &str) -> Vec<Message> {
    let mut all = Vec::new();
    loop {
        let received = service.receive(url, 1).await;
        if received.is_empty() {
            return all;
        }
        for message in received {
            service.delete(url, &message).await;
            all.push(message);
        }
    }
}

fn bodies(messages: &[Message]) -> BTreeSet<String> {
    messages.iter().map(|message| message.body().unwrap_or_default().to_owned()).collect()
}

fn orders(numbers: impl IntoIterator<Item = usize>) -> BTreeSet<String> {
    numbers.into_iter().map(order).collect()
}

fn attribute<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.message_attributes()?.get(name)?.string_value()
}

/// Returns the name of a queue that does not exist.
fn nowhere() -> String {
    unique("nowhere", "")
}
