//! Amazon SQS, DynamoDB and S3 as the functions and the dead-letter tool reach them: calls that are carried out by the
//! emulator, the table or the bucket, and the faults of the way there and back.
//!
//! A call runs in a task of its own, so it goes on when its caller is killed, as a request on the network does.

use std::iter;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sqs_emulator::{ApiError, Caller as EmulatorCaller};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::archiver::ARCHIVED;
use crate::dynamodb::{Table, actions};
use crate::effect;
use crate::fault::{Kind, Site};
use crate::ledger::{Queue, State};
use crate::message::{number_in, numbers_in};
use crate::s3;
use crate::world::{Injected, World};

/// How long a fault that hits the reading of the redrive policy has an effect: the call with its attempts, and the 10 s
/// after which `RedrivePolicies` of the consumer reads it again.
const POLICY_UNKNOWN_MAX: Duration = Duration::from_secs(30);

/// How late an effect or an answer is after a fault, in milliseconds.
const LATE_MS: Range<u64> = 1_500..12_000;

/// How late at most.
pub(crate) const LATE_MAX: Duration = Duration::from_millis(LATE_MS.end);

/// How the keys of rate limits start, in `limit/shared.rs` of the ingress.
const RATE_LIMIT: &str = "limit/";

/// Who calls, and for what: the number of the request or of the invocation.
#[derive(Clone)]
pub(crate) enum Caller {
    Ingress(Arc<AtomicU64>),
    Consumer(Arc<AtomicU64>),
    Archiver(Arc<AtomicU64>),
    /// The dead-letter tool, with the number of the redrive.
    Tool(u64),
}

/// What is called.
pub(crate) enum Operation {
    Sqs(String),
    DynamoDb(String),
    S3 { method: String, path: String },
}

impl Operation {
    /// Returns the operation that `x-amz-target` names, as in `AmazonSQS.SendMessage`.
    pub(crate) fn of_target(target: &str) -> Self {
        let (service, name) = target.split_once('.').unwrap_or_default();
        if service == "AmazonSQS" { Self::Sqs(name.to_owned()) } else { Self::DynamoDb(name.to_owned()) }
    }

    fn site(&self, caller: &Caller) -> Site {
        match (caller, self) {
            (Caller::Archiver(_), _) => Site::Archive,
            (Caller::Tool(_), _) => Site::Redrive,
            (_, Self::S3 { .. }) => Site::Payload,
            (Caller::Ingress(_), Self::DynamoDb(_)) => Site::Keys,
            (Caller::Consumer(_), Self::DynamoDb(_)) => Site::Store,
            (Caller::Ingress(_), Self::Sqs(name)) if name == "SendMessageBatch" => Site::SendBatch,
            (Caller::Ingress(_), Self::Sqs(_)) => Site::Send,
            (Caller::Consumer(_), Self::Sqs(name)) => match name.as_str() {
                "SendMessage" => Site::DeadLetter,
                "ChangeMessageVisibilityBatch" => Site::Visibility,
                _ => Site::Attributes,
            },
        }
    }

    /// Returns the answer of a service that has failed.
    fn failure(&self) -> Reply {
        match self {
            Self::S3 { .. } => s3::refused(500, "InternalError"),
            Self::Sqs(_) | Self::DynamoDb(_) => refused(500, "InternalError", "Receiver"),
        }
    }
}

/// An answer of the service.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The value of `x-amzn-query-error`.
    pub(crate) error: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// Carries out a call. `None` if the connection ends without an answer.
pub(crate) async fn call(world: &Arc<World>, caller: &Caller, operation: Operation, body: Bytes) -> Option<Reply> {
    let (answered, answer) = oneshot::channel();
    let (world, caller) = (Arc::clone(world), caller.clone());
    let number = match &caller {
        Caller::Ingress(number) | Caller::Consumer(number) | Caller::Archiver(number) => number.load(Ordering::Relaxed),
        Caller::Tool(number) => *number,
    };
    tokio::spawn(async move {
        let reply = carry_out(&world, &caller, number, &operation, &body).await;
        // The caller may have ended.
        let _ = answered.send(reply);
    });
    answer.await.ok().flatten()
}

async fn carry_out(world: &World, caller: &Caller, number: u64, operation: &Operation, body: &Bytes) -> Option<Reply> {
    let text = match operation {
        // The path names the object that is read.
        Operation::S3 { path, .. } if body.is_empty() => path,
        _ => std::str::from_utf8(body).unwrap_or_default(),
    };
    let text = &world.whole(text);
    let subject = number_in(text).map_or(number, u64::from);
    let queue = queue_of(world, caller, operation, body);
    let site = if queue == Queue::Copies { Site::Copy } else { operation.site(caller) };
    let fault = world.fault(site, subject);
    if fault.is_some() {
        if site == Site::Attributes {
            world.ledger().disturbed(world.now() + POLICY_UNKNOWN_MAX);
        }
        match caller {
            // There may be copies of the messages. An idempotency key does not name its message.
            Caller::Ingress(_) if site == Site::Keys => world.ledger().touch_key(number),
            Caller::Ingress(_) => world.ledger().touch_all(&numbers_in(text).collect::<Vec<_>>()),
            Caller::Consumer(_) => world.ledger().touch_invocation(number),
            // Its work says nothing about that of the others.
            Caller::Archiver(_) => {}
            Caller::Tool(_) => {
                let mut ledger = world.ledger();
                ledger.touch_dead_letters();
                numbers_in(text).for_each(|message| ledger.touch(message));
            }
        }
    }
    let Some(Injected { kind, mut rng }) = fault else {
        return Some(carried_out(world, caller, number, operation, body).await);
    };
    let long = Duration::from_millis(rng.u64(LATE_MS));
    match kind {
        Kind::CutBefore => None,
        Kind::Fails => Some(operation.failure()),
        Kind::Throttled => Some(match operation {
            Operation::DynamoDb(_) => refused(400, "ProvisionedThroughputExceededException", "Sender"),
            Operation::S3 { .. } => s3::refused(503, "SlowDown"),
            Operation::Sqs(_) => refused(400, "RequestThrottled", "Sender"),
        }),
        Kind::CutAfter => {
            carried_out(world, caller, number, operation, body).await;
            None
        }
        Kind::FailsAfter => {
            carried_out(world, caller, number, operation, body).await;
            Some(operation.failure())
        }
        Kind::Late => {
            let reply = carried_out(world, caller, number, operation, body).await;
            sleep(long).await;
            Some(reply)
        }
        Kind::LateEffect => {
            sleep(long).await;
            Some(carried_out(world, caller, number, operation, body).await)
        }
        // As if the body had changed on its way, and SQS had stored that.
        Kind::NotMd5 => {
            const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";
            let other = |id: &Value| json!({ "Id": id, "MessageId": "other", "MD5OfMessageBody": MD5 });
            let input: Value = serde_json::from_slice(body).unwrap_or_default();
            let answer = match input["Entries"].as_array() {
                Some(entries) => {
                    json!({ "Successful": entries.iter().map(|entry| other(&entry["Id"])).collect::<Vec<_>>() })
                }
                None => other(&Value::Null),
            };
            Some(Reply { status: 200, error: None, body: answer.to_string().into_bytes() })
        }
        Kind::Partly => {
            let mut reply = Vec::new();
            if let Ok(mut input) = serde_json::from_slice::<Value>(body) {
                let failed = take_entries(&mut input, |_| rng.bool());
                let done = carried_out(world, caller, number, operation, &input.to_string().into()).await;
                let mut answer: Value = serde_json::from_slice(&done.body).unwrap_or_default();
                add_failed(&mut answer, failed);
                reply = answer.to_string().into_bytes();
            }
            Some(Reply { status: 200, error: None, body: reply })
        }
        Kind::Killed | Kind::RunsOut | Kind::Restarts | Kind::Blocks => None,
    }
}

/// Carries out a call without a fault.
async fn carried_out(world: &World, caller: &Caller, number: u64, operation: &Operation, body: &Bytes) -> Reply {
    let name = match operation {
        Operation::S3 { path, .. } if matches!(caller, Caller::Archiver(_)) && path.contains(ARCHIVED) => {
            return archived(world, body);
        }
        Operation::S3 { method, path } => return world.bucket().call(method, path, body),
        Operation::DynamoDb(name) => {
            return written(world, number, name, &serde_json::from_slice(body).unwrap_or_default());
        }
        Operation::Sqs(name) => name,
    };
    match world.sqs.call_json(&EmulatorCaller::default(), name, body).await {
        Ok(output) => {
            if let Caller::Ingress(_) = caller {
                let queue = queue_of(world, caller, operation, body);
                for message in stored(world, body, &output).unwrap_or_default() {
                    world.ledger().request_stored(world.now(), number, message, queue);
                }
            }
            Reply { status: 200, error: None, body: output }
        }
        Err(error) => of_error(&error),
    }
}

/// Writes an object of the archive, and reports its events to the ledger.
fn archived(world: &World, object: &[u8]) -> Reply {
    let now = world.now();
    let events = sluicegate_archive::read(object);
    if let Err(error) = &events {
        world.ledger().invented(now, &format!("an object of the archive cannot be read: {error}"));
    }
    for event in events.unwrap_or_default() {
        let payload = event.payload();
        let text = String::from_utf8_lossy(&payload);
        let message = number_in(&text).and_then(|number| world.scenario.messages.get(number as usize));
        match message.filter(|message| message.payload() == text) {
            Some(message) => {
                world.record(format_args!("archived {}", message.number));
                world.ledger().archived(message.number);
            }
            None => world.ledger().invented(now, &text),
        }
    }
    Reply { status: 200, error: None, body: Vec::new() }
}

/// Returns the queue that the ingress sends to.
fn queue_of(world: &World, caller: &Caller, operation: &Operation, body: &Bytes) -> Queue {
    /// The part of a call that names the queue.
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Call<'a> {
        #[serde(borrow)]
        queue_url: &'a str,
    }
    let is_send = matches!((caller, operation), (Caller::Ingress(_), Operation::Sqs(_))) && world.scenario.has_copies;
    let call = is_send.then(|| serde_json::from_slice::<Call<'_>>(body).ok()).flatten();
    let is_copy = call.is_some_and(|call| call.queue_url == world.copies_url());
    if is_copy { Queue::Copies } else { Queue::Work }
}

/// Carries out an operation of DynamoDB for a request or an invocation, and reports to the ledger what became of each
/// item.
fn written(world: &World, number: u64, name: &str, input: &Value) -> Reply {
    let mut table = world.table();
    let key = |input: &Value| Some(input["Key"]["id"]["S"].as_str().or(input["Item"]["id"]["S"].as_str())?.to_owned());
    let keys: Vec<String> = iter::once(input).chain(actions(input).map(|(_, input)| input)).filter_map(key).collect();
    let state = |table: &Table, key: &str| (State::of(table, key), effect::call_of(table, key));
    let before: Vec<_> = keys.iter().map(|key| state(&table, key)).collect();
    let result = table.call(name, input);
    let now = world.now();
    for (key, (status_before, call_before)) in keys.iter().zip(before) {
        if result.is_ok() && key.starts_with(RATE_LIMIT) {
            world.ledger().limit_counted(now, number);
        }
        if table.attribute(key, "outcome").is_some() {
            world.ledger().effect_recorded(key);
        }
        let (status, call) = state(&table, key);
        if let (Some(from), Some(to)) = (status_before, status)
            && from != to
        {
            world.record(format_args!("{key} {to:?}"));
            world.ledger().status_changed(now, key, from, to);
        }
        if call != call_before
            && let Some(message) = effect::message_of(key)
        {
            world.record(format_args!("effect {message}"));
            world.ledger().effect_happened(now, world.scenario.keeps_its_key(message), message);
        }
    }
    match result {
        Ok(answer) => Reply { status: 200, error: None, body: answer.to_string().into_bytes() },
        Err(refused) => Reply { status: 400, error: None, body: refused.body().to_string().into_bytes() },
    }
}

/// The part of a batch call, or of its answer, that names entries.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Batch<'a> {
    #[serde(borrow)]
    entries: Vec<Entry<'a>>,
    #[serde(borrow)]
    successful: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    id: &'a str,
    #[serde(borrow)]
    message_body: Option<&'a RawValue>,
}

/// Returns the messages of a send, or of a batch of them, that its answer says are stored.
fn stored(world: &World, input: &[u8], output: &[u8]) -> Option<Vec<u32>> {
    let Batch { entries, .. } = serde_json::from_slice(input).ok()?;
    if entries.is_empty() {
        return Some(vec![world.number_in(std::str::from_utf8(input).ok()?)?]);
    }
    let Batch { successful, .. } = serde_json::from_slice(output).ok()?;
    let is_stored = |entry: &&Entry<'_>| successful.iter().any(|stored| stored.id == entry.id);
    Some(entries.iter().filter(is_stored).filter_map(|entry| number_in(entry.message_body?.get())).collect())
}

fn of_error(error: &ApiError) -> Reply {
    let fault = if error.sender_fault() { "Sender" } else { "Receiver" };
    let body = json!({ "__type": format!("com.amazonaws.sqs#{}", error.name()), "message": error.message() });
    Reply {
        status: error.status(),
        error: Some(format!("{};{fault}", error.legacy_code())),
        body: body.to_string().into_bytes(),
    }
}

/// Returns the answer to a call that has no effect.
pub(crate) fn refused(status: u16, code: &str, fault: &str) -> Reply {
    let body = json!({ "__type": format!("com.amazonaws.sqs#{code}"), "message": "simulated" });
    Reply { status, error: Some(format!("{code};{fault}")), body: body.to_string().into_bytes() }
}

/// Takes entries out of a batch request.
pub(crate) fn take_entries(input: &mut Value, mut is_taken: impl FnMut(&Value) -> bool) -> Vec<Value> {
    let Value::Array(entries) = input["Entries"].take() else { return Vec::new() };
    let (taken, left): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| is_taken(entry));
    input["Entries"] = left.into();
    taken
}

/// Adds entries to those of an answer that failed for a reason of the service.
pub(crate) fn add_failed(answer: &mut Value, entries: Vec<Value>) {
    let failed = |entry: Value| json!({ "Id": entry["Id"], "Code": "InternalError", "SenderFault": false });
    let mut all = match answer["Failed"].take() {
        Value::Array(all) => all,
        _ => Vec::new(),
    };
    all.extend(entries.into_iter().map(failed));
    answer["Failed"] = all.into();
    if answer["Successful"].is_null() {
        answer["Successful"] = json!([]);
    }
}
