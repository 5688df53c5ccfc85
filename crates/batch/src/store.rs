//! The store of a consumer, for its idempotency keys and the statuses of its messages.

use std::sync::Arc;

use sluicegate_idempotency::AnyStore;

/// The environment variable with the name of the DynamoDB table, which an ingress function reads too.
#[cfg(feature = "dynamodb")]
const IDEMPOTENCY_TABLE: &str = "IDEMPOTENCY_TABLE";

/// Returns the store in the table that the environment names, if it names one. Adds configuration errors to `mistakes`.
#[cfg(feature = "dynamodb")]
pub(crate) fn from_env(lookup: impl Fn(&str) -> Option<String>, mistakes: &mut Vec<String>) -> Option<Arc<AnyStore>> {
    let table = lookup(IDEMPOTENCY_TABLE).filter(|table| !table.trim().is_empty())?;
    match sluicegate_aws_client::AwsEnvironment::read(lookup) {
        Ok(environment) => {
            let store = sluicegate_idempotency::DynamoDbStore::new(&environment, table.trim());
            Some(Arc::new(AnyStore::DynamoDb(Box::new(store))))
        }
        Err(error) => {
            mistakes.push(sluicegate_queue::chain(&error));
            None
        }
    }
}

/// Returns no store: this build has no client of DynamoDB.
#[cfg(not(feature = "dynamodb"))]
pub(crate) fn from_env(_: impl Fn(&str) -> Option<String>, _: &mut Vec<String>) -> Option<Arc<AnyStore>> {
    None
}

#[cfg(all(test, feature = "dynamodb"))]
mod tests {
    use super::*;

    #[test]
    fn without_a_table_there_is_no_store_and_without_the_variables_of_aws_a_mistake() {
        let mut mistakes = Vec::new();
        assert!(from_env(|_| None, &mut mistakes).is_none() && mistakes.is_empty());
        let lookup = |name: &str| (name == IDEMPOTENCY_TABLE).then(|| "table".to_owned());
        assert!(from_env(lookup, &mut mistakes).is_none());
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    }
}
