//! The outcome for each answer of an endpoint on a loopback socket.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::test_http::read_request;

#[derive(Default)]
struct Seen {
    heads: Vec<String>,
    bodies: Vec<String>,
    connections: usize,
}

/// Answers every request with the same text, or never if it is empty.
async fn endpoint(answer: &'static str) -> (String, Arc<Mutex<Seen>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/events?x=1", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Seen::default()));
    tokio::spawn({
        let seen = Arc::clone(&seen);
        async move {
            loop {
                let stream = listener.accept().await.unwrap().0;
                seen.lock().unwrap().connections += 1;
                tokio::spawn(serve(stream, answer, Arc::clone(&seen)));
            }
        }
    });
    (url, seen)
}

async fn serve(stream: TcpStream, answer: &'static str, seen: Arc<Mutex<Seen>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (head, body) = read_request(&mut stream).await?;
        {
            let mut seen = seen.lock().unwrap();
            seen.heads.push(head);
            seen.bodies.push(String::from_utf8(body).unwrap());
        }
        match answer {
            "" => std::future::pending().await,
            answer => stream.write_all(answer.as_bytes()).await.ok()?,
        }
    }
}

fn envelope() -> Envelope {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let builder = Envelope::builder("id-1", "/webhooks/github", "github.push").traceparent(trace);
    builder.payload(Some("application/json"), r#"{"b":1.10,"a":"ü"}"#).build().unwrap()
}

async fn check(answer: &'static str, expected: Outcome) {
    let (url, _) = endpoint(answer).await;
    assert_eq!(Forward::to(&url).unwrap().handle(&envelope()).await, expected, "{answer}");
}

#[tokio::test]
async fn the_answer_decides_the_outcome() {
    let reject = |code| Outcome::reject("endpoint_refused", format!("the endpoint answered {code}"));
    let after = |seconds| Outcome::RetryAfter(Duration::from_secs(seconds));
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Outcome::Done),
        ("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n", Outcome::Done),
        ("HTTP/1.1 204 No Content\r\n\r\n", Outcome::Done),
        ("HTTP/1.1 301 Moved\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", reject(301)),
        ("HTTP/1.1 304 Not Modified\r\n\r\n", reject(304)),
        ("HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n", reject(400)),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nretry-after: 5\r\n\r\n", reject(404)),
        ("HTTP/1.1 408 Timeout\r\ncontent-length: 0\r\n\r\n", Outcome::Retry),
        ("HTTP/1.1 429 Slow\r\ncontent-length: 0\r\nretry-after: 7\r\n\r\n", after(7)),
        ("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", Outcome::Retry),
        ("HTTP/1.1 503 No\r\ncontent-length: 0\r\nretry-after: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\n", after(0)),
        ("HTTP/1.1 503 No\r\ncontent-length: 0\r\nretry-after: soon\r\n\r\n", Outcome::Retry),
        ("no http at all\r\n\r\n", Outcome::Retry),
    ] {
        check(answer, expected).await;
    }
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 90);
    for (text, seconds) in [
        ("0", Some(0)),
        (" 120 ", Some(120)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(90)),
        ("Sun, 06 Nov 1994 08:40:00 GMT", Some(0)),
        ("-1", None),
        ("1.5", None),
        ("", None),
    ] {
        let value = HeaderValue::from_str(text).unwrap();
        assert_eq!(retry_after(&value, now).map(|delay| delay.as_secs()), seconds, "{text:?}");
    }
}

#[tokio::test]
async fn the_event_arrives_as_it_was_on_the_queue_and_connections_are_kept() {
    let (url, seen) = endpoint("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let forward = Forward::to(&url).unwrap();
    for _ in 0..3 {
        assert_eq!(forward.handle(&envelope()).await, Outcome::Done);
    }
    let seen = seen.lock().unwrap();
    assert_eq!((seen.bodies.len(), seen.connections), (3, 1));
    assert_eq!(seen.bodies[0], envelope().encode());
    let head = &seen.heads[0];
    assert!(head.starts_with("POST /events?x=1 HTTP/1.1\r\n"), "{head}");
    for header in
        ["content-type: application/cloudevents+json; charset=utf-8", "traceparent: 00-4bf9", "user-agent: sluicegate/"]
    {
        assert!(head.contains(header), "{header} in {head}");
    }
}

#[tokio::test]
async fn a_timeout_and_a_refused_connection_are_retried() {
    let (url, seen) = endpoint("").await;
    let mut forward = Forward::to(&url).unwrap();
    forward.timeout = Duration::from_millis(100);
    forward.client().unwrap(); // Reads the root certificates outside the measured time.
    assert_eq!(forward.handle(&envelope()).await, Outcome::Retry);
    assert_eq!(seen.lock().unwrap().bodies.len(), 1);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(Forward::to(&url).unwrap().handle(&envelope()).await, Outcome::Retry);
}

#[test]
fn an_invalid_forward_url_is_refused() {
    for url in ["", "example.org", "/path", "ftp://example.org", "http://", "http:// space"] {
        assert!(Forward::to(url).is_err(), "{url:?}");
    }
    assert!(Forward::to("https://example.org/hook").is_ok());
}
