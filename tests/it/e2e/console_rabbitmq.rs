//! The actions and the figures of the console on RabbitMQ: the same as on SQS.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::console_actions::{UNWANTED, UNWANTED_TEXT, act, get};
use super::rabbitmq::{counts, start};
use super::{WAY_TIME_MAX, order, place, placed};
use crate::support::forward::ForwardServer;
use crate::support::rabbitmq::Vhost;
use crate::support::stack::{Stack, steps};

/// RabbitMQ computes its counts every five seconds, and an empty queue is believed after ten.
/// <https://www.rabbitmq.com/docs/management#statistics-interval>
const COUNTED_TIME_MAX: Duration = Duration::from_secs(30);

/// Places an order that the receiver refuses, and waits for the dead letter. Returns its timeline.
async fn refused(stack: &Stack, order_id: &str) -> Value {
    let (status, body) = place(stack, "dev-key", order_id, &order(order_id, "c-1", UNWANTED)).await;
    assert_eq!(status, 202, "{body}");
    stack.until_state(body["id"].as_str().expect("an id"), "dead-lettered", WAY_TIME_MAX).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn the_console_pauses_corrects_redrives_and_purges_on_rabbitmq() {
    let vhost = Vhost::create().await;
    let forward = ForwardServer::refusing(UNWANTED_TEXT, StatusCode::UNPROCESSABLE_ENTITY).await;
    let (stack, _files) = start(&vhost, &forward, &[]).await;

    let dead = refused(&stack, "o-1").await;
    let (id, code) = (dead["id"].as_str().expect("an id"), &dead["code"]);
    assert!(code.is_string(), "{dead:#}");
    let reasons = counts(&stack, "orders.dlq").await["reasons"].clone();
    assert_eq!((&reasons[0]["code"], &reasons[0]["count"], &reasons[1]), (code, &json!(1), &Value::Null), "{reasons}");

    // A corrected message waits while the mapping is paused.
    let mappings = get(&stack, "/mappings").await;
    let mapping = mappings["mappings"].as_array().expect("mappings").iter().find(|each| each["queue"] == "orders");
    let function = mapping.and_then(|mapping| mapping["function"].as_str()).expect("the mapping of the orders");
    let mapping = format!("/mappings/{function}/orders");
    assert_eq!(act(&stack, &format!("{mapping}/pause"), json!({})).await.1["state"], "Disabled");
    let letter = format!("/queues/orders.dlq/dead-letters/{id}");
    assert!(get(&stack, &letter).await["body"].as_str().is_some_and(|body| body.contains(UNWANTED_TEXT)));
    let corrected = act(&stack, &format!("{letter}/redrive"), json!({ "set": ["/items/0/quantity=2"] })).await;
    assert_eq!(corrected, (200, json!({ "id": id, "dead_letter": id, "redriven": true })));
    let waiting = stack.until_state(id, "redriven", WAY_TIME_MAX).await;
    assert!(waiting["payload"]["text"].as_str().is_some_and(|text| text.contains("\"quantity\":2")), "{waiting:#}");
    stack
        .until("the message is counted on its queue", COUNTED_TIME_MAX, async || {
            (counts(&stack, "orders").await["visible"] == 1).then_some(())
        })
        .await;
    assert_eq!(act(&stack, &format!("{mapping}/resume"), json!({})).await.1["state"], "Enabled");
    let timeline = stack.until_state(id, "done", WAY_TIME_MAX).await;
    let expected = ["accepted", "delivered", "dead-lettered", "redriven", "delivered", "done"];
    assert_eq!(steps(&timeline), expected, "{timeline:#}");
    assert_eq!(timeline["steps"][3]["from"], "orders.dlq");

    // A message that is redriven as it is fails as before.
    let dead = refused(&stack, "o-2").await;
    let id = dead["id"].as_str().expect("an id");
    let other = refused(&stack, "o-3").await;
    let (status, report) = act(&stack, "/queues/orders.dlq/redrive", json!({ "filter": { "ids": [id] } })).await;
    assert_eq!((status, &report["done"], &report["failures"]), (200, &json!(1), &json!([])), "{report}");
    let timeline = stack
        .until("it is a dead letter again", WAY_TIME_MAX, async || {
            stack.timeline(id).await.filter(|timeline| steps(timeline).len() == 6)
        })
        .await;
    let expected = ["accepted", "delivered", "dead-lettered", "redriven", "delivered", "dead-lettered"];
    assert_eq!(steps(&timeline), expected, "{timeline:#}");
    assert_eq!(steps(&stack.timeline(other["id"].as_str().expect("an id")).await.expect("it is known")).len(), 3);

    let (status, purged) = act(&stack, "/queues/orders.dlq/purge", json!({ "confirm": "orders.dlq" })).await;
    assert_eq!((status, purged), (200, json!({ "queue": "orders.dlq", "purged": true, "deleted": 2 })));
    stack
        .until("no dead letter is counted", COUNTED_TIME_MAX, async || {
            let queue = counts(&stack, "orders.dlq").await;
            (queue["visible"] == 0 && queue["reasons"] == json!([]) && queue["oldest_s"].is_null()).then_some(())
        })
        .await;

    let done = placed(&stack, "o-4", "c-1").await;
    stack.until_state(&done, "done", WAY_TIME_MAX).await;
    stack
        .until("the charts have every figure", COUNTED_TIME_MAX, async || {
            let history = get(&stack, "/queues/orders/history").await;
            let sum =
                |name: &str| history[name].as_array().expect("samples").iter().filter_map(Value::as_u64).sum::<u64>();
            let is_measured = ["visible", "latency_p50_ms", "latency_p95_ms"].iter().all(|name| sum(name) > 0);
            // Four orders and two redrives; a redriven message arrives again.
            let is_counted = (sum("accepted"), sum("done"), sum("dead_lettered")) == (6, 2, 4);
            (is_measured && is_counted).then_some(())
        })
        .await;
    stack.stop().await;
    vhost.delete().await;
}
