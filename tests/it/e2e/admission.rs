//! Accepted and rejected requests, and Ctrl-C, which ends every process.

use http::StatusCode;
use serde_json::json;
use sluicegate_envelope::Envelope;

use super::{WAY_TIME_MAX, deliver, github_payload, order, place, placed};
use crate::support::forward::ForwardServer;
use crate::support::processes;
use crate::support::stack::{Stack, steps};

const GITHUB_EVENTS: &[&str] = &[
    "check_run",
    "create",
    "deployment_status",
    "installation",
    "issue_comment",
    "issues",
    "ping",
    "pull_request",
    "push",
    "release",
    "star",
    "workflow_run",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_accepted_once_and_bad_ones_refused_with_the_reason() {
    let stack = Stack::start(&[], &[]).await;
    let tea = order("o-1", "c-1", 2);
    let (status, first) = place(&stack, "dev-key", "k-1", &tea).await;
    assert_eq!(status, 202, "{first}\n{}", stack.printed());
    let id = first["id"].as_str().expect("an id");
    let timeline = stack.until_state(id, "done", WAY_TIME_MAX).await;
    assert_eq!(steps(&timeline), ["accepted", "delivered", "done"]);

    let (status, again) = place(&stack, "dev-key", "k-1", &tea).await;
    assert_eq!((status, &again["id"]), (202, &first["id"]), "the same key gives the same id");
    let (status, other) = place(&stack, "dev-key", "k-2", &tea).await;
    assert_eq!(status, 202);
    assert_ne!(other["id"], first["id"], "another key, another message");

    let (status, problem) = place(&stack, "guess", "k-3", &tea).await;
    assert_eq!((status, &problem["code"]), (401, &json!("credentials_invalid")));
    let (status, problem) = place(&stack, "dev-key", "k-4", &order("o-2", "c-1", 0)).await;
    assert_eq!(status, 422, "{problem}");
    assert!(problem.to_string().contains("/items/0/quantity"), "the fault is named: {problem}");
    let unknown = stack.http.get(format!("{}/nowhere", stack.gateway)).send().await.expect("answered");
    assert_eq!(unknown.status(), 404);
    let wrong = stack.http.delete(format!("{}/orders", stack.gateway)).send().await.expect("answered");
    assert_eq!(
        (wrong.status(), wrong.headers()["allow"].to_str().expect("text")),
        (StatusCode::METHOD_NOT_ALLOWED, "POST, OPTIONS")
    );
    let document = stack.http.get(format!("{}/openapi.json", stack.gateway)).send().await.expect("answered");
    let document = document.text().await.expect("text");
    assert!(document.contains("\"/orders\"") && !document.contains("x-sluicegate"), "our extensions are stripped");
    let head = stack.http.head(format!("{}/openapi.json", stack.gateway)).send().await.expect("answered");
    assert_eq!(head.headers()["content-length"].to_str().expect("text"), document.len().to_string());
    stack.stop().await;
}

/// <https://github.com/stripe/stripe-node/issues/1768>
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_github_payloads_arrive_byte_for_byte_and_one_changed_byte_is_refused() {
    let forward = ForwardServer::start(|_| StatusCode::NO_CONTENT).await;
    let stack = Stack::start(&[], &[("FORWARD_URL", &forward.url)]).await;
    let mut ids = Vec::new();
    for event in GITHUB_EVENTS {
        let payload = github_payload(event);
        let (status, body) = deliver(&stack, event, &format!("d-{event}"), &payload, &payload).await;
        assert_eq!(status, 202, "{event}: {body}\n{}", stack.printed());
        ids.push(body["id"].as_str().expect("an id").to_owned());
        let mut changed = payload.clone();
        let last = changed.iter().rposition(u8::is_ascii_digit).expect("a digit");
        changed[last] ^= 1;
        let (status, _) = deliver(&stack, event, &format!("d-{event}-changed"), &payload, &changed).await;
        assert_eq!(status, 401, "{event} with one byte changed");
    }
    for (id, event) in ids.iter().zip(GITHUB_EVENTS) {
        let timeline = stack.until_state(id, "done", WAY_TIME_MAX).await;
        assert_eq!(steps(&timeline), ["accepted", "delivered", "done"], "{event}");
        let forwarded = forward.received(|each| each.says(id));
        assert_eq!(forwarded.len(), 1, "{event} is forwarded once");
        let envelope = std::str::from_utf8(&forwarded[0].body).expect("UTF-8");
        let envelope = Envelope::decode(envelope).expect("a CloudEvent");
        assert_eq!(envelope.event_type(), format!("github.{event}"));
        assert_eq!(&*envelope.payload(), github_payload(event), "{event} arrives byte for byte");
    }

    // Signed JSON that most parsers refuse or read differently.
    let odd = br#"{"zen":"half a pair: \ud800","zen":"and again"}"#;
    let (status, body) = deliver(&stack, "ping", "d-odd", odd, odd).await;
    assert_eq!(status, 202, "{body}");
    let id = body["id"].as_str().expect("an id");
    stack.until_state(id, "done", WAY_TIME_MAX).await;
    let forwarded = forward.received(|each| each.says(id));
    let envelope = Envelope::decode(std::str::from_utf8(&forwarded[0].body).expect("UTF-8")).expect("a CloudEvent");
    assert_eq!(&*envelope.payload(), odd, "it arrives byte for byte");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_ends_every_function() {
    let stack = Stack::start(&[], &[]).await;
    let id = placed(&stack, "o-1", "c-1").await;
    stack.until_state(&id, "done", WAY_TIME_MAX).await;
    let functions = stack.functions();
    assert!(functions.len() >= 2, "ingress and consumer run: {functions:?}");
    stack.stop().await;
    let left: Vec<_> = functions.into_iter().filter(processes::runs).collect();
    assert!(left.is_empty(), "still running: {left:?}");
}
