//! The consumer killed with SIGKILL at random moments, under orders: stock and reservations agree to the unit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_sqs::types::{Message, QueueAttributeName as Attribute};

use super::{DEAD_ORDERS, Inventory, Item, ORDERS};
use crate::support::processes;

/// The number of kills, for a longer run than that of the tests.
const KILLS: &str = "SLUICEGATE_PROOF_STOCK_KILLS";
const KILLS_SHORT: usize = 200;
/// The longest time between two kills.
const KILL_INTERVAL_MAX: Duration = Duration::from_millis(40);
/// The longest time between two orders of a client.
const ORDER_INTERVAL_MAX: Duration = Duration::from_millis(40);
const CLIENTS: usize = 3;
/// The shortest time that leaves a handler a second. A claim of a killed consumer lasts as long.
const TIMEOUT: &[&str] = &["--parameter", "ConsumerTimeout=5"];
const SETTLE_TIME_MAX: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_is_its_seed_less_the_reservations_after_kills_of_the_consumer() {
    let kills = std::env::var(KILLS).map_or(KILLS_SHORT, |count| count.parse().expect("a count"));
    let inventory = Inventory::start(TIMEOUT).await;
    let sqs = inventory.sqs();
    let (orders, dead) = (sqs.find(ORDERS).await, sqs.find(DEAD_ORDERS).await);
    // A message of a killed consumer is back soon, and kills do not use up its receives.
    let redrive = serde_json::json!({ "deadLetterTargetArn": sqs.arn(&dead).await, "maxReceiveCount": 1000 });
    let attributes = sqs.sqs.set_queue_attributes().queue_url(&orders).attributes(Attribute::VisibilityTimeout, "1");
    let attributes = attributes.attributes(Attribute::RedrivePolicy, redrive.to_string());
    attributes.send().await.expect("the attributes are set");
    // Enough for some of the orders, of which there are at least so many on a slow machine too.
    let orders_min = kills * 2;
    let seed = BTreeMap::from([("tea", kills as u64 * 2), ("coffee", kills as u64)]);
    for (sku, quantity) in &seed {
        let item = serde_json::json!({ "sku": { "S": sku }, "quantity": { "N": quantity.to_string() } });
        inventory.dynamodb("PutItem", &serde_json::json!({ "TableName": "Stock", "Item": item })).await;
    }

    let (busy, next) = (AtomicBool::new(true), AtomicUsize::new(0));
    let clients =
        futures_util::future::join_all((0..CLIENTS).map(|_| place_orders(&inventory, &busy, &next, orders_min)));
    let kill = async {
        kill(&inventory, kills).await;
        busy.store(false, Ordering::Relaxed);
    };
    let (accepted, ()) = tokio::join!(clients, kill);
    let accepted: BTreeMap<_, _> = accepted.into_iter().flatten().collect();

    let mut rejected = BTreeSet::new();
    let reservations = inventory
        .stack
        .until("every order is reserved or rejected", SETTLE_TIME_MAX, async || {
            for message in sqs.receive(&dead, 0).await {
                assert_eq!(text(&message, "sluicegate-code"), Some("out_of_stock"), "{message:?}");
                rejected.insert(order_id(&message));
                sqs.delete(&dead, &message).await;
            }
            if accepted.len() > rejected.len() + inventory.reservations().await.len() {
                return None;
            }
            // The copies of an order too.
            if sqs.depth(&orders).await > 0 {
                return None;
            }
            Some(inventory.reservations().await)
        })
        .await;

    let reserved: BTreeSet<_> = reservations.iter().map(|(order_id, _)| order_id.clone()).collect();
    println!("{kills} kills: {} orders, {} reserved, {} rejected", accepted.len(), reserved.len(), rejected.len());
    assert_eq!(reserved.len(), reservations.len(), "an order has one reservation");
    assert!(reserved.is_disjoint(&rejected));
    let ended: BTreeSet<_> = reserved.union(&rejected).collect();
    assert!(accepted.keys().all(|order_id| ended.contains(order_id)), "every accepted order has ended");
    assert!(!rejected.is_empty() && reserved.len() > kills / 2, "both happened");
    let mut left = seed.clone();
    for (order_id, articles) in &reservations {
        for (sku, quantity) in articles {
            *left.get_mut(sku.as_str()).expect("an article of the seed") -= quantity;
        }
        // An order whose answer was lost is not among the accepted ones.
        if let Some(items) = accepted.get(order_id) {
            let ordered: Vec<_> = items.iter().map(|(sku, quantity)| ((*sku).to_owned(), *quantity)).collect();
            assert_eq!(articles, &ordered, "{order_id}");
        }
    }
    for (sku, quantity) in left {
        assert_eq!(inventory.stock(sku).await, quantity, "{sku}");
    }
    // No reservation was written without its record, which would be found by the next attempt.
    let printed = inventory.stack.lines_since("");
    assert!(!printed.iter().any(|line| line.contains("has a reservation already")), "{}", inventory.stack.printed());
    inventory.stack.stop().await;
}

/// Places at least `orders_min` orders until `busy` is false, some of them twice. Returns those that were accepted.
async fn place_orders(
    inventory: &Inventory,
    busy: &AtomicBool,
    next: &AtomicUsize,
    orders_min: usize,
) -> Vec<(String, Vec<Item<'static>>)> {
    let mut accepted = Vec::new();
    while busy.load(Ordering::Relaxed) || next.load(Ordering::Relaxed) < orders_min {
        let order_id = format!("o-{}", next.fetch_add(1, Ordering::Relaxed));
        let mut items = vec![("tea", fastrand::u64(1..=3))];
        if fastrand::bool() {
            items.insert(0, ("coffee", fastrand::u64(1..=3)));
        }
        for _ in 0..fastrand::usize(1..=2) {
            let (status, _) = inventory.place(&order_id, &items).await;
            assert_eq!(status, 202, "{}", inventory.stack.printed());
        }
        accepted.push((order_id, items));
        tokio::time::sleep(ORDER_INTERVAL_MAX.mul_f64(fastrand::f64())).await;
    }
    accepted
}

/// Kills so many processes of the consumer, each at a random moment.
async fn kill(inventory: &Inventory, kills: usize) {
    let mut killed = 0;
    while killed < kills {
        tokio::time::sleep(KILL_INTERVAL_MAX.mul_f64(fastrand::f64())).await;
        let mut consumers = inventory.stack.functions();
        consumers.retain(|process| process.name == "stock-consumer");
        if !consumers.is_empty() {
            processes::signal(consumers[fastrand::usize(..consumers.len())].id, "KILL");
            killed += 1;
        }
    }
}

/// Returns the text of an attribute of a dead letter.
pub(super) fn text<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.message_attributes()?.get(name)?.string_value()
}

/// Returns the order of a dead letter: the subject of its event.
fn order_id(message: &Message) -> String {
    let event: serde_json::Value = serde_json::from_str(message.body().expect("a body")).expect("a CloudEvent");
    event["subject"].as_str().expect("a subject").to_owned()
}
