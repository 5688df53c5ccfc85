//! The output of `cargo local`: on a pseudo-terminal, in a pipe, and as JSON.

mod pseudo_terminal;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{ChildStdout, Command};

use crate::docs::local::events;
use crate::support::{cargo, processes, stack::Stack};
use pseudo_terminal::{PseudoTerminal, Shown};

/// The time limit of the start, which includes building the functions.
const START_TIME_MAX: Duration = Duration::from_secs(900);
/// The time limit of a reaction to a request, a signal or a new size.
const REACTION_TIME_MAX: Duration = Duration::from_secs(20);
const FREE_PORTS: [&str; 7] = ["local", "--port", "0", "--admin-port", "0", "--aws-port", "0"];

#[tokio::test]
async fn a_terminal_has_a_status_line_until_the_stack_is_terminated() {
    let mut command = cargo();
    command.args(FREE_PORTS).env("TERM", "xterm").env_remove("NO_COLOR").env_remove("FORWARD_URL");
    let mut terminal = PseudoTerminal::run(command, 140);
    let has_status = |shown: &Shown| shown.last().contains(" requests/s  ") && shown.last().contains("orders");
    let started = |shown: &Shown| shown.contains("Development secrets:") && has_status(shown);
    terminal.until("the stack is ready, with a status line", START_TIME_MAX, started).await;
    let gateway = terminal.word("gateway=");

    let body = json!({ "order_id": "o-1", "customer_id": "c-1", "items": [{ "sku": "tea", "quantity": 2 }] });
    let request = reqwest::Client::new().post(format!("{gateway}/orders")).json(&body);
    let answer = request.header("x-api-key", "dev-key").header("idempotency-key", "o-1").send().await;
    assert_eq!(answer.expect("answered").status(), 202);
    let done = |shown: &Shown| shown.contains("         done ") && has_status(shown);
    terminal.until("the order is done, above the status line", REACTION_TIME_MAX, done).await;
    let counted = |shown: &Shown| !shown.last().contains(" 0 done/s") && has_status(shown);
    terminal.until("the done message is counted", REACTION_TIME_MAX, counted).await;

    terminal.resize(40);
    // Without a new drawing, its first 40 characters would stay.
    let is_cut = |shown: &Shown| shown.last().contains(" requests/s  ") && shown.last().chars().count() == 39;
    terminal.until("the status line is cut to the new width", REACTION_TIME_MAX, is_cut).await;

    processes::signal(terminal.id(), "TERM");
    let (code, shown) = terminal.ended(REACTION_TIME_MAX).await;
    assert_eq!((code, shown.last(), shown.is_plain), (Some(0), "Stopping", true), "{shown:?}");
}

#[tokio::test]
async fn a_pipe_has_lines_without_codes_and_without_a_status_line() {
    let stack = Stack::start(&[], &[]).await;
    let id = crate::e2e::placed(&stack, "o-pipe", "c-pipe").await;
    stack.until_state(&id, "done", REACTION_TIME_MAX).await;
    stack.until_printed(&format!("done {id}")).await;
    let lines = stack.lines_since("gateway=");
    let wrong: Vec<_> = lines.iter().filter(|line| line.contains('\x1b') || line.contains("requests/s")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    stack.stop().await;
}

/// The lines of `cargo local --json`.
struct JsonLines(Lines<BufReader<ChildStdout>>, Vec<Value>);

impl JsonLines {
    /// Reads up to an event of this name that `is_wanted`.
    async fn until(&mut self, name: &str, time_max: Duration, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let found = tokio::time::timeout(time_max, async {
            while let Some(line) = self.0.next_line().await.expect("read") {
                let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                self.1.push(event.clone());
                if event["event"] == name && is_wanted(&event) {
                    return Some(event);
                }
            }
            None
        });
        found.await.ok().flatten().unwrap_or_else(|| panic!("no event {name}: {:#?}", self.1))
    }
}

#[tokio::test]
async fn json_has_one_documented_event_for_each_thing_that_happens() {
    let mut command = Command::from(cargo());
    command.args(FREE_PORTS).arg("--json").env_remove("FORWARD_URL");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("cargo starts");
    let mut lines = JsonLines(BufReader::new(child.stdout.take().expect("a pipe")).lines(), Vec::new());
    let is_first = |_: &Value| true;
    let starting = lines.until("starting", START_TIME_MAX, is_first).await;
    let started = lines.until("started", START_TIME_MAX, is_first).await;
    assert_eq!(started["gateway"], starting["gateway"]);
    assert!(started["routes"].as_array().expect("routes").contains(&"POST /orders".into()), "{started}");
    let states: Vec<_> =
        lines.1.iter().filter(|event| event["event"] == "build").map(|event| &event["state"]).collect();
    assert!(states.first() == Some(&&"started".into()) && states.last() == Some(&&"finished".into()), "{states:?}");

    let http = reqwest::Client::new();
    let gateway = started["gateway"].as_str().expect("a URL");
    let order = json!({ "order_id": "o-1", "customer_id": "c-1", "items": [{ "sku": "tea", "quantity": 2 }] });
    for (body, key) in [(&order, "dev-key"), (&order, "wrong")] {
        let request = http.post(format!("{gateway}/orders")).json(body).header("x-api-key", key);
        request.header("idempotency-key", "o-1").send().await.expect("answered");
    }
    let refused = lines.until("request", REACTION_TIME_MAX, |event| event["status"] == 401).await;
    assert!(refused["method"] == "POST" && refused["path"] == "/orders" && refused["code"].is_string(), "{refused}");
    if !lines.1.iter().any(|event| event["step"] == "done") {
        lines.until("step", REACTION_TIME_MAX, |event| event["step"] == "done").await;
    }
    let message: Vec<_> = lines.1.iter().filter(|event| event["event"] == "step").collect();
    let steps: Vec<_> = message.iter().map(|event| event["step"].as_str().expect("a step")).collect();
    assert_eq!(steps, ["accepted", "delivered", "done"]);
    assert!(message.iter().all(|event| event["id"] == message[0]["id"]), "{message:#?}");

    processes::signal(child.id().expect("it runs"), "INT");
    let stopped = lines.until("stopped", REACTION_TIME_MAX, is_first).await;
    assert_eq!(stopped["success"], true);
    assert_eq!(lines.0.next_line().await.expect("read"), None, "an event after the last");
    assert!(child.wait().await.expect("ended").success());

    let documented: BTreeMap<_, _> = events().into_iter().collect();
    for event in &lines.1 {
        let mut fields = event.as_object().expect("an object").clone();
        let name = fields.remove("event").expect("its name");
        assert!(fields.remove("at").is_some_and(|at| at.is_string()), "{event}");
        let known = &documented[name.as_str().expect("a name")];
        assert!(fields.keys().all(|field| known.contains(field)), "{event} has more than {known:?}");
    }
    for name in ["request", "step", "log", "notice"] {
        assert!(lines.1.iter().any(|event| event["event"] == name), "no {name}");
    }
}

#[test]
fn an_error_at_the_start_is_an_event_too() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let output = cargo().args(["local", "--json", "--aws-port", "0", "--port", &port]).output().expect("cargo runs");
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    let events: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [error, stopped] = events.as_slice() else { panic!("{printed}") };
    assert!(error["event"] == "error" && error["text"].as_str().expect("a text").contains(&port), "{printed}");
    assert!(stopped["event"] == "stopped" && stopped["success"] == false, "{printed}");
    assert_eq!(output.status.code(), Some(1));
}
