//! A slow network costs each send its time, and costs many sends at once hardly any throughput: confirms do not queue behind
//! one another.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::producers::{Sender, envelope};
use super::{count, tell};
use crate::support::proxy::Proxy;
use crate::support::rabbitmq::Vhost;

/// Added to each way, so that a round trip takes twice as long.
const LATENCIES_MS: [u64; 4] = [0, 5, 10, 50];
/// Sends that wait for their confirm at the same time.
const IN_FLIGHT: usize = 1_000;
/// Each send has this long: nothing breaks here.
const SEND_TIME_MAX: Duration = Duration::from_secs(30);
/// One send after another reaches 1 / round trip. Many at once must be this many times faster where the network is slowest.
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
    tell(&format!("confirmed sends by latency each way, {IN_FLIGHT} in flight"), figures.join("; "));
    let (slowest_ms, rate) = rates[rates.len() - 1];
    let round_trips = 1_000.0 / (2 * slowest_ms) as f64;
    assert!(
        rate >= SPEEDUP_MIN * round_trips,
        "{rate}/s at {slowest_ms} ms is near the {round_trips}/s of one after another"
    );
}

/// Sends a second with nothing else in flight.
async fn alone(sender: &Sender) -> f64 {
    let started = Instant::now();
    let mut sent = 0;
    while started.elapsed() < Duration::from_secs(1) {
        sender.send(&envelope("alone", sent), SEND_TIME_MAX).await.expect("nothing breaks");
        sent += 1;
    }
    sent as f64 / started.elapsed().as_secs_f64()
}

/// Sends a second with `IN_FLIGHT` confirms awaited at every moment.
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
