//! The Prometheus page: it counts each request and each message once, across restarts of functions.

use http::StatusCode;
use reqwest::header::CONTENT_TYPE;

use super::{WAY_TIME_MAX, order, place, placed};
use crate::support::forward::ForwardServer;
use crate::support::processes;
use crate::support::prometheus::Page;
use crate::support::rabbitmq::Vhost;
use crate::support::service::Service;
use crate::support::stack::Stack;

async fn page(stack: &Stack) -> Page {
    let answer = stack.http.get(format!("{}/metrics", stack.admin)).send().await.expect("answered");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()[CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text().await.expect("text");
    Page::read(&text).unwrap_or_else(|fault| panic!("{fault}\n{text}"))
}

/// The samples of this name with these labels, and their expected sum.
type Sum<'a> = (&'a str, &'a [(&'a str, &'a str)], f64);

/// Waits until the page has these sums. A function prints before it answers, but its pipe is read later.
async fn until(stack: &Stack, sums: &[Sum<'_>]) -> Page {
    stack
        .until(&format!("the page has {sums:?}"), WAY_TIME_MAX, async || {
            let page = page(stack).await;
            sums.iter().all(|(name, labels, sum)| page.sum(name, labels) == *sum).then_some(page)
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_and_every_message_is_counted_once() {
    let forward = ForwardServer::refusing("unwanted", StatusCode::UNPROCESSABLE_ENTITY).await;
    let stack = Stack::start(&[], &[("FORWARD_URL", &forward.url)]).await;
    for n in 0..3 {
        let id = placed(&stack, &format!("o-{n}"), "c-1").await;
        stack.until_state(&id, "done", WAY_TIME_MAX).await;
    }
    let unwanted = placed(&stack, "unwanted", "c-1").await;
    stack.until_state(&unwanted, "dead-lettered", WAY_TIME_MAX).await;
    assert_eq!(place(&stack, "guess", "k-1", &order("o-9", "c-1", 2)).await.0, 401);
    assert_eq!(place(&stack, "dev-key", "k-2", &order("o-9", "c-1", 0)).await.0, 422);
    let sqs = Service::at(&stack.aws);
    let queues = stack.http.get(format!("{}/queues", stack.admin)).send().await.expect("answered");
    let queues: serde_json::Value = queues.json().await.expect("JSON");
    let queues = queues["queues"].as_array().expect("queues");
    let named = |part: &str, dead_letters: bool| {
        let found = queues.iter().find(|queue| {
            queue["dead_letters"] == dead_letters && queue["name"].as_str().is_some_and(|name| name.contains(part))
        });
        found.unwrap_or_else(|| panic!("no queue like {part}: {queues:#?}"))["name"].as_str().expect("a name")
    };
    let (orders, dead_letters) = (named("orders", false), named("orders", true));
    sqs.send_fifo(&sqs.find(orders).await, "g", "d", "no envelope").await;

    let of_queue: &[_] = &[("queue", orders)];
    let outcome = |outcome| [("queue", orders), ("outcome", outcome)];
    let in_queue = |queue, state| [("queue", queue), ("state", state)];
    let page = until(
        &stack,
        &[
            ("sluicegate_accepted_total", &[], 4.0),
            ("sluicegate_refused_total", &[("code", "credentials_invalid")], 1.0),
            ("sluicegate_refused_total", &[("code", "schema_violated")], 1.0),
            ("sluicegate_refused_total", &[], 2.0),
            ("sluicegate_enqueue_seconds_count", &[], 4.0),
            ("sluicegate_received_total", of_queue, 5.0),
            ("sluicegate_deliveries_total", &outcome("done"), 3.0),
            ("sluicegate_deliveries_total", &outcome("rejected"), 1.0),
            ("sluicegate_deliveries_total", &outcome("undecodable"), 1.0),
            ("sluicegate_deliveries_total", of_queue, 5.0),
            ("sluicegate_handler_seconds_count", of_queue, 4.0),
            ("sluicegate_queue_messages", &in_queue(dead_letters, "visible"), 2.0),
            ("sluicegate_queue_messages", &[("dead_letters", "true")], 2.0),
            ("sluicegate_queue_messages", &in_queue(orders, "visible"), 0.0),
            ("sluicegate_function_errors_total", &[], 0.0),
        ],
    )
    .await;
    assert!(page.sum("sluicegate_function_invocations_total", &[]) >= 8.0, "six requests, and at least two batches");
    assert!(page.sum("sluicegate_function_environments", &[]) >= 2.0);
    stack.until_printed("→ 422 schema_violated in").await;
    let printed = stack.printed();
    assert!(!printed.contains("_aws"), "metric lines are not printed on the console:\n{printed}");

    // A new process of the function continues the counters of the last one.
    for function in stack.functions() {
        processes::signal(function.id, "KILL");
    }
    until(&stack, &[("sluicegate_function_environments", &[], 0.0)]).await;
    let id = placed(&stack, "o-4", "c-1").await;
    stack.until_state(&id, "done", WAY_TIME_MAX).await;
    until(&stack, &[("sluicegate_accepted_total", &[], 5.0), ("sluicegate_deliveries_total", &outcome("done"), 4.0)])
        .await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn requests_and_messages_on_rabbitmq_are_counted_the_same() {
    let forward = ForwardServer::refusing("unwanted", StatusCode::UNPROCESSABLE_ENTITY).await;
    let vhost = Vhost::create().await;
    let stack = Stack::start(&["--rabbitmq-url", &vhost.url()], &[("FORWARD_URL", &forward.url)]).await;
    let done = placed(&stack, "o-1", "c-1").await;
    stack.until_state(&done, "done", WAY_TIME_MAX).await;
    placed(&stack, "unwanted", "c-1").await;
    let of_orders = |outcome| [("queue", "orders"), ("outcome", outcome)];
    let page = until(
        &stack,
        &[
            ("sluicegate_accepted_total", &[], 2.0),
            ("sluicegate_enqueue_seconds_count", &[], 2.0),
            ("sluicegate_received_total", &[("queue", "orders")], 2.0),
            ("sluicegate_deliveries_total", &of_orders("done"), 1.0),
            ("sluicegate_deliveries_total", &of_orders("rejected"), 1.0),
            ("sluicegate_queue_messages", &[("queue", "orders.dlq"), ("dead_letters", "true")], 1.0),
            ("sluicegate_queue_messages", &[("queue", "orders"), ("broker", "rabbitmq")], 0.0),
        ],
    )
    .await;
    assert!(page.sum("sluicegate_oldest_seconds", &[("queue", "orders")]) < 20.0, "the message was received at once");
    stack.stop().await;
    vhost.delete().await;
}
