//! Each rule of a queue, as the documentation states it.

use super::*;
use crate::rabbitmq::broker::{Broker, Delivery, Published, Step};
use sluicegate_topology::Topology;

const CHANNEL: (u64, u16) = (1, 1);

fn broker(settings: &str, nack_counts: bool) -> Broker {
    let file = format!("exchanges: {{}}\nqueues:\n  q: {{ {settings} }}\n");
    let topology = Topology::parse("topology.yaml", &file).map_err(|faults| faults.to_string()).unwrap();
    Broker::new(&topology, nack_counts)
}

fn message(queue: &str) -> Message {
    Message::new("", queue, BasicProperties::default(), Arc::from(*b"body"))
}

fn consume(broker: &mut Broker, channel: (u64, u16)) {
    assert!(broker.consume("q", ConsumerId { channel, tag: "tag".to_owned() }));
}

#[test]
fn a_returned_delivery_counts_until_the_limit_and_is_then_dead_lettered() {
    let mut broker = broker("delivery-limit: 2", true);
    broker.publish(Duration::ZERO, &message("q"));
    consume(&mut broker, CHANNEL);
    for delivery_count in 0..=2 {
        let delivery = broker.deliver().pop().unwrap();
        assert_eq!(delivery.message.delivery_count, delivery_count);
        let headers = delivery.message.delivered_properties().headers().clone().unwrap_or_default();
        assert_eq!(headers.inner().contains_key(DELIVERY_COUNT), delivery_count > 0);
        broker.requeue(Duration::ZERO, CHANNEL, delivery.tag, false);
    }
    assert!(broker.deliver().is_empty());
    let died =
        |step: &Step| matches!(step, Step::DeadLettered { to, death: Death::DeliveryLimit, .. } if to == "q.dlq");
    assert!(broker.take_steps().iter().any(died));
}

#[test]
fn since_4_3_a_nack_does_not_count_but_the_end_of_a_connection_does() {
    let mut broker = broker("delivery-limit: 2", false);
    broker.publish(Duration::ZERO, &message("q"));
    consume(&mut broker, CHANNEL);
    for _ in 0..5 {
        let delivery = broker.deliver().pop().unwrap();
        broker.requeue(Duration::ZERO, CHANNEL, delivery.tag, false);
    }
    let message = broker.deliver().pop().unwrap().message;
    assert_eq!((message.delivery_count, message.acquired_count), (0, Some(5)));
    let headers = message.delivered_properties().headers().clone().unwrap_or_default();
    assert_eq!(headers.inner().get(ACQUIRED_COUNT), Some(&AMQPValue::LongLongInt(5)));
    broker.end(Duration::ZERO, |channel| channel == CHANNEL);
    consume(&mut broker, (2, 1));
    assert_eq!(broker.deliver().pop().unwrap().message.delivery_count, 1);
}

#[test]
fn a_message_in_a_retry_queue_returns_after_its_time_unless_that_is_a_cycle() {
    let mut broker = broker("retry: [5]", true);
    let retry = message("q.retry.5s");
    assert_eq!(broker.publish(Duration::ZERO, &retry), Published::Stored);
    assert_eq!(broker.expires_next(), Some(Duration::from_secs(5)));
    broker.expire(Duration::from_secs(5));
    consume(&mut broker, CHANNEL);
    let returned = broker.deliver().pop().unwrap().message;
    assert_eq!(returned.routing_key, "q");
    assert_eq!(with_death(&returned, "q.retry.5s", Death::Expired), {
        let twice = Message::new("", "q", returned.properties.clone(), Arc::from(*b""));
        with_death(&twice, "q.retry.5s", Death::Expired)
    });
    let of_q = with_death(&returned, "q", Death::DeliveryLimit);
    broker.publish(Duration::ZERO, &Message::new("", "q.retry.5s", of_q, Arc::from(*b"")));
    broker.expire(Duration::from_secs(10));
    assert!(broker.take_steps().iter().any(|step| matches!(step, Step::Dropped { .. })));
}

#[test]
fn a_full_queue_refuses_and_an_unknown_one_is_unroutable() {
    let mut broker = broker("max-length: 1", true);
    let published = ["q", "q", "other"].map(|queue| broker.publish(Duration::ZERO, &message(queue)));
    assert_eq!(published, [Published::Stored, Published::Refused, Published::Unroutable]);
}

#[test]
fn prefetch_and_a_single_active_consumer_limit_deliveries() {
    let mut broker = broker("single-active-consumer: true", true);
    broker.set_prefetch(CHANNEL, 2);
    consume(&mut broker, CHANNEL);
    consume(&mut broker, (2, 1));
    for _ in 0..3 {
        broker.publish(Duration::ZERO, &message("q"));
    }
    let to: Vec<_> = broker.deliver().into_iter().map(|delivery| delivery.consumer.channel).collect();
    assert_eq!(to, [CHANNEL, CHANNEL]);
    broker.acknowledge(CHANNEL, 2, true);
    assert_eq!(broker.deliver().len(), 1);
}

#[test]
fn each_consumer_has_the_prefetch_of_its_start_and_a_cancelled_one_gets_nothing() {
    let mut broker = broker("", true);
    for _ in 0..6 {
        broker.publish(Duration::ZERO, &message("q"));
    }
    let consumer = |tag: &str| ConsumerId { channel: CHANNEL, tag: tag.to_owned() };
    for (tag, prefetch) in [("first", 1), ("second", 2)] {
        broker.set_prefetch(CHANNEL, prefetch);
        assert!(broker.consume("q", consumer(tag)));
    }
    let tags = |deliveries: Vec<Delivery>| Vec::from_iter(deliveries.into_iter().map(|delivery| delivery.consumer.tag));
    assert_eq!(tags(broker.deliver()), ["first", "second", "second"]);
    broker.cancel(&consumer("second"));
    broker.acknowledge(CHANNEL, 0, true);
    assert_eq!(tags(broker.deliver()), ["first"]);
}
