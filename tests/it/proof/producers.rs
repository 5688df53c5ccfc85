//! Producers as the ingress has them: one connection, many sends at once. And the load of several such, whose every message is
//! held against what was said of it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sluicegate_envelope::Envelope;
use sluicegate_queue::queue_names::RetryDelays;
use sluicegate_queue::rabbitmq::{Broker, Config, RabbitmqProducer};
use sluicegate_queue::{Binding, Message, Producer, Receipt, SendError};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ledger::{Balance, Conclusion, Ledger};
use super::pause;
use crate::support::rabbitmq::Vhost;

/// Connections of a load, as of so many ingress processes, and sends at once on each.
const CONNECTIONS: usize = 4;
const SENDS_AT_ONCE: usize = 8;
/// A send rests up to this long before the next, so that the queue can be counted in the end.
const REST_TIME_MAX: Duration = Duration::from_millis(60);
/// As the ingress gives a send.
const SEND_TIME_MAX: Duration = Duration::from_secs(5);
/// The count is looked at again after this at most.
const ASK_INTERVAL: Duration = Duration::from_millis(10);
/// Messages get through again after this, whatever broke.
const BREAK_TIME_MAX: Duration = Duration::from_secs(60);

/// One connection to a broker, and a queue behind it. Clones share both.
#[derive(Clone)]
pub(super) struct Sender(Arc<RabbitmqProducer>);

impl Sender {
    /// A producer on a queue of the broker at `url`, configured as a function is: by its environment.
    pub(super) fn new(url: &str, queue: &str) -> Self {
        let lookup = |name: &str| match name {
            "RABBITMQ_URL" => Some(url.to_owned()),
            "QUEUE_IT" => Some(format!("rabbitmq:/{queue}")),
            _ => None,
        };
        let config = Config::from_env(lookup).expect("a configuration").expect("RABBITMQ_URL is set");
        let mut bindings = Binding::from_env(["it"].into_iter(), lookup).expect("a binding");
        let Some(Binding::Rabbitmq { exchange, routing_key }) = bindings.remove("it") else { panic!("RabbitMQ") };
        Self(Arc::new(RabbitmqProducer::new(Broker::new(config), exchange, routing_key, RetryDelays::default())))
    }

    /// One attempt of the producer, with all it repeats by itself.
    pub(super) async fn send(&self, envelope: &Envelope, time_max: Duration) -> Result<Receipt, SendError> {
        self.0.send(&Message::new(envelope), Instant::now() + time_max).await
    }
}

/// A small message with an id that says who made it.
pub(super) fn envelope(who: &str, n: usize) -> Envelope {
    let payload = format!(r#"{{"order_id":"{who} {n}"}}"#);
    let envelope = Envelope::builder(format!("{who} {n}"), "/orders", "order.placed");
    envelope.payload(Some("application/json"), payload).build().expect("an envelope")
}

/// Producers that send until they are told to finish. Nobody takes the messages off the queue.
pub(super) struct Load {
    queue: String,
    shared: Arc<Shared>,
    lanes: JoinSet<()>,
}

struct Shared {
    busy: AtomicBool,
    confirmed: AtomicUsize,
    ledger: Mutex<Ledger>,
    /// Why the last attempt without a receipt had none; shown when nothing gets through any more.
    last_failure: Mutex<String>,
}

impl Load {
    /// Starts it on a queue of the broker at `url`.
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
                pause(ASK_INTERVAL).await;
            }
        };
        if tokio::time::timeout(BREAK_TIME_MAX, all).await.is_err() {
            let last = self.shared.last_failure.lock().expect("no panic");
            panic!("nothing gets through for {BREAK_TIME_MAX:?}, last because of: {last}");
        }
    }

    /// Ends it and holds what is on the queue against what was said.
    pub(super) async fn finish(self, vhost: &Vhost) -> Balance {
        self.shared.busy.store(false, Ordering::Relaxed);
        self.lanes.join_all().await;
        let messages = vhost.drain(&self.queue).await;
        let mut ledger = self.shared.ledger.lock().expect("no panic");
        for message in messages {
            let envelope = Envelope::decode(message.text()).expect("an envelope");
            assert_eq!(message.message_id.as_deref(), Some(envelope.id()), "property and body name one id");
            ledger.found(envelope.id());
        }
        ledger.balance()
    }
}

/// Sends one message after another until nobody is busy. Every other is repeated until it is confirmed, as clients do; the rest
/// are given up after one attempt, to hold the error to what it says.
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
                Err(error) => panic!("a broken connection is no reason for: {error}"),
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
