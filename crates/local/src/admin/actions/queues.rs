//! Queues: history, purge.

use axum::extract::{Path, State};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::{
    Actions,
    answer::{Answered, Problem, done, input},
};
use crate::queues::PurgeError;

/// The body of a purge.
#[derive(Deserialize)]
struct Purge {
    /// The queue's name, so that no message is deleted by a mistyped path.
    #[serde(default)]
    confirm: String,
}

pub(super) async fn history(State(actions): State<Actions>, Path(queue): Path<String>) -> Answered {
    let history = actions.history.of(&queue);
    history.map(done).ok_or_else(|| Problem::unknown("queue_unknown", format!("{queue} is not a queue of this stack")))
}

pub(super) async fn purge(State(actions): State<Actions>, Path(queue): Path<String>, body: Bytes) -> Answered {
    let Purge { confirm } = input(&body)?;
    if confirm != queue {
        return Err(Problem::invalid(format!(
            "this deletes every message of {queue}: confirm it with the body {}",
            json!({ "confirm": queue })
        )));
    }
    match actions.queues.purge(&queue).await {
        Ok(deleted) => Ok(done(json!({ "queue": queue, "purged": true, "deleted": deleted }))),
        Err(error @ PurgeError::Unknown(_)) => Err(Problem::unknown("queue_unknown", error)),
        Err(error @ PurgeError::Broker(_)) => Err(Problem::broker("purge_failed", error)),
    }
}
