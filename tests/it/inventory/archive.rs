//! The archive of the example: every order is in it after kills of the archiver, the stock can be computed from it, and
//! its events can be sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_sqs::types::{Message, QueueAttributeName as Attribute};
use serde_json::{Value, json};
use sluicegate_archive::{Archive, AwsEnvironment, Hour};
use sluicegate_envelope::Envelope;

use super::Inventory;
use crate::dlq::binary::{Ran, ran, sluicegate};
use crate::support::processes;

/// The bucket and the queue of the archive, as the local stack names them.
const BUCKET: &str = "archivebucket";
const ARCHIVE: &str = "ArchiveQueue";

const KILLS: usize = 8;
/// The longest time between two kills, and between two orders of a client.
const INTERVAL_MAX: Duration = Duration::from_millis(300);
const CLIENTS: usize = 3;
const SETTLE_TIME_MAX: Duration = Duration::from_secs(120);
const SEED: u64 = 1_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_archive_has_every_order_and_gives_the_stock_again() {
    let copy = tempfile::tempdir().expect("a folder");
    let inventory = Inventory::start(&["--archive-dir", copy.path().to_str().expect("UTF-8")]).await;
    let sqs = inventory.sqs();
    // A message of a killed archiver is back soon.
    let archive_queue = sqs.find(ARCHIVE).await;
    let attributes = sqs.sqs.set_queue_attributes().queue_url(&archive_queue);
    attributes.attributes(Attribute::VisibilityTimeout, "2").send().await.expect("the timeout is shortened");
    for sku in ["tea", "coffee"] {
        let item = json!({ "sku": { "S": sku }, "quantity": { "N": SEED.to_string() } });
        inventory.dynamodb("PutItem", &json!({ "TableName": "Stock", "Item": item })).await;
    }

    let (busy, next) = (AtomicBool::new(true), AtomicUsize::new(0));
    let clients = futures_util::future::join_all((0..CLIENTS).map(|_| place_orders(&inventory, &busy, &next)));
    let kill = async {
        kill_archiver(&inventory).await;
        busy.store(false, Ordering::Relaxed);
    };
    let (accepted, ()) = tokio::join!(clients, kill);
    let accepted: BTreeSet<_> = accepted.into_iter().flatten().collect();

    let archive = Archive::in_bucket(&environment(&inventory.stack.aws), BUCKET);
    let events = inventory
        .stack
        .until("every accepted message is archived", SETTLE_TIME_MAX, async || {
            let events = read(&archive).await;
            let archived: BTreeSet<_> = events.iter().map(|event| event.id().to_owned()).collect();
            accepted.is_subset(&archived).then_some(events)
        })
        .await;
    let once: BTreeMap<&str, &Envelope> = events.iter().map(|event| (event.id(), event)).collect();
    println!("{KILLS} kills: {} messages accepted, {} lines in the archive", accepted.len(), events.len());
    assert_eq!(once.len(), accepted.len(), "each message once, and no other");
    let copied = read(&Archive::Folder(copy.path().to_owned())).await;
    let copied: BTreeSet<_> = copied.iter().map(Envelope::id).collect();
    assert!(once.keys().all(|id| copied.contains(id)), "the folder has the objects of the bucket");

    inventory
        .stack
        .until("every order is reserved", SETTLE_TIME_MAX, async || {
            let reservations = inventory.reservations().await;
            (reservations.len() == next.load(Ordering::Relaxed)).then_some(())
        })
        .await;
    let stock = projection(&events);
    for sku in ["tea", "coffee"] {
        assert_eq!(inventory.stock(sku).await, stock[sku], "{sku}");
    }

    check_replays(&inventory, accepted.len()).await;
    inventory.stack.stop().await;
}

/// Computes the stock from the events: two messages with one `order_id` are one order, as for the consumer.
fn projection(events: &[Envelope]) -> BTreeMap<String, u64> {
    let mut stock = BTreeMap::from([("tea".to_owned(), SEED), ("coffee".to_owned(), SEED)]);
    let mut orders = BTreeSet::new();
    for event in events {
        let order: Value = event.json().expect("an order");
        if !orders.insert(order["order_id"].as_str().expect("a name").to_owned()) {
            continue;
        }
        for item in order["items"].as_array().expect("items") {
            let left = stock.get_mut(item["sku"].as_str().expect("an article")).expect("an article of the seed");
            *left -= item["quantity"].as_u64().expect("a number");
        }
    }
    stock
}

/// Sends the archive again: to a standard queue with a journal, twice, and to a FIFO queue, twice.
async fn check_replays(inventory: &Inventory, messages: usize) {
    let (sqs, folder) = (inventory.sqs(), tempfile::tempdir().expect("a folder"));
    let journal = folder.path().join("journal");
    let source = format!("s3://{BUCKET}");
    let replay = async |arguments: &[&str]| -> Ran {
        let all = [&[&*source, "--from", "1h", "--endpoint-url", &inventory.stack.aws], arguments].concat();
        ran(sluicegate("replay", &all)).await
    };
    let counted = format!("{messages} would be sent of {messages} that match");
    replay(&["--dry-run"]).await.expect(0, &[&counted, "  order.placed"]);
    replay(&["--dry-run", "--type", "order.paid"]).await.expect(0, &["0 would be sent of 0 that match, 0 read"]);
    replay(&["--dry-run", "--to", "30m"]).await.expect(0, &["0 would be sent"]);

    let queue = sqs.queue(&[]).await;
    let with_journal = ["--queue", &queue, "--journal", journal.to_str().expect("UTF-8")];
    replay(&with_journal).await.expect(0, &[&format!("{messages} sent of {messages} that match")]);
    let sent = sqs.receive_count(&queue, messages).await;
    let sent: Vec<Envelope> = sent.iter().map(event).collect();
    let ids: BTreeSet<&str> = sent.iter().map(Envelope::id).collect();
    let replays: BTreeSet<_> = sent.iter().map(Envelope::replay_id).collect();
    assert_eq!((ids.len(), replays.len(), replays.contains(&None)), (messages, 1, false));
    let earlier = format!("0 sent of {messages} that match");
    replay(&with_journal).await.expect(0, &[&earlier, &format!("{messages} sent by an earlier run")]);
    assert!(sqs.receive(&queue, 0).await.is_empty());
    let other = [&with_journal[..], &["--type", "order.*"]].concat();
    replay(&other).await.expect(2, &["is not the journal of this command"]);

    // Each replay is another one, within the five minutes in which a FIFO queue drops repeats.
    let fifo = sqs.queue(&[(Attribute::FifoQueue, "true")]).await;
    for _ in 0..2 {
        replay(&["--queue", &fifo, "--filter", "subject=o-0", "--rate", "100/s"]).await.expect(0, &["sent of"]);
    }
    let again = sqs.receive_count(&fifo, 2).await;
    assert!(again.iter().map(event).all(|event| event.subject() == Some("o-0")));
    replay(&["--queue", "absent"]).await.expect(1, &["the queue does not exist"]);
}

fn event(message: &Message) -> Envelope {
    Envelope::decode(message.body().expect("a body")).expect("an event")
}

fn environment(url: &str) -> AwsEnvironment {
    let lookup = |name: &str| match name {
        "AWS_ENDPOINT_URL" => Some(url.to_owned()),
        "AWS_REGION" | "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("us-east-1".to_owned()),
        _ => None,
    };
    AwsEnvironment::read(lookup).expect("complete")
}

async fn read(archive: &Archive) -> Vec<Envelope> {
    let hour = |rfc3339: &str| {
        let moment =
            Envelope::builder("i", "/", "t").attribute("time", rfc3339).expect("a time").build().expect("valid");
        Hour::of(moment.time().expect("a time"))
    };
    let keys = archive.keys(hour("2000-01-01T00:00:00Z"), hour("9999-01-01T00:00:00Z")).await.expect("listed");
    archive.events(&keys).await.expect("read")
}

/// Places orders until `busy` is false, some of them in two messages. Returns the ids of the messages.
async fn place_orders(inventory: &Inventory, busy: &AtomicBool, next: &AtomicUsize) -> Vec<String> {
    let mut accepted = Vec::new();
    while busy.load(Ordering::Relaxed) {
        let order_id = format!("o-{}", next.fetch_add(1, Ordering::Relaxed));
        let items = [("tea", fastrand::u64(1..=3)), ("coffee", fastrand::u64(1..=3))];
        for _ in 0..fastrand::usize(1..=2) {
            let (status, id) = inventory.place(&order_id, &items).await;
            assert_eq!(status, 202, "{}", inventory.stack.printed());
            accepted.push(id);
        }
        tokio::time::sleep(INTERVAL_MAX.mul_f64(fastrand::f64())).await;
    }
    accepted
}

/// Kills the processes of the archiver, each at a random moment.
async fn kill_archiver(inventory: &Inventory) {
    let mut killed = BTreeSet::new();
    while killed.len() < KILLS {
        tokio::time::sleep(INTERVAL_MAX.mul_f64(fastrand::f64())).await;
        for process in inventory.stack.functions().into_iter().filter(|process| process.name == "archiver") {
            if killed.insert(process.id) {
                processes::signal(process.id, "KILL");
            }
        }
    }
}
