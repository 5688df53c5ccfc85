//! Ctrl-C, SIGKILL and lost answers during a redrive, followed by a second redrive: no message is lost.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::dlq::faults::{Fate, Faults};
use crate::support::processes;

const MESSAGES: usize = 300;

/// Few messages: each fault costs a pause, and a FIFO group waits for each of its messages.
const MESSAGES_WITH_FAULTS: usize = 100;

/// Fills the dead-letter queue in batches of ten.
async fn fill(service: &Service, queues: &Queues, fifo: bool, count: usize) {
    let arn = service.arn(&queues.source).await;
    for chunk in (0..count).collect::<Vec<_>>().chunks(10) {
        let mut request = service.sqs.send_message_batch().queue_url(&queues.dead);
        for number in chunk {
            let entry = aws_sdk_sqs::types::SendMessageBatchRequestEntry::builder()
                .id(number.to_string())
                .message_body(order(*number))
                .set_message_attributes(Some(rejected("r", &arn)))
                .set_message_group_id(fifo.then(|| (number % 20).to_string()))
                .set_message_deduplication_id(fifo.then(|| number.to_string()));
            request = request.entries(entry.build().expect("an entry"));
        }
        assert!(request.send().await.expect("stored").failed().is_empty());
    }
}

/// Starts a redrive and sends it a signal once some messages have arrived.
async fn interrupt(service: &Service, queues: &Queues, signal: &str) -> std::process::Output {
    let arguments =
        ["redrive", name(&queues.dead), "--one-by-one", "--visibility", "2", "--endpoint-url", &service.url];
    let child = dlq(&[&arguments[..], &["--rate", "60/s"]].concat()).spawn().expect("it starts");
    while service.depth(&queues.source).await < 60 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    processes::signal(child.id().expect("it runs"), signal);
    child.wait_with_output().await.expect("it ends")
}

/// Redrives the rest and returns how often each message arrived.
async fn finish(service: &Service, queues: &Queues, count: usize) -> Vec<usize> {
    while service.depth(&queues.dead).await > 0 {
        let rest = on(service, &["redrive", name(&queues.dead), "--one-by-one", "--visibility", "2"]).await;
        rest.expect(0, &["redriven of"]);
    }
    let arrived = drained(service, &queues.source).await;
    let times = |body: &str| arrived.iter().filter(|message| message.body() == Some(body)).count();
    let counts: Vec<usize> = (0..count).map(|number| times(&order(number))).collect();
    assert_eq!(counts.iter().sum::<usize>(), arrived.len(), "nothing else arrived");
    counts
}

pub(super) async fn ctrl_c_completes_messages_in_flight_and_releases_the_rest(service: &Service) {
    for fifo in [false, true] {
        let queues = Queues::create(service, fifo).await;
        fill(service, &queues, fifo, MESSAGES).await;
        let output = interrupt(service, &queues, "INT").await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        assert!(said.contains("interrupted"), "{said}");
        let done: usize = said.split(' ').next().and_then(|digits| digits.parse().ok()).expect("a count");
        assert!((60..MESSAGES).contains(&done), "{said}");
        assert_eq!(
            service.depth(&queues.source).await,
            done as u64,
            "the printed count is the number of messages sent"
        );
        let hidden = service.attribute(&queues.dead, Attribute::ApproximateNumberOfMessagesNotVisible).await;
        assert_eq!(hidden, "0", "the rest is visible again");
        assert_eq!(finish(service, &queues, MESSAGES).await, [1; MESSAGES], "fifo: {fifo}");
    }
}

pub(super) async fn a_kill_loses_no_message(service: &Service) {
    for fifo in [false, true] {
        let queues = Queues::create(service, fifo).await;
        fill(service, &queues, fifo, MESSAGES).await;
        let output = interrupt(service, &queues, "KILL").await;
        assert_eq!(output.status.code(), None, "{output:?}");
        let counts = finish(service, &queues, MESSAGES).await;
        assert!(counts.iter().all(|count| *count >= 1), "fifo: {fifo}: {counts:?}");
        let repeats = counts.iter().sum::<usize>() - MESSAGES;
        assert!(
            repeats <= if fifo { 0 } else { 10 },
            "fifo: {fifo}: more duplicates than messages in flight: {counts:?}"
        );
    }
}

/// Some calls of each operation fail, before or after they take effect, and some are throttled.
pub(super) async fn lost_answers_lose_no_message(service: &Service) {
    for fifo in [false, true] {
        let queues = Queues::create(service, fifo).await;
        fill(service, &queues, fifo, MESSAGES_WITH_FAULTS).await;
        let lost = std::sync::Arc::new(AtomicUsize::new(0));
        let faults = Faults::start(&service.url, {
            let lost = lost.clone();
            move |operation, count| {
                let fate = match (operation, count % 7) {
                    ("SendMessage" | "DeleteMessage", 2) => Fate::Lost,
                    ("SendMessage" | "DeleteMessage", 4) => Fate::Refused,
                    ("SendMessage", 6) => Fate::Throttled,
                    ("ReceiveMessage" | "ChangeMessageVisibilityBatch", 3) => Fate::Lost,
                    _ => Fate::Fine,
                };
                lost.fetch_add(usize::from(fate == Fate::Lost), Ordering::Relaxed);
                fate
            }
        })
        .await;
        let arguments = ["redrive", name(&queues.dead), "--one-by-one", "--visibility", "2"];
        ran(dlq(&[&arguments[..], &["--endpoint-url", &faults.url]].concat())).await;
        assert!(lost.load(Ordering::Relaxed) > 10, "enough answers were lost");
        let counts = finish(service, &queues, MESSAGES_WITH_FAULTS).await;
        assert!(counts.iter().all(|count| *count >= 1), "fifo: {fifo}: {counts:?}");
        assert!(!fifo || counts.iter().all(|count| *count == 1), "{counts:?}");
    }
}
