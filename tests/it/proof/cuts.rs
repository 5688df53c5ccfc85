//! Connections are cut at random places, above all between a write and its confirm, and between a republish's confirm and the
//! acknowledgement of what it replaces.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sluicegate_envelope::Envelope;
use sluicegate_queue::SendError;
use tokio::task::JoinSet;

use super::ledger::{Conclusion, Ledger};
use super::path::Path;
use super::producers::{Sender, envelope, producer};
use super::proxy::{Cut, Proxy};
use super::{count, pause, tell};
use crate::support::rabbitmq::Vhost;

/// How many cuts, in each of the two proofs.
const CUTS: &str = "SLUICEGATE_PROOF_CUTS";
const CUTS_SHORT: usize = 60;
/// A cut comes up to this long after messages were seen to get through again.
const PAUSE_MAX: Duration = Duration::from_millis(150);
/// Connections, as of so many ingress processes, and sends at once on each.
const CONNECTIONS: usize = 4;
const SENDS_AT_ONCE: usize = 8;
/// A send rests up to this long before the next, so that the queue can be counted in the end.
const REST_TIME_MAX: Duration = Duration::from_millis(60);
/// As the ingress gives a send.
const SEND_TIME_MAX: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn nothing_confirmed_is_lost_when_the_producers_connections_are_cut() {
    let cuts = count(CUTS, CUTS_SHORT);
    let vhost = Vhost::create().await;
    vhost.declare_queue("orders").await;
    let proxy = Proxy::start(vhost.port()).await;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let (busy, confirmed) = (Arc::new(AtomicBool::new(true)), Arc::<AtomicUsize>::default());
    let mut lanes = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let sender = producer(&vhost.url_at(proxy.port()));
        for lane in 0..SENDS_AT_ONCE {
            let lane = format!("lane {connection}.{lane}");
            lanes.spawn(send_on(sender.clone(), lane, ledger.clone(), busy.clone(), confirmed.clone()));
        }
    }
    let made = cut(&proxy, cuts, async || {
        let before = confirmed.load(Ordering::Relaxed);
        while confirmed.load(Ordering::Relaxed) == before {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    busy.store(false, Ordering::Relaxed);
    lanes.join_all().await;

    let mut ledger = ledger.lock().expect("no panic");
    for message in vhost.drain("orders").await {
        let envelope = Envelope::decode(message.text()).expect("an envelope");
        assert_eq!(message.message_id.as_deref(), Some(envelope.id()), "property and body name one id");
        ledger.found(envelope.id());
    }
    tell(&format!("{cuts} cuts of producers ({made:?})"), ledger.balance());
    drop(ledger);
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn nothing_answered_202_is_lost_when_every_connection_of_the_path_is_cut() {
    let cuts = count(CUTS, CUTS_SHORT);
    let vhost = Vhost::create().await;
    let proxy = Proxy::start(vhost.port()).await;
    let path = Path::start(&vhost.url_at(proxy.port()), &[]).await;
    let made = cut(&proxy, cuts, async || path.until_accepted(1).await).await;
    let figures = path.settle(&vhost).await;
    tell(&format!("{cuts} cuts of ingress, mapping and consumer ({made:?})"), figures);
    vhost.delete().await;
}

/// Cuts `cuts` times, each time another way and after `work` has shown that messages get through; answers how often each way.
async fn cut(proxy: &Proxy, cuts: usize, work: impl AsyncFn()) -> BTreeMap<&'static str, usize> {
    let mut made = BTreeMap::new();
    for _ in 0..cuts {
        work().await;
        pause(PAUSE_MAX).await;
        let (name, way) = match fastrand::u8(..4) {
            0 => ("at once", Cut::Now),
            1 => ("within a write", Cut::InWrite),
            _ => ("instead of an answer", Cut::BeforeAnswer),
        };
        proxy.cut(way).await;
        *made.entry(name).or_default() += 1;
    }
    made
}

/// Sends one message after another until nobody is busy. Every other is repeated until it is confirmed, as clients do; the rest
/// are given up after one attempt, to hold the error to what it says.
async fn send_on(
    sender: Sender,
    lane: String,
    ledger: Arc<Mutex<Ledger>>,
    busy: Arc<AtomicBool>,
    confirmed: Arc<AtomicUsize>,
) {
    let mut n = 0;
    while busy.load(Ordering::Relaxed) {
        let envelope = envelope(&lane, n);
        loop {
            let conclusion = match sender.send(&envelope, SEND_TIME_MAX).await {
                Ok(receipt) => {
                    assert_eq!(receipt.id, envelope.id());
                    confirmed.fetch_add(1, Ordering::Relaxed);
                    Conclusion::Stored
                }
                Err(SendError::NotSent { .. }) => Conclusion::NotSent,
                Err(SendError::Unknown { .. }) => Conclusion::Unknown,
                Err(error) => panic!("a cut connection is no reason for: {error}"),
            };
            ledger.lock().expect("no panic").conclude(envelope.id(), conclusion);
            pause(REST_TIME_MAX).await;
            if conclusion == Conclusion::Stored || n % 2 == 0 {
                break;
            }
        }
        n += 1;
    }
}
