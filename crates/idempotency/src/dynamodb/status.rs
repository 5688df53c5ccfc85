//! Statuses in the table: a record has `owner_hash`, `message_state`, which is JSON, and `changed_ms`, the time of the
//! last change.
//!
//! Every step is one call. A read is consistent, because a sender may ask as soon as it has its answer.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sluicegate_aws_client::{CallError, Progress};
use tokio::time::Instant;

use super::{
    Attribute, Attributes, CONDITION_FAILED, DELETE_ITEM, DynamoDbStore, EXPIRES_AT, ID, Number, PUT_ITEM, Text,
    UPDATE_ITEM, Write, number, store_error, unreadable,
};
use crate::record::unix_s;
use crate::status::Change;
use crate::{MessageState, Status, StatusStore, StoreError};

const OWNER: &str = "owner_hash";
const STATE: &str = "message_state";
const CHANGED_MS: &str = "changed_ms";

const IS_NEW: &str = "attribute_not_exists(id) OR expires_at <= :now_s";
const IS_ACCEPTED: &str = "message_state = :accepted";
const IS_EARLIER: &str = "changed_ms < :before_ms";

const CHANGE: &str = "SET message_state = :state, changed_ms = :changed_ms, expires_at = :expires_at";

impl StatusStore for DynamoDbStore {
    async fn open_status(&self, id: &str, owner: &str, now: SystemTime, deadline: Instant) -> Result<bool, StoreError> {
        let change = Change::to(&MessageState::Accepted, now);
        let item = [
            (ID, key(id)),
            (OWNER, Attribute::S(owner.to_owned())),
            (STATE, state(&MessageState::Accepted)),
            (CHANGED_MS, number(change.changed_ms)),
            (EXPIRES_AT, number(change.expires_at_s)),
        ];
        let write = Write {
            item: Some(item.into()),
            condition_expression: IS_NEW,
            expression_attribute_values: [(":now_s", number(unix_s(now)))].into(),
            ..self.write_to_table()
        };
        self.write_if(PUT_ITEM, &write, deadline).await
    }

    async fn discard_status(&self, id: &str, deadline: Instant) -> Result<(), StoreError> {
        let write = Write {
            key: Some([(ID, key(id))].into()),
            condition_expression: IS_ACCEPTED,
            expression_attribute_values: [(":accepted", state(&MessageState::Accepted))].into(),
            ..self.write_to_table()
        };
        self.write_if(DELETE_ITEM, &write, deadline).await.map(drop)
    }

    async fn change_status(
        &self,
        id: &str,
        to: &MessageState,
        now: SystemTime,
        deadline: Instant,
    ) -> Result<(), StoreError> {
        let change = Change::to(to, now);
        let values = [
            (":state", state(to)),
            (":changed_ms", number(change.changed_ms)),
            (":before_ms", number(change.before_ms)),
            (":expires_at", number(change.expires_at_s)),
        ];
        let write = Write {
            key: Some([(ID, key(id))].into()),
            update_expression: Some(CHANGE),
            condition_expression: IS_EARLIER,
            expression_attribute_values: values.into(),
            ..self.write_to_table()
        };
        self.write_if(UPDATE_ITEM, &write, deadline).await.map(drop)
    }

    async fn status(&self, id: &str, now: SystemTime, deadline: Instant) -> Result<Option<Status>, StoreError> {
        let read = Read { table_name: &self.table, key: [(ID, key(id))].into(), consistent_read: true };
        let body = serde_json::to_vec(&read).map_err(|error| store_error(&CallError::Request(error.to_string())))?;
        let answer = self.service.call("DynamoDB_20120810.GetItem", body, None, deadline, &Progress::default()).await;
        let answer = answer.map_err(|error| store_error(&error))?;
        let Answer { item } = serde_json::from_slice(&answer).map_err(|_| unreadable())?;
        item.map_or(Ok(None), |item| item.status(unix_s(now)).ok_or_else(unreadable))
    }
}

impl DynamoDbStore {
    fn write_to_table(&self) -> Write<'_> {
        Write { table_name: &self.table, ..Write::default() }
    }

    /// Returns whether the condition of the write held.
    async fn write_if(&self, target: &'static str, write: &Write<'_>, deadline: Instant) -> Result<bool, StoreError> {
        match self.write(target, write, deadline).await {
            Ok(_) => Ok(true),
            Err(CallError::Answered { code: Some(code), .. }) if code == CONDITION_FAILED => Ok(false),
            Err(error) => Err(store_error(&error)),
        }
    }
}

/// Returns the key of a message's record, in one name space with [`Claim::key`](crate::Claim::key).
fn key(id: &str) -> Attribute {
    Attribute::S(format!("message/{id}"))
}

fn state(state: &MessageState) -> Attribute {
    // Text and numbers always serialize.
    Attribute::S(serde_json::to_string(state).unwrap_or_default())
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Read<'a> {
    table_name: &'a str,
    key: Attributes,
    consistent_read: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    item: Option<Item>,
}

#[derive(Deserialize)]
struct Item {
    owner_hash: Text,
    message_state: Text,
    expires_at: Number,
}

impl Item {
    /// Returns the status, or none in it if it has expired; `None` if it cannot be read.
    fn status(self, now_s: u64) -> Option<Option<Status>> {
        let is_expired = self.expires_at.text.parse::<u64>().ok()? <= now_s;
        let state = serde_json::from_str(&self.message_state.text).ok()?;
        Some((!is_expired).then_some(Status { owner: self.owner_hash.text, state }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_message_of_an_earlier_version_has_no_code() {
        let read = |text: &str| serde_json::from_str::<MessageState>(text).unwrap();
        let dead = |code: Option<&str>| MessageState::Dead { code: code.map(str::to_owned), reason: "r".to_owned() };
        assert_eq!(read(r#"{"Dead":{"reason":"r"}}"#), dead(None));
        for state in [dead(None), dead(Some("c"))] {
            let Attribute::S(text) = super::state(&state) else { panic!("text") };
            assert_eq!(read(&text), state);
        }
    }
}
