//! Delivered messages and the batches they form.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use lapin::message::Delivery as Received;
use lapin::types::{AMQPValue, FieldTable};
use sluicegate_topology::RECEIVE_COUNT;

use super::event;
use crate::mapping::EVENT_BYTES_MAX;

/// Earlier deliveries by a quorum queue.
const DELIVERY_COUNT_HEADER: &str = "x-delivery-count";

/// A message of the queue.
pub(super) struct Delivery {
    pub(super) tag: u64,
    pub(super) message_id: Arc<str>,
    /// The body decoded from UTF-8.
    pub(super) body: Arc<str>,
    pub(super) receive_count: u32,
    /// The record's JSON.
    pub(super) record: String,
}

impl Delivery {
    pub(super) fn new(received: &Received, record: String) -> Self {
        let id = received.properties.message_id().as_ref().map(|id| id.as_str()).filter(|id| !id.is_empty());
        Self {
            tag: received.delivery_tag,
            // Each message without an id gets a new one.
            message_id: id.map_or_else(|| uuid::Uuid::now_v7().to_string().into(), Into::into),
            body: String::from_utf8_lossy(&received.data).into(),
            receive_count: receive_count(received.properties.headers().as_ref(), received.redelivered),
            record,
        }
    }
}

/// Returns the receive count by the rule of the consumer runtime: its header plus the deliveries from this queue.
fn receive_count(headers: Option<&FieldTable>, redelivered: bool) -> u32 {
    let header = |name: &str| headers?.inner().get(name).and_then(number);
    let before = header(RECEIVE_COUNT).unwrap_or(0);
    let here = header(DELIVERY_COUNT_HEADER).unwrap_or_else(|| u32::from(redelivered));
    before.saturating_add(here).saturating_add(1)
}

/// Returns a header's count from any integer type.
fn number(value: &AMQPValue) -> Option<u32> {
    let number = match value {
        AMQPValue::ShortShortInt(number) => i64::from(*number),
        AMQPValue::ShortShortUInt(number) => i64::from(*number),
        AMQPValue::ShortInt(number) => i64::from(*number),
        AMQPValue::ShortUInt(number) => i64::from(*number),
        AMQPValue::LongInt(number) => i64::from(*number),
        AMQPValue::LongUInt(number) => i64::from(*number),
        AMQPValue::LongLongInt(number) => *number,
        _ => return None,
    };
    u32::try_from(number).ok()
}

/// Messages for one invocation, in the order of their tags.
pub(super) struct Batch {
    pub(super) deliveries: Vec<Delivery>,
    head: Arc<str>,
    size_max: usize,
    event_bytes: usize,
}

impl Batch {
    /// Returns an empty batch for at most `size_max` messages, whose event starts with `head`.
    pub(super) fn new(head: Arc<str>, size_max: usize) -> Self {
        let event_bytes = head.len() + event::TAIL.len();
        Self { deliveries: Vec::new(), head, size_max, event_bytes }
    }

    /// Returns whether a record fits into an event at all. Lambda drops a record that does not.
    pub(super) fn fits_alone(head: &str, record: &str) -> bool {
        head.len() + record.len() + event::TAIL.len() <= EVENT_BYTES_MAX
    }

    /// Moves the messages that fit out of `waiting`; returns whether the batch is full.
    pub(super) fn fill(&mut self, waiting: &mut VecDeque<Delivery>) -> bool {
        while let Some(delivery) = waiting.pop_front() {
            let event_bytes = self.event_bytes + delivery.record.len() + usize::from(!self.deliveries.is_empty());
            if event_bytes > EVENT_BYTES_MAX || self.deliveries.len() >= self.size_max {
                waiting.push_front(delivery);
                return true;
            }
            self.event_bytes = event_bytes;
            self.deliveries.push(delivery);
        }
        self.deliveries.len() >= self.size_max
    }

    /// Returns the event.
    pub(super) fn event(&self) -> Bytes {
        let mut event = String::with_capacity(self.event_bytes);
        event.push_str(&self.head);
        for (index, delivery) in self.deliveries.iter().enumerate() {
            if index > 0 {
                event.push(',');
            }
            event.push_str(&delivery.record);
        }
        event.push_str(event::TAIL);
        event.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(tag: u64, record_bytes: usize) -> Delivery {
        let record = format!("\"{}\"", "x".repeat(record_bytes - 2));
        Delivery { tag, message_id: "m".into(), body: "".into(), receive_count: 1, record }
    }

    #[test]
    fn batches_end_by_count_or_by_size_and_keep_their_order() {
        let head: Arc<str> = event::head("arn", "q", "/").into();
        let around = head.len() + event::TAIL.len();
        let check = |sizes: &[usize], size_max: usize, expected: &[u64], is_full: bool| {
            let mut waiting: VecDeque<_> = sizes.iter().zip(1..).map(|(size, tag)| delivery(tag, *size)).collect();
            let mut batch = Batch::new(Arc::clone(&head), size_max);
            assert_eq!(batch.fill(&mut waiting), is_full);
            let tags: Vec<_> = batch.deliveries.iter().map(|delivery| delivery.tag).collect();
            assert_eq!(tags, expected);
            assert_eq!(waiting.len(), sizes.len() - expected.len());
            let event = batch.event();
            assert_eq!(event.len(), batch.event_bytes);
            assert!(event.len() <= EVENT_BYTES_MAX);
            serde_json::from_slice::<serde_json::Value>(&event).unwrap();
        };
        check(&[], 3, &[], false);
        check(&[10, 10], 3, &[1, 2], false);
        check(&[10, 10, 10, 10], 3, &[1, 2, 3], true);
        let all = EVENT_BYTES_MAX - around;
        check(&[all], 3, &[1], false);
        check(&[all, 2], 3, &[1], true);
        check(&[all - 5, 4, 2], 3, &[1, 2], true);
        check(&[2_000_000; 7], 10_000, &[1, 2, 3], true);
        let fits = |size: usize| Batch::fits_alone(&head, &delivery(1, size).record);
        assert!(fits(all) && !fits(all + 1));
    }

    #[test]
    fn the_receive_count_is_read_from_headers_and_redelivered() {
        let check = |headers: &[(&str, AMQPValue)], redelivered: bool, expected: u32| {
            let mut table = FieldTable::default();
            for (name, value) in headers {
                table.insert((*name).into(), value.clone());
            }
            assert_eq!(receive_count(Some(&table), redelivered), expected, "{headers:?}");
        };
        let (ours, theirs) = (RECEIVE_COUNT, DELIVERY_COUNT_HEADER);
        assert_eq!((receive_count(None, false), receive_count(None, true)), (1, 2));
        check(&[], false, 1);
        check(&[(ours, AMQPValue::LongUInt(3))], false, 4);
        check(&[(ours, AMQPValue::LongUInt(3)), (theirs, AMQPValue::LongLongInt(2))], true, 6);
        check(&[(theirs, AMQPValue::LongInt(0))], true, 1);
        check(&[(ours, AMQPValue::LongString("3".into())), (theirs, AMQPValue::LongInt(-1))], true, 2);
        check(&[(ours, AMQPValue::LongUInt(u32::MAX))], true, u32::MAX);
    }
}
