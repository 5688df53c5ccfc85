//! DynamoDB for the tables of a template: dynoxide, an emulator on SQLite in memory, behind the feature `dynamodb`.
//!
//! Without the feature, [`DynamoDb`] is a type without values, and a template with a table cannot be started.

#[cfg(not(feature = "dynamodb"))]
mod absent;
#[cfg(feature = "dynamodb")]
mod embedded;

use serde_json::{Value, json};
use sluicegate_sam::TablePlan;

#[cfg(not(feature = "dynamodb"))]
pub use absent::DynamoDb;
#[cfg(feature = "dynamodb")]
pub use embedded::DynamoDb;

use crate::{
    secrets::{RemoteService, call},
    stack::CreateError,
};

/// The service, at the AWS port and at a remote endpoint.
pub(crate) const DYNAMODB: RemoteService =
    RemoteService { name: "dynamodb", target: "DynamoDB_20120810", content_type: "application/x-amz-json-1.0" };

/// Creates the tables of a template with the items of their seed: in `dynamodb`, or at a remote endpoint, where one
/// that exists is used with the items that it has.
///
/// # Errors
/// The first table that is refused, with its name.
pub(crate) async fn create(
    tables: &[TablePlan],
    dynamodb: Option<&DynamoDb>,
    endpoint_url: Option<&str>,
) -> Result<(), (String, CreateError)> {
    for table in tables {
        let named = |error: CreateError| (table.name.clone(), error);
        let mut input = table.keys.clone();
        (input["TableName"], input["BillingMode"]) = (table.name.as_str().into(), "PAY_PER_REQUEST".into());
        let is_new = ask(dynamodb, endpoint_url, "CreateTable", &input).await.map_err(named)?;
        if let Some(attribute) = &table.ttl_attribute {
            let ttl = json!({ "AttributeName": attribute, "Enabled": true });
            let input = json!({ "TableName": table.name, "TimeToLiveSpecification": ttl });
            ask(dynamodb, endpoint_url, "UpdateTimeToLive", &input).await.map_err(named)?;
        }
        for item in table.seed.iter().filter(|_| is_new) {
            let input = json!({ "TableName": table.name, "Item": item });
            ask(dynamodb, endpoint_url, "PutItem", &input).await.map_err(named)?;
        }
    }
    Ok(())
}

/// Calls DynamoDB. Returns whether it did something new.
async fn ask(
    dynamodb: Option<&DynamoDb>,
    endpoint_url: Option<&str>,
    action: &str,
    input: &Value,
) -> Result<bool, CreateError> {
    let answer = match (dynamodb, endpoint_url) {
        (Some(dynamodb), _) => {
            let (_, body) = dynamodb.call(action, input.to_string().into()).await;
            serde_json::from_str(&body).unwrap_or_default()
        }
        (None, Some(url)) => call(url, &DYNAMODB, action, input).await?,
        (None, None) => Value::Null,
    };
    match answer["__type"].as_str() {
        None => Ok(true),
        // An earlier start created the table, or enabled its TTL.
        Some(kind) if kind.ends_with("ResourceInUseException") => Ok(false),
        Some(_) if answer["message"].as_str().is_some_and(|text| text.contains("already enabled")) => Ok(false),
        Some(kind) => Err(CreateError::Table(format!("{kind}: {}", answer["message"].as_str().unwrap_or_default()))),
    }
}
