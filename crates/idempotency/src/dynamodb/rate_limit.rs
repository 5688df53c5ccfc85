//! Rate limits in the table: a record has `due_ns`, the time when the next request is due.
//!
//! DynamoDB's expressions have no maximum of two values, so there are two writes: one for a caller whose next request
//! is due already, and one for a caller that is ahead of its rate. Each fails where the other applies, and then returns
//! the record. A guess at the right one makes it a single write for most requests.

use serde::Deserialize;
use sluicegate_aws_client::CallError;
use tokio::time::Instant;

use super::{
    Attribute, Attributes, CONDITION_FAILED, DynamoDbStore, ID, Number, UPDATE_ITEM, Write, number, store_error,
    unreadable,
};
use crate::{RateLimitStore, StoreError, Take, Taken};

const UPDATE_IDLE: &str = "SET due_ns = :next, expires_at = :expires_at";
const IS_IDLE: &str = "attribute_not_exists(due_ns) OR due_ns <= :now";
const UPDATE_AHEAD: &str = "SET due_ns = due_ns + :period, expires_at = :expires_at";
const IS_AHEAD: &str = "due_ns > :now AND due_ns <= :latest";

/// The most writes of a request: a wrong guess, and another request between the two writes. A due time only grows, so a
/// third failure is that of a caller over its limit.
const WRITES_MAX: usize = 3;

/// How long a record is kept beyond its due time, in seconds, because the clocks of environments and DynamoDB differ.
const KEEP_S: u64 = 60;

const NS_PER_S: u64 = 1_000_000_000;

impl RateLimitStore for DynamoDbStore {
    async fn take(&self, take: &Take<'_>, deadline: Instant) -> Result<Taken, StoreError> {
        let mut due_ns = take.known_due_ns;
        for _ in 0..WRITES_MAX {
            match self.count(take, due_ns > take.now_ns, deadline).await? {
                Ok(due_ns) => return Ok(Taken::Within { due_ns }),
                Err(found_ns) if found_ns > take.latest_ns() => return Ok(Taken::Exceeded { due_ns: found_ns }),
                Err(found_ns) => due_ns = found_ns,
            }
        }
        Err(StoreError::Unavailable("the record changed at each write".to_owned()))
    }
}

impl DynamoDbStore {
    /// Counts a request of a caller that is ahead of its rate, or is not. Returns the due time after it, or the one in
    /// the record if the write does not apply to it.
    async fn count(&self, take: &Take<'_>, is_ahead: bool, deadline: Instant) -> Result<Result<u64, u64>, StoreError> {
        let latest_ns = take.latest_ns();
        let expires_at_s = latest_ns.saturating_add(take.period_ns) / NS_PER_S + KEEP_S;
        let mut values = Attributes::from([(":now", number(take.now_ns)), (":expires_at", number(expires_at_s))]);
        let (update_expression, condition_expression) = if is_ahead {
            values.extend([(":latest", number(latest_ns)), (":period", number(take.period_ns))]);
            (UPDATE_AHEAD, IS_AHEAD)
        } else {
            values.insert(":next", number(take.now_ns.saturating_add(take.period_ns)));
            (UPDATE_IDLE, IS_IDLE)
        };
        let write = Write {
            table_name: &self.table,
            key: Some([(ID, Attribute::S(take.key.to_owned()))].into()),
            update_expression: Some(update_expression),
            condition_expression,
            expression_attribute_values: values,
            return_values: Some("UPDATED_NEW"),
            return_values_on_condition_check_failure: Some("ALL_OLD"),
            ..Write::default()
        };
        let body = write.body().map_err(|error| store_error(&error))?;
        match self.service.call_once(UPDATE_ITEM, body, deadline).await {
            Ok(answer) => due_ns(&answer).map(Ok).ok_or_else(unreadable),
            // Without a record there is no due time.
            Err(CallError::Answered { code: Some(code), body, .. }) if code == CONDITION_FAILED => {
                Ok(Err(due_ns(&body).unwrap_or(0)))
            }
            Err(error) => Err(store_error(&error)),
        }
    }
}

/// Returns the due time in an answer to a write, or to one whose condition failed.
fn due_ns(answer: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        #[serde(alias = "Item")]
        attributes: Record,
    }
    #[derive(Deserialize)]
    struct Record {
        due_ns: Number,
    }
    serde_json::from_slice::<Answer>(answer).ok()?.attributes.due_ns.text.parse().ok()
}
