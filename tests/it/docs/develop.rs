//! docs/develop.md: each excerpt is in the file that it names, and the example code works.

use std::fs;
use std::time::Duration;

use lambda_http::LambdaEvent;
use serde_json::Value;
use sluicegate_batch::Consumer;
use sluicegate_contract::BodySchema;
use sluicegate_envelope::Envelope;

use super::order_placed;
use super::page::Page;
use crate::support::root;

/// A block whose info string names a file, such as `rust functions/consumer/src/main.rs`, is an excerpt of it.
#[test]
fn excerpts_are_in_their_files() {
    let mut shown = 0;
    for page in Page::all() {
        for block in page.blocks() {
            let Some((_, file)) = block.info.split_once(' ').filter(|(language, _)| *language != "sh") else {
                continue;
            };
            let path = root().join(file);
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {file}: {error}", page.path));
            assert!(text.contains(block.text.trim_end()), "{}:{}: {file} has no such part", page.path, block.line);
            shown += 1;
        }
    }
    assert!(shown > 0, "no block names its file");
}

/// Every integer that the contract accepts fits into the `u32` of the handler.
#[tokio::test]
async fn the_example_handler_accepts_every_order_of_the_contract() {
    let contract = crate::support::contract();
    let order = contract.route("POST", "/orders").expect("the route").operation.body.as_ref().expect("a body");
    let BodySchema::Schema(schema) = &order.content[0].1 else { panic!("{order:?}") };
    let schema = jsonschema::draft202012::new(&serde_json::from_str(schema).expect("JSON")).expect("a schema");
    for (quantity, taken) in [
        ("2", true),
        ("2.0", true),
        ("1e2", true),
        ("1E+2", true),
        ("10e-1", true),
        ("1000000", true),
        ("1000001", false),
        ("4294967296", false),
        ("1e10", false),
        ("0.5", false),
        ("-1", false),
        ("-0.0", false),
    ] {
        let order = format!(
            r#"{{"order_id": "o-1", "customer_id": "c-1", "items": [{{"sku": "tea", "quantity": {quantity}}}]}}"#
        );
        assert_eq!(schema.is_valid(&serde_json::from_str(&order).expect("JSON")), taken, "{quantity}");
        if taken {
            assert_eq!(failures(&order).await, 0, "{quantity} is done");
            let envelope = Envelope::builder("id", "/", "t").payload(Some("application/json"), order);
            envelope.build().expect("an envelope").json::<order_placed::Order>().expect("an order");
        }
    }
}

/// Returns the number of failed messages of a batch with this order.
async fn failures(order: &str) -> usize {
    let envelope = Envelope::builder("id-1", "/sluicegate/placeOrder", "order.placed");
    let body = envelope.payload(Some("application/json"), order).build().expect("an envelope").encode();
    let event = fs::read_to_string(root().join("tests/events/sqs-fifo.json")).expect("the captured event");
    let mut event: Value = serde_json::from_str(&event).expect("JSON");
    event["Records"][0]["body"] = body.into();
    let event = serde_json::value::to_raw_value(&event).expect("JSON");
    let context = crate::support::context(Duration::from_secs(30));
    // The consumer calls no broker as long as no message fails.
    let unused = |name: &str| (!name.contains("ENDPOINT")).then(|| "unused".to_owned());
    let environment = sluicegate_batch::AwsEnvironment::read(unused).expect("an environment");
    let consumer = Consumer::builder().aws_environment(environment).on_json("order.placed", order_placed::handle);
    let consumer = consumer.build().expect("a consumer");
    let response = consumer.handle(LambdaEvent::new(event, context)).await.expect("a response");
    response.failures().count()
}
