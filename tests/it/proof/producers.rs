//! Producers as in the ingress, with one connection and many concurrent sends, and a load of several producers with a
//! ledger of every message.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sluicegate_envelope::Envelope;
use sluicegate_queue::queue_names::RetryDelays;
use sluicegate_queue::rabbitmq::{Broker, BrokerConfig, RabbitmqProducer};
use sluicegate_queue::{Binding, Message, Producer, Receipt, SendError};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ledger::{Balance, Conclusion, Ledger};
use super::pause;
use crate::support::rabbitmq::Vhost;

/// Connections of a load, one per simulated ingress process, and concurrent sends on each.
const CONNECTIONS: usize = 4;
const SENDS_AT_ONCE: usize = 8;
/// The longest pause between two sends, which limits the number of messages.
const REST_TIME_MAX: Duration = Duration::from_millis(60);
/// The deadline of a send, as in the ingress.
const SEND_TIME_MAX: Duration = Duration::from_secs(5);
/// The interval at which the count is read.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// The time limit for messages to arrive again after a fault.
const BREAK_TIME_MAX: Duration = Duration::from_secs(60);

/// One connection to a broker, and a queue. Clones share both.
#[derive(Clone)]
pub(super) struct Sender(Arc<RabbitmqProducer>);

impl Sender {
    /// Returns a producer on a queue of the broker at `url`, configured by the environment of a function.
    pub(super) fn new(url: &str, queue: &str) -> Self {
        let lookup = |name: &str| match name {
            "RABBITMQ_URL" => Some(url.to_owned()),
            _ => None,
        };
        let config = BrokerConfig::from_env(lookup).expect("a configuration").expect("RABBITMQ_URL is set");
        let binding = Binding::parse(&format!("rabbitmq:/{queue}")).expect("a binding");
        let Binding::Rabbitmq { exchange, routing_key } = binding else { panic!("RabbitMQ") };
        Self(Arc::new(RabbitmqProducer::new(Broker::new(config), exchange, routing_key, RetryDelays::default())))
    }

    /// Sends once, including the producer's own retries.
    pub(super) async fn send(&self, envelope: &Envelope, time_max: Duration) -> Result<Receipt, SendError> {
        self.0.send(&Message::new(envelope), Instant::now() + time_max).await
    }
}

/// Returns a small message whose id names its producer.
pub(super) fn envelope(who: &str, n: usize) -> Envelope {
    let payload = format!(r#"{{"order_id":"{who} {n}"}}"#);
    let envelope = Envelope::builder(format!("{who} {n}"), "/orders", "order.placed");
    envelope.payload(Some("application/json"), payload).build().expect("an envelope")
}

/// Producers that send until `finish`. No consumer reads the queue.
pub(super) struct Load {
    queue: String,
    shared: Arc<Shared>,
    lanes: JoinSet<()>,
}

struct Shared {
    busy: AtomicBool,
    confirmed: AtomicUsize,
    ledger: Mutex<Ledger>,
    /// The error of the last failed attempt, shown when messages stop arriving.
    last_failure: Mutex<String>,
}

impl Load {
    /// Starts the load on a queue of the broker at `url`.
    pub(super) fn start(url: &str, queue: &str) -> Self {
        let (busy, confirmed) = (AtomicBool::new(true), AtomicUsize::new(0));
        let shared = Arc::new(Shared { busy, confirmed, ledger: Mutex::default(), last_failure: Mutex::default() });
        let mut lanes = JoinSet::new();
        for connection in 0..CONNECTIONS {
            let sender = Sender::new(url, queue);
            for lane in 0..SENDS_AT_ONCE {
                lanes.spawn(send_on(sender.clone(), format!("lane {connection}.{lane}"), shared.clone()));
            }
        }
        Self { queue: queue.to_owned(), shared, lanes }
    }

    /// Waits until `count` more messages have been confirmed.
    pub(super) async fn until_confirmed(&self, count: usize) {
        let wanted = self.shared.confirmed.load(Ordering::Relaxed) + count;
        let all = async {
            while self.shared.confirmed.load(Ordering::Relaxed) < wanted {
                pause(POLL_INTERVAL).await;
            }
        };
        if tokio::time::timeout(BREAK_TIME_MAX, all).await.is_err() {
            let last = self.shared.last_failure.lock().expect("no panic");
            panic!("no message was confirmed for {BREAK_TIME_MAX:?}; the last error: {last}");
        }
    }

    /// Ends the load and checks the queue against the ledger.
    pub(super) async fn finish(self, vhost: &Vhost) -> Balance {
        self.shared.busy.store(false, Ordering::Relaxed);
        self.lanes.join_all().await;
        let messages = vhost.drain(&self.queue).await;
        let mut ledger = self.shared.ledger.lock().expect("no panic");
        for message in messages {
            let envelope = Envelope::decode(message.text()).expect("an envelope");
            assert_eq!(message.message_id.as_deref(), Some(envelope.id()), "property and body have the same id");
            ledger.found(envelope.id());
        }
        ledger.balance()
    }
}

/// Sends messages until `busy` is false. Every other message is repeated until it is confirmed, as clients do; the rest
/// have one attempt, whose error is checked.
async fn send_on(sender: Sender, lane: String, shared: Arc<Shared>) {
    let mut n = 0;
    while shared.busy.load(Ordering::Relaxed) {
        let envelope = envelope(&lane, n);
        loop {
            let sent = sender.send(&envelope, SEND_TIME_MAX).await;
            if let Err(error) = &sent {
                *shared.last_failure.lock().expect("no panic") = error.to_string();
            }
            let conclusion = match sent {
                Ok(receipt) => {
                    assert_eq!(receipt.id, envelope.id());
                    shared.confirmed.fetch_add(1, Ordering::Relaxed);
                    Conclusion::Stored
                }
                Err(SendError::NotSent { .. }) => Conclusion::NotSent,
                Err(SendError::Unknown { .. }) => Conclusion::Unknown,
                Err(error) => panic!("a broken connection must not cause: {error}"),
            };
            shared.ledger.lock().expect("no panic").conclude(envelope.id(), conclusion);
            pause(REST_TIME_MAX).await;
            if conclusion == Conclusion::Stored || n % 2 == 0 {
                break;
            }
        }
        n += 1;
    }
}
