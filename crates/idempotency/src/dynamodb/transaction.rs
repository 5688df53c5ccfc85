//! [`DynamoDbStore::complete_with`]: an effect in DynamoDB and the completion of its record, in one transaction.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluicegate_aws_client::{CallError, Progress, is_throttling};
use tokio::time::Instant;

use super::{COMPLETE, DynamoDbStore, ID, IS_HELD, store_error};
use crate::{Lease, StoreError};

/// The most writes beside that of the record: a transaction has at most 100 actions.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
pub const TRANSACTION_WRITES_MAX: usize = 99;

const TRANSACT_WRITE_ITEMS: &str = "DynamoDB_20120810.TransactWriteItems";
const CANCELLED: &str = "TransactionCanceledException";

/// The code of an action that did not cancel the transaction.
const NONE: &str = "None";
const CONDITION_FAILED: &str = "ConditionalCheckFailed";
/// The codes of a transaction that may succeed when it is repeated, beside those of throttling.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html#API_TransactWriteItems_Errors>
const PASSING: [&str; 3] = ["ProvisionedThroughputExceeded", "ThrottlingError", "TransactionConflict"];

/// A write of a transaction, in the shape of the API: `TableName`, `Key` or `Item`, and expressions. Values have their
/// types: `{"S": "tea"}`, `{"N": "2"}`. Two writes of one transaction cannot have the same item.
///
/// With `"ReturnValuesOnConditionCheckFailure": "ALL_OLD"`, [`TransactionError::ConditionFailed`] has the item.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItem.html>
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum TransactWrite {
    /// Replaces or creates an item.
    Put(Value),
    /// Changes or creates an item.
    Update(Value),
    /// Deletes an item.
    Delete(Value),
    /// Writes nothing, and cancels the transaction if its condition is false.
    ConditionCheck(Value),
}

/// A transaction without a success. Nothing of it was written, except perhaps after [`StoreError::Unavailable`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// The condition of a write is false.
    #[error("the condition of write {index} of the transaction is false")]
    ConditionFailed {
        /// The first such write, counted from 0.
        index: usize,
        /// Its item, in the shape of the API, if the write asks for it and the item exists.
        item: Option<Value>,
    },
    /// The same as for every other call: the lease is lost, DynamoDB is unavailable (as it is when another transaction
    /// has one of the items, or when it throttles), or it refuses the transaction.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The part of a cancelled transaction that one action has.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reason {
    code: Option<String>,
    message: Option<String>,
    item: Option<Value>,
}

impl DynamoDbStore {
    /// Carries out `writes` and stores the result of the work, all or nothing, not past `deadline`. So the effect
    /// happens once, also if this process is killed at any point: the next claim of the key finds it completed, or
    /// nothing written.
    ///
    /// A lease that was completed by an earlier call stays as it is, and nothing is written: a call may be repeated
    /// after [`StoreError::Unavailable`]. A transaction costs two write units for each write and KiB.
    ///
    /// # Errors
    /// [`TransactionError`].
    pub async fn complete_with(
        &self,
        lease: &Lease,
        result: &str,
        writes: Vec<TransactWrite>,
        deadline: Instant,
    ) -> Result<(), TransactionError> {
        if writes.len() > TRANSACTION_WRITES_MAX {
            let (count, max) = (writes.len(), TRANSACTION_WRITES_MAX);
            let text = format!("a transaction has at most {max} writes beside that of the record, not {count}");
            return Err(StoreError::Refused(text).into());
        }
        let record = TransactWrite::Update(json!({
            "TableName": self.table,
            "Key": { ID: { "S": lease.key } },
            "UpdateExpression": COMPLETE,
            "ConditionExpression": IS_HELD,
            "ExpressionAttributeValues": { ":outcome": { "S": result }, ":lease": { "S": lease.token } },
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }));
        let items: Vec<TransactWrite> = [record].into_iter().chain(writes).collect();
        // The token makes attempts of this call one transaction.
        let token = format!("{:032x}", fastrand::u128(..));
        let body = json!({ "TransactItems": items, "ClientRequestToken": token }).to_string();
        match self.service.call(TRANSACT_WRITE_ITEMS, body, None, deadline, &Progress::default()).await {
            Ok(_) => {}
            Err(CallError::Answered { code: Some(code), body, .. }) if code == CANCELLED => cancelled(&body, lease)?,
            Err(error) => return Err(store_error(&error).into()),
        }
        lease.mark_completed();
        Ok(())
    }
}

/// Returns the error that a cancelled transaction stands for; none if an earlier call completed the lease.
fn cancelled(answer: &[u8], lease: &Lease) -> Result<(), TransactionError> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "CancellationReasons")]
        reasons: Vec<Reason>,
    }
    let answer = serde_json::from_slice::<Answer>(answer);
    let reasons = answer.map(|answer| answer.reasons).unwrap_or_default();
    let [record, writes @ ..] = &reasons[..] else {
        let text = "DynamoDB cancelled the transaction without reasons";
        return Err(StoreError::Unavailable(text.to_owned()).into());
    };
    if record.code.as_deref() == Some(CONDITION_FAILED) {
        let held = record.item.as_ref().is_some_and(|item| item["lease"]["S"] == lease.token);
        // The condition is false for a lease that still has the record only if there is an outcome.
        return if held { Ok(()) } else { Err(StoreError::LeaseLost.into()) };
    }
    let failed = |reason: &Reason| reason.code.as_deref() == Some(CONDITION_FAILED);
    if let Some((index, reason)) = writes.iter().enumerate().find(|(_, reason)| failed(reason)) {
        return Err(TransactionError::ConditionFailed { index, item: reason.item.clone() });
    }
    let is_passing = |code: &str| PASSING.contains(&code) || is_throttling(code);
    let others = reasons.iter().filter_map(|reason| Some((reason.code.as_deref()?, reason)));
    let (passing, lasting): (Vec<_>, Vec<_>) =
        others.filter(|(code, _)| *code != NONE).partition(|(code, _)| is_passing(code));
    let text = |(code, reason): &(&str, &Reason)| {
        let message = reason.message.as_deref().unwrap_or_default();
        format!("DynamoDB cancelled the transaction: {code}: {message}")
    };
    Err(match (lasting.first(), passing.first()) {
        (Some(first), _) => StoreError::Refused(text(first)),
        (None, Some(first)) => StoreError::Unavailable(text(first)),
        (None, None) => StoreError::Unavailable("DynamoDB cancelled the transaction without a reason".to_owned()),
    }
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reasons_of_a_cancelled_transaction_are_one_error() {
        let lease = Lease::new("k");
        let held = json!({ "Code": "ConditionalCheckFailed", "Item": { "lease": { "S": lease.token } } });
        let lost = json!({ "Code": "ConditionalCheckFailed", "Item": { "lease": { "S": "other" } } });
        let gone = json!({ "Code": "ConditionalCheckFailed", "Message": "The conditional request failed" });
        let (none, conflict) = (json!({ "Code": "None" }), json!({ "Code": "TransactionConflict", "Message": "busy" }));
        let invalid = json!({ "Code": "ValidationError", "Message": "wrong type" });
        let stock = json!({ "quantity": { "N": "1" } });
        let short = json!({ "Code": "ConditionalCheckFailed", "Item": stock });
        let check = |reasons: &[&Value], expected: Result<(), TransactionError>| {
            let answer = json!({ "__type": "x#TransactionCanceledException", "CancellationReasons": reasons });
            assert_eq!(cancelled(answer.to_string().as_bytes(), &lease), expected, "{answer}");
        };
        let unavailable = |text: &str| Err(StoreError::Unavailable(text.to_owned()).into());
        let condition = |index, item| Err(TransactionError::ConditionFailed { index, item });

        check(&[&held, &gone], Ok(()));
        check(&[&lost, &none], Err(StoreError::LeaseLost.into()));
        check(&[&gone, &none], Err(StoreError::LeaseLost.into()));
        check(&[&none, &none, &short, &gone], condition(1, Some(stock.clone())));
        check(&[&none, &conflict, &gone], condition(1, None));
        let busy = "DynamoDB cancelled the transaction: TransactionConflict: busy";
        check(&[&none, &conflict], unavailable(busy));
        check(&[&conflict, &none], unavailable(busy));
        let refused = "DynamoDB cancelled the transaction: ValidationError: wrong type";
        check(&[&none, &conflict, &invalid], Err(StoreError::Refused(refused.to_owned()).into()));
        check(&[&none, &none], unavailable("DynamoDB cancelled the transaction without a reason"));
        check(&[], unavailable("DynamoDB cancelled the transaction without reasons"));
        assert!(cancelled(b"<html>", &lease).is_err());
    }
}
