//! Memory, time and concurrency of the largest batch that Lambda delivers: 10,000 messages in an event of 6 MB.

#![cfg(feature = "sqs")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use lambda_runtime::{Context, LambdaEvent};
use peak_alloc::PeakAlloc;
use serde_json::json;
use serde_json::value::RawValue;
use sluicegate_batch::{AwsEnvironment, Consumer, Envelope, Outcome};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>
const MESSAGES: usize = 10_000;

/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const EVENT_BYTES_MAX: usize = 6 * 1024 * 1024;

/// The handlers of a batch at a time, by default.
const HANDLERS: usize = 10;

/// Memory beside the event as it arrived: the copy that is handled, 6 MB, what is kept of each message, and for those
/// with a delay the calls of SQS. Another copy of the event is above it. A function has 128 MB at least.
const MEMORY_BYTES_MAX: usize = 17 * 1024 * 1024;
const MEMORY_WITH_DELAYS_BYTES_MAX: usize = 22 * 1024 * 1024;

/// What the handlers do.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Case {
    Done,
    Retry,
    Hang,
}

#[derive(Default)]
struct Handlers {
    started: AtomicUsize,
    running: AtomicUsize,
    running_max: AtomicUsize,
}

impl Handlers {
    async fn handle(&self, case: Case) -> Outcome {
        self.started.fetch_add(1, Ordering::Relaxed);
        let running = self.running.fetch_add(1, Ordering::Relaxed) + 1;
        self.running_max.fetch_max(running, Ordering::Relaxed);
        // Others start meanwhile.
        tokio::task::yield_now().await;
        if case == Case::Hang {
            pending::<()>().await;
        }
        self.running.fetch_sub(1, Ordering::Relaxed);
        if case == Case::Retry { Outcome::Retry } else { Outcome::Done }
    }
}

/// A queue that accepts every change of a visibility. Returns its URL, and the changed messages so far.
async fn sqs() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let changed = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&changed);
    tokio::spawn(async move {
        loop {
            tokio::spawn(answer(listener.accept().await.unwrap().0, Arc::clone(&counted)));
        }
    });
    (url, changed)
}

async fn answer(stream: TcpStream, changed: Arc<AtomicUsize>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim_end().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        changed.fetch_add(String::from_utf8_lossy(&body).matches("\"VisibilityTimeout\"").count(), Ordering::Relaxed);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await?;
    }
}

/// Returns an event of the largest size.
fn event() -> String {
    let record = |number: usize, payload: &str| {
        let id = format!("{number:08}-6f6d-4a3c-9f0d-6b5d7f3c1e22");
        let order = Envelope::builder(&id, "/orders", "order.placed").payload(Some("text/plain"), payload);
        json!({
            "messageId": id,
            "receiptHandle": "h".repeat(180),
            "body": order.build().unwrap().encode(),
            "attributes": { "ApproximateReceiveCount": "1", "SentTimestamp": "1545082649183" },
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:orders",
        })
        .to_string()
    };
    let payload_bytes = EVENT_BYTES_MAX / MESSAGES - record(0, "").len() - 2;
    let records: Vec<_> = (0..MESSAGES).map(|number| record(number, &"p".repeat(payload_bytes))).collect();
    format!(r#"{{"Records":[{}]}}"#, records.join(","))
}

/// Handles the event with `left` until the deadline. Checks memory, time and concurrency; returns the number of the
/// messages that were started, that are returned, and whose delay was set.
fn run(event: &str, case: Case, left: Duration) -> (usize, usize, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (url, changed) = sqs().await;
        let lookup = |name: &str| Some(if name.starts_with("AWS_ENDPOINT") { url.clone() } else { "x".to_owned() });
        let handlers = Arc::<Handlers>::default();
        let counted = Arc::clone(&handlers);
        let consumer =
            Consumer::builder().aws_environment(AwsEnvironment::read(lookup).unwrap()).otherwise(move |_| {
                let handlers = Arc::clone(&counted);
                async move { handlers.handle(case).await }
            });
        let consumer = consumer.build().unwrap();
        let mut context = Context::default();
        let deadline = (SystemTime::now() + left).duration_since(SystemTime::UNIX_EPOCH).unwrap();
        context.deadline = deadline.as_millis().try_into().unwrap();

        let (before, started) = (ALLOCATOR.current_usage(), Instant::now());
        ALLOCATOR.reset_peak_usage();
        let payload: Box<RawValue> = serde_json::from_str(event).unwrap();
        let response = consumer.handle(LambdaEvent::new(payload, context)).await.unwrap();
        let (peak, took) = (ALLOCATOR.peak_usage() - before, started.elapsed());

        println!("{case:?}: {peak} bytes for an event of {}, {took:?} of {left:?}", event.len());
        let is_delayed = case == Case::Retry;
        let peak_max = if is_delayed { MEMORY_WITH_DELAYS_BYTES_MAX } else { MEMORY_BYTES_MAX };
        assert!(peak <= peak_max, "{case:?}: {peak} bytes, and {peak_max} at most");
        assert!(took < left, "{case:?}: {took:?} of {left:?}");
        assert_eq!(handlers.running_max.load(Ordering::Relaxed), HANDLERS, "{case:?}");
        let returned: BTreeSet<_> = response.failures().collect();
        (handlers.started.load(Ordering::Relaxed), returned.len(), changed.load(Ordering::Relaxed))
    })
}

#[test]
fn ten_thousand_messages_of_six_megabytes_are_settled_in_bounded_memory_before_the_deadline() {
    let event = event();
    assert!(event.len() <= EVENT_BYTES_MAX && event.len() > EVENT_BYTES_MAX * 99 / 100, "{} bytes", event.len());
    let ample = Duration::from_secs(120);
    assert_eq!(run(&event, Case::Done, ample), (MESSAGES, 0, 0));
    assert_eq!(run(&event, Case::Retry, ample), (MESSAGES, MESSAGES, MESSAGES), "all fail, and all are reported");
    // The first handlers take all of the time, and only their messages get a delay.
    assert_eq!(
        run(&event, Case::Hang, Duration::from_secs(8)),
        (HANDLERS, MESSAGES, HANDLERS),
        "the rest is untouched"
    );
}
