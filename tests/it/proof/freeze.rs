//! A function frozen until the broker closed its connection: the next request is answered with 202.

use std::time::{Duration, Instant};

use super::path::place;
use super::{count, report};
use crate::support::rabbitmq::Vhost;
use crate::support::stack::Stack;

/// The name of the functions' connections.
const FUNCTIONS: &str = "sluicegate";
/// The time limit of the request after the freeze, well below the 10 s timeout of the function.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(8);
/// A new connection is in the broker's list within this time, before it misses two heartbeats.
const LIST_TIME_MAX: Duration = Duration::from_secs(6);
/// Heartbeats of 2 s. The broker closes a connection after two missed heartbeats.
const SHORT: &str = "heartbeat=2";
/// The heartbeat interval of a long run, which is missed twice during its freeze.
const LONG: &str = "heartbeat=30";

/// <https://github.com/cody-greene/node-rabbitmq-client/issues/45>
/// <https://github.com/amqp-rs/lapin/issues/450>
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn the_first_request_after_a_freeze_is_accepted() {
    let seconds = count("SLUICEGATE_PROOF_FREEZE_S", 6);
    let vhost = Vhost::create().await;
    let heartbeat = if seconds < 60 { SHORT } else { LONG };
    let stack = Stack::start(&["--freeze", "--rabbitmq-url", &format!("{}?{heartbeat}", vhost.url())], &[]).await;
    let (status, body) = place(&stack, "before").await;
    assert_eq!(status, 202, "{body}\n{}", stack.printed());
    let frozen = Instant::now();
    let connected = async || (!vhost.connections(FUNCTIONS).await.is_empty()).then_some(());
    stack.until("the broker lists the frozen ingress's connection", LIST_TIME_MAX, connected).await;
    stack
        .until("the broker closed the ingress's connection", Duration::from_secs(180), async || {
            (vhost.connections(FUNCTIONS).await.is_empty() && frozen.elapsed().as_secs() >= seconds as u64)
                .then_some(())
        })
        .await;
    let frozen = frozen.elapsed();
    let started = Instant::now();
    let (status, body) = place(&stack, "after").await;
    let answered = started.elapsed();
    assert_eq!(status, 202, "{body}\n{}", stack.printed());
    assert!(answered < ANSWER_TIME_MAX, "it took {answered:?}");
    let figures = format!(
        "frozen for {:.0} s, {heartbeat}; the next request was answered 202 after {:.0} ms",
        frozen.as_secs_f64(),
        answered.as_secs_f64() * 1e3
    );
    report("freeze", figures);
    stack.stop().await;
    vhost.delete().await;
}
