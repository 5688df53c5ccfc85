//! An effect and the completion of its record in one transaction: the part of the suite for stores in DynamoDB.

use serde_json::{Value, json};
use sluicegate_aws_client::AwsEnvironment;
use sluicegate_idempotency::{
    AnyStore, Begun, DynamoDbStore, Lease, MemoryStore, StoreError, TRANSACTION_WRITES_MAX, TransactWrite,
    TransactionError,
};

use super::{LEASE, Suite, call, deadline, dynamodb, environment, lossy, table};
use crate::support::service::{emulator, unique};

/// A table with stock, beside the store.
struct Stock {
    environment: AwsEnvironment,
    table: String,
}

impl Stock {
    async fn create(endpoint: &str, id: &str, quantity: u32) -> Self {
        let (environment, table) = (environment(endpoint), table(endpoint).await);
        let item = json!({ "id": { "S": id }, "quantity": { "N": quantity.to_string() } });
        call(&environment, "PutItem", &json!({ "TableName": table, "Item": item })).await;
        Self { environment, table }
    }

    /// Returns a write that takes so many of an article, if there are as many.
    fn take(&self, id: &str, quantity: u32) -> TransactWrite {
        TransactWrite::Update(json!({
            "TableName": self.table,
            "Key": { "id": { "S": id } },
            "UpdateExpression": "SET quantity = quantity - :n",
            "ConditionExpression": "quantity >= :n",
            "ExpressionAttributeValues": { ":n": { "N": quantity.to_string() } },
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }))
    }

    fn put(&self, id: &str) -> TransactWrite {
        TransactWrite::Put(json!({ "TableName": self.table, "Item": { "id": { "S": id } } }))
    }

    fn delete(&self, id: &str) -> TransactWrite {
        TransactWrite::Delete(json!({ "TableName": self.table, "Key": { "id": { "S": id } } }))
    }

    fn require(&self, id: &str) -> TransactWrite {
        let (key, condition) = (json!({ "id": { "S": id } }), "attribute_exists(id)");
        TransactWrite::ConditionCheck(json!({ "TableName": self.table, "Key": key, "ConditionExpression": condition }))
    }

    async fn item(&self, id: &str) -> Value {
        let input = json!({ "TableName": self.table, "Key": { "id": { "S": id } }, "ConsistentRead": true });
        call(&self.environment, "GetItem", &input).await["Item"].clone()
    }

    async fn quantity(&self, id: &str) -> Value {
        self.item(id).await["quantity"]["N"].clone()
    }
}

impl Suite<DynamoDbStore> {
    async fn complete_with(&self, lease: &Lease, writes: Vec<TransactWrite>) -> Result<(), TransactionError> {
        self.store.complete_with(lease, "reserved", writes, deadline()).await
    }
}

pub(super) async fn suite(endpoint: &str) {
    let mut suite = Suite::new(dynamodb(endpoint).await);
    let stock = Stock::create(endpoint, "tea", 5).await;
    let completed = Begun::Completed { result: "reserved".to_owned() };

    // All writes and the record, or none of them.
    let key = unique("k", "");
    let lease = suite.lease(&key, "f").await;
    assert!(!lease.is_completed());
    suite.complete_with(&lease, vec![stock.take("tea", 2), stock.put("o-1")]).await.unwrap();
    assert!(lease.is_completed());
    assert_eq!(suite.begin(&key, "f").await, completed);
    assert_eq!((stock.quantity("tea").await, stock.item("o-1").await), (json!("3"), json!({ "id": { "S": "o-1" } })));
    // A completed lease stays as it is: nothing is written again, whatever the conditions of the writes.
    suite.complete_with(&lease, vec![stock.take("tea", 2), stock.delete("o-1")]).await.unwrap();
    suite.complete_with(&lease, vec![stock.take("tea", 100)]).await.unwrap();
    assert_eq!((stock.quantity("tea").await, stock.item("o-1").await), (json!("3"), json!({ "id": { "S": "o-1" } })));

    // A false condition: its place, its item if it was asked for, and the key still belongs to the caller.
    let key = unique("k", "");
    let lease = suite.lease(&key, "f").await;
    let item = Some(json!({ "id": { "S": "tea" }, "quantity": { "N": "3" } }));
    for (writes, index, item) in [
        (vec![stock.put("o-2"), stock.take("tea", 4)], 1, item),
        (vec![stock.take("coffee", 1)], 0, None),
        (vec![stock.delete("o-1"), stock.take("tea", 1), stock.require("coffee")], 2, None),
    ] {
        let failed = suite.complete_with(&lease, writes).await;
        assert_eq!(failed, Err(TransactionError::ConditionFailed { index, item }));
    }
    assert_eq!((stock.quantity("tea").await, stock.item("o-2").await), (json!("3"), Value::Null));
    assert_ne!(stock.item("o-1").await, Value::Null);
    assert_eq!(suite.begin(&key, "f").await, Begun::InProgress { lease_left: LEASE });
    suite.complete_with(&lease, vec![stock.take("tea", 3), stock.require("o-1")]).await.unwrap();
    assert_eq!(stock.quantity("tea").await, json!("0"));

    // A lost lease: nothing is written, also while the key is free, and also if a condition of a write is false.
    let key = unique("k", "");
    let first = suite.lease(&key, "f").await;
    suite.now += LEASE;
    let second = suite.lease(&key, "f").await;
    for writes in [vec![stock.put("late")], vec![stock.take("tea", 1)], vec![]] {
        assert_eq!(suite.complete_with(&first, writes).await, Err(StoreError::LeaseLost.into()));
    }
    assert!(!first.is_completed());
    suite.complete_with(&second, vec![stock.delete("o-1")]).await.unwrap();
    assert_eq!((suite.begin(&key, "f").await, stock.item("o-1").await), (completed, Value::Null));
    assert_eq!(suite.complete_with(&first, vec![stock.put("late")]).await, Err(StoreError::LeaseLost.into()));
    assert_eq!(stock.item("late").await, Value::Null);

    // As many writes as fit, and no more.
    let key = unique("k", "");
    let lease = suite.lease(&key, "f").await;
    let mut writes: Vec<_> = (0..=TRANSACTION_WRITES_MAX).map(|n| stock.put(&format!("many-{n}"))).collect();
    let refused = suite.complete_with(&lease, writes.clone()).await.unwrap_err();
    assert_eq!(refused.to_string(), "a transaction has at most 99 writes beside that of the record, not 100");
    writes.pop();
    // A write that the table cannot take is refused, and so is a second write of one item.
    let wrong = TransactWrite::Put(json!({ "TableName": stock.table, "Item": { "id": { "N": "1" } } }));
    for wrong in [wrong, stock.put("many-1")] {
        let refused = suite.complete_with(&lease, vec![stock.put("many-1"), wrong]).await;
        assert!(matches!(refused, Err(TransactionError::Store(StoreError::Refused(_)))), "{refused:?}");
    }
    assert_eq!(stock.item("many-1").await, Value::Null);
    suite.complete_with(&lease, writes).await.unwrap();
    assert_ne!(stock.item("many-98").await, Value::Null);

    // Of many transactions for the last three units, three succeed.
    let stock = Stock::create(endpoint, "tea", 3).await;
    let reserved = futures_util::future::join_all((0..20).map(async |_| {
        let lease = suite.lease(&unique("k", ""), "f").await;
        loop {
            match suite.complete_with(&lease, vec![stock.take("tea", 1)]).await {
                Ok(()) => return true,
                Err(TransactionError::ConditionFailed { index: 0, .. }) => return false,
                // Another transaction has the item.
                Err(TransactionError::Store(StoreError::Unavailable(_))) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
    }));
    assert_eq!(reserved.await.into_iter().filter(|reserved| *reserved).count(), 3);
    assert_eq!(stock.quantity("tea").await, json!("0"));
}

#[tokio::test]
async fn a_lost_answer_to_a_transaction_does_not_repeat_its_effect() {
    // The first answer is lost on the way, so the client sends the transaction again.
    let endpoint = emulator().await;
    let proxy = lossy(&endpoint).await;
    let store = dynamodb(&endpoint).await;
    let table = format!("{store:?}").split('"').find(|part| part.starts_with("keys-")).unwrap().to_owned();
    let stock = Stock::create(&endpoint, "tea", 5).await;
    let lease = Suite::new(store).lease("k", "f").await;
    let through_proxy = Suite::new(DynamoDbStore::new(&environment(&proxy), table));
    through_proxy.complete_with(&lease, vec![stock.take("tea", 2)]).await.unwrap();
    assert_eq!(stock.quantity("tea").await, json!("3"));
}

#[tokio::test]
async fn a_store_in_memory_refuses_a_transaction() {
    let store = MemoryStore::default();
    let lease = Suite::new(store.clone()).lease("k", "f").await;
    let refused = AnyStore::Memory(store).complete_with(&lease, "reserved", vec![], deadline()).await;
    assert!(matches!(refused, Err(TransactionError::Store(StoreError::Refused(_)))), "{refused:?}");
    assert!(!lease.is_completed());
}
