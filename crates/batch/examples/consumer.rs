//! A consumer with one handler.
//!
//! On Lambda it serves the event source mapping of its queue. Elsewhere it calls the handler with a delivery from
//! [`sluicegate_batch::testing`], as a unit test does: `cargo run -p sluicegate-batch --example consumer`.

use std::sync::Arc;

use sluicegate_batch::{Consumer, Delivery, Envelope, Outcome, testing};

#[derive(serde::Deserialize)]
struct Order {
    order_id: String,
    quantity: u32,
}

/// Accepts an order, and rejects one without items: a retry would not change it.
async fn place_order(order: Order, delivery: Arc<Delivery>) -> Outcome {
    if order.quantity == 0 {
        return Outcome::reject("order_empty", format!("order {} has no items", order.order_id));
    }
    println!("order {} of {}, receive {}", order.order_id, delivery.queue(), delivery.receive_count());
    Outcome::Done
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() {
        return Consumer::builder().on_json("order.placed", place_order).build()?.run().await;
    }
    let json = r#"{"order_id": "o-1", "quantity": 2}"#;
    let envelope =
        Envelope::builder("e-1", "/orders", "order.placed").payload(Some("application/json"), json).build()?;
    let delivery = testing::delivery(envelope).queue("orders").receive_count(2).build();
    let outcome = place_order(serde_json::from_str(json)?, delivery).await;
    println!("{outcome:?}");
    Ok(())
}
