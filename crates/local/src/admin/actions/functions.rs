//! Functions: show, freeze, thaw.

use axum::extract::{Path, State};
use serde_json::Value;

use super::{
    Actions,
    answer::{Answered, Problem, done},
};

pub(super) async fn show(State(actions): State<Actions>, Path(name): Path<String>) -> Answered {
    known(actions.functions.show(&name, &actions.health.reasons()))
}

pub(super) async fn freeze(State(actions): State<Actions>, Path(name): Path<String>) -> Answered {
    known(actions.functions.set_frozen_when_idle(&name, true))
}

pub(super) async fn thaw(State(actions): State<Actions>, Path(name): Path<String>) -> Answered {
    known(actions.functions.set_frozen_when_idle(&name, false))
}

fn known(function: Option<Value>) -> Answered {
    let unknown = "No function of this name is running: GET /functions lists them.";
    function.map(done).ok_or_else(|| Problem::unknown("function_unknown", unknown))
}
