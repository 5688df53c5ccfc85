//! The consumer runtime on a FIFO queue.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use sluicegate_batch::{Consumer, Delivery, Outcome};
use sluicegate_envelope::Envelope;

use super::polled_queue::PolledQueue;
use crate::support::service::Service;

/// The value in `template.yaml`.
const RECEIVE_COUNT_MAX: u32 = 100;

/// Orders of one customer.
const ORDERS: usize = 10;

/// A FIFO queue, and the calls of the handler.
struct Orders<'a> {
    queue: PolledQueue<'a>,
    /// The ids that a handler was called with, in order.
    called: Arc<Mutex<Vec<String>>>,
    /// The ids it has handled.
    done: Arc<Mutex<Vec<String>>>,
}

impl<'a> Orders<'a> {
    /// Creates the queue with all orders of one customer.
    async fn of_one_customer(service: &'a Service, receive_count_max: u32) -> Self {
        let attributes = [(Attribute::FifoQueue, "true"), (Attribute::VisibilityTimeout, "5")];
        let queue = PolledQueue::create(service, &attributes, receive_count_max).await;
        for n in 0..ORDERS {
            let envelope = Envelope::builder(n.to_string(), "/orders", "order.placed").group("c-1").build();
            queue.send(&envelope.expect("an envelope"), Some("c-1")).await;
        }
        Self { queue, called: Arc::default(), done: Arc::default() }
    }

    /// Returns a consumer whose handler takes this long and fails on `poison`.
    fn consumer(&self, handler_time: Duration, poison: Option<&'static str>) -> Consumer {
        let (called, done) = (Arc::clone(&self.called), Arc::clone(&self.done));
        let handler = move |delivery: Arc<Delivery>| {
            let (called, done) = (Arc::clone(&called), Arc::clone(&done));
            async move {
                let id = delivery.envelope().id().to_owned();
                called.lock().expect("no panic").push(id.clone());
                tokio::time::sleep(handler_time).await;
                if poison == Some(id.as_str()) {
                    return Outcome::Retry;
                }
                done.lock().expect("no panic").push(id);
                Outcome::Done
            }
        };
        self.queue.builder().on("order.placed", handler).build().expect("a consumer")
    }

    fn called(&self, id: &str) -> usize {
        self.called.lock().expect("no panic").iter().filter(|called| *called == id).count()
    }

    fn done(&self) -> Vec<String> {
        self.done.lock().expect("no panic").clone()
    }
}

fn all_but(poison: Option<&str>) -> Vec<String> {
    (0..ORDERS).map(|n| n.to_string()).filter(|id| Some(id.as_str()) != poison).collect()
}

pub(super) async fn messages_behind_a_failing_one_are_not_dead_lettered(service: &Service) {
    let orders = Orders::of_one_customer(service, RECEIVE_COUNT_MAX).await;
    let consumer = orders.consumer(Duration::ZERO, Some("2"));
    orders.queue.process_all(&consumer, Duration::from_secs(10)).await;
    service.check("worked off, in order", orders.done(), all_but(Some("2")));
    service.check("tries of the failing message: behind others, then at the head of its group", orders.called("2"), 6);
    let reason = "receives exhausted after 6: the handler returned a retry".to_owned();
    service.check("dead letters", orders.queue.dead_letters().await, vec![("2".to_owned(), Some(reason))]);
}

/// With a low limit the last receive is reserved for the waiting messages.
pub(super) async fn a_low_max_receive_count_dead_letters_the_failing_message_one_receive_early(service: &Service) {
    let orders = Orders::of_one_customer(service, 3).await;
    let consumer = orders.consumer(Duration::ZERO, Some("0"));
    orders.queue.process_all(&consumer, Duration::from_secs(10)).await;
    service.check("worked off, in order", orders.done(), all_but(Some("0")));
    let reason = "receives exhausted after 2: the handler returned a retry".to_owned();
    service.check("dead letters", orders.queue.dead_letters().await, vec![("0".to_owned(), Some(reason))]);
}

pub(super) async fn a_slow_group_loses_no_message(service: &Service) {
    let orders = Orders::of_one_customer(service, RECEIVE_COUNT_MAX).await;
    // Handlers have three quarters of the timeout: enough for one message, not for two.
    let consumer = orders.consumer(Duration::from_millis(500), None);
    orders.queue.process_all(&consumer, Duration::from_millis(1_000)).await;
    service.check("worked off, in order", orders.done(), all_but(None));
    service.check("dead letters", orders.queue.dead_letters().await, Vec::new());
    let receives = orders.called.lock().expect("no panic").len();
    service.check("some were received more than once", receives > ORDERS, true);
}
