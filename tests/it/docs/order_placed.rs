//! Gives each order to the warehouse: the example handler of docs/develop.md, whose text this is.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
#[cfg(test)]
use sluicegate_batch::testing;
use sluicegate_batch::{Delivery, Outcome};

/// The members of an order that the warehouse needs. Other members are ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct Order {
    order_id: String,
    items: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    sku: String,
    quantity: u32,
}

/// The reason why the warehouse did not accept an order.
enum Refusal {
    Closed { opens_in: Duration },
    Unreachable,
    NoSuchArticle,
}

/// Handles `order.placed`. The same order may come twice, with the same id: the warehouse drops the second.
pub(crate) async fn handle(order: Order, delivery: Arc<Delivery>) -> Outcome {
    outcome(ship(&order, delivery.envelope().id()).await)
}

fn outcome(answer: Result<(), Refusal>) -> Outcome {
    match answer {
        Ok(()) => Outcome::Done,
        Err(Refusal::Closed { opens_in }) => Outcome::RetryAfter(opens_in),
        Err(Refusal::Unreachable) => Outcome::Retry,
        Err(Refusal::NoSuchArticle) => Outcome::reject("article_unknown", "the warehouse has no such article"),
    }
}

/// Your client comes here. The id is the idempotency key of the call.
async fn ship(order: &Order, id: &str) -> Result<(), Refusal> {
    let packets: u64 = order.items.iter().map(|item| u64::from(item.quantity)).sum();
    tracing::info!(message_id = id, order_id = order.order_id, packets, "shipping");
    match order.items.iter().any(|item| item.sku == "unicorn") {
        true => Err(Refusal::NoSuchArticle),
        false => Ok(()),
    }
}

#[test]
fn the_answer_of_the_warehouse_decides_the_outcome() {
    let check = |answer, expected| assert_eq!(outcome(answer), expected);
    check(Ok(()), Outcome::Done);
    check(Err(Refusal::Unreachable), Outcome::Retry);
    let hour = Duration::from_secs(3600);
    check(Err(Refusal::Closed { opens_in: hour }), Outcome::RetryAfter(hour));
}

#[tokio::test]
async fn an_article_that_is_not_there_is_rejected() {
    let order = r#"{"order_id": "o-1", "items": [{"sku": "unicorn", "quantity": 1}]}"#;
    let delivery = testing::json("order.placed", order).unwrap().receive_count(2);
    let rejected = Outcome::reject("article_unknown", "the warehouse has no such article");
    assert_eq!(delivery.call_json(handle).await, rejected);
}
