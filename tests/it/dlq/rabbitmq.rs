//! Dead letters on a real RabbitMQ: reading leaves them unchanged; redriving keeps their properties; deletion and
//! correction.

mod command;
mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use http::Method;
use lapin::BasicProperties;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use serde_json::{Value, json};
use sluicegate_dlq::rabbitmq::{RabbitmqDeadLetterQueue, dead_letter_queues};
use sluicegate_dlq::{CancellationToken, DeadLetter, DeadLetterQueue, Error, Filter, REDRIVES, Redrive, redrive};
use sluicegate_topology::{Address, Topology, apply};

use crate::rabbitmq::consumer::{self, Handled};
use crate::support::rabbitmq::{Message, PATIENCE, Vhost, until};

/// A delivery limit that no test reaches.
const DELIVERY_LIMIT: u64 = 1_000_000_000;

async fn open(vhost: &Vhost, queue: &str) -> Result<RabbitmqDeadLetterQueue, Error> {
    RabbitmqDeadLetterQueue::open(&Address::parse(&vhost.url()).expect("an address"), queue).await
}

/// Creates a virtual host with the queue `q` and its dead-letter queue of type `queue_type` (quorum or classic).
async fn vhost(queue_type: &str) -> Vhost {
    let vhost = Vhost::create().await;
    vhost.declare_queue("q").await;
    declare(&vhost, "q.dlq", json!({ "x-queue-type": queue_type })).await;
    vhost
}

async fn declare(vhost: &Vhost, queue: &str, arguments: Value) {
    let queue = format!("queues/{}/{queue}", vhost.name());
    vhost.manage(Method::PUT, &queue, Some(json!({ "durable": true, "arguments": arguments }))).await;
}

/// Publishes messages `0`, `1`, … to `q.dlq` in the form of the consumer's dead letters.
async fn dead_letter(vhost: &Vhost, count: usize) {
    let channel = vhost.channel().await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    for number in 0..count {
        let (number, options) = (number.to_string(), BasicPublishOptions::default());
        let properties = properties(vhost).with_message_id(number.as_str().into());
        let sent = channel.basic_publish("".into(), "q.dlq".into(), options, number.as_bytes(), properties).await;
        drop(sent.expect("the channel is open"));
    }
    let returned = channel.wait_for_confirms().await.expect("confirmed");
    assert!(returned.is_empty());
}

fn properties(vhost: &Vhost) -> BasicProperties {
    let source = format!("q::{}", vhost.name());
    let headers = [("sluicegate-reason", long("bad card")), ("sluicegate-source", long(&source))];
    BasicProperties::default().with_headers(table(headers))
}

fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn table<'a>(members: impl IntoIterator<Item = (&'a str, AMQPValue)>) -> FieldTable {
    members.into_iter().map(|(name, value)| (name.into(), value)).collect::<BTreeMap<_, _>>().into()
}

async fn take_all(queue: &RabbitmqDeadLetterQueue) -> Vec<DeadLetter> {
    let mut all = Vec::new();
    loop {
        let taken = queue.take(7).await.expect("taken");
        if taken.is_empty() {
            return all;
        }
        all.extend(taken);
    }
}

fn texts(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(Message::text).collect()
}

/// Returns the headers without RabbitMQ's own counters.
fn without_counts(message: &Message) -> BasicProperties {
    let headers = message.properties.headers().clone().unwrap_or_default();
    let kept = headers.inner().iter().filter(|(name, _)| name.as_str() != "x-delivery-count");
    let kept: BTreeMap<_, _> = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    message.properties.clone().with_headers(kept.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn what_rabbitmq_dead_letters_has_its_reason() {
    let vhost = vhost("quorum").await;
    let to_dlq = json!({ "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q.dlq" });
    let with = |mut arguments: Value| {
        arguments.as_object_mut().expect("a map").extend(to_dlq.as_object().expect("a map").clone());
        arguments
    };
    declare(&vhost, "tried", with(json!({ "x-queue-type": "quorum", "x-delivery-limit": 1 }))).await;
    declare(&vhost, "full", with(json!({ "x-queue-type": "classic", "x-max-length": 1 }))).await;
    for (queue, body) in [("tried", "rejected"), ("full", "first"), ("full", "second")] {
        vhost.publish("", queue, BasicProperties::default(), body.as_bytes()).await;
    }
    let channel = vhost.channel().await;
    let reject = async |requeue: bool| {
        let got = channel.basic_get("tried".into(), BasicGetOptions::default()).await.expect("an answer");
        let options = BasicNackOptions { requeue, ..BasicNackOptions::default() };
        got.expect("a message").nack(options).await.expect("returned");
    };
    reject(false).await;
    vhost.publish("", "tried", BasicProperties::default(), b"returned").await;
    for _ in 0..2 {
        vhost.until_ready("tried", 1).await;
        reject(true).await;
    }
    let short = BasicProperties::default().with_expiration("1".into());
    vhost.publish("", "tried", short, b"expired").await;

    vhost.until_ready("q.dlq", 4).await;
    let all = take_all(&open(&vhost, "q.dlq").await.expect("a queue")).await;
    let shown: BTreeSet<_> =
        all.iter().map(|dead| (String::from_utf8_lossy(&dead.body).into_owned(), dead.reason.as_str())).collect();
    let expected = [
        ("expired", "expired in tried"),
        ("first", "full was full"),
        ("rejected", "rejected by the consumer of tried"),
        ("returned", "delivered more often than tried allows"),
    ];
    assert_eq!(shown, expected.map(|(body, reason)| (body.to_owned(), reason)).into());
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn reading_leaves_messages_unchanged_and_in_order() {
    for queue_type in ["quorum", "classic"] {
        let vhost = vhost(queue_type).await;
        let count = 150;
        dead_letter(&vhost, count).await;
        vhost.until_ready("q.dlq", 150).await;
        for _ in 0..2 {
            let queue = open(&vhost, "q.dlq").await.expect("open");
            let first = queue.take(7).await.expect("taken");
            assert_eq!(queue.depth().await.expect("counted"), 150, "the messages taken are included");
            let all = [first, take_all(&queue).await].concat();
            assert_eq!(vhost.ready("q.dlq").await, 0, "taken messages are hidden from other consumers");
            let bodies: Vec<_> = all.iter().map(|letter| String::from_utf8_lossy(&letter.body).into_owned()).collect();
            assert_eq!(bodies, (0..count).map(|number| number.to_string()).collect::<Vec<_>>());
            assert!(all.iter().all(|letter| letter.reason == "bad card" && letter.redrives == 0));
            assert_eq!(all[3].source_queue.as_deref(), Some("q"));
            assert_eq!(all[3].id, "3");
            queue.release().await.expect("released");
            assert!(queue.take(7).await.expect("asked").is_empty(), "a released queue takes nothing more");
            vhost.until_ready("q.dlq", 150).await;
        }
        let left = vhost.drain("q.dlq").await;
        assert_eq!(texts(&left), (0..count).map(|number| number.to_string()).collect::<Vec<_>>(), "{queue_type}");
        for (number, message) in left.iter().enumerate() {
            let expected = properties(&vhost).with_message_id(number.to_string().into());
            assert_eq!(without_counts(message), expected);
        }
        vhost.delete().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_dropped_queue_returns_its_messages_and_later_messages_are_for_the_next_reader() {
    let vhost = vhost("quorum").await;
    dead_letter(&vhost, 5).await;
    let queue = open(&vhost, "q.dlq").await.expect("open");
    assert_eq!(queue.take(2).await.expect("taken").len(), 2);
    vhost.publish("", "q.dlq", BasicProperties::default(), b"late").await;
    assert_eq!(take_all(&queue).await.len(), 3, "the messages present when the queue was opened");
    drop(queue);
    vhost.until_ready("q.dlq", 6).await;
    assert_eq!(texts(&vhost.drain("q.dlq").await), ["0", "1", "2", "3", "4", "late"]);
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn dead_letters_of_the_consumer_and_of_the_broker_are_retried() {
    let vhost = Vhost::create().await;
    let topology = "queues: { q: { retry: [1], delivery-limit: 2 } }";
    let topology = Topology::parse("topology.yaml", topology).expect("a sound file");
    apply(&topology, &Address::parse(&vhost.url()).expect("an address")).await.expect("applied");
    let (properties, body) = consumer::envelope("bad", "reject");
    vhost.publish("", "q", properties, &body).await;
    let (channel, handled) = (vhost.channel().await, Handled::default());
    let consumer = consumer::consumer(&vhost.url(), &handled);
    consumer::turn(&vhost, &channel, &consumer).await.expect("it is there").expect("settled");
    // The consumer fails each delivery until the broker reaches the delivery limit.
    let (properties, body) = consumer::envelope("killer", "done");
    vhost.publish("", "q", properties, &body).await;
    until("the broker dead-letters it", PATIENCE, async || {
        if let Some(message) = channel.basic_get("q".into(), BasicGetOptions::default()).await.expect("q is there") {
            let requeue = BasicNackOptions { requeue: true, multiple: false };
            channel.basic_nack(message.delivery_tag, requeue).await.expect("returned");
        }
        (vhost.ready("q.dlq").await == 2).then_some(())
    })
    .await;

    for redrives in 1..=2_u32 {
        let queue = open(&vhost, "q.dlq").await.expect("open");
        let mut seen = take_all(&queue).await;
        seen.sort_by(|a, b| a.id.cmp(&b.id));
        let listed: Vec<_> = seen.iter().map(|letter| (letter.id.as_str(), letter.reason.as_str())).collect();
        match redrives {
            1 => assert_eq!(listed, [("bad", "bad card"), ("killer", "delivered more often than q allows")]),
            _ => assert_eq!(listed, [("bad", "bad card")], "the other message was handled"),
        }
        for letter in &seen {
            assert_eq!((letter.source_queue.as_deref(), letter.redrives), (Some("q"), redrives - 1), "{letter:?}");
        }
        assert_eq!(seen[0].receive_count, Some(1), "a redrive resets the receive count");
        queue.release().await.expect("released");
        drop(queue);
        vhost.until_ready("q.dlq", seen.len().try_into().unwrap()).await;

        let queue = open(&vhost, "q.dlq").await.expect("open");
        let filter = Filter::default();
        let order = Redrive { filter: &filter, to: None, rate: None, limit: None, dry_run: false };
        let report = redrive(&queue, &order, &CancellationToken::default(), &|_| {}).await;
        assert!(report.is_clean() && report.done == seen.len() as u64, "{report:?}");
        assert_eq!(vhost.ready("q").await as usize, seen.len());
        consumer::turn(&vhost, &channel, &consumer).await.expect("they are there").expect("settled");
        vhost.until_ready("q.dlq", 1).await;
    }
    let dead = vhost.drain("q.dlq").await;
    assert_eq!(dead[0].header_number(REDRIVES), Some(2), "the consumer's copy has it too");
    for delivery in handled.lock().unwrap().iter() {
        assert_eq!(delivery.receive_count(), 1, "{}", delivery.envelope().id());
    }
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_redriven_message_keeps_its_properties_and_reaches_its_queue_alone() {
    let vhost = vhost("quorum").await;
    vhost.declare_exchange("orders", "fanout").await;
    for other in ["other", "copied"] {
        vhost.declare_queue(other).await;
    }
    for queue in ["q", "other"] {
        vhost.bind("orders", queue, "").await;
    }
    let own = [
        ("traceparent", long("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
        ("bytes", AMQPValue::LongString(vec![0xff, 0].into())),
        ("sluicegate-cc", AMQPValue::FieldArray(FieldArray::from(vec![long("copied")]))),
        ("number", AMQPValue::LongLongInt(-7)),
    ];
    let given_up = [
        ("sluicegate-reason", long("bad card")),
        ("sluicegate-source", long(&format!("q::{}", vhost.name()))),
        ("sluicegate-receive-count", AMQPValue::LongInt(5)),
        ("sluicegate-user-id", long("guest")),
        ("x-death", long("of old")),
    ];
    let all = |properties: BasicProperties| {
        properties
            .with_content_type("text/plain".into())
            .with_content_encoding("none".into())
            .with_delivery_mode(2)
            .with_priority(3)
            .with_correlation_id("c-1".into())
            .with_reply_to("answers".into())
            .with_message_id("m-1".into())
            .with_timestamp(1_700_000_000)
            .with_type("order.placed".into())
            .with_app_id("shop".into())
    };
    let letter = all(BasicProperties::default()).with_headers(table(own.iter().cloned().chain(given_up)));
    let body: Vec<u8> = (0..=255).collect();
    vhost.publish("", "q.dlq", letter.with_expiration("600000".into()), &body).await;
    // A message that the broker dead-lettered, with CC and Reply-To headers.
    let headers = table([("CC", AMQPValue::FieldArray(FieldArray::from(vec![long("copied")])))]);
    let raw = BasicProperties::default().with_headers(headers).with_user_id("guest".into());
    vhost.publish("", "q.dlq", raw, b"raw").await;
    vhost.until_drained("copied", 1).await;

    let queue = open(&vhost, "q.dlq").await.expect("open");
    let seen = queue.take(10).await.expect("taken");
    for letter in &seen {
        assert_eq!(queue.destination(letter, None).await.expect("it is there"), "q");
        queue.redrive(letter, None, None).await.expect("redriven");
    }
    let error = queue.redrive(&seen[0], None, None).await.unwrap_err();
    assert!(matches!(error, Error::NotSent { .. }), "a message is redriven only once: {error:?}");
    let messages = vhost.until_drained("q", 2).await;
    let once = (REDRIVES, AMQPValue::LongInt(1));
    let expected = all(BasicProperties::default()).with_user_id("guest".into());
    let expected = expected.with_headers(table(own.into_iter().chain([once.clone()])));
    assert_eq!((without_counts(&messages[0]), &messages[0].body), (expected, &body));
    let moved = table([("sluicegate-cc", AMQPValue::FieldArray(vec![long("copied")].into())), once]);
    let expected = BasicProperties::default().with_headers(moved).with_user_id("guest".into()).with_delivery_mode(2);
    assert_eq!((without_counts(&messages[1]), messages[1].text()), (expected, "raw"));
    for queue in ["q.dlq", "other", "copied"] {
        assert_eq!(vhost.ready(queue).await, 0, "{queue}");
    }
    drop(queue);
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_message_whose_queue_is_missing_or_unknown_stays_until_a_queue_is_given() {
    let vhost = vhost("quorum").await;
    vhost.declare_queue("letters").await;
    let other_source = [("sluicegate-reason", long("x")), ("sluicegate-source", long("q::another"))];
    let gone = [("sluicegate-reason", long("x")), ("sluicegate-source", long(&format!("gone::{}", vhost.name())))];
    for headers in [table(other_source), table(gone), FieldTable::default()] {
        vhost.publish("", "letters", BasicProperties::default().with_headers(headers), b"body").await;
    }
    let queue = open(&vhost, "letters").await.expect("open");
    let seen = queue.take(10).await.expect("taken");
    for (letter, expected) in seen.iter().zip([
        "it came from q::another, which is another virtual host; name the queue to send it to",
        "the queue gone does not exist",
        "the queue it came from is not recorded; name the queue to send it to",
    ]) {
        for error in [
            queue.destination(letter, None).await.unwrap_err(),
            queue.redrive(letter, None, None).await.unwrap_err(),
            queue.redrive(letter, None, None).await.unwrap_err(),
        ] {
            assert!(matches!(&error, Error::NotSent { reason, .. } if reason == expected), "{expected}: {error:?}");
        }
    }
    assert_eq!(vhost.ready("letters").await, 0, "the messages are still taken");
    queue.redrive(&seen[1], Some("q"), Some(b"corrected")).await.expect("redriven");
    queue.delete(&seen[2]).await.expect("deleted");
    let error = queue.delete(&seen[2]).await.unwrap_err();
    assert!(error.to_string().ends_with("it is not held any more"), "{error}");
    assert_eq!(queue.depth().await.expect("counted"), 1);
    queue.release().await.expect("released");
    assert_eq!(texts(&vhost.until_drained("q", 1).await), ["corrected"]);
    let left = vhost.until_drained("letters", 1).await;
    assert_eq!(left[0].header_text("sluicegate-source"), Some("q::another"));
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_thousand_messages_are_redriven_while_their_consumer_runs() {
    let vhost = vhost("quorum").await;
    dead_letter(&vhost, 1_000).await;
    let body = vec![b'x'; 16 * 1024 * 1024];
    vhost.publish("", "q.dlq", properties(&vhost).with_message_id("big".into()), &body).await;
    let queue = open(&vhost, "q.dlq").await.expect("open");
    let filter = Filter::default();
    let order = Redrive { filter: &filter, to: None, rate: None, limit: None, dry_run: false };
    let (started, stop) = (Instant::now(), CancellationToken::default());
    let (report, messages) = tokio::join!(redrive(&queue, &order, &stop, &|_| {}), vhost.until_drained("q", 1_001));
    println!("1,001 messages redriven in {} ms", started.elapsed().as_millis());
    assert!(report.is_clean() && report.done == 1_001, "{report:?}");
    let ids: BTreeSet<_> = messages.iter().filter_map(|message| message.message_id.clone()).collect();
    assert_eq!((ids.len(), messages.len()), (1_001, 1_001), "each message arrives once");
    assert!(messages.iter().any(|message| message.body == body));
    assert_eq!((vhost.ready("q").await, vhost.ready("q.dlq").await), (0, 0));
    drop(queue);
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_queue_that_would_lose_messages_by_reading_is_refused() {
    let vhost = Vhost::create().await;
    for (queue, arguments) in [
        ("limited.dlq", json!({ "x-queue-type": "quorum", "x-delivery-limit": 20 })),
        ("far.dlq", json!({ "x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT })),
        ("policy.dlq", json!({ "x-queue-type": "quorum" })),
        ("single.dlq", json!({ "x-queue-type": "quorum", "x-single-active-consumer": true })),
        ("exclusive.dlq", json!({ "x-queue-type": "classic" })),
        ("stream.dlq", json!({ "x-queue-type": "stream" })),
    ] {
        declare(&vhost, queue, arguments).await;
        for _ in 0..2 {
            vhost.publish("", queue, BasicProperties::default(), b"kept").await;
        }
    }
    vhost.set_policy("limit", "^policy", json!({ "delivery-limit": 3 })).await;
    for (queue, expected) in [
        ("limited.dlq", "limited.dlq loses what comes back more than 20 times (delivery-limit)"),
        ("policy.dlq", "policy.dlq loses what comes back more than 3 times (delivery-limit)"),
        ("stream.dlq", "stream.dlq is a stream"),
        ("gone.dlq", "the queue gone.dlq does not exist"),
    ] {
        let error = open(&vhost, queue).await.map(drop).unwrap_err().to_string();
        assert!(error.contains(expected), "{queue}: {error}");
        assert!(!error.contains("guest"), "{error}");
    }
    let queue = open(&vhost, "far.dlq").await.expect("a high delivery limit is accepted");
    assert_eq!(queue.take(1).await.expect("taken").len(), 1);

    // Other consumers that take one message and keep it.
    let channel = vhost.channel().await;
    channel.basic_qos(1, BasicQosOptions::default()).await.expect("set");
    for (queue, exclusive, expected) in [
        ("single.dlq", false, "single.dlq: 1 messages are there, and the queue hands out none of them"),
        ("exclusive.dlq", true, "in exclusive use"),
    ] {
        let options = BasicConsumeOptions { exclusive, ..BasicConsumeOptions::default() };
        let consuming = channel.basic_consume(queue.into(), queue.into(), options, FieldTable::default());
        let _other = consuming.await.expect("consumes");
        vhost.until_ready(queue, 1).await;
        let opened = open(&vhost, queue).await.expect("open");
        let error = opened.take(1).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{queue}: {error}");
    }
    let address = Address::parse(&vhost.url()).unwrap().without_management();
    let error = RabbitmqDeadLetterQueue::open(&address, "far.dlq").await.map(drop).unwrap_err().to_string();
    assert!(
        error.starts_with("the management API is needed, to check that the queue does not lose messages"),
        "{error}"
    );
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn dead_letter_queues_are_found_by_name_and_by_dead_letter_arguments() {
    let vhost = consumer::vhost().await;
    vhost.declare_exchange("dlx", "fanout").await;
    vhost.declare_queue_with("late", json!({})).await;
    vhost.declare_queue("letters").await;
    vhost.bind("dlx", "letters", "").await;
    vhost.set_policy("dead", "^late$", json!({ "dead-letter-exchange": "dlx" })).await;
    dead_letter_in(&vhost, "letters", 2).await;
    dead_letter_in(&vhost, "q.dlq", 3).await;
    let address = Address::parse(&vhost.url()).expect("an address");
    let found = dead_letter_queues(&address).await.expect("listed");
    let found: Vec<_> = found.into_iter().map(|queue| (queue.name, queue.depth)).collect();
    assert_eq!(found, [("letters".to_owned(), Some(2)), ("q.dlq".to_owned(), Some(3))]);
    vhost.delete().await;
}

async fn dead_letter_in(vhost: &Vhost, queue: &str, count: usize) {
    for _ in 0..count {
        vhost.publish("", queue, BasicProperties::default(), b"dead").await;
    }
}
