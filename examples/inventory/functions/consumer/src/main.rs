//! The inventory service: reserves the stock of each order once.

mod order_placed;

use std::process::ExitCode;

use sluicegate_batch::{Consumer, ConsumerBuilder, IdempotencyKey, IdempotencyRule};

use crate::order_placed::Tables;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    sluicegate_batch::serve(Tables::read(|name| std::env::var(name).ok()).map(consumer)).await
}

/// Two messages with one `order_id` are the same order, also if their events have different ids.
fn consumer(tables: Tables) -> ConsumerBuilder {
    let once = IdempotencyRule { key: IdempotencyKey::Pointer("/order_id"), ..IdempotencyRule::default() };
    Consumer::builder()
        .idempotency_for("order.placed", once)
        .on_json("order.placed", move |order, delivery| order_placed::handle(order, delivery, tables.clone()))
}
