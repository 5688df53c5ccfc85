//! The console at the admin port: a message with its request, payload and log lines, and the explanation of a refusal.

use reqwest::header::ACCEPT;
use serde_json::Value;

use super::{WAY_TIME_MAX, deliver, github_payload, order, place, placed};
use crate::support::stack::Stack;

async fn json(stack: &Stack, path: &str) -> Value {
    let answer = stack.http.get(format!("{}{path}", stack.admin)).send().await.expect("the admin port answers");
    answer.json().await.expect("JSON")
}

async fn page(stack: &Stack, path: &str) -> String {
    let request = stack.http.get(format!("{}{path}", stack.admin)).header(ACCEPT, "text/html");
    request.send().await.expect("the admin port answers").text().await.expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_shows_what_happened_and_why() {
    let stack = Stack::start(&[], &[]).await;
    let id = placed(&stack, "o-1", "c-1").await;
    stack.until_state(&id, "done", WAY_TIME_MAX).await;
    let message = json(&stack, &format!("/messages/{id}")).await;
    assert_eq!((&message["type"], &message["principal"]), (&"order.placed".into(), &"dev".into()), "{message:#}");
    assert_eq!(message["request"]["headers"]["x-api-key"], "(credential)");
    assert_eq!(message["payload"]["text"], order("o-1", "c-1", 2).to_string());
    assert_eq!(message["envelope"]["id"], message["id"]);
    // A function prints before it answers, but its pipe is read later.
    let lines = stack
        .until("the lines of both functions are kept", WAY_TIME_MAX, async || {
            let lines = json(&stack, &format!("/messages/{id}/logs")).await["lines"].to_string();
            (lines.contains("enqueue_ms") && lines.contains("handler_ms")).then_some(lines)
        })
        .await;
    let page_of_message = page(&stack, &format!("/messages/{id}")).await;
    for text in ["order.placed", "stored by the broker in <b>", "handler <b>", "POST /orders"] {
        assert!(page_of_message.contains(text), "{text}: {page_of_message}\n{lines}");
    }
    assert!(!page_of_message.contains("dev-key"), "{page_of_message}");

    let body = github_payload("ping");
    let sent = [body.as_slice(), b"\n"].concat();
    let (status, problem) = deliver(&stack, "ping", "d-1", &body, &sent).await;
    assert_eq!(status, 401, "{problem}");
    assert_eq!(place(&stack, "dev-key", "k-1", &order("o-2", "c-1", 0)).await.0, 422);
    let refused = json(&stack, "/messages?state=refused").await;
    let request_id = |index: usize| refused["messages"][index]["id"].as_str().expect("an id").replace('=', "%3D");
    let webhook = json(&stack, &format!("/messages/{}", request_id(1))).await;
    let findings = webhook["findings"].to_string();
    assert!(findings.contains("it has no line feed at the end"), "{webhook:#}");
    assert!(!webhook.to_string().contains("dev-github"), "{webhook:#}");
    let invalid = page(&stack, &format!("/messages/{}", request_id(0))).await;
    let line = invalid.find("&quot;quantity&quot;: 0").expect("the line of the fault");
    assert!(invalid[line..].split("</div>").next().is_some_and(|line| line.contains("class=\"fault\"")), "{invalid}");
    assert!(page(&stack, "/messages").await.contains(&format!("/messages/{}", id.replace('-', "%2D"))));
    stack.stop().await;
}
