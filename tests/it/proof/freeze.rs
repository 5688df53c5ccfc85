//! A function that was frozen for so long that the broker gave its connection up answers the next request with 202.

use std::time::{Duration, Instant};

use super::path::place;
use super::{count, tell};
use crate::support::rabbitmq::Vhost;
use crate::support::stack::Stack;

/// What the functions call their connections.
const FUNCTIONS: &str = "sluicegate";
/// The ingress's own deadline is well below the function's 10 s; a frozen connection must not cost all of it.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(8);
/// A new connection is in the broker's list after this, which is before it misses two heartbeats.
const LIST_TIME_MAX: Duration = Duration::from_secs(6);
/// Heartbeats of 2 s: the broker closes the connection after missing two.
const SHORT: &str = "heartbeat=2";
/// The long run freezes for as long as a quiet night does, with an interval that is missed twice meanwhile.
const LONG: &str = "heartbeat=30";

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
        .until("the broker gave the ingress's connection up", Duration::from_secs(180), async || {
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
    tell("freeze", figures);
    stack.stop().await;
    vhost.delete().await;
}
