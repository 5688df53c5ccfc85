//! Reserves the stock of an order: its articles, its reservation, and the record that it was handled are one
//! transaction.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use sluicegate_batch::{Delivery, Outcome, TransactWrite, TransactionError};

/// The members of an order that the reservation needs. Other members are ignored.
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

/// The names of the tables.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    stock: String,
    reservations: String,
}

impl Tables {
    /// Reads the names from the environment.
    pub(crate) fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let table = |name| lookup(name).ok_or_else(|| format!("{name} is not set; it names a DynamoDB table"));
        Ok(Self { stock: table("STOCK_TABLE")?, reservations: table("RESERVATIONS_TABLE")? })
    }
}

/// Handles `order.placed`. An order that comes twice does not get here twice. Throttling and conflicts with other
/// orders are retried.
pub(crate) async fn handle(order: Order, delivery: Arc<Delivery>, tables: Tables) -> Result<Outcome, TransactionError> {
    let articles = articles(&order);
    match delivery.complete_with(writes(&order, &articles, &tables)).await {
        Ok(()) => Ok(Outcome::Done),
        Err(TransactionError::ConditionFailed { index, .. }) => Ok(refused(index, &articles)),
        Err(error) => Err(error),
    }
}

/// An article of an order, with the quantity of all its items.
#[derive(Debug, PartialEq, Eq)]
struct Article<'a> {
    sku: &'a str,
    quantity: u64,
    /// The first item with it, counted from 0.
    item: usize,
}

/// Returns the articles of an order. A transaction cannot write the same row twice.
fn articles(order: &Order) -> Vec<Article<'_>> {
    let mut articles: Vec<Article<'_>> = Vec::new();
    for (item, Item { sku, quantity }) in order.items.iter().enumerate() {
        let quantity = u64::from(*quantity);
        match articles.iter_mut().find(|article| article.sku == sku) {
            Some(article) => article.quantity += quantity,
            None => articles.push(Article { sku, quantity, item }),
        }
    }
    articles
}

/// Returns the reservation, if there is none for the order, and then the stock of each article, if it suffices.
fn writes(order: &Order, articles: &[Article<'_>], tables: &Tables) -> Vec<TransactWrite> {
    let reserved =
        articles.iter().map(|article| (article.sku.to_owned(), json!({ "N": article.quantity.to_string() })));
    let reservation = TransactWrite::Put(json!({
        "TableName": tables.reservations,
        "Item": { "order_id": { "S": order.order_id }, "articles": { "M": Value::from_iter(reserved) } },
        "ConditionExpression": "attribute_not_exists(order_id)",
    }));
    let take = |article: &Article<'_>| {
        TransactWrite::Update(json!({
            "TableName": tables.stock,
            "Key": { "sku": { "S": article.sku } },
            "UpdateExpression": "SET quantity = quantity - :n",
            "ConditionExpression": "quantity >= :n",
            "ExpressionAttributeValues": { ":n": { "N": article.quantity.to_string() } },
        }))
    };
    [reservation].into_iter().chain(articles.iter().map(take)).collect()
}

/// Returns the outcome of an order for which the condition of this write is false.
fn refused(index: usize, articles: &[Article<'_>]) -> Outcome {
    match index.checked_sub(1).and_then(|index| articles.get(index)) {
        // From a time that the record of the order has forgotten.
        None => {
            tracing::warn!("an order without a record has a reservation already");
            Outcome::Done
        }
        Some(article) => Outcome::reject("out_of_stock", format!("out of stock: /items/{}", article.item)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_article_is_written_once_and_refused_at_its_first_item() {
        let order = r#"{"order_id": "o-1", "items": [
            {"sku": "tea", "quantity": 2}, {"sku": "milk", "quantity": 1}, {"sku": "tea", "quantity": 3}]}"#;
        let order: Order = serde_json::from_str(order).unwrap();
        let articles = articles(&order);
        let expected = [Article { sku: "tea", quantity: 5, item: 0 }, Article { sku: "milk", quantity: 1, item: 1 }];
        assert_eq!(articles, expected);
        let tables = Tables::read(|name| Some(name.to_lowercase())).unwrap();
        assert_eq!(writes(&order, &articles, &tables).len(), 3);
        assert_eq!(refused(0, &articles), Outcome::Done);
        assert_eq!(refused(2, &articles), Outcome::reject("out_of_stock", "out of stock: /items/1"));
    }

    #[test]
    fn a_missing_table_is_named() {
        let lookup = |name: &str| (name == "STOCK_TABLE").then(|| "stock".to_owned());
        assert!(Tables::read(lookup).unwrap_err().starts_with("RESERVATIONS_TABLE is not set"));
    }
}
