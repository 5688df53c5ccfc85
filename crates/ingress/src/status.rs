//! The status of messages, of the routes with `status: true`: recorded before a message is sent, and read at
//! `GET /messages/{id}`.
//!
//! A status is recorded first, so that no consumer is ahead of it. If the message was not stored, it is removed; if it
//! may be stored, it is hidden until a consumer has handled the message or a repeat is stored. What fails here is
//! logged: the answer is about the message, and has a `Location` only if there is a status. A crash between the two
//! leaves a status whose id no caller has.
//!
//! A status belongs to the caller and the operation that the message came from. To every other caller it does not
//! exist.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use lambda_http::Context;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sluicegate_contract::{Contract, Operation, STATUS_PATH};
use sluicegate_envelope::deterministic_id;
use sluicegate_idempotency::{AnyStore, Effect, MessageState, OpenedStatus, StatusStore as _};
use sluicegate_queue::Receipt;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::Instant;

use crate::{
    allowed,
    answer::Answer,
    authenticate::{Authenticated, Caller, Satisfied, satisfied},
    event::Arrival,
    only, refused,
    rejection::{Code, Rejection, UNAVAILABLE_RETRY_AFTER_S},
    route::Routed,
    secrets::{Moment, SecretSource, Secrets},
};

/// Longest wait for a call of the store. It is also at most half of the time that the request has left.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);

/// Seconds until a message that waits or is being handled is worth another look. Chosen here: most take less.
const POLL_AFTER_S: u64 = 2;

/// The length of a message id, a UUID as text.
const ID_BYTES: usize = 36;

/// The methods of the route.
const ALLOW: &str = "GET, HEAD, OPTIONS";

/// The status of a message that is about to be sent.
pub(crate) struct Opened<'s> {
    store: &'s AnyStore,
    status: OpenedStatus,
}

/// Records that a message is accepted; `None` if the store fails.
pub(crate) async fn open<'s>(
    store: Option<&'s AnyStore>,
    authenticated: &Authenticated<'_>,
    id: &str,
    context: &Context,
    deadline: Instant,
) -> Option<Opened<'s>> {
    let opened = match store {
        Some(store) => {
            let owner = owner(authenticated.caller(), authenticated.routed().operation());
            let opened = store.open_status(id, &owner, SystemTime::now(), bounded(deadline)).await;
            opened.map(|status| Opened { store, status }).map_err(|error| error.to_string())
        }
        None => Err("the store is not set".to_owned()),
    };
    opened.map_err(|reason| failed(&reason, context, "the message has no status")).ok()
}

impl Opened<'_> {
    /// Keeps the status of a message that is stored, and takes that of another back.
    pub(crate) async fn settle(self, receipt: &Result<Receipt, Rejection>, context: &Context, deadline: Instant) {
        let Err(rejection) = receipt else { return };
        let Self { store, status } = self;
        let effect = if rejection.may_be_stored() { Effect::Unknown } else { Effect::None };
        if let Err(error) = store.withdraw_status(&status, effect, bounded(deadline)).await {
            failed(&error.to_string(), context, "a message that is not known to be stored has a status");
        }
    }
}

fn failed(reason: &str, context: &Context, text: &str) {
    tracing::error!(request_id = context.request_id, reason, "{text}");
}

/// Returns when a call of the store ends that starts now.
fn bounded(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + CALL_TIMEOUT.min(deadline.saturating_duration_since(now) / 2)
}

/// Returns the caller of an operation, in the form that the store has.
fn owner(caller: &Caller<'_>, operation: &Operation) -> String {
    deterministic_id(["status", caller.principal_domain(), caller.principal(), &operation.id])
}

/// Returns the path of a message's status, with the stage that the path of its request has.
pub(crate) fn location(request: &Authenticated<'_>, id: &str) -> String {
    let (arrival, operation) = (request.routed().arrival(), request.routed().operation());
    let depth = |path: &str| path.matches('/').count();
    let stage = arrival.stage.as_deref().filter(|_| depth(&arrival.path) > depth(&operation.path));
    let prefix = stage.map(|stage| format!("/{stage}")).unwrap_or_default();
    format!("{prefix}{}", STATUS_PATH.replace("{id}", id))
}

/// Returns the message id in the path of a request for a status.
pub(crate) fn id_in(arrival: &Arrival) -> Option<&str> {
    let (prefix, _) = STATUS_PATH.split_once('{')?;
    let unstaged = || arrival.unstaged_path()?.strip_prefix(prefix);
    let id = arrival.path.strip_prefix(prefix).or_else(unstaged)?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}

/// A request for a status.
pub(crate) struct Query<'i, S> {
    pub(crate) contract: &'static Contract,
    pub(crate) secrets: &'i Secrets<S>,
    pub(crate) public_url: Option<&'i str>,
    pub(crate) store: Option<&'i AnyStore>,
    /// The present.
    pub(crate) now: SystemTime,
    pub(crate) deadline: Instant,
}

impl<S: SecretSource> Query<'_, S> {
    /// Answers the request. A failure to decide is logged.
    pub(crate) async fn answer(&self, arrival: &Arrival, id: &str, context: &Context) -> Answer {
        let answered = match arrival.method.as_str() {
            "GET" | "HEAD" => self.status(arrival, id).await,
            "OPTIONS" => Ok(allowed(ALLOW.to_owned())),
            _ => Err(only(ALLOW)),
        };
        if let Some(reason) = answered.as_ref().err().and_then(|rejection| rejection.log.as_deref()) {
            failed(reason, context, "the status is not known");
        }
        answered.unwrap_or_else(|rejection| refused(&rejection))
    }

    /// Returns the answer with the status of a message of the caller.
    ///
    /// # Errors
    /// The rejection of the credentials; 404 for an id without a status and for that of another caller; 503 if the
    /// store fails.
    async fn status(&self, arrival: &Arrival, id: &str) -> Result<Answer, Rejection> {
        let owners = self.owners(arrival).await?;
        let unset = || Rejection::new(Code::Internal, "This API has no store.").log("the store is not set");
        let store = self.store.ok_or_else(unset)?;
        let found = match id.len() {
            ID_BYTES => store.status(id, self.now, bounded(self.deadline)).await,
            _ => Ok(None),
        };
        let found = found.map_err(|error| {
            let detail = "The status cannot be read at the moment. Ask again.";
            let rejection = Rejection::new(Code::StoreUnavailable, detail);
            rejection.header("retry-after", UNAVAILABLE_RETRY_AFTER_S).log(error)
        })?;
        match found.filter(|status| owners.contains(&status.owner)) {
            Some(status) => Ok(answer(id, &status.state, self.now, arrival.header("if-none-match"))),
            None => Err(Rejection::new(Code::MessageUnknown, "No message of yours has that id, or it has no status.")),
        }
    }

    /// Returns the caller as each operation that has statuses knows it.
    ///
    /// # Errors
    /// No operation accepts the credentials: a failure to decide, or else the rejection of the first operation.
    async fn owners(&self, arrival: &Arrival) -> Result<Vec<String>, Rejection> {
        let arrived = Moment::now(self.now);
        let (mut owners, mut rejections) = (Vec::new(), Vec::new());
        let mut request = None;
        for operation in self.contract.operations().iter().filter(|operation| operation.enqueue.status) {
            let routed = request.get_or_insert_with(|| Routed::for_status(arrival.clone(), operation));
            routed.set_operation(operation);
            let satisfied = satisfied(routed, self.contract, self.secrets, self.public_url, arrived, self.deadline);
            match satisfied.await {
                Ok(Satisfied { caller, .. }) => owners.push(owner(&caller, operation)),
                Err(rejection) => rejections.push(rejection),
            }
        }
        if !owners.is_empty() {
            return Ok(owners);
        }
        let undecided = rejections.iter().position(|rejection| rejection.code.status().is_server_error());
        let unknown = || Rejection::new(Code::MessageUnknown, "No message has a status.");
        Err(rejections.into_iter().nth(undecided.unwrap_or(0)).unwrap_or_else(unknown))
    }
}

/// The body of an answer.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusBody<'a> {
    id: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    receive_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// Returns the answer with a state: 304 without a body if the caller has it already.
fn answer(id: &str, state: &MessageState, now: SystemTime, if_none_match: Option<&str>) -> Answer {
    let (body, retry_after_s) = body(id, state, now);
    let text = serde_json::to_string(&body).unwrap_or_default();
    let etag = etag(&text);
    let is_known = if_none_match.is_some_and(|tags| has_tag(tags, &etag));
    let mut answer = match is_known {
        true => Answer { status: StatusCode::NOT_MODIFIED, headers: Vec::new(), body: String::new() },
        false => Answer::new(StatusCode::OK, "application/json", text),
    };
    answer.headers.push(("etag".into(), etag));
    answer.headers.push(("cache-control".into(), "private, no-cache".to_owned()));
    answer.headers.extend(retry_after_s.map(|seconds| ("retry-after".into(), seconds.to_string())));
    answer
}

/// Returns the body for a state, and the seconds until it is worth another look, if it can change without a redrive.
fn body<'a>(id: &'a str, state: &'a MessageState, now: SystemTime) -> (StatusBody<'a>, Option<u64>) {
    let waiting = |status| StatusBody { id, status, ..StatusBody::default() };
    match state {
        MessageState::Accepted => (waiting("accepted"), Some(POLL_AFTER_S)),
        MessageState::Processing { receive_count } => {
            (StatusBody { receive_count: Some(*receive_count), ..waiting("processing") }, Some(POLL_AFTER_S))
        }
        MessageState::Retrying { receive_count, next_s } => {
            let next = i64::try_from(*next_s).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
            let next_at = next.and_then(|next| next.format(&Rfc3339).ok());
            let now_s = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            let retrying = StatusBody { receive_count: Some(*receive_count), next_at, ..waiting("retrying") };
            (retrying, Some(next_s.saturating_sub(now_s).max(POLL_AFTER_S)))
        }
        MessageState::Done { result } => (StatusBody { result: result.as_deref(), ..waiting("done") }, None),
        MessageState::Dead { code, reason } => {
            (StatusBody { code: code.as_deref(), reason: Some(reason), ..waiting("dead") }, None)
        }
    }
}

/// Returns the strong validator of a body (RFC 9110, section 8.8.3).
fn etag(text: &str) -> String {
    let mut etag = String::from("\"");
    etag.extend(Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")));
    etag.push('"');
    etag
}

/// Returns whether `If-None-Match` has this tag, by the weak comparison (RFC 9110, section 13.1.2).
fn has_tag(tags: &str, etag: &str) -> bool {
    tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
