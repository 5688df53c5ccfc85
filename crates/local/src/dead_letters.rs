//! Dead letters of a stack: the operations of `sluicegate dlq`, by the same crate.
//!
//! A queue is open only during an operation. Its messages are hidden from other readers meanwhile, and their receive
//! count on SQS grows, as with the command.

use std::cell::RefCell;

use serde::Deserialize;
use serde_json::{Value, json};
use sluicegate_dlq::{
    CancellationToken, DeadLetter, DeadLetterQueue, Edit, Error, Filter, Redrive, RunReport, RunStep, check_edited,
    edited, find, redrive,
    sqs::{SqsDeadLetterQueue, VISIBILITY_DEFAULT},
};
use sluicegate_queue::sqs::{SdkConfig, sdk_config};
use sluicegate_sam::REGION;

use crate::queues::{Broker, Queues};

/// Failures that a report lists; the others are counted.
const FAILURES_SHOWN_MAX: usize = 20;

/// An operation on a dead-letter queue.
#[derive(Debug)]
pub(crate) enum Order {
    /// Shows the message with this id.
    Show(String),
    /// Redrives the messages that match.
    Redrive(Selection),
    /// Corrects the message with this id and redrives it.
    Edit(String, Correction),
}

/// Messages, and where they are sent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Selection {
    #[serde(default)]
    filter: Filter,
    /// The destination; the source queue of each message if absent.
    to: Option<String>,
    /// The largest number of messages.
    limit: Option<u64>,
    /// Report the destinations without sending.
    #[serde(default)]
    dry_run: bool,
}

/// Another body for a message.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Correction {
    /// Members to set, as `--set` of `sluicegate dlq edit`: `/json/pointer=JSON` or `name=JSON`.
    #[serde(default)]
    set: Vec<String>,
    /// The whole body, envelope included.
    body: Option<String>,
    /// The destination; the source queue of the message if absent.
    to: Option<String>,
}

/// Why an operation is not done, or not completely.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeadLetterError {
    /// The order cannot be read.
    #[error("{0}")]
    Invalid(String),
    /// The queue has no such message that can be reached now.
    #[error("no message {id} among the {seen} that were reached")]
    Unknown { id: String, seen: u64 },
    /// The broker refuses or cannot be reached.
    #[error(transparent)]
    Queue(#[from] Error),
    /// Some messages were not redriven.
    #[error("not every message was redriven: see `failures`")]
    Incomplete(Value),
}

/// Runs an operation on the dead-letter queue `name` and returns its result. It runs to its end even if the future is
/// dropped.
///
/// # Errors
/// See [`DeadLetterError`].
pub(crate) async fn run(queues: &Queues, name: &str, order: Order) -> Result<Value, DeadLetterError> {
    let (queues, name) = (queues.clone(), name.to_owned());
    let runtime = tokio::runtime::Handle::current();
    // The operations are futures of one thread.
    let work = move || {
        runtime.block_on(async move {
            match queues.broker_of(&name) {
                Some(Broker::Sqs) => {
                    let config = config(queues.aws_url())?;
                    work(&SqsDeadLetterQueue::open(&config, &name, VISIBILITY_DEFAULT).await?, &order).await
                }
                #[cfg(feature = "rabbitmq")]
                Some(Broker::Rabbitmq(address)) => {
                    use sluicegate_dlq::rabbitmq::RabbitmqDeadLetterQueue;
                    work(&RabbitmqDeadLetterQueue::open(&address, &name).await?, &order).await
                }
                #[cfg(feature = "kafka")]
                Some(Broker::Kafka(cluster)) => {
                    use sluicegate_dlq::kafka::KafkaDeadLetterQueue;
                    work(&KafkaDeadLetterQueue::open(cluster, &name).await?, &order).await
                }
                None => Err(DeadLetterError::Invalid(format!("{name} is not a queue of this stack"))),
            }
        })
    };
    let result = tokio::task::spawn_blocking(work).await;
    result.unwrap_or_else(|error| Err(DeadLetterError::Invalid(format!("the operation ended: {error}"))))
}

/// Returns the configuration for the queues at `url`, which does not verify signatures.
fn config(url: &str) -> Result<SdkConfig, DeadLetterError> {
    let lookup = |name: &str| match name {
        "AWS_REGION" => Some(REGION.to_owned()),
        "AWS_ENDPOINT_URL" => Some(url.to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".to_owned()),
        _ => None,
    };
    sdk_config(lookup).map_err(|error| DeadLetterError::Invalid(error.to_string()))
}

/// Runs an operation on an open queue, and always releases the messages in flight.
async fn work<S: DeadLetterQueue>(queue: &S, order: &Order) -> Result<Value, DeadLetterError> {
    let done = match order {
        Order::Show(id) => show(queue, id).await,
        Order::Redrive(selection) => redriven(queue, selection).await,
        Order::Edit(id, correction) => corrected(queue, id, correction).await,
    };
    // After a failure the broker returns the messages by itself, later.
    let released = queue.release().await;
    let done = done?;
    released?;
    Ok(done)
}

async fn show<S: DeadLetterQueue>(queue: &S, id: &str) -> Result<Value, DeadLetterError> {
    let letter = found(queue, id).await?;
    let body = queue.body(&letter).await?;
    let letter = letter.with_body(body);
    let mut shown = json!({
        "id": letter.id,
        "type": letter.event_type,
        "code": letter.code,
        "reason": letter.reason,
        "source_queue": letter.source_queue,
        "receive_count": letter.receive_count,
        "redrives": letter.redrives,
        "group": letter.group,
        "attributes": letter.attributes,
    });
    match std::str::from_utf8(&letter.body) {
        Ok(text) => shown["body"] = text.into(),
        Err(_) => {
            use base64::{Engine as _, engine::general_purpose::STANDARD};
            shown["body_base64"] = STANDARD.encode(&letter.body).into();
        }
    }
    Ok(shown)
}

async fn redriven<S: DeadLetterQueue>(queue: &S, selection: &Selection) -> Result<Value, DeadLetterError> {
    let order = Redrive {
        filter: &selection.filter,
        to: selection.to.as_deref(),
        rate: None,
        limit: selection.limit,
        dry_run: selection.dry_run,
    };
    let (failures, planned) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let observe = |step: RunStep<'_>| match step {
        RunStep::Failed(error) if failures.borrow().len() < FAILURES_SHOWN_MAX => {
            failures.borrow_mut().push(error.to_string());
        }
        RunStep::Planned { letter, destination } => {
            planned.borrow_mut().push(json!({ "id": letter.id, "to": destination }));
        }
        _ => {}
    };
    let mut report = redrive(queue, &order, &CancellationToken::new(), &observe).await;
    if report.seen == 0
        && let Some(error) = report.broke.take()
    {
        return Err(error.into());
    }
    let is_clean = report.is_clean();
    let mut shown = in_json(&report);
    shown["failures"] = failures.into_inner().into();
    if selection.dry_run {
        shown["planned"] = planned.into_inner().into();
    }
    if is_clean { Ok(shown) } else { Err(DeadLetterError::Incomplete(shown)) }
}

async fn corrected<S: DeadLetterQueue>(queue: &S, id: &str, correction: &Correction) -> Result<Value, DeadLetterError> {
    let invalid = |reason: String| DeadLetterError::Invalid(reason);
    let letter = found(queue, id).await?;
    let letter = match queue.body(&letter).await {
        Ok(body) => letter.with_body(body),
        // A whole body needs no present one.
        Err(_) if correction.body.is_some() => letter,
        Err(error) => return Err(error.into()),
    };
    let mut body = correction.body.as_ref().map_or_else(|| letter.body.clone(), |body| body.clone().into_bytes());
    if !correction.set.is_empty() {
        let edits: Result<Vec<Edit>, _> = correction.set.iter().map(|edit| edit.parse()).collect();
        let edits = edits.map_err(|error: sluicegate_dlq::EditError| invalid(error.to_string()))?;
        body = edited(&body, &edits).map_err(|error| invalid(error.to_string()))?;
    }
    if body == letter.body {
        return Err(invalid("nothing is changed: give `set` or another `body`".to_owned()));
    }
    check_edited(&letter, &body).map_err(|error| invalid(error.to_string()))?;
    queue.redrive(&letter, correction.to.as_deref(), Some(&body)).await?;
    let id = letter.id.clone();
    Ok(json!({ "id": letter.with_body(body).id, "dead_letter": id, "redriven": true }))
}

/// Takes messages until the one with this id, which stays in flight.
async fn found<S: DeadLetterQueue>(queue: &S, id: &str) -> Result<DeadLetter, DeadLetterError> {
    find(queue, id, &CancellationToken::new()).await.map_err(|report| match report.broke {
        Some(error) => error.into(),
        None => DeadLetterError::Unknown { id: id.to_owned(), seen: report.seen },
    })
}

fn in_json(report: &RunReport) -> Value {
    json!({
        "seen": report.seen,
        "matched": report.matched,
        "done": report.done,
        "not_sent": report.not_sent,
        "unknown": report.unknown,
        "returned": report.returned,
        "behind": report.behind,
        "unreached": report.unreached,
        "error": report.broke.as_ref().map(ToString::to_string),
    })
}
