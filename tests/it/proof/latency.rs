//! Throughput on a slow network: each send takes longer, but concurrent sends hardly lose throughput, because their
//! confirms are awaited together.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::producers::{Sender, envelope};
use super::{count, report};
use crate::support::proxy::Proxy;
use crate::support::rabbitmq::Vhost;

/// The delays added in each direction; a round trip takes twice as long.
const LATENCIES_MS: [u64; 4] = [0, 5, 10, 50];
/// Sends that await their confirms at the same time.
const IN_FLIGHT: usize = 1_000;
/// The deadline of a send. No send fails in this test.
const SEND_TIME_MAX: Duration = Duration::from_secs(30);
/// Sequential sends reach a rate of 1 / round trip. Concurrent sends must be this many times faster on the slowest
/// network.
const SPEEDUP_MIN: f64 = 20.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn throughput_does_not_fall_with_the_round_trip() {
    let seconds = count("SLUICEGATE_PROOF_LATENCY_S", 3);
    let mut rates = Vec::new();
    for latency_ms in LATENCIES_MS {
        let vhost = Vhost::create().await;
        vhost.declare_queue("orders").await;
        let proxy = Proxy::start(vhost.port()).await;
        let sender = Sender::new(&vhost.url_at(proxy.port()), "orders");
        sender.send(&envelope("first", 0), SEND_TIME_MAX).await.expect("the connection is made");
        proxy.delay(Duration::from_millis(latency_ms));
        let alone = alone(&sender).await;
        let together = together(&sender, Duration::from_secs(seconds as u64)).await;
        println!(
            "{latency_ms} ms each way: {alone:.0}/s one after another, {together:.0}/s with {IN_FLIGHT} in flight"
        );
        rates.push((latency_ms, together));
        vhost.delete().await;
    }
    let fastest = rates[0].1;
    let figures: Vec<_> = rates
        .iter()
        .map(|(latency_ms, rate)| match latency_ms {
            0 => format!("0 ms: {rate:.0}/s"),
            _ => {
                let round_trips = 1_000.0 / (2 * latency_ms) as f64;
                format!(
                    "{latency_ms} ms: {rate:.0}/s, {:.0} % of that without delay and {:.0} times 1/round trip",
                    rate / fastest * 100.0,
                    rate / round_trips
                )
            }
        })
        .collect();
    report(&format!("confirmed sends by latency each way, {IN_FLIGHT} in flight"), figures.join("; "));
    let (slowest_ms, rate) = rates[rates.len() - 1];
    let round_trips = 1_000.0 / (2 * slowest_ms) as f64;
    assert!(
        rate >= SPEEDUP_MIN * round_trips,
        "{rate}/s at {slowest_ms} ms is near the {round_trips}/s of one after another"
    );
}

/// Returns the rate of sequential sends, per second.
async fn alone(sender: &Sender) -> f64 {
    let started = Instant::now();
    let mut sent = 0;
    while started.elapsed() < Duration::from_secs(1) {
        sender.send(&envelope("alone", sent), SEND_TIME_MAX).await.expect("nothing breaks");
        sent += 1;
    }
    sent as f64 / started.elapsed().as_secs_f64()
}

/// Returns the rate of sends with `IN_FLIGHT` confirms awaited at every moment, per second.
async fn together(sender: &Sender, time: Duration) -> f64 {
    let started = Instant::now();
    let mut lanes = JoinSet::new();
    for lane in 0..IN_FLIGHT {
        let sender = sender.clone();
        lanes.spawn(async move {
            let mut sent = 0;
            while started.elapsed() < time {
                let envelope = envelope(&format!("lane {lane}"), sent);
                sender.send(&envelope, SEND_TIME_MAX).await.expect("nothing breaks");
                sent += 1;
            }
            sent
        });
    }
    let sent: usize = lanes.join_all().await.into_iter().sum();
    sent as f64 / started.elapsed().as_secs_f64()
}
