//! A failing receiver: growing retry delays, then the dead-letter queue, without an effect on other messages of the
//! batch.

use std::time::Duration;

use http::StatusCode;

use super::{WAY_TIME_MAX, deliver, placed, placed_with_mates};
use crate::support::forward::{ForwardServer, Forwarded};
use crate::support::stack::{Stack, steps};

/// The time limit of five receives with four delays, and of extra receives with several environments.
const GIVE_UP_TIME_MAX: Duration = Duration::from_secs(240);

/// Concurrent batches of a queue, and so environments of its consumer.
const ENVIRONMENTS_MAX: usize = 5;

/// Tolerance of a delay: SQS counts whole seconds, and polls and functions take time.
const OVERHEAD_S: f64 = 4.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_message_is_retried_with_delays_and_dead_lettered_while_the_others_are_done() {
    let forward = ForwardServer::refusing("poison", StatusCode::INTERNAL_SERVER_ERROR).await;
    let stack = Stack::start(&[], &[("FORWARD_URL", &forward.url)]).await;
    let (poison, mates) = placed_with_mates(&stack).await;
    for mate in &mates {
        let timeline = stack.until_state(mate, "done", WAY_TIME_MAX).await;
        assert_eq!(steps(&timeline), ["accepted", "delivered", "done"], "another message is delivered once");
    }
    let timeline = stack.until_state(&poison, "dead-lettered", GIVE_UP_TIME_MAX).await;
    let all = timeline["steps"].as_array().expect("steps");
    let receives: Vec<_> = all.iter().filter(|step| step["step"] == "delivered").collect();
    let counts: Vec<_> = receives.iter().map(|step| step["receive_count"].as_u64().expect("a count")).collect();
    assert_eq!(counts, Vec::from_iter(1..=counts.len() as u64), "the timeline has every receive");
    // Each of several execution environments counts from the first failure it handled.
    assert!((5..=5 + ENVIRONMENTS_MAX).contains(&counts.len()), "{counts:?}");
    let attempts = forward.received(|event| event.says("poison"));
    assert_eq!(attempts.len(), counts.len(), "the receiver got every attempt");
    let delays: Vec<f64> = attempts.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64()).collect();
    for (delay, ceiling_s) in delays.iter().zip([2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0]) {
        assert!(
            *delay <= ceiling_s + OVERHEAD_S,
            "full jitter stays below a ceiling that doubles: {delays:?}\n{timeline:#}"
        );
    }
    assert!(delays.iter().sum::<f64>() > 0.5, "the delays are not all zero: {delays:?}");
    stack.stop().await;
}

/// One failing order among ten of one customer, which the FIFO queue keeps in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_order_is_dead_lettered_alone_and_the_others_are_handled_in_order() {
    let forward = ForwardServer::refusing("order-3", StatusCode::INTERNAL_SERVER_ERROR).await;
    let stack = Stack::start(&[], &[("FORWARD_URL", &forward.url)]).await;
    let names: Vec<_> = (0..10).map(|n| format!("order-{n}")).collect();
    let mut ids = Vec::new();
    for name in &names {
        ids.push(placed(&stack, name, "c-1").await);
    }
    let poison = ids.remove(3);
    stack.until_state(&poison, "dead-lettered", GIVE_UP_TIME_MAX).await;
    for id in &ids {
        stack.until_state(id, "done", WAY_TIME_MAX).await;
    }
    let handled = forward.received(|event| !event.says("order-3"));
    let order_of = |event: &Forwarded| names.iter().position(|name| event.says(name));
    let order: Vec<_> = handled.iter().map(order_of).collect();
    assert_eq!(order, [0, 1, 2, 4, 5, 6, 7, 8, 9].map(Some), "once each, in order");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_message_goes_to_the_dead_letter_queue_at_once() {
    let forward = ForwardServer::start(|_| StatusCode::UNPROCESSABLE_ENTITY).await;
    let stack = Stack::start(&[], &[("FORWARD_URL", &forward.url)]).await;
    let payload = super::github_payload("ping");
    let (status, body) = deliver(&stack, "ping", "d-1", &payload, &payload).await;
    assert_eq!(status, 202, "{body}");
    let timeline = stack.until_state(body["id"].as_str().expect("an id"), "dead-lettered", WAY_TIME_MAX).await;
    assert_eq!(steps(&timeline), ["accepted", "delivered", "dead-lettered"]);
    assert_eq!(forward.received(|_| true).len(), 1, "no further receive is used");
    stack.stop().await;
}
