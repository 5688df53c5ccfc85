//! Faults of the broker: list, set, end.

use axum::{extract::State, response::Response};
use bytes::Bytes;
use serde::Deserialize;

use super::{
    Actions,
    answer::{Answered, Problem, done, input, number},
};
use crate::broker_faults::{DELAY_MS_MAX, SqsFault};

/// The body that sets or ends the fault of SQS.
#[derive(Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
enum SqsInput {
    None,
    Slow {
        #[serde(deserialize_with = "number")]
        delay_ms: u64,
    },
    Unavailable,
    Disconnect,
    LostAnswer,
}

/// The body that sets or ends the fault of a private RabbitMQ node.
#[derive(Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
enum RabbitmqInput {
    None,
    /// Its process is stopped.
    Frozen,
}

pub(super) async fn list(State(actions): State<Actions>) -> Response {
    done(actions.faults.describe())
}

pub(super) async fn set_sqs(State(actions): State<Actions>, body: Bytes) -> Answered {
    let fault = match input(&body)? {
        SqsInput::None => None,
        SqsInput::Slow { delay_ms } if delay_ms > DELAY_MS_MAX => {
            return Err(Problem::invalid(format!("delay_ms is at most {DELAY_MS_MAX}")));
        }
        SqsInput::Slow { delay_ms } => Some(SqsFault::Slow { delay_ms }),
        SqsInput::Unavailable => Some(SqsFault::Unavailable),
        SqsInput::Disconnect => Some(SqsFault::Disconnect),
        SqsInput::LostAnswer => Some(SqsFault::LostAnswer),
    };
    if !actions.queues.is_emulated() {
        let detail = "SQS is at the endpoint of --endpoint-url: only the built-in SQS has faults.";
        return Err(Problem::conflict("broker_not_private", detail));
    }
    actions.faults.set_sqs(fault);
    Ok(done(actions.faults.describe()))
}

pub(super) async fn set_rabbitmq(State(actions): State<Actions>, body: Bytes) -> Answered {
    let fault = input(&body)?;
    if !actions.faults.freeze_node(matches!(fault, RabbitmqInput::Frozen)) {
        let detail = "No private RabbitMQ node is running: start the stack with --rabbitmq.";
        return Err(Problem::conflict("broker_not_private", detail));
    }
    Ok(done(actions.faults.describe()))
}
