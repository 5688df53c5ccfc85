//! The example `examples/inventory` on the local stack: the stock of each order is reserved once.

mod archive;
mod kills;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::service::Service;
use crate::support::stack::Stack;

/// The time limit from a request to the end of its handler.
const WAY_TIME_MAX: Duration = Duration::from_secs(20);

const ORDERS: &str = "OrdersQueue";
const DEAD_ORDERS: &str = "OrdersDeadLetters";

/// The running example.
struct Inventory {
    stack: Stack,
}

/// An article of an order, and its quantity.
type Item<'a> = (&'a str, u64);

impl Inventory {
    async fn start(arguments: &[&str]) -> Self {
        // As in docs/start.md, so its functions use the dependencies of the command.
        let template = ["--template", "examples/inventory/template.yaml"];
        Self { stack: Stack::start(&[&template, arguments].concat(), &[]).await }
    }

    /// Places an order. Returns the status and the id of its message.
    async fn place(&self, order_id: &str, items: &[Item<'_>]) -> (u16, String) {
        let items: Vec<_> = items.iter().map(|(sku, quantity)| json!({ "sku": sku, "quantity": quantity })).collect();
        let request = self.stack.http.post(format!("{}/orders", self.stack.gateway)).header("x-api-key", "dev-key");
        let answer = request.json(&json!({ "order_id": order_id, "items": items })).send().await.expect("an answer");
        let (status, body) = (answer.status().as_u16(), answer.json::<Value>().await.unwrap_or_default());
        (status, body["id"].as_str().unwrap_or_default().to_owned())
    }

    /// Calls DynamoDB. Returns the answer.
    async fn dynamodb(&self, action: &str, input: &Value) -> Value {
        let request = self.stack.http.post(&self.stack.aws).body(input.to_string());
        let request = request.header("x-amz-target", format!("DynamoDB_20120810.{action}"));
        let answer = request.header("content-type", "application/x-amz-json-1.0").send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{action} {input}");
        answer.json().await.expect("JSON")
    }

    /// Returns the stock of an article.
    async fn stock(&self, sku: &str) -> u64 {
        let input = json!({ "TableName": "Stock", "Key": { "sku": { "S": sku } } });
        number(&self.dynamodb("GetItem", &input).await["Item"]["quantity"])
    }

    /// Returns the reservations: the orders with their articles.
    async fn reservations(&self) -> Vec<(String, Vec<(String, u64)>)> {
        let (mut reservations, mut input) = (Vec::new(), json!({ "TableName": "Reservations" }));
        loop {
            let page = self.dynamodb("Scan", &input).await;
            for item in page["Items"].as_array().expect("items") {
                let articles = item["articles"]["M"].as_object().expect("articles");
                let articles = articles.iter().map(|(sku, quantity)| (sku.clone(), number(quantity))).collect();
                reservations.push((item["order_id"]["S"].as_str().expect("a text").to_owned(), articles));
            }
            match &page["LastEvaluatedKey"] {
                Value::Null => return reservations,
                last => input["ExclusiveStartKey"] = last.clone(),
            }
        }
    }

    fn sqs(&self) -> Service {
        Service::at(&self.stack.aws)
    }
}

fn number(attribute: &Value) -> u64 {
    attribute["N"].as_str().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{attribute} is a number"))
}

#[tokio::test]
async fn the_stock_of_an_order_is_reserved_once_or_not_at_all() {
    let inventory = Inventory::start(&[]).await;
    let stock = async || (inventory.stock("tea").await, inventory.stock("coffee").await);
    let place = async |order_id: &str, items: &[Item<'_>], state: &str| {
        let (status, id) = inventory.place(order_id, items).await;
        assert_eq!(status, 202, "{}", inventory.stack.printed());
        inventory.stack.until_state(&id, state, WAY_TIME_MAX).await
    };
    // The seed of the template.
    assert_eq!(stock().await, (100, 50));
    place("o-1", &[("tea", 2), ("coffee", 1), ("tea", 3)], "done").await;
    assert_eq!(stock().await, (95, 49));
    // The same order in another message is a duplicate.
    place("o-1", &[("tea", 2), ("coffee", 1), ("tea", 3)], "done").await;
    assert_eq!(stock().await, (95, 49));
    // Of an order that is not in stock nothing is reserved.
    place("o-2", &[("tea", 1), ("coffee", 50)], "dead-lettered").await;
    place("o-3", &[("tea", 1), ("milk", 1)], "dead-lettered").await;
    assert_eq!(stock().await, (95, 49));
    let reserved = ("o-1".to_owned(), vec![("coffee".to_owned(), 1), ("tea".to_owned(), 5)]);
    assert_eq!(inventory.reservations().await, [reserved]);
    let sqs = inventory.sqs();
    let dead = sqs.receive_count(&sqs.find(DEAD_ORDERS).await, 2).await;
    for message in &dead {
        assert_eq!(kills::text(message, "sluicegate-code"), Some("out_of_stock"));
        assert_eq!(kills::text(message, "sluicegate-reason"), Some("out of stock: /items/1"));
    }
    inventory.stack.stop().await;
}
