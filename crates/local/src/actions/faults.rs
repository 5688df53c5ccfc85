//! Faults of the broker: list, set, end.

use axum::{extract::State, response::Response};
use bytes::Bytes;
use serde::Deserialize;

use super::{
    Actions,
    answer::{Answered, Problem, done, input},
};
use crate::broker_faults::{DELAY_MS_MAX, SqsFault};

/// The body that sets or ends the fault of a private RabbitMQ node.
#[derive(Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
enum RabbitmqFault {
    /// Its process is stopped.
    Frozen,
    None,
}

/// The body that sets or ends the fault of SQS.
#[derive(Deserialize)]
#[serde(untagged)]
enum SqsInput {
    Fault(SqsFault),
    None(NoFault),
}

#[derive(Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
enum NoFault {
    None,
}

pub(super) async fn list(State(actions): State<Actions>) -> Response {
    done(actions.faults.describe())
}

pub(super) async fn set_sqs(State(actions): State<Actions>, body: Bytes) -> Answered {
    let expected = "the body is {\"fault\": \"slow\", \"delay_ms\": N}, or {\"fault\": NAME} with unavailable, \
                    disconnect, lost-answer or none";
    let fault = match input(&body).map_err(|_| Problem::invalid(expected))? {
        SqsInput::None(NoFault::None) => None,
        SqsInput::Fault(SqsFault::Slow { delay_ms }) if delay_ms > DELAY_MS_MAX => {
            return Err(Problem::invalid(format!("delay_ms is at most {DELAY_MS_MAX}")));
        }
        SqsInput::Fault(fault) => Some(fault),
    };
    if !actions.queues.is_emulated() {
        let detail = "SQS is at the endpoint of --endpoint-url: only the built-in SQS has faults.";
        return Err(Problem::conflict("broker_not_private", detail));
    }
    actions.faults.set_sqs(fault);
    Ok(done(actions.faults.describe()))
}

pub(super) async fn set_rabbitmq(State(actions): State<Actions>, body: Bytes) -> Answered {
    let expected = "the body is {\"fault\": \"frozen\"} or {\"fault\": \"none\"}";
    let fault = input(&body).map_err(|_| Problem::invalid(expected))?;
    if !actions.faults.freeze_node(matches!(fault, RabbitmqFault::Frozen)) {
        let detail = "No private RabbitMQ node is running: start the stack with --rabbitmq.";
        return Err(Problem::conflict("broker_not_private", detail));
    }
    Ok(done(actions.faults.describe()))
}
