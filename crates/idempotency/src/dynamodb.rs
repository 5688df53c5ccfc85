//! [`DynamoDbStore`]: records in a DynamoDB table, shared by every environment of a function.
//!
//! The table has a partition key `id` (string), and TTL on the attribute `expires_at`. The record of a key has also
//! `fingerprint`, `lease`, `lease_until_ms` while it is in progress, and `outcome` when it is done; that of a rate
//! limit has `due_ns`, and that of a message `owner_hash`, `message_state` and `changed_ms`.
//!
//! A claim is one `PutItem` with a condition that returns the record if it fails, so a repeat needs no read. A first
//! claim costs one write, its result another. The names of attributes are not among DynamoDB's reserved words.

mod rate_limit;
mod status;
mod transaction;

use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sluicegate_aws_client::{AwsEnvironment, AwsService, CallError, Progress, Service, is_throttling};
use tokio::time::Instant;

pub use self::transaction::{TRANSACTION_WRITES_MAX, TransactWrite, TransactionError};
use crate::record::{Record, unix_ms, unix_s};
use crate::{Begun, Claim, Effect, Lease, Store, StoreError};

const ID: &str = "id";
const FINGERPRINT: &str = "fingerprint";
const LEASE: &str = "lease";
const LEASE_UNTIL_MS: &str = "lease_until_ms";
const EXPIRES_AT: &str = "expires_at";

/// A claim may replace no record, an expired one, or the one of an attempt with the same payload that is over.
const IS_FREE: &str = "attribute_not_exists(id) OR expires_at <= :now_s \
                       OR (attribute_not_exists(outcome) AND lease_until_ms <= :now_ms AND fingerprint = :fingerprint)";

/// What completes a record, with the result as `:outcome`.
const COMPLETE: &str = "SET outcome = :outcome REMOVE lease_until_ms";

const IS_HELD: &str = "lease = :lease AND attribute_not_exists(outcome)";

const CONDITION_FAILED: &str = "ConditionalCheckFailedException";

const DELETE_ITEM: &str = "DynamoDB_20120810.DeleteItem";
const PUT_ITEM: &str = "DynamoDB_20120810.PutItem";
const UPDATE_ITEM: &str = "DynamoDB_20120810.UpdateItem";

/// A store in a DynamoDB table.
#[derive(Debug)]
pub struct DynamoDbStore {
    service: AwsService,
    table: String,
}

/// A value of an attribute; a number is text too.
#[derive(Clone, Debug, Serialize)]
enum Attribute {
    S(String),
    N(String),
}

type Attributes = HashMap<&'static str, Attribute>;

/// A request of any of the three write operations.
#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Write<'a> {
    table_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<Attributes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Attributes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    update_expression: Option<&'static str>,
    condition_expression: &'static str,
    expression_attribute_values: Attributes,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_values: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_values_on_condition_check_failure: Option<&'static str>,
}

impl Write<'_> {
    fn body(&self) -> Result<Vec<u8>, CallError> {
        serde_json::to_vec(self).map_err(|error| CallError::Request(error.to_string()))
    }
}

impl DynamoDbStore {
    /// Creates a store without calling DynamoDB. See [`AwsService::new`].
    #[must_use]
    pub fn new(environment: &AwsEnvironment, table: impl Into<String>) -> Self {
        Self { service: AwsService::new(environment, Service::DynamoDb), table: table.into() }
    }

    async fn write(&self, target: &'static str, write: &Write<'_>, deadline: Instant) -> Result<Bytes, CallError> {
        self.service.call(target, write.body()?, None, deadline, &Progress::default()).await
    }

    /// Changes the record of a lease. Returns whether the lease still has it, and the condition holds.
    async fn change(
        &self,
        target: &'static str,
        lease: &Lease,
        update_expression: Option<&'static str>,
        condition_expression: &'static str,
        value: Option<(&'static str, Attribute)>,
        deadline: Instant,
    ) -> Result<bool, StoreError> {
        let mut values = Attributes::from([(":lease", Attribute::S(lease.token.clone()))]);
        values.extend(value);
        let write = Write {
            table_name: &self.table,
            key: Some([(ID, Attribute::S(lease.key.clone()))].into()),
            update_expression,
            condition_expression,
            expression_attribute_values: values,
            ..Write::default()
        };
        match self.write(target, &write, deadline).await {
            Ok(_) => Ok(true),
            Err(CallError::Answered { code: Some(code), .. }) if code == CONDITION_FAILED => Ok(false),
            Err(error) => Err(store_error(&error)),
        }
    }
}

impl Store for DynamoDbStore {
    async fn begin(&self, claim: &Claim<'_>, deadline: Instant) -> Result<Begun, StoreError> {
        let mut lease = Lease::new(claim.key);
        let fingerprint = Attribute::S(claim.fingerprint.to_owned());
        let item = [
            (ID, Attribute::S(lease.key.clone())),
            (FINGERPRINT, fingerprint.clone()),
            (LEASE, Attribute::S(lease.token.clone())),
            (LEASE_UNTIL_MS, number(unix_ms(claim.lease_until))),
            (EXPIRES_AT, number(unix_s(claim.keep_until))),
        ];
        let values = [
            (":now_s", number(unix_s(claim.now))),
            (":now_ms", number(unix_ms(claim.now))),
            (":fingerprint", fingerprint),
        ];
        let write = Write {
            table_name: &self.table,
            item: Some(item.into()),
            condition_expression: IS_FREE,
            expression_attribute_values: values.into(),
            return_values: Some("ALL_OLD"),
            return_values_on_condition_check_failure: Some("ALL_OLD"),
            ..Write::default()
        };
        match self.write(PUT_ITEM, &write, deadline).await {
            Ok(body) => {
                lease.is_retry = record(&body)?.is_some_and(|replaced| replaced.is_retried_by(claim));
                Ok(Begun::New(lease))
            }
            Err(CallError::Answered { code: Some(code), body, .. }) if code == CONDITION_FAILED => {
                Ok(record(&body)?.ok_or_else(unreadable)?.found_by(claim, lease))
            }
            Err(error) => Err(store_error(&error)),
        }
    }

    async fn complete(&self, lease: &Lease, result: &str, deadline: Instant) -> Result<(), StoreError> {
        let outcome = Some((":outcome", Attribute::S(result.to_owned())));
        if !self.change(UPDATE_ITEM, lease, Some(COMPLETE), "lease = :lease", outcome, deadline).await? {
            return Err(StoreError::LeaseLost);
        }
        lease.mark_completed();
        Ok(())
    }

    async fn abandon(&self, lease: &Lease, effect: Effect, deadline: Instant) -> Result<(), StoreError> {
        let (target, update, value) = match effect {
            Effect::None => (DELETE_ITEM, None, None),
            Effect::Unknown => {
                let update = "SET lease_until_ms = :over";
                (UPDATE_ITEM, Some(update), Some((":over", number(0))))
            }
        };
        self.change(target, lease, update, IS_HELD, value, deadline).await.map(drop)
    }
}

/// Returns the record in the answer to a write that replaced it, or to one whose condition failed.
fn record(answer: &[u8]) -> Result<Option<Record>, StoreError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        #[serde(alias = "Item")]
        attributes: Option<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        fingerprint: Text,
        lease: Text,
        lease_until_ms: Option<Number>,
        outcome: Option<Text>,
        expires_at: Number,
    }
    let answer = serde_json::from_slice::<Answer>(answer).map_err(|_| unreadable())?;
    let record = |Item { fingerprint, lease, lease_until_ms, outcome, expires_at }| {
        Ok(Record {
            fingerprint: fingerprint.text,
            token: lease.text,
            // Absent once the work is done.
            lease_until_ms: lease_until_ms.and_then(|ms| ms.text.parse().ok()).unwrap_or(0),
            result: outcome.map(|outcome| outcome.text),
            expires_at_s: expires_at.text.parse().map_err(|_| unreadable())?,
        })
    };
    answer.attributes.map(record).transpose()
}

/// A text in an answer.
#[derive(Deserialize)]
struct Text {
    #[serde(rename = "S")]
    text: String,
}

/// A number in an answer.
#[derive(Deserialize)]
struct Number {
    #[serde(rename = "N")]
    text: String,
}

fn number(value: u64) -> Attribute {
    Attribute::N(value.to_string())
}

fn unreadable() -> StoreError {
    StoreError::Unavailable("DynamoDB did not return the record".to_owned())
}

fn store_error(error: &CallError) -> StoreError {
    match error {
        CallError::Answered { status: 400..500, code, .. } if !code.as_deref().is_some_and(is_throttling) => {
            StoreError::Refused(error.to_string())
        }
        _ => StoreError::Unavailable(error.to_string()),
    }
}
