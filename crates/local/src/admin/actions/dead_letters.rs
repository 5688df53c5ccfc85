//! Dead letters: show, redrive, correct and redrive.

use axum::extract::{Path, State};
use bytes::Bytes;

use super::{
    Actions,
    answer::{Answered, Problem, done, input},
};
use crate::{
    dead_letters::{DeadLetterError, Order, run},
    journal::Journal,
};

pub(super) async fn show(State(actions): State<Actions>, Path((queue, id)): Path<(String, String)>) -> Answered {
    Ok(done(run(&actions.queues, &queue, Order::Show(id)).await?))
}

pub(super) async fn redrive(State(actions): State<Actions>, Path(queue): Path<String>, body: Bytes) -> Answered {
    Ok(done(run(&actions.queues, &queue, Order::Redrive(input(&body)?)).await?))
}

pub(super) async fn edit(
    State((actions, journal)): State<(Actions, Journal)>,
    Path((queue, id)): Path<(String, String)>,
    body: Bytes,
) -> Answered {
    let redriven = run(&actions.queues, &queue, Order::Edit(id, input(&body)?)).await?;
    if let (Some(dead_letter), Some(id)) = (redriven["dead_letter"].as_str(), redriven["id"].as_str())
        && dead_letter != id
    {
        journal.corrected(dead_letter, id);
    }
    Ok(done(redriven))
}

impl From<DeadLetterError> for Problem {
    fn from(error: DeadLetterError) -> Self {
        let detail = error.to_string();
        match error {
            DeadLetterError::Invalid(_) => Self::invalid(detail),
            DeadLetterError::Unknown { .. } => Self::unknown("dead_letter_unknown", detail),
            DeadLetterError::Queue(_) => Self::broker("dead_letters_unreached", detail),
            DeadLetterError::Incomplete(report) => Self::broker("redrive_incomplete", detail).with(report),
        }
    }
}
