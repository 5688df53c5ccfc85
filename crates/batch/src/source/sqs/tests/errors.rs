//! What each error of a call means: which are tried again, and what becomes of the message.

use std::collections::VecDeque;

use super::*;
use crate::source::adapter::Source;

const DEAD_LETTERS: &str = r#"{"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:1:dlq", "maxReceiveCount": 5}"#;

/// What SQS does with a call.
#[derive(Clone, Copy, Debug)]
enum Does {
    Carries,
    /// Carries it out, and the connection ends without an answer.
    Cut,
    WrongMd5,
    NotJson,
    Error(u16, &'static str),
    /// Refuses the signature, and has another date.
    ClockSkew,
}

const THROTTLED: Does = Does::Error(400, "RequestThrottled");
const FORBIDDEN: Does = Does::Error(403, "AccessDenied");
const BROKEN: Does = Does::Error(500, "InternalFailure");

/// Starts an SQS that does this in turn with calls of `action`, and carries out the others; returns a source and the
/// actions that were called, with their trace headers.
async fn source(action: &'static str, does: &[Does]) -> (SqsSource, Arc<Mutex<Vec<(String, bool)>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let calls = Arc::<Mutex<Vec<_>>>::default();
    let left = Arc::new(Mutex::new(does.iter().copied().collect::<VecDeque<_>>()));
    let kept = Arc::clone(&calls);
    tokio::spawn(async move {
        loop {
            let stream = listener.accept().await.unwrap().0;
            tokio::spawn(serve(stream, action, Arc::clone(&left), Arc::clone(&kept)));
        }
    });
    let lookup =
        move |name: &str| Some(if name.starts_with("AWS_ENDPOINT") { endpoint.clone() } else { "x".to_owned() });
    (SqsSource::new(AwsEnvironment::read(lookup).unwrap(), 5), calls)
}

async fn serve(
    stream: TcpStream,
    action: &str,
    left: Arc<Mutex<VecDeque<Does>>>,
    calls: Arc<Mutex<Vec<(String, bool)>>>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (head, body) = read_request(&mut stream).await?;
        let called = head.lines().find_map(|line| line.strip_prefix("x-amz-target: AmazonSQS."))?.to_owned();
        calls.lock().unwrap().push((called.clone(), head.contains("x-amzn-trace-id: Root=1")));
        let body: Value = serde_json::from_slice(&body).ok()?;
        let does = if called == action { left.lock().unwrap().pop_front()? } else { Does::Carries };
        let digest = sluicegate_queue::sqs::body_md5(body["MessageBody"].as_str().unwrap_or_default());
        let (status, date, answer) = match does {
            Does::Carries => (
                200,
                "",
                match called.as_str() {
                    "GetQueueAttributes" => json!({ "Attributes": { "RedrivePolicy": DEAD_LETTERS } }),
                    "SendMessage" => json!({ "MessageId": "x", "MD5OfMessageBody": digest }),
                    _ => json!({ "Successful": [] }),
                },
            ),
            Does::Cut => return None,
            Does::WrongMd5 => (200, "", json!({ "MessageId": "x", "MD5OfMessageBody": "0".repeat(32) })),
            Does::NotJson => (200, "", json!("no object")),
            Does::Error(status, code) => (status, "", json!({ "__type": code, "message": "as planned" })),
            Does::ClockSkew => {
                (403, "date: Sat, 01 Jan 2000 12:00:00 GMT\r\n", json!({ "__type": "InvalidSignatureException" }))
            }
        };
        let answer = answer.to_string();
        let head = format!("HTTP/1.1 {status} Planned\r\n{date}content-length: {}\r\n\r\n", answer.len());
        stream.write_all((head + &answer).as_bytes()).await.ok()?;
    }
}

/// Dead-letters a message while SQS does this with calls of `action`; returns what the caller may conclude.
async fn dead_letter(action: &'static str, does: &[Does]) -> Result<(), SendError> {
    let (source, calls) = source(action, does).await;
    let event = records("orders", &["reject"], &json!({})).payload.to_string();
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    let batch = source.read(&event, Some("Root=1"), Deadlines::at(until, until, until)).unwrap();
    let stored = batch.dead_letter(0, &Rejection::new("no", "never")).await;
    let calls = calls.lock().unwrap();
    assert!(calls.iter().all(|(_, has_trace)| *has_trace), "the header of the invocation: {calls:?}");
    assert_eq!(calls.iter().filter(|(called, _)| called == action).count(), does.len(), "{does:?}: {stored:?}");
    stored
}

#[tokio::test]
async fn a_dead_letter_counts_as_stored_only_with_its_proof() {
    for (does, expected) in [
        (&[Does::Carries][..], "stored"),
        (&[THROTTLED, Does::Carries], "stored"),
        (&[BROKEN, BROKEN, Does::Carries], "stored"),
        (&[Does::Cut, Does::Carries], "stored"),
        (&[Does::ClockSkew, Does::Carries], "stored"),
        (&[THROTTLED; 3], "not sent: RequestThrottled: as planned"),
        (&[Does::Cut, THROTTLED, THROTTLED], "perhaps sent: RequestThrottled: as planned"),
        (&[BROKEN; 3], "perhaps sent: InternalFailure: as planned"),
        (&[Does::WrongMd5], "perhaps sent: sent a body with MD5"),
        (&[Does::NotJson], "perhaps sent: the answer of SQS cannot be read"),
        (&[FORBIDDEN], "refused: AccessDenied: as planned"),
        (&[Does::Error(400, "AWS.SimpleQueueService.NonExistentQueue")], "refused: AWS.SimpleQueueService"),
    ] {
        let stored = dead_letter("SendMessage", does).await;
        let shown = stored.map_or_else(|error| error.to_string(), |()| "stored".to_owned());
        assert!(shown.starts_with(expected), "{does:?}: {shown}");
    }
}

#[tokio::test]
async fn nothing_is_sent_without_the_redrive_policy() {
    let unavailable = "not sent: the redrive policy cannot be read: ";
    for (does, expected) in [
        (&[THROTTLED, BROKEN, Does::Carries][..], String::from("stored")),
        (&[Does::Cut, Does::Carries], "stored".into()),
        (&[Does::ClockSkew, Does::Carries], "stored".into()),
        (&[BROKEN; 3], format!("{unavailable}InternalFailure: as planned")),
        (&[FORBIDDEN], format!("{unavailable}AccessDenied: as planned")),
        (&[Does::NotJson], format!("{unavailable}the answer of SQS cannot be read")),
    ] {
        let stored = dead_letter("GetQueueAttributes", does).await;
        let shown = stored.map_or_else(|error| error.to_string(), |()| "stored".to_owned());
        assert!(shown.starts_with(&expected), "{does:?}: {shown}");
    }
}

#[tokio::test]
async fn a_delay_is_tried_three_times_and_is_then_that_of_the_queue() {
    for does in [
        &[Does::Carries][..],
        &[THROTTLED, Does::Carries],
        &[Does::Cut, BROKEN, Does::Carries],
        &[Does::ClockSkew, Does::Carries],
        &[BROKEN; 3],
        &[FORBIDDEN],
        &[Does::NotJson],
    ] {
        let (source, calls) = source("ChangeMessageVisibilityBatch", does).await;
        let event = records("orders", &["retry"], &json!({})).payload.to_string();
        let until = tokio::time::Instant::now() + Duration::from_secs(20);
        let batch = source.read(&event, Some("Root=1"), Deadlines::at(until, until, until)).unwrap();
        batch.return_to_queue(&[(0, Some(Duration::from_secs(1)))]).await;
        let calls = calls.lock().unwrap();
        assert_eq!(*calls, vec![("ChangeMessageVisibilityBatch".to_owned(), true); does.len()], "{does:?}");
    }
}
