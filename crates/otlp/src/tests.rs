//! A tracer and a receiver that is a socket.

use std::time::{Duration, SystemTime};

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::*;

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A receiver that gives one answer to each request, and returns what was sent in the first `requests`.
async fn receiver(answer: &'static str, requests: usize) -> (String, tokio::task::JoinHandle<Vec<(String, Json)>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let received = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut received = Vec::new();
        let mut bytes = Vec::new();
        while received.len() < requests {
            stream.read_buf(&mut bytes).await.unwrap();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let Ok(body) = serde_json::from_str(body) else { continue };
            received.push((head.to_owned(), body));
            bytes.clear();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        received
    });
    (url, received)
}

fn tracer(url: &str, more: &[(&str, &str)]) -> Tracer {
    let lookup = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(url.to_owned()),
        _ => more.iter().find_map(|(variable, text)| (*variable == name).then(|| (*text).to_owned())),
    };
    Tracer::from_env(lookup).unwrap().unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[tokio::test]
async fn spans_arrive_with_their_ids_times_attributes_and_links() {
    let (url, received) = receiver("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", 2).await;
    let tracer = tracer(&url, &[("OTEL_EXPORTER_OTLP_HEADERS", "x-key=7"), ("OTEL_SERVICE_NAME", "orders")]);
    let started = tracer.start(Some(CALLER), None);
    let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_800_000_000_000_000_007);
    let others = vec![started.child().context; LINKS_MAX + 2];
    let span =
        started.span("GET /", Kind::Server, at).attribute("http.route", "/").attribute("n", 7).links(others.clone());
    let below = started.child().span("send", Kind::Producer, at).failed(Some("timeout"));
    tracer.export(vec![span, below], soon()).await;
    tracer.export(vec![started.child().span("again", Kind::Internal, at)], soon()).await;

    let received = received.await.unwrap();
    let (head, body) = &received[0];
    assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
    for header in ["content-type: application/json", "x-key: 7"] {
        assert!(head.contains(header), "{head}");
    }
    let resource = &body["resourceSpans"][0];
    let service = json!({ "key": "service.name", "value": { "stringValue": "orders" } });
    assert!(resource["resource"]["attributes"].as_array().unwrap().contains(&service), "{resource}");
    let (server, send) = (&resource["scopeSpans"][0]["spans"][0], &resource["scopeSpans"][0]["spans"][1]);
    assert_eq!(server["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!((&server["parentSpanId"], &server["kind"]), (&json!("00f067aa0ba902b7"), &json!(2)));
    assert_eq!(server["startTimeUnixNano"], "1800000000000000007");
    assert_eq!(server["attributes"][1], json!({ "key": "n", "value": { "intValue": "7" } }));
    assert_eq!(server["links"].as_array().unwrap().len(), LINKS_MAX);
    assert_eq!((&server["droppedLinksCount"], &server["status"]), (&json!(2), &Json::Null));
    let ids = format!(
        "00-{}-{}-01",
        server["links"][0]["traceId"].as_str().unwrap(),
        server["links"][0]["spanId"].as_str().unwrap()
    );
    assert_eq!(ids, others[0].traceparent());
    assert_eq!((&send["parentSpanId"], &send["traceId"]), (&server["spanId"], &server["traceId"]));
    assert_eq!(send["status"], json!({ "code": 2 }));
    assert_eq!(received[1].1["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"], "again");
}

#[tokio::test]
async fn a_span_that_is_not_sampled_is_not_exported() {
    // Nothing listens there: an export would fail and be logged.
    let tracer = tracer("http://127.0.0.1:9", &[]);
    let unsampled = CALLER.replace("-01", "-00");
    let started = tracer.start(Some(&unsampled), None);
    assert!(!started.context.is_sampled() && started.context.traceparent().ends_with("-00"));
    for _ in 0..crate::export::LIMITS.failures_max {
        tracer.export(vec![started.span("x", Kind::Server, SystemTime::now())], soon()).await;
    }
    assert!(tracer.exporter.is_closed());
}

#[tokio::test]
async fn x_ray_names_the_trace_and_its_unsampled_parent_is_not_one() {
    let tracer = tracer("http://127.0.0.1:9", &[]);
    let header =
        |sampled| format!("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled={sampled}");
    for (sampled, has_parent) in [(1, true), (0, false)] {
        let started = tracer.start(None, Some(&header(sampled)));
        assert_eq!(started.parent.is_some(), has_parent, "{sampled}");
        assert!(started.context.traceparent().starts_with("00-5759e988bd862e3fe1be46a994272793-"));
        assert!(started.context.is_sampled(), "{sampled}");
    }
    let w3c = tracer.start(Some(CALLER), Some(&header(1)));
    assert_eq!(w3c.parent, SpanContext::from_traceparent(CALLER), "W3C takes precedence");
    assert!(tracer.start(Some("00-0-0-01"), None).parent.is_none());
}

#[tokio::test]
async fn a_receiver_that_fails_costs_three_invocations_their_timeout() {
    let (url, received) = receiver("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", 3).await;
    let tracer = tracer(&url, &[]);
    let span = || tracer.start(None, None).span("x", Kind::Server, SystemTime::now());
    for _ in 0..5 {
        tracer.export(vec![span()], soon()).await;
    }
    assert!(!tracer.exporter.is_closed());
    assert_eq!(received.await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_costs_the_timeout() {
    // It accepts a connection and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let tracer = tracer(&url, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "50")]);
    let span = tracer.start(None, None).span("x", Kind::Server, SystemTime::now());
    let started = Instant::now();
    tracer.export(vec![span.clone()], soon()).await;
    assert!(started.elapsed() < Duration::from_secs(10), "the timeout of 50 ms ended it");
    // A deadline that has passed ends it at once.
    tracer.export(vec![span], started).await;
}
