//! The actions of the console on a running stack: as a script calls them, with the token.

use http::StatusCode;
use serde_json::{Value, json};

use super::{WAY_TIME_MAX, order, place, placed};
use crate::support::forward::ForwardServer;
use crate::support::stack::{Stack, steps};

/// A quantity that the receiver refuses, and how it is in the body of an order.
pub(super) const UNWANTED: u32 = 97;
pub(super) const UNWANTED_TEXT: &str = "\"quantity\":97";

/// Calls an action. Returns status and body.
pub(super) async fn act(stack: &Stack, path: &str, body: Value) -> (u16, Value) {
    let token = stack.http.get(format!("{}/token", stack.admin)).send().await.expect("answered");
    let token = token.text().await.expect("the token");
    let request = stack.http.post(format!("{}{path}", stack.admin)).header("x-sluicegate-token", token).json(&body);
    let answer = request.send().await.expect("the admin port answers");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

pub(super) async fn get(stack: &Stack, path: &str) -> Value {
    let answer = stack.http.get(format!("{}{path}", stack.admin)).send().await.expect("the admin port answers");
    answer.json().await.expect("JSON")
}

/// Waits for a dead letter and returns the name of its queue.
async fn dead_letter_queue(stack: &Stack, id: &str) -> String {
    let timeline = stack.until_state(id, "dead-lettered", WAY_TIME_MAX).await;
    let last = timeline["steps"].as_array().and_then(|steps| steps.last()).expect("steps");
    last["queue"].as_str().expect("a queue").to_owned()
}

/// Corrects a dead letter while its mapping is paused: it is done after the mapping runs again.
async fn correct(stack: &Stack) {
    let (status, body) = place(stack, "dev-key", "k-0", &order("o-1", "c-1", UNWANTED)).await;
    assert_eq!(status, 202, "{body}");
    let id = body["id"].as_str().expect("an id").to_owned();
    let dead_letters = dead_letter_queue(stack, &id).await;
    let queues = get(stack, "/queues").await;
    let found =
        queues["queues"].as_array().expect("queues").iter().find(|queue| queue["name"] == dead_letters.as_str());
    let reasons = found.and_then(|queue| queue["reasons"].as_array()).expect("reasons");
    assert_eq!((reasons.len(), &reasons[0]["count"]), (1, &json!(1)), "{queues:#}");
    assert_eq!(reasons[0]["code"], stack.timeline(&id).await.expect("it is known")["code"]);

    let mappings = get(stack, "/mappings").await;
    let mapping = mappings["mappings"]
        .as_array()
        .expect("mappings")
        .iter()
        .find(|mapping| mapping["queue"].as_str().is_some_and(|name| name.contains("orders")));
    let mapping = mapping.expect("the mapping of the orders");
    let path = format!(
        "/mappings/{}/{}",
        mapping["function"].as_str().expect("a name"),
        mapping["queue"].as_str().expect("a name")
    );
    assert_eq!(act(stack, &format!("{path}/pause"), json!({})).await.1["state"], "Disabled");
    let path_of_letter = format!("/queues/{dead_letters}/dead-letters/{id}");
    assert!(get(stack, &path_of_letter).await["body"].as_str().is_some_and(|body| body.contains(UNWANTED_TEXT)));
    let corrected = act(stack, &format!("{path_of_letter}/redrive"), json!({ "set": ["/items/0/quantity=2"] })).await;
    assert_eq!(corrected, (200, json!({ "id": id, "dead_letter": id, "redriven": true })));
    let delivered = |timeline: &Value| timeline["steps"].to_string().matches("\"delivered\"").count();
    stack
        .until("the dead letter is on its queue again", WAY_TIME_MAX, async || {
            let timeline = stack.timeline(&id).await?;
            (timeline["state"] != "dead-lettered").then_some(())
        })
        .await;
    assert_eq!(delivered(&stack.timeline(&id).await.expect("it is known")), 1, "the mapping is paused");
    assert_eq!(act(stack, &format!("{path}/resume"), json!({})).await.1["state"], "Enabled");
    let timeline = stack.until_state(&id, "done", WAY_TIME_MAX).await;
    assert_eq!(steps(&timeline)[2..], ["dead-lettered", "redriven", "delivered", "done"]);
    assert_eq!(timeline["steps"][3]["from"], dead_letters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_corrects_replays_samples_and_breaks() {
    let forward = ForwardServer::refusing(UNWANTED_TEXT, StatusCode::UNPROCESSABLE_ENTITY).await;
    let stack = Stack::start(&[], &[("FORWARD_URL", &forward.url)]).await;
    correct(&stack).await;

    // The same idempotency key is the same message.
    let id = placed(&stack, "o-2", "c-1").await;
    stack.until_state(&id, "done", WAY_TIME_MAX).await;
    let (_, replayed) = act(&stack, &format!("/messages/{id}/replay"), json!({})).await;
    assert_eq!((&replayed["status"], &replayed["message"]), (&json!(202), &json!(id)), "{replayed}");
    // A refused request is refused again, and listed.
    assert_eq!(place(&stack, "guess", "k-1", &order("o-3", "c-1", 2)).await.0, 401);
    let refused = get(&stack, "/messages?state=refused").await;
    let request_id = refused["messages"][0]["id"].as_str().expect("an id").replace('=', "%3D");
    let (_, again) = act(&stack, &format!("/messages/{request_id}/replay"), json!({})).await;
    assert_eq!(again["status"], 401, "{again}");
    assert_eq!(get(&stack, "/messages?state=refused").await["messages"][0]["id"], again["message"]);

    for route in ["POST /orders", "POST /webhooks/github", "POST /webhooks/stripe"] {
        let (_, sent) = act(&stack, "/samples", json!({ "route": route })).await;
        assert_eq!(sent["status"], 202, "{route}: {sent}");
        stack.until_state(sent["message"].as_str().expect("an id"), "done", WAY_TIME_MAX).await;
    }

    assert_eq!(act(&stack, "/faults/sqs", json!({ "fault": "unavailable" })).await.0, 200);
    let (status, problem) = place(&stack, "dev-key", "k-4", &order("o-4", "c-1", 2)).await;
    assert_eq!(status, 503, "{problem}");
    assert_eq!(act(&stack, "/faults/sqs", json!({ "fault": "none" })).await.0, 200);
    stack
        .until("orders are accepted again", WAY_TIME_MAX, async || {
            (place(&stack, "dev-key", "k-4", &order("o-4", "c-1", 2)).await.0 == 202).then_some(())
        })
        .await;

    let functions = get(&stack, "/functions").await;
    for function in functions["functions"].as_array().expect("functions") {
        assert_eq!((&function["state"], &function["build_error"]), (&json!("ready"), &Value::Null), "{function}");
        let name = function["name"].as_str().expect("a name");
        let (_, frozen) = act(&stack, &format!("/functions/{name}/freeze"), json!({})).await;
        assert_eq!(frozen["frozen_when_idle"], true, "{frozen}");
    }
    placed(&stack, "o-5", "c-1").await;
    let contract = get(&stack, "/contract").await;
    assert_eq!(contract["faults"], json!([]), "{contract:#}");
    stack.stop().await;
}
