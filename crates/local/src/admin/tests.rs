//! The admin port over HTTP: its answers to browsers and scripts, its events, and its description.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use sluicegate_lambda_emulator::SqsClient;
use sqs_emulator::{Clock, QueueEvent, Sqs, SqsConfig};
use time::macros::datetime;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

use super::{Actions, Admin, Health, router, security::Token};
use crate::{
    activity::Activity,
    broker_faults::BrokerFaults,
    contract_facts::{ContractFacts, Credentials, Finding},
    function_lines::FunctionLines,
    gateway::HttpExchange,
    journal::Journal,
    mappings::Mappings,
    metrics::Metrics,
    project::{ApiClient, ApiRequest, Project, WatchedProject},
    queue_history::QueueHistory,
    queues::Queues,
    running_functions::RunningFunctions,
    s3::S3,
};

const BROWSER: &str = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n";

/// A running admin port.
struct Port {
    address: String,
    journal: Journal,
    lines: FunctionLines,
    server: AbortHandle,
}

impl Drop for Port {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Actions of a stack without queues, and with a function that is being built.
fn no_actions(lines: FunctionLines, health: Health) -> Actions {
    let functions = RunningFunctions::new(lines);
    functions.expect(["consumer"]);
    let client = SqsClient::Emulated(Sqs::new(Clock::system(), SqsConfig::default()));
    let queues = Queues::new(client, "http://127.0.0.1:1", Vec::new(), BTreeSet::new(), None, None);
    Actions {
        history: QueueHistory::new(queues.clone(), Activity::default()),
        queues,
        mappings: Mappings::default(),
        functions,
        health,
        faults: BrokerFaults::default(),
        api: ApiClient::new("http://127.0.0.1:1"),
        project: Some(WatchedProject::new(Arc::new(FaultyContract), Path::new("template.yaml"))),
    }
}

/// A contract with a fault, a finding and one route.
struct FaultyContract;

impl Project for FaultyContract {
    fn describe(&self) -> Value {
        json!({ "routes": [{ "route": "POST /orders" }], "faults": ["openapi.yaml:7: wrong"], "warnings": [],
            "findings": [{ "severity": "error", "resource": "Orders", "what": "is lost" }] })
    }

    fn sample(&self, route: &str, _: &str) -> Result<ApiRequest, String> {
        Err(route.to_owned())
    }

    fn renew(&self, request: ApiRequest, _: i64, _: &str) -> ApiRequest {
        request
    }
}

impl Port {
    async fn open() -> Self {
        let journal = Journal::new(["orders-dlq".to_owned()], S3::default(), Arc::new(|_: &str, _: &_| {}));
        let lines = FunctionLines::default();
        let explain = Arc::new(|request: &crate::RefusedRequest| {
            vec![Finding { name: "cause", text: format!("{} {}: {}", request.method, request.target, request.status) }]
        });
        let headers = BTreeSet::from(["x-key".to_owned()]);
        let credentials = Credentials { headers, query: BTreeSet::from(["key".to_owned()]) };
        let health = Health::default();
        health.down("consumer", "being built");
        let admin = Admin {
            health: health.clone(),
            journal: journal.clone(),
            actions: no_actions(lines.clone(), health),
            metrics: Metrics::default(),
            lines: lines.clone(),
            published: Arc::new([]),
            contract: ContractFacts { credentials, explain: Some(explain), project: None },
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let app = router(admin, Token::random().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, journal, lines, server: server.abort_handle() }
    }

    /// Returns the answer to a request, head and body, with these header lines.
    async fn ask(&self, method: &str, target: &str, headers: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n", self.address);
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    async fn json(&self, target: &str) -> Value {
        let (head, body) = self.ask("GET", target, "Accept: */*\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{target}: {head} {body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn page(&self, target: &str) -> String {
        let (head, body) = self.ask("GET", target, BROWSER).await;
        assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("text/html"), "{target}: {head} {body}");
        body
    }

    /// Puts an order on a queue, as the emulated queues report it.
    fn sent(&self, id: &str, order_id: &str) {
        let body = json!({ "specversion": "1.0", "id": id, "type": "order.placed", "source": "/orders",
            "principal": "shop", "datacontenttype": "application/json", "traceparent": format!("00-{}-{}-01", "a".repeat(32), "b".repeat(16)),
            "data": { "order_id": order_id } });
        self.stored(&body.to_string());
    }

    /// Records that a message was stored.
    fn stored(&self, body: &str) {
        self.journal.queue_event(&QueueEvent::Sent {
            queue: "orders".into(),
            message_id: "m".into(),
            body: body.into(),
            attributes: BTreeMap::new(),
        });
    }

    /// Records an exchange at the gateway.
    fn answered(&self, request_id: &str, query: &str, body: &Value, status: StatusCode, answer: &Value) {
        let event = json!({ "rawPath": "/orders", "rawQueryString": query, "isBase64Encoded": false, "body": body.to_string(),
            "headers": { "authorization": "Bearer s3cret", "x-key": "s3cret", "content-type": "application/json", "host": "api" } });
        self.journal.exchanged(&HttpExchange {
            method: &Method::POST,
            path: "/orders",
            status,
            body: &Bytes::from(answer.to_string()),
            at: datetime!(2026-11-21 01:02:03.456 UTC),
            took: Duration::from_micros(1_500),
            request_id,
            event: &Bytes::from(event.to_string()),
        });
    }
}

#[tokio::test]
async fn an_envelope_that_a_strict_reader_refuses_is_a_text() {
    let port = Port::open().await;
    for (n, data) in [r#""half a pair \ud83d""#.to_owned(), "1e999".to_owned(), "[".repeat(200) + &"]".repeat(200)]
        .into_iter()
        .enumerate()
    {
        let envelope = format!(r#"{{"specversion":"1.0","id":"e-{n}","type":"t","source":"/","data":{data}}}"#);
        port.stored(&envelope);
        let message = port.json(&format!("/messages/e-{n}")).await;
        assert_eq!((&message["envelope"], &message["payload"]["text"]), (&json!(envelope), &json!(data)), "{data}");
    }
    port.stored("no envelope");
    assert_eq!(port.json("/messages/m").await["envelope"], "no envelope");
}

#[tokio::test]
async fn a_message_has_its_request_payload_and_envelope_without_credentials() {
    let port = Port::open().await;
    port.sent("e-1", "o-<1>");
    port.answered(
        "r-1",
        "a=1&key=s3cret",
        &json!({ "order_id": "o-<1>" }),
        StatusCode::ACCEPTED,
        &json!({ "id": "e-1" }),
    );
    let message = port.json("/messages/e-1").await;
    assert_eq!((&message["id"], &message["state"]), (&json!("e-1"), &json!("accepted")), "{message:#}");
    assert_eq!(message["steps"][0]["step"], "accepted");
    assert_eq!(message["trace_id"], "a".repeat(32));
    assert_eq!(message["request"]["target"], "/orders?a=1&key=(credential)");
    let headers = json!({ "authorization": "(credential)", "x-key": "(credential)", "content-type": "application/json", "host": "api" });
    assert_eq!(message["request"]["headers"], headers);
    assert_eq!(message["payload"]["text"], r#"{"order_id":"o-<1>"}"#);
    assert_eq!(message["envelope"]["principal"], "shop");
    let page = port.page("/messages/e-1").await;
    for text in
        ["order.placed", "accepted", "POST /orders?a=1&amp;key=(credential)", "(credential)", "o-&lt;1&gt;", "1.5 ms"]
    {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("s3cret") && !message.to_string().contains("s3cret"), "{page}");
    let line = " INFO Lambda runtime invoke{requestId=\"i-1\"}: accepted request_id=\"r-1\" enqueue_ms=2.5";
    port.lines.push(&"ingress".into(), line);
    assert_eq!(port.json("/messages/e-1/logs").await["lines"][0]["text"], line);
    let page = port.page("/messages/e-1").await;
    let text = "<b>ingress</b> <code> INFO accepted request_id=&quot;r-1&quot; enqueue_ms=2.5</code>";
    assert!(page.contains(text) && page.contains("stored by the broker in <b>2.5 ms</b>"), "{page}");
    let (head, payload) = port.ask("GET", "/messages/e-1/payload", BROWSER).await;
    assert_eq!(payload, r#"{"order_id":"o-<1>"}"#);
    assert!(head.contains("content-disposition: attachment") && head.contains("application/octet-stream"), "{head}");
}

#[tokio::test]
async fn a_refused_request_is_listed_with_its_code_faults_and_explanation() {
    let port = Port::open().await;
    let problem = json!({ "title": "Unprocessable Content", "status": 422, "code": "schema_violated", "detail": "No.",
        "errors": [{ "pointer": "/items/0/quantity", "detail": "is not of type \"integer\"" }] });
    let body = json!({ "items": [{ "quantity": "2" }] });
    port.answered("r+1=", "", &body, StatusCode::UNPROCESSABLE_ENTITY, &problem);
    let list = port.json("/messages?state=refused").await;
    let row = &list["messages"][0];
    assert_eq!((&row["id"], &row["code"], &row["status"]), (&json!("r+1="), &json!("schema_violated"), &json!(422)));
    assert_eq!(row["route"], "POST /orders");
    let message = port.json("/messages/r%2B1%3D").await;
    assert_eq!(message["rejection"], problem);
    assert_eq!(message["findings"][0], json!({ "name": "cause", "text": "POST /orders: 422 Unprocessable Entity" }));
    let page = port.page("/messages/r%2B1%3D").await;
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"));
    let line = at("&quot;quantity&quot;: &quot;2&quot;");
    let fault = line + page[line..].find("is not of type &quot;integer&quot;").unwrap_or_else(|| panic!("{page}"));
    assert!(page.contains("<code>/items/0/quantity</code> is not of type"), "{page}");
    assert!(!page[line..fault].contains("class=\"line"), "the fault is beside its line: {page}");
    assert!(port.page("/messages").await.contains("href=\"/messages/r%2B1%3D\""));
}

#[tokio::test]
async fn a_refused_item_of_a_batch_is_listed_with_its_payload_pointer_and_faults() {
    let port = Port::open().await;
    port.sent("e-2", "o-2");
    let fault = json!({ "pointer": "/quantity", "detail": "is less than 1" });
    let refused = json!({ "status": 422, "code": "schema_violated", "detail": "No.", "errors": [fault] });
    let unstored = json!({ "status": 503, "id": "e-3", "code": "broker_unavailable", "detail": "Later." });
    let body = json!([{ "quantity": 1 }, { "quantity": 0 }, { "quantity": 3 }]);
    let answer = json!({ "items": [{ "status": 202, "id": "e-2" }, refused, unstored] });
    port.answered("r-2", "", &body, StatusCode::ACCEPTED, &answer);
    assert_eq!(port.json("/messages/e-2").await["request"]["request_id"], "r-2");
    let list = port.json("/messages?state=refused").await;
    let rows: Vec<_> = list["messages"].as_array().unwrap().iter().collect();
    let shown = |row: &Value| ["id", "pointer", "status", "code"].map(|name| row[name].clone());
    let row = |place: &str, status: u16, code: &str| {
        [json!(format!("r-2.{place}")), json!(format!("/{place}")), json!(status), json!(code)]
    };
    assert_eq!(shown(rows[0]), row("2", 503, "broker_unavailable"));
    assert_eq!(shown(rows[1]), row("1", 422, "schema_violated"));
    assert_eq!(rows.len(), 2);
    let message = port.json("/messages/r-2.1").await;
    assert_eq!((&message["rejection"], &message["payload"]["text"]), (&refused, &json!("{\"quantity\":0}")));
    let page = port.page("/messages/r-2.1").await;
    let line = page.find("&quot;quantity&quot;: 0").unwrap_or_else(|| panic!("{page}"));
    assert!(page[line..].split("</div>").next().unwrap().contains("is less than 1"), "{page}");
    assert!(page.contains("<code>/1</code> of a batch"), "{page}");

    // None of these items is stored, so the request is refused.
    let answer = json!({ "status": 422, "code": "items_refused", "detail": "No item was stored; see items.",
        "items": [{ "status": 409, "code": "request_in_progress", "detail": "Wait." }, refused] });
    port.answered("r-3", "", &body, StatusCode::UNPROCESSABLE_ENTITY, &answer);
    let page = port.page("/messages/r-3").await;
    for fault in ["<code>/0</code> request_in_progress: Wait.", "<code>/1/quantity</code> is less than 1"] {
        assert!(page.contains(fault), "{fault}: {page}");
    }
}

#[tokio::test]
async fn a_dead_letter_has_its_code_in_the_list_on_its_page_and_as_a_filter() {
    let port = Port::open().await;
    for (id, code) in [("e-1", "stock_short"), ("e-2", "card_expired")] {
        port.sent(id, "o");
        let attributes = [("sluicegate-reason", "only 0 left"), ("sluicegate-code", code)];
        port.journal.queue_event(&QueueEvent::Sent {
            queue: "orders-dlq".into(),
            message_id: "m".into(),
            body: json!({ "specversion": "1.0", "id": id }).to_string().into(),
            attributes: attributes.map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
        });
    }
    let list = port.json("/messages?state=dead&code=stock_short").await;
    assert_eq!((list["messages"].as_array().map(Vec::len), &list["messages"][0]["id"]), (Some(1), &json!("e-1")));
    assert_eq!(list["messages"][0]["code"], "stock_short");
    let page = port.page("/messages?code=card_expired").await;
    assert!(
        page.contains("<span class=\"code\">card_expired</span>") && page.contains("value=\"card_expired\""),
        "{page}"
    );
    assert_eq!(port.json("/messages/e-1").await["steps"][1]["code"], "stock_short");
    let page = port.page("/messages/e-1").await;
    assert!(page.contains("code <b>stock_short</b>") && page.contains("reason <b>only 0 left</b>"), "{page}");
}

#[tokio::test]
async fn a_list_is_filtered_and_has_parts() {
    let port = Port::open().await;
    for number in 0..5 {
        port.sent(&format!("e-{number}"), &format!("o-{number}"));
    }
    port.answered(
        "r-1",
        "",
        &json!({ "order_id": "o-9" }),
        StatusCode::UNAUTHORIZED,
        &json!({ "code": "unauthenticated" }),
    );
    let check = async |query: &str, expected: &[&str]| {
        let list = port.json(&format!("/messages?{query}")).await;
        let ids: Vec<_> = list["messages"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{query}");
        list["older"].as_u64()
    };
    check("", &["r-1", "e-4", "e-3", "e-2", "e-1", "e-0"]).await;
    check("state=refused", &["r-1"]).await;
    check("state=dead", &[]).await;
    check("state=open&text=e-3", &["e-3"]).await;
    check("text=o-9", &["r-1"]).await;
    check("text=%22o-2%22", &["e-2"]).await;
    check("type=order.placed&principal=shop&queue=orders&limit=1", &["e-4"]).await;
    check("type=order", &[]).await;
    check("queue=orders-dlq", &[]).await;
    check("principal=&state=", &["r-1", "e-4", "e-3", "e-2", "e-1", "e-0"]).await;
    let older = check("state=accepted&limit=2", &["e-4", "e-3"]).await.unwrap();
    let older = check(&format!("state=accepted&limit=2&before={older}"), &["e-2", "e-1"]).await.unwrap();
    assert_eq!(check(&format!("state=accepted&limit=2&before={older}"), &["e-0"]).await, None);
    for (query, code) in [("state=lost", "query_malformed"), ("limit=many", "query_malformed")] {
        let (head, body) = port.ask("GET", &format!("/messages?{query}"), "").await;
        assert!(head.starts_with("HTTP/1.1 400") && body.contains(code), "{query}: {head} {body}");
    }
    let page = port.page("/messages?state=accepted&limit=2&text=o-").await;
    assert!(page.contains("value=\"o-\"") && page.contains("<option value=\"accepted\" selected>"), "{page}");
    assert!(
        page.contains("/messages?state=accepted&amp;text=o-&amp;before="),
        "the next part keeps the filter: {page}"
    );
}

#[tokio::test]
async fn changes_are_events_and_a_client_that_connects_again_misses_none() {
    let port = Port::open().await;
    let connect = async |headers: &str| {
        let mut stream = TcpStream::connect(&port.address).await.unwrap();
        let head = format!("GET /events?since=0 HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", port.address);
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    let until = async |stream: &mut TcpStream, end: &str| {
        let mut text = String::new();
        let mut bytes = [0; 4096];
        while !text.contains(end) {
            let count = stream.read(&mut bytes).await.unwrap();
            assert!(count > 0, "the stream ended before {end}: {text}");
            text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
        text
    };
    port.sent("e-1", "o-1");
    let mut stream = connect("").await;
    let first = until(&mut stream, "\"e-1\"").await;
    assert!(first.contains("text/event-stream") && first.contains("event: messages"), "{first}");
    let version = first.split("id: ").nth(1).unwrap().split('\n').next().unwrap();
    port.sent("e-2", "o-2");
    assert!(!until(&mut stream, "\"e-2\"").await.contains("\"e-1\""), "only what changed");
    let again = until(&mut connect(&format!("Last-Event-ID: {version}\r\n")).await, "\"e-2\"").await;
    assert!(!again.contains("\"e-1\""), "{again}");
}

#[tokio::test]
async fn another_site_can_neither_read_nor_change_anything() {
    let port = Port::open().await;
    for (method, headers, code) in [
        ("GET", "Origin: http://attacker.example\r\n", "origin_refused"),
        ("GET", "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors\r\n", "origin_refused"),
        ("POST", "", "token_missing"),
    ] {
        for target in ["/messages", "/token", "/queues", "/nothing"] {
            let (head, body) = port.ask(method, target, headers).await;
            assert!(
                head.starts_with("HTTP/1.1 403") && body.contains(code),
                "{method} {target} {headers}: {head} {body}"
            );
        }
    }
    let mut stream = TcpStream::connect(&port.address).await.unwrap();
    stream
        .write_all(b"GET /messages HTTP/1.1\r\nHost: attacker.example:3001\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("host_refused"), "{answer}");
    let (_, token) = port.ask("GET", "/token", "").await;
    let (head, _) = port.ask("POST", "/messages", &format!("X-Sluicegate-Token: {token}\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 405"), "the token is accepted: {head}");
}

#[tokio::test]
async fn pages_run_only_the_scripts_of_the_port() {
    let port = Port::open().await;
    port.sent("e-1", "<script>alert(1)</script>");
    for target in
        ["/messages", "/messages/e-1", "/messages?text=%3Cscript%3Ealert(1)", "/queues", "/functions", "/contract"]
    {
        let (head, page) = port.ask("GET", target, BROWSER).await;
        assert!(head.contains("content-security-policy: default-src 'none'; script-src 'self';"), "{head}");
        assert!(head.contains("x-content-type-options: nosniff") && head.contains("cache-control: no-store"), "{head}");
        for forbidden in ["<script>", "<style", " style=", " onclick=", "http://", "https://"] {
            assert!(!page.contains(forbidden), "{target} has {forbidden}: {page}");
        }
        for part in page.split("=\"/assets/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(port.ask("GET", &format!("/assets/{name}"), "").await.0.starts_with("HTTP/1.1 200"), "{name}");
        }
    }
    assert!(port.ask("GET", "/assets/other.js", "").await.0.starts_with("HTTP/1.1 404"));
    assert!(port.ask("GET", "/", BROWSER).await.0.contains("location: /messages"));
}

/// A line of the description with two spaces in front is a path, and the one below it its only method.
#[tokio::test]
async fn the_description_has_the_paths_of_the_port() {
    let port = Port::open().await;
    port.sent("e-1", "o-1");
    let (_, token) = port.ask("GET", "/token", "").await;
    let (_, description) = port.ask("GET", "/openapi.yaml", "").await;
    let lines: Vec<_> = description.lines().collect();
    let operations = lines.windows(2).filter_map(|lines| {
        let path = lines[0].strip_prefix("  /")?.strip_suffix(':')?;
        Some((path, lines[1].trim().strip_suffix(':')?.to_ascii_uppercase()))
    });
    let operations: BTreeMap<_, _> = operations.collect();
    for (path, method) in &operations {
        let target = format!("/{}", path.replace("{id}", "e-1").replace("{queue}", "q").replace("{function}", "f"));
        let method = if method == "GET" { "HEAD" } else { method };
        let mut stream = TcpStream::connect(&port.address).await.unwrap();
        let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nX-Sluicegate-Token: {token}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        let status = std::str::from_utf8(&status[9..]).unwrap();
        // A function of this stack is not ready, and no queue is there.
        match (method, path.contains('{') || *path == "healthz") {
            ("HEAD", false) => assert_eq!(status, "200", "{target}"),
            _ => assert!(["200", "404", "409", "422", "503"].contains(&status), "{method} {target}: {status}"),
        }
    }
    let code = concat!(include_str!("../admin.rs"), include_str!("actions.rs"));
    let routes = code.split(".route(\"/").skip(1).filter_map(|route| {
        let (path, rest) = route.split_once("\", ")?;
        Some((path, rest.split('(').next()?.to_ascii_uppercase()))
    });
    let routes: BTreeMap<_, _> = routes.filter(|(path, _)| !path.is_empty() && !path.starts_with("assets/")).collect();
    assert_eq!(operations, routes);
}

#[tokio::test]
async fn the_pages_of_queues_functions_and_the_contract_are_shown() {
    let port = Port::open().await;
    port.lines.push(&"consumer".into(), "<b>");
    let queues = port.page("/queues").await;
    for text in ["aria-current=\"page\"", "/assets/charts.js", "/assets/uplot.js", "hx-trigger=\"every 1s\"", "fault"] {
        assert!(queues.contains(text), "{text}: {queues}");
    }
    let functions = port.page("/functions").await;
    for text in ["id=\"f-consumer\"", "not ready", "being built", "&lt;b&gt;"] {
        assert!(functions.contains(text), "{text}: {functions}");
    }
    let contract = port.page("/contract").await;
    for text in [
        "POST /orders",
        "Send a sample",
        "{&quot;route&quot;:&quot;POST /orders&quot;}",
        "openapi.yaml:7: wrong",
        "is lost",
    ] {
        assert!(contract.contains(text), "{text}: {contract}");
    }
}
