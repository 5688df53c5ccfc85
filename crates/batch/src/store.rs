//! The store of a consumer, for its idempotency keys and the statuses of its messages.

use std::sync::Arc;

use sluicegate_aws_client::{AwsConfigError, AwsEnvironment};
use sluicegate_idempotency::{AnyStore, DynamoDbStore};

/// The environment variable with the name of the DynamoDB table, which an ingress function reads too.
const IDEMPOTENCY_TABLE: &str = "IDEMPOTENCY_TABLE";

/// Returns the store in the table that the environment names, if it names one. Adds configuration errors to `mistakes`.
pub(crate) fn from_env(
    aws: &Result<AwsEnvironment, AwsConfigError>,
    lookup: impl Fn(&str) -> Option<String>,
    mistakes: &mut Vec<String>,
) -> Option<Arc<AnyStore>> {
    let table = lookup(IDEMPOTENCY_TABLE).filter(|table| !table.trim().is_empty())?;
    let environment = aws.as_ref().map_err(|error| mistakes.push(error.to_string())).ok()?;
    Some(Arc::new(AnyStore::DynamoDb(Box::new(DynamoDbStore::new(environment, table.trim())))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_table_there_is_no_store_and_without_the_variables_of_aws_a_mistake() {
        let (aws, mut mistakes) = (AwsEnvironment::read(|_| None), Vec::new());
        assert!(from_env(&aws, |_| None, &mut mistakes).is_none() && mistakes.is_empty());
        let lookup = |name: &str| (name == IDEMPOTENCY_TABLE).then(|| "table".to_owned());
        assert!(from_env(&aws, lookup, &mut mistakes).is_none());
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    }
}
