//! Event source mappings: list, pause, resume.

use axum::{
    extract::{Path, State},
    response::Response,
};
use serde_json::json;

use super::{
    Actions,
    answer::{Answered, Problem, done},
};
use crate::mappings::ListedMapping;

pub(super) async fn list(State(actions): State<Actions>) -> Response {
    done(json!({ "mappings": actions.mappings.list() }))
}

pub(super) async fn pause(State(actions): State<Actions>, Path((function, queue)): Path<(String, String)>) -> Answered {
    known(actions.mappings.pause(&function, &queue).await)
}

pub(super) async fn resume(
    State(actions): State<Actions>,
    Path((function, queue)): Path<(String, String)>,
) -> Answered {
    known(actions.mappings.resume(&function, &queue).await)
}

fn known(mapping: Option<ListedMapping>) -> Answered {
    mapping.map(done).ok_or_else(|| {
        Problem::unknown("mapping_unknown", "No running mapping of this function and queue: GET /mappings lists them.")
    })
}
