//! Random kills of function processes during a thousand requests: no request answered with 202 is lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use tokio::task::JoinSet;

use super::{order, place};
use crate::support::processes;
use crate::support::service::{LOCALSTACK_URL, Service};
use crate::support::stack::Stack;

const REQUESTS: usize = 1_000;
const CLIENTS: usize = 8;
/// The requests between two kills: each process answers some before it is killed, however slow the machine is.
const REQUESTS_PER_KILL: usize = 20;
const POLL_INTERVAL: Duration = Duration::from_millis(1);
/// The shortest visibility timeout of the template, 60 s. A batch whose consumer was killed waits for its visibility
/// timeout. The test shortens it further, but a poll in progress may still use that of the template.
const SHORTEST_TIMEOUT: &[&str] = &["--parameter", "ConsumerTimeout=10"];
const SETTLE_TIME_MAX: Duration = Duration::from_secs(240);
const ORDERS: &str = "sluicegate-orders.fifo";
const DEAD_ORDERS: &str = "sluicegate-orders-dlq.fifo";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_accepted_message_is_lost_on_the_sqs_emulator() {
    let stack = Stack::start(SHORTEST_TIMEOUT, &[]).await;
    let queue = Service::at(&stack.aws);
    survive(stack, queue).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs LocalStack, which ./tests/run starts"]
async fn no_accepted_message_is_lost_on_localstack() {
    let url = std::env::var(LOCALSTACK_URL).expect("./tests/run starts LocalStack and sets its URL");
    let stack = Stack::start(&[SHORTEST_TIMEOUT, &["--endpoint-url", &url]].concat(), &[]).await;
    survive(stack, Service::at(&url)).await;
}

async fn survive(stack: Stack, queue: Service) {
    let (orders, dead) = (queue.find(ORDERS).await, queue.find(DEAD_ORDERS).await);
    let shorten = queue.sqs.set_queue_attributes().queue_url(&orders).attributes(Attribute::VisibilityTimeout, "3");
    shorten.send().await.expect("the visibility timeout is shortened");

    let stack = Arc::new(stack);
    let sent = Arc::new(AtomicUsize::new(0));
    let killer = tokio::spawn(kill_at_random(stack.clone(), sent.clone()));
    let accepted = submit(&stack, &sent).await;
    let killed = killer.await.expect("the kill task does not panic");
    assert!(killed >= 10, "only {killed} processes were killed, at least 10 are needed");
    assert!(accepted.len() >= REQUESTS / 2, "only {} of {REQUESTS} were accepted", accepted.len());

    let mut open = accepted.clone();
    let (mut done, mut dead_letters, mut printed) = (0, 0, 0);
    stack
        .until("every accepted message is done or a dead letter", SETTLE_TIME_MAX, async || {
            for id in open.clone() {
                let state = stack.timeline(&id).await.map(|timeline| timeline["state"].clone());
                match state.as_ref().and_then(|state| state.as_str()) {
                    Some("done") => done += 1,
                    Some("dead-lettered") => dead_letters += 1,
                    _ => continue,
                }
                open.remove(&id);
            }
            for message in queue.receive(&dead, 0).await {
                let body: serde_json::Value =
                    serde_json::from_str(message.body().unwrap_or_default()).expect("a CloudEvent");
                dead_letters += usize::from(open.remove(body["id"].as_str().expect("an id")));
                queue.delete(&dead, &message).await;
            }
            stack.print_last(&open, &mut printed).await;
            open.is_empty().then_some(())
        })
        .await;
    println!("{killed} killed; {} accepted: {done} done, {dead_letters} dead letters", accepted.len());
    assert_eq!(done + dead_letters, accepted.len());
    Arc::into_inner(stack).expect("the only owner").stop().await;
}

/// Kills random function processes until every request is sent. Returns their number.
async fn kill_at_random(stack: Arc<Stack>, sent: Arc<AtomicUsize>) -> usize {
    let mut killed = 0;
    for due in (REQUESTS_PER_KILL..REQUESTS).step_by(REQUESTS_PER_KILL) {
        while sent.load(Ordering::Relaxed) < due {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        let functions = stack.functions();
        if let Some(victim) = functions.get(usize::from(random()) % functions.len().max(1)) {
            processes::signal(victim.id, "KILL");
            killed += 1;
        }
    }
    killed
}

/// Places orders of different customers, counted in `sent`. Returns the ids of the accepted ones.
async fn submit(stack: &Arc<Stack>, sent: &Arc<AtomicUsize>) -> BTreeSet<String> {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (stack, sent) = (stack.clone(), sent.clone());
        clients.spawn(async move {
            let mut accepted = Vec::new();
            loop {
                let n = sent.fetch_add(1, Ordering::Relaxed);
                if n >= REQUESTS {
                    return accepted;
                }
                let name = format!("{n}-{}", std::process::id());
                let (status, body) = place(&stack, "dev-key", &name, &order(&name, &name, 1)).await;
                match status {
                    202 => accepted.push(body["id"].as_str().expect("an id").to_owned()),
                    // The process that handled the request was killed.
                    500..=599 => {}
                    other => panic!("{other}: {body}"),
                }
            }
        });
    }
    clients.join_all().await.into_iter().flatten().collect()
}

/// Returns a random byte.
fn random() -> u8 {
    use std::hash::{BuildHasher, Hasher};
    let hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.finish().to_le_bytes()[0]
}
