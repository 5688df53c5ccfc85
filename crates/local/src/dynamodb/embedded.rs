//! [`DynamoDb`]: dynoxide behind AWS JSON 1.0.

use std::time::Duration;

use bytes::Bytes;
use dynoxide::{Database, DynoxideError};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

/// How often expired items are deleted. DynamoDB takes up to a few days.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// An empty DynamoDB in memory. Clones share its tables.
#[derive(Clone)]
pub struct DynamoDb(Database);

impl DynamoDb {
    /// Creates one, and a task that deletes expired items for as long as the runtime lives. `None` if SQLite cannot be
    /// opened.
    #[must_use]
    pub fn start() -> Option<Self> {
        let database = Database::memory().ok()?;
        let swept = database.clone();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(SWEEP_INTERVAL);
            loop {
                tick.tick().await;
                let swept = swept.clone();
                if let Ok(Err(error)) = tokio::task::spawn_blocking(move || swept.sweep_ttl()).await {
                    tracing::warn!(%error, "expired items are not deleted");
                }
            }
        });
        Some(Self(database))
    }

    /// Carries out an action; returns status and body.
    pub async fn call(&self, action: &str, body: Bytes) -> (u16, String) {
        let (database, action) = (self.0.clone(), action.to_owned());
        let answer = tokio::task::spawn_blocking(move || answer(&database, &action, &body)).await;
        answer.unwrap_or_else(|_| {
            let text = "the request made the emulator fail";
            (
                500,
                json!({ "__type": "com.amazonaws.dynamodb.v20120810#InternalServerError", "message": text })
                    .to_string(),
            )
        })
    }
}

fn answer(database: &Database, action: &str, body: &[u8]) -> (u16, String) {
    match dispatch(database, action, body) {
        Ok(output) => (200, output),
        Err(error) => (error.status_code(), error.to_json()),
    }
}

fn dispatch(database: &Database, action: &str, body: &[u8]) -> Result<String, DynoxideError> {
    match action {
        "BatchGetItem" => call(body, |input| database.batch_get_item(input)),
        "BatchWriteItem" => call(body, |input| database.batch_write_item(input)),
        "CreateTable" => call(body, |input| database.create_table(input)),
        "DeleteItem" => call(body, |input| database.delete_item(input)),
        "DeleteTable" => call(body, |input| database.delete_table(input)),
        "DescribeTable" => call(body, |input| database.describe_table(input)),
        "DescribeTimeToLive" => call(body, |input| database.describe_time_to_live(input)),
        "GetItem" => call(body, |input| database.get_item(input)),
        "ListTables" => call(body, |input| database.list_tables(input)),
        "PutItem" => call(body, |input| database.put_item(input)),
        "Query" => call(body, |input| database.query(input)),
        "Scan" => call(body, |input| database.scan(input)),
        "TransactGetItems" => call(body, |input| database.transact_get_items(input)),
        "TransactWriteItems" => call(body, |input| database.transact_write_items(input)),
        "UpdateItem" => call(body, |input| database.update_item(input)),
        "UpdateTimeToLive" => call(body, |input| database.update_time_to_live(input)),
        _ => Err(DynoxideError::ValidationException(format!("DynamoDB's {action} is not supported locally"))),
    }
}

fn call<I: DeserializeOwned, O: Serialize>(
    body: &[u8],
    operation: impl FnOnce(I) -> Result<O, DynoxideError>,
) -> Result<String, DynoxideError> {
    let input =
        serde_json::from_slice(body).map_err(|error| DynoxideError::SerializationException(error.to_string()))?;
    serde_json::to_string(&operation(input)?).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}
