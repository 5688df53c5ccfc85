//! Statuses in the table: a record has `owner_hash`, `message_state`, which is JSON, `changed_ms`, the time of the last
//! change, and `opened_by`, the token of the request that opened it last.
//!
//! Every step is one call. A read is consistent, because a sender may ask as soon as it has its answer.

use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sluicegate_aws_client::{CallError, Progress};
use tokio::time::Instant;

use super::{
    Attribute, Attributes, CONDITION_FAILED, DELETE_ITEM, DynamoDbStore, EXPIRES_AT, ID, Number, PUT_ITEM, Text,
    UPDATE_ITEM, Write, number, store_error, unreadable,
};
use crate::record::unix_s;
use crate::status::{Before, Change, OPENED_MS, Withdrawal};
use crate::{Effect, MessageState, OpenedStatus, Status, StatusStore, StoreError};

const OWNER: &str = "owner_hash";
const STATE: &str = "message_state";
const CHANGED_MS: &str = "changed_ms";
const OPENED_BY: &str = "opened_by";

/// The state of a status that is hidden, as JSON.
const HIDDEN: &str = r#""Hidden""#;

const IS_UNCHANGED: &str = "attribute_not_exists(id) OR expires_at <= :now_s OR changed_ms = :opened_ms";
const IS_OWN: &str = "changed_ms = :opened_ms AND opened_by = :opened_by";
const IS_EARLIER: &str = "changed_ms < :before_ms";

const CHANGE: &str = "SET message_state = :state, changed_ms = :changed_ms, expires_at = :expires_at";

impl StatusStore for DynamoDbStore {
    async fn open_status(
        &self,
        id: &str,
        owner: &str,
        now: SystemTime,
        deadline: Instant,
    ) -> Result<OpenedStatus, StoreError> {
        let mut opened = OpenedStatus::new(id, owner, now);
        let write = Write {
            item: Some(item(&opened, state(&MessageState::Accepted))),
            condition_expression: IS_UNCHANGED,
            expression_attribute_values: [(":now_s", number(unix_s(now))), (":opened_ms", number(OPENED_MS))].into(),
            return_values: Some("ALL_OLD"),
            ..self.write_to_table()
        };
        opened.before = match self.write_if(PUT_ITEM, &write, deadline).await? {
            Some(answer) => before(&answer, &opened)?,
            None => Before::Shown,
        };
        Ok(opened)
    }

    async fn withdraw_status(
        &self,
        opened: &OpenedStatus,
        effect: Effect,
        deadline: Instant,
    ) -> Result<(), StoreError> {
        let Some(withdrawal) = opened.withdrawal(effect) else { return Ok(()) };
        let opened_by = Attribute::S(opened.token.clone());
        let write = Write {
            condition_expression: IS_OWN,
            expression_attribute_values: [(":opened_ms", number(OPENED_MS)), (":opened_by", opened_by)].into(),
            ..self.write_to_table()
        };
        let (target, write) = match withdrawal {
            Withdrawal::Remove => (DELETE_ITEM, Write { key: Some([(ID, key(&opened.id))].into()), ..write }),
            // The policy of the ingress has no other write for a route without stored keys.
            Withdrawal::Hide => {
                (PUT_ITEM, Write { item: Some(item(opened, Attribute::S(HIDDEN.to_owned()))), ..write })
            }
        };
        self.write_if(target, &write, deadline).await.map(drop)
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

    /// Returns the answer to a write; `None` if its condition did not hold.
    async fn write_if(
        &self,
        target: &'static str,
        write: &Write<'_>,
        deadline: Instant,
    ) -> Result<Option<Bytes>, StoreError> {
        match self.write(target, write, deadline).await {
            Ok(answer) => Ok(Some(answer)),
            Err(CallError::Answered { code: Some(code), .. }) if code == CONDITION_FAILED => Ok(None),
            Err(error) => Err(store_error(&error)),
        }
    }
}

/// Returns the item of a status that no consumer has changed.
fn item(opened: &OpenedStatus, state: Attribute) -> Attributes {
    let change = Change::to(&MessageState::Accepted, opened.opened_at);
    let item = [
        (ID, key(&opened.id)),
        (OWNER, Attribute::S(opened.owner.clone())),
        (STATE, state),
        (CHANGED_MS, number(change.changed_ms)),
        (OPENED_BY, Attribute::S(opened.token.clone())),
        (EXPIRES_AT, number(change.expires_at_s)),
    ];
    item.into()
}

/// Returns what the answer says that the message had.
fn before(answer: &[u8], opened: &OpenedStatus) -> Result<Before, StoreError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        attributes: Option<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        message_state: Text,
        expires_at: Number,
        // Absent in what earlier versions recorded.
        opened_by: Option<Text>,
    }
    let Answer { attributes } = serde_json::from_slice(answer).map_err(|_| unreadable())?;
    let Some(Item { message_state, expires_at, opened_by }) = attributes else { return Ok(Before::Absent) };
    let expires_at_s: u64 = expires_at.text.parse().map_err(|_| unreadable())?;
    Ok(match opened_by {
        _ if expires_at_s <= unix_s(opened.opened_at) => Before::Absent,
        // The answer to this write was lost, and it was repeated.
        Some(token) if token.text == opened.token => Before::Hidden,
        _ if message_state.text == HIDDEN => Before::Hidden,
        _ => Before::Shown,
    })
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
    /// Returns the status, or none in it if it is hidden or has expired; `None` if it cannot be read.
    fn status(self, now_s: u64) -> Option<Option<Status>> {
        let is_expired = self.expires_at.text.parse::<u64>().ok()? <= now_s;
        if self.message_state.text == HIDDEN {
            return Some(None);
        }
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
