//! The actions over HTTP, on emulated queues with their AWS port, a mapping and a function that is a closure.

use std::{future::ready, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use sluicegate_lambda_emulator::{Invocation, Invoke, RemoteSqs, SqsClient, SqsMapping, SqsMappingSpec};
use sqs_emulator::{Clock, Sqs, SqsConfig};
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};

use super::*;
use crate::{
    activity::Activity,
    aws,
    gateway::HttpExchange,
    mappings::RunningMapping,
    project::{ApiRequest, Project},
    s3::S3,
};

/// Longest wait for something that must happen.
const TIME_MAX: Duration = Duration::from_secs(30);

/// An envelope, of which no handler exists.
const ENVELOPE: &str = r#"{"specversion":"1.0","id":"m-1","source":"s","type":"order.placed","data":{"quantity":0}}"#;

/// A function that passes on its events and succeeds.
#[derive(Clone)]
struct Recorded(UnboundedSender<Value>);

impl Invoke for Recorded {
    fn invoke(&self, event: Bytes) -> impl Future<Output = Invocation> + Send {
        let _ = self.0.send(serde_json::from_slice(&event).unwrap());
        ready(Invocation::Response("{}".into()))
    }
}

/// The queues `orders` and `orders-dlq`, a mapping of `orders` to `consumer`, and the admin port.
struct Fixture {
    http: Client<HttpConnector, Full<Bytes>>,
    admin: String,
    aws: String,
    sqs: SqsClient,
    queues: Queues,
    history: QueueHistory,
    events: UnboundedReceiver<Value>,
    journal: Journal,
    /// The requests that the API received.
    at_api: UnboundedReceiver<(http::request::Parts, Bytes)>,
    _servers: JoinSet<()>,
}

/// A contract with one route, whose signatures are valid once they are made anew.
struct Contract;

impl Project for Contract {
    fn describe(&self) -> Value {
        json!({ "routes": [{ "route": "POST /orders" }] })
    }

    fn sample(&self, route: &str, _: &str) -> Result<ApiRequest, String> {
        match route {
            "POST /orders" => {
                Ok(ApiRequest { method: "POST".to_owned(), target: "/orders".to_owned(), ..ApiRequest::default() })
            }
            _ => Err(format!("{route}: no such route")),
        }
    }

    fn renew(&self, mut request: ApiRequest, at_unix_s: i64, _: &str) -> ApiRequest {
        request.headers.insert("x-signature", HeaderValue::from(at_unix_s));
        request
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

impl Fixture {
    async fn start() -> Self {
        let [aws, admin, api] = [listen().await, listen().await, listen().await];
        let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let (aws_url, admin_url) = (url(&aws), url(&admin));
        let emulated = Sqs::new(Clock::system(), SqsConfig::default());
        emulated.set_base_url(&aws_url);
        let sqs = SqsClient::Emulated(emulated.clone());
        let mut queues = Vec::new();
        for name in ["orders-dlq", "orders"] {
            let created = sqs.call("CreateQueue", json!({ "QueueName": name })).await.unwrap();
            queues.push((name.to_owned(), created["QueueUrl"].as_str().unwrap().to_owned()));
        }
        let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:orders-dlq","maxReceiveCount":3}"#;
        let input = json!({ "QueueUrl": queues[1].1, "Attributes": { "RedrivePolicy": policy } });
        sqs.call("SetQueueAttributes", input).await.unwrap();

        let (sender, events) = unbounded_channel();
        let spec = SqsMappingSpec {
            function: "consumer".to_owned(),
            queue_name: "orders".to_owned(),
            queue_arn: "arn:aws:sqs:us-east-1:000000000000:orders".to_owned(),
            queue_url: queues[1].1.clone(),
            batch_size: 10,
            batching_window: Duration::ZERO,
            maximum_concurrency: None,
            report_batch_item_failures: false,
            filters: Vec::new(),
            fifo: false,
        };
        let mappings = Mappings::default();
        let client = sqs.clone();
        let start = move || {
            let function = Recorded(sender.clone());
            SqsMapping::start(spec.clone(), client.clone(), function, Arc::new(|_| {})).map(RunningMapping::Sqs)
        };
        mappings.start("consumer", "orders", Box::new(start)).unwrap();

        let faults = BrokerFaults::default();
        let dead_letter_queues = ["orders-dlq".to_owned()].into();
        let queues = Queues::new(sqs.clone(), &aws_url, queues, dead_letter_queues, None, None);
        let history = QueueHistory::new(queues.clone(), Activity::default());
        let (functions, health) = (RunningFunctions::default(), Health::default());
        let all = Actions {
            queues: queues.clone(),
            history: history.clone(),
            mappings,
            functions,
            health,
            faults: faults.clone(),
            api: ApiClient::new(&url(&api)),
            project: Some(WatchedProject::new(Arc::new(Contract), Path::new("template.yaml"))),
        };
        let (journal, at_api) = (Journal::new([], S3::default(), Arc::new(|_: &str, _: &_| {})), unbounded_channel());
        let act = actions(all.clone(), journal.clone());
        let mut servers = JoinSet::new();
        servers.spawn(async move {
            let _ = axum::serve(admin, act.merge(listings(all))).await;
        });
        servers.spawn(async move {
            let answer = async move |request: axum::extract::Request| {
                let (head, body) = request.into_parts();
                let _ = at_api.0.send((head, body.collect().await.unwrap().to_bytes()));
                r#"{"id":"m-9"}"#
            };
            let _ = axum::serve(api, Router::new().fallback(answer)).await;
        });
        servers.spawn(async move {
            let none = Arc::new(|_: &str| None);
            let _ = aws::serve_with_faults(aws, emulated, none, None, S3::default(), faults).await;
        });
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self {
            http,
            admin: admin_url,
            aws: aws_url,
            sqs,
            queues,
            history,
            events,
            journal,
            at_api: at_api.1,
            _servers: servers,
        }
    }

    /// Returns status and JSON of the answer.
    async fn call(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request::builder().method(method).uri(format!("{}{path}", self.admin)).body(body.into()).unwrap();
        let (head, body) = self.http.request(request).await.unwrap().into_parts();
        (head.status.as_u16(), serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap())
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, body).await
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.call(Method::GET, path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    async fn send(&self, queue: &str, body: &str) {
        let url = self.sqs.call("GetQueueUrl", json!({ "QueueName": queue })).await.unwrap();
        let input = json!({ "QueueUrl": url["QueueUrl"], "MessageBody": body });
        self.sqs.call("SendMessage", input).await.unwrap();
    }

    /// Returns how many messages a queue has, those in flight included.
    async fn depth(&self, queue: &str) -> u64 {
        let counts = self.queues.counts().await;
        let found = counts.iter().find(|each| each["name"] == queue).unwrap();
        ["visible", "in_flight", "delayed"].iter().map(|state| found[state].as_u64().unwrap()).sum()
    }

    /// Returns the body of the next message that the function receives.
    async fn received(&mut self) -> String {
        let event = tokio::time::timeout(TIME_MAX, self.events.recv()).await.expect("an invocation").unwrap();
        event["Records"][0]["body"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_paused_mapping_leaves_messages_on_the_queue_until_it_is_resumed() {
    let mut stack = Fixture::start().await;
    let (path, mapping) = ("/mappings/consumer/orders", json!({ "function": "consumer", "queue": "orders" }));
    let in_state = |state: &str| {
        let mut expected = mapping.clone();
        expected["state"] = state.into();
        expected
    };
    assert_eq!(stack.post(&format!("{path}/pause"), Value::Null).await, (200, in_state("Disabled")));
    stack.send("orders", "one").await;
    assert_eq!(stack.get("/mappings").await, json!({ "mappings": [in_state("Disabled")] }));
    assert_eq!((stack.depth("orders").await, stack.events.try_recv().is_err()), (1, true));
    assert_eq!(stack.post(&format!("{path}/resume"), Value::Null).await, (200, in_state("Enabled")));
    assert_eq!(stack.received().await, "one");
    // A second time changes nothing.
    assert_eq!(stack.post(&format!("{path}/resume"), Value::Null).await, (200, in_state("Enabled")));
    let (status, unknown) = stack.post("/mappings/consumer/other/pause", Value::Null).await;
    assert_eq!((status, &unknown["code"]), (404, &json!("mapping_unknown")));
}

#[tokio::test]
async fn a_purge_needs_the_name_of_the_queue_twice() {
    let stack = Fixture::start().await;
    stack.send("orders-dlq", "one").await;
    stack.send("orders-dlq", "two").await;
    for body in [Value::Null, json!({ "confirm": "orders" })] {
        let (status, refused) = stack.post("/queues/orders-dlq/purge", body).await;
        assert_eq!((status, &refused["code"]), (422, &json!("request_invalid")));
        assert!(refused["detail"].as_str().unwrap().contains(r#"{"confirm":"orders-dlq"}"#), "{refused}");
    }
    assert_eq!(stack.depth("orders-dlq").await, 2);
    let (status, purged) = stack.post("/queues/orders-dlq/purge", json!({ "confirm": "orders-dlq" })).await;
    assert_eq!((status, &purged["purged"]), (200, &json!(true)));
    assert_eq!(stack.depth("orders-dlq").await, 0);
    let (status, unknown) = stack.post("/queues/none/purge", json!({ "confirm": "none" })).await;
    assert_eq!((status, &unknown["code"]), (404, &json!("queue_unknown")));
}

#[tokio::test]
async fn dead_letters_are_redriven_and_corrected() {
    let mut stack = Fixture::start().await;
    stack.send("orders-dlq", ENVELOPE).await;
    stack.send("orders-dlq", "no envelope").await;

    let (status, planned) = stack.post("/queues/orders-dlq/redrive", json!({ "dry_run": true })).await;
    assert_eq!((status, planned["planned"].as_array().unwrap().len()), (200, 2), "{planned}");
    let shown = stack.get("/queues/orders-dlq/dead-letters/m-1").await;
    assert_eq!((&shown["body"], &shown["type"]), (&json!(ENVELOPE), &json!("order.placed")));

    let path = "/queues/orders-dlq/dead-letters/m-1/redrive";
    for (body, detail) in [
        (json!({}), "nothing is changed"),
        (json!({ "body": "no envelope" }), "is not one"),
        (json!({ "set": ["/quantity=x"] }), "not JSON"),
        (json!({ "sets": [] }), "unknown field"),
    ] {
        let (status, refused) = stack.post(path, body).await;
        assert!(status == 422 && refused["detail"].as_str().unwrap().contains(detail), "{refused}");
    }
    let (status, unknown) = stack.post("/queues/orders-dlq/dead-letters/m-2/redrive", json!({ "body": "b" })).await;
    assert_eq!((status, &unknown["code"]), (404, &json!("dead_letter_unknown")), "{unknown}");

    let corrected = stack.post(path, json!({ "set": ["/quantity=2"] })).await;
    assert_eq!(corrected, (200, json!({ "id": "m-1", "dead_letter": "m-1", "redriven": true })));
    assert_eq!(stack.received().await, ENVELOPE.replace(r#""quantity":0"#, r#""quantity":2"#));
    for (filter, detail) in [(json!({ "id": ["m-1"] }), "unknown field"), (json!({ "reason": "(" }), "regex")] {
        let (status, refused) = stack.post("/queues/orders-dlq/redrive", json!({ "filter": filter })).await;
        assert!(status == 422 && refused["detail"].as_str().unwrap().contains(detail), "{refused}");
    }
    let (_, report) = stack.post("/queues/orders-dlq/redrive", json!({ "filter": { "types": ["order.*"] } })).await;
    assert_eq!((&report["seen"], &report["done"]), (&json!(1), &json!(0)), "{report}");
    let (status, report) = stack.post("/queues/orders-dlq/redrive", Value::Null).await;
    assert_eq!((status, &report["done"], &report["failures"]), (200, &json!(1), &json!([])), "{report}");
    assert_eq!((stack.received().await.as_str(), stack.depth("orders-dlq").await), ("no envelope", 0));

    stack.send("orders-dlq", ENVELOPE).await;
    let (_, corrected) = stack.post(path, json!({ "set": ["id=\"m-5\""] })).await;
    assert_eq!(corrected, json!({ "id": "m-5", "dead_letter": "m-1", "redriven": true }));
    assert_eq!(stack.journal.message("m-5").unwrap().corrects.as_deref(), Some("m-1"));

    let (status, unknown) = stack.post("/queues/none/redrive", Value::Null).await;
    assert!(status == 422 && unknown["detail"] == "none is not a queue of this stack", "{unknown}");
}

#[tokio::test]
async fn a_fault_of_sqs_is_what_a_sender_meets() {
    let stack = Fixture::start().await;
    let url = format!("{}/000000000000/orders-dlq", stack.aws);
    let send = async || {
        let input = json!({ "QueueUrl": url, "MessageBody": "b" });
        RemoteSqs::new(&stack.aws, "us-east-1").unwrap().call("SendMessage", input).await
    };
    for (fault, message, stored) in [
        (json!({ "fault": "unavailable" }), Err("this fault was set at the admin port"), 0),
        (json!({ "fault": "disconnect" }), Err("client error"), 0),
        (json!({ "fault": "lost-answer" }), Err("client error"), 1),
        (json!({ "fault": "slow", "delay_ms": 300 }), Ok(()), 2),
        (json!({ "fault": "none" }), Ok(()), 3),
    ] {
        let (status, set) = stack.post("/faults/sqs", fault.clone()).await;
        let kind = if fault["fault"] == "none" { Value::Null } else { fault["fault"].clone() };
        assert_eq!((status, &set["sqs"]["fault"]), (200, &kind), "{set}");
        let started = tokio::time::Instant::now();
        match (send().await, message) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(part)) => {
                assert!(error.status() == 503 && error.message().contains(part), "{fault}: {error:?}");
            }
            (result, _) => panic!("{fault}: {result:?}"),
        }
        let delay = Duration::from_millis(fault["delay_ms"].as_u64().unwrap_or_default());
        assert!(started.elapsed() >= delay, "{fault}");
        assert_eq!(stack.depth("orders-dlq").await, stored, "{fault}");
        let affected = stack.get("/faults").await["sqs"]["affected"].as_u64();
        assert_eq!(affected, (!kind.is_null()).then_some(1), "{fault}");
    }
    for wrong in [json!({}), json!({ "fault": "fire" }), json!({ "fault": "slow", "delay_ms": 60_001 })] {
        assert_eq!(stack.post("/faults/sqs", wrong.clone()).await.0, 422, "{wrong}");
    }
    let (status, refused) = stack.post("/faults/rabbitmq", json!({ "fault": "frozen" })).await;
    assert_eq!((status, &refused["code"]), (409, &json!("broker_not_private")));
}

#[tokio::test]
async fn the_history_of_a_queue_has_a_sample_a_second() {
    let stack = Fixture::start().await;
    stack.send("orders-dlq", "one").await;
    let sampling = tokio::spawn(stack.history.clone().sample());
    let history = tokio::time::timeout(TIME_MAX, async {
        loop {
            let (status, history) = stack.call(Method::GET, "/queues/orders-dlq/history", Value::Null).await;
            if status == 200 && history["visible"].as_array().unwrap().len() >= 2 {
                return history;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let history = history.await.expect("two samples");
    assert_eq!((&history["visible"][0], &history["visible"][1]), (&json!(1), &json!(1)));
    let at = |index: usize| history["at_unix_s"][index].as_u64().unwrap();
    assert!((1..=3).contains(&(at(1) - at(0))), "{history}");
    assert_eq!(stack.call(Method::GET, "/queues/none/history", Value::Null).await.0, 404);
    sampling.abort();
}

#[tokio::test]
async fn a_function_that_is_not_running_cannot_be_frozen() {
    let stack = Fixture::start().await;
    let (status, unknown) = stack.post("/functions/consumer/freeze", Value::Null).await;
    assert_eq!((status, &unknown["code"]), (404, &json!("function_unknown")));
}

#[tokio::test]
async fn a_kept_request_is_sent_again_with_a_new_signature() {
    let mut stack = Fixture::start().await;
    let event = json!({ "rawQueryString": "a=1", "isBase64Encoded": true, "body": "AP8=", "cookies": ["c=1", "d=2"],
        "headers": { "host": "api", "content-length": "2", "x-forwarded-for": "127.0.0.1", "x-api-key": "k" } });
    stack.journal.exchanged(&HttpExchange {
        method: &Method::PUT,
        path: "/orders",
        status: StatusCode::UNAUTHORIZED,
        body: &Bytes::from(r#"{"code":"unauthenticated"}"#),
        at: time::macros::datetime!(2026-11-21 01:02:03 UTC),
        took: Duration::ZERO,
        request_id: "r-1",
        event: &Bytes::from(event.to_string()),
    });
    let sent = json!({ "status": 200, "message": "m-9", "answer": { "id": "m-9" } });
    assert_eq!(stack.post("/messages/r-1/replay", Value::Null).await, (200, sent));
    let (head, body) = stack.at_api.recv().await.unwrap();
    assert_eq!((head.method, head.uri.to_string().as_str(), &body[..]), (Method::PUT, "/orders?a=1", &[0, 255][..]));
    let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!((header("x-api-key"), header("cookie")), (Some("k"), Some("c=1; d=2")));
    assert_eq!((header("x-forwarded-for"), header("x-signature")), (None, Some("1795222923")));
    let (status, unknown) = stack.post("/messages/r-2/replay", Value::Null).await;
    assert_eq!((status, &unknown["code"]), (404, &json!("message_unknown")));
}

#[tokio::test]
async fn a_sample_of_a_route_is_sent() {
    let mut stack = Fixture::start().await;
    let (status, sent) = stack.post("/samples", json!({ "route": "POST /orders" })).await;
    assert_eq!((status, &sent["message"]), (200, &json!("m-9")));
    assert_eq!(stack.at_api.recv().await.unwrap().0.uri.path(), "/orders");
    let (status, unknown) = stack.post("/samples", json!({ "route": "GET /" })).await;
    assert_eq!((status, &unknown["detail"]), (422, &json!("GET /: no such route")));
}

#[tokio::test]
async fn a_button_of_a_page_gets_what_the_page_does_next() {
    let stack = Fixture::start().await;
    let press = async |path: &str, form: &str| {
        let request = Request::post(format!("{}{path}", stack.admin)).header("hx-request", "true");
        let answer = stack.http.request(request.body(form.to_owned().into()).unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        (head.status.as_u16(), header("hx-refresh"), header("hx-redirect"), body)
    };
    let none = String::new();
    let (status, refresh, redirect, body) = press("/faults/sqs", "fault=slow&delay_ms=5").await;
    assert_eq!((status, refresh.as_deref(), redirect, &body), (200, Some("true"), None, &none));
    assert_eq!(stack.get("/faults").await["sqs"]["delay_ms"], 5);
    let (status, refresh, redirect, body) = press("/samples", "route=POST+%2Forders").await;
    assert_eq!((status, refresh, redirect.as_deref(), &body), (200, None, Some("/messages/m%2D9"), &none));
    let (status, _, _, body) = press("/queues/a/purge", "confirm=%3Cb%3E").await;
    assert!(status == 422 && body.starts_with("<p class=\"bad\" role=\"alert\">this deletes"), "{body}");
}
