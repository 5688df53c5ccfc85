//! [`IdempotencyRule`]: handlers whose effects happen once per event, though messages are delivered more than once.
//!
//! Before the handler of such an event is called, its key is claimed with a lease, in one conditional write. The lease
//! ends with the deadline of the function, so a function that was killed blocks a message no longer than it could have
//! run. After the handler, the outcome ends the claim:
//!
//! | outcome | record of the key |
//! |---|---|
//! | done | complete: for the window of the rule, later deliveries are duplicates |
//! | retry, failure, panic, deadline | free for the same payload, because the effect is unknown |
//! | reject | deleted once the message is in the dead-letter queue, so a corrected one can follow under its id |
//! | retry that was the last receive | as after a retry, because the effect is unknown |
//!
//! The result that is stored is the word `done`: a message has no caller that waits for more.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sluicegate_envelope::deterministic_id;
use sluicegate_idempotency::{AnyStore, Begun, Claim, Effect, Store as _};
use tokio::time::Instant;

use crate::by_type::ByType;
use crate::deadlines::Deadlines;
use crate::settlement::Disposition;
use crate::{Delivery, Outcome};

/// The environment variable with the name of the DynamoDB table of idempotency keys, which an ingress function reads
/// too.
const IDEMPOTENCY_TABLE: &str = "IDEMPOTENCY_TABLE";

/// Longest wait for a claim. It is also at most half of the time that the handler has left.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The stored result of a handled message.
pub(crate) const RESULT: &str = "done";

/// The fingerprint of every message of a rule where the key alone names the work.
const ANY_PAYLOAD: &str = "any";

/// How the messages of a type are handled once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdempotencyRule {
    /// What makes two messages the same.
    pub key: IdempotencyKey,
    /// How many days a key is remembered after the message was handled, at least 1. Longer than its message can come
    /// back: SQS keeps a message and then a dead letter for up to 14 days each.
    pub ttl_days: u16,
    /// Whether a message under a known key must have the type and the payload of the first, and is rejected otherwise.
    pub fingerprint: bool,
    /// What happens while the store fails.
    pub on_store_failure: OnStoreFailure,
}

/// What makes two messages the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdempotencyKey {
    /// The queue, and the source and the id of the event.
    Event,
    /// The queue, the type of the event, and the value at this JSON pointer (RFC 6901) in the payload: a text that is
    /// not empty, or a whole number. A message without one is rejected.
    Pointer(&'static str),
}

/// What happens while the store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStoreFailure {
    /// The message is retried like one whose handler failed.
    Closed,
    /// The message is handled as without a rule, and an error is logged.
    Open,
}

impl Default for IdempotencyRule {
    /// Returns the rule of the event's own id, 7 days, and retries while the store fails.
    fn default() -> Self {
        Self { key: IdempotencyKey::Event, ttl_days: 7, fingerprint: true, on_store_failure: OnStoreFailure::Closed }
    }
}

/// The settings given to the builder. The table comes from the environment if no store is given.
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) rules: ByType<IdempotencyRule>,
    pub(crate) store: Option<Arc<AnyStore>>,
}

impl Settings {
    /// Adds a rule, and what is wrong with it to `mistakes`.
    pub(crate) fn insert(&mut self, pattern: &str, rule: IdempotencyRule, mistakes: &mut Vec<String>) {
        if let Err(fault) = self.rules.insert(pattern, rule) {
            mistakes.push(fault.of(pattern, "idempotency rules"));
        }
        if rule.ttl_days == 0 {
            mistakes.push(format!("the idempotency rule of {pattern:?} has 0 days: no key would be remembered"));
        }
        if let IdempotencyKey::Pointer(pointer) = rule.key
            && !pointer.starts_with('/')
        {
            mistakes.push(format!(
                "the idempotency rule of {pattern:?} has the JSON pointer {pointer:?}: one starts with `/`"
            ));
        }
    }

    /// Keeps the records in memory, unless a store was given.
    pub(crate) fn without_service(&mut self) {
        let memory = || Arc::new(AnyStore::Memory(sluicegate_idempotency::MemoryStore::default()));
        self.store.get_or_insert_with(memory);
    }

    /// Returns the rules with their store; `None` if there are no rules. Adds configuration errors to `mistakes`.
    pub(crate) fn idempotency(
        self,
        lookup: impl Fn(&str) -> Option<String>,
        mistakes: &mut Vec<String>,
    ) -> Option<Idempotency> {
        if self.rules.is_empty() {
            return None;
        }
        let store = self.store.or_else(|| table(lookup).map_err(|mistake| mistakes.push(mistake)).ok());
        Some(Idempotency { rules: self.rules, store: store? })
    }
}

/// Returns the store in the table that the environment names.
#[cfg(feature = "dynamodb")]
fn table(lookup: impl Fn(&str) -> Option<String>) -> Result<Arc<AnyStore>, String> {
    let table = lookup(IDEMPOTENCY_TABLE).filter(|name| !name.trim().is_empty());
    let table = table.ok_or_else(|| {
        format!(
            "{IDEMPOTENCY_TABLE} is not set; it names the DynamoDB table of the idempotency rules; docs/idempotency.md has \
             the lines of the template"
        )
    })?;
    let environment = sluicegate_aws_client::AwsEnvironment::read(lookup);
    let environment = environment.map_err(|error| sluicegate_queue::chain(&error))?;
    let store = sluicegate_idempotency::DynamoDbStore::new(&environment, table.trim());
    Ok(Arc::new(AnyStore::DynamoDb(Box::new(store))))
}

/// Returns the mistake of a build without DynamoDB.
#[cfg(not(feature = "dynamodb"))]
fn table(_: impl Fn(&str) -> Option<String>) -> Result<Arc<AnyStore>, String> {
    Err(format!(
        "an idempotency rule needs a store: give sluicegate-batch the feature dynamodb in Cargo.toml, for the table in \
         {IDEMPOTENCY_TABLE}, or call `store`"
    ))
}

/// The rules of a consumer, and the store of its keys.
pub(crate) struct Idempotency {
    rules: ByType<IdempotencyRule>,
    store: Arc<AnyStore>,
}

/// What is to be done with a message before its handler is called.
#[derive(Debug)]
pub(crate) enum Begin {
    /// It is handled.
    Handle,
    /// Its handler is not called. It is settled as if the handler had decided so.
    Refuse(Outcome),
    /// Its handler is not called, and it has not failed.
    Settle(Disposition, &'static str),
}

impl Idempotency {
    /// Claims the key of a message with a rule. The delivery then has the lease.
    pub(crate) async fn begin(&self, delivery: &Delivery, deadlines: &Deadlines) -> Begin {
        match self.rules.find(delivery.envelope().event_type()) {
            None => Begin::Handle,
            // Boxed, because other messages do not wait for it, and the future is large.
            Some(rule) => Box::pin(self.claim(rule, delivery, deadlines)).await,
        }
    }

    async fn claim(&self, rule: &IdempotencyRule, delivery: &Delivery, deadlines: &Deadlines) -> Begin {
        let Some(key) = rule.key.of(delivery) else {
            return Begin::Refuse(Outcome::Reject(rule.key.missing()));
        };
        let now = SystemTime::now();
        let claim = Claim {
            key: &key,
            fingerprint: &if rule.fingerprint { fingerprint(delivery) } else { ANY_PAYLOAD.to_owned() },
            now,
            lease_until: now + deadlines.function_until.saturating_duration_since(Instant::now()),
            keep_until: now + Duration::from_secs(u64::from(rule.ttl_days) * 24 * 3_600),
        };
        let left = deadlines.work_until.saturating_duration_since(Instant::now());
        match self.store.begin(&claim, Instant::now() + BEGIN_TIMEOUT.min(left / 2)).await {
            Ok(Begun::New(lease)) => {
                delivery.lease.get_or_init(|| lease);
                delivery.store.get_or_init(|| Arc::clone(&self.store));
                Begin::Handle
            }
            Ok(Begun::Completed { .. }) => Begin::Settle(Disposition::Duplicate, ""),
            Ok(Begun::InProgress { lease_left }) => {
                Begin::Settle(Disposition::Returned(Some(lease_left)), "another invocation is handling it")
            }
            Ok(Begun::Conflict) => {
                let reason = "its idempotency key belongs to a message with another type or payload";
                Begin::Refuse(Outcome::Reject(reason.to_owned()))
            }
            Err(error) => match rule.on_store_failure {
                OnStoreFailure::Closed => {
                    Begin::Refuse(Outcome::Failed(format!("not handled: the idempotency store failed: {error}")))
                }
                OnStoreFailure::Open => {
                    let message_id = delivery.envelope().id();
                    tracing::error!(message_id, reason = %error, "handled without the idempotency store");
                    Begin::Handle
                }
            },
        }
    }

    /// Ends the claim of a message with this disposition, not past `deadline`. `is_last` is true if it was dead-lettered
    /// because it failed. An error is logged: the message is settled whatever happens here.
    pub(crate) async fn end(&self, delivery: &Delivery, disposition: Disposition, is_last: bool, deadline: Instant) {
        // A handler may have stored the result together with its effect.
        if let Some(lease) = delivery.lease().filter(|lease| !lease.is_completed()) {
            let ended = async {
                match disposition {
                    Disposition::Done => self.store.complete(lease, RESULT, deadline).await,
                    Disposition::Rejected if !is_last => self.store.abandon(lease, Effect::None, deadline).await,
                    _ => self.store.abandon(lease, Effect::Unknown, deadline).await,
                }
            };
            if let Err(error) = Box::pin(ended).await {
                let (message_id, outcome) = (delivery.envelope().id(), disposition.as_str());
                tracing::error!(message_id, outcome, reason = %error, "the idempotency store did not take the outcome");
            }
        }
    }
}

impl IdempotencyKey {
    /// Returns the key of a message, of the same length for all: a hash, because names and values may be long or
    /// personal. The prefix keeps it apart from the keys that an ingress function has in the same table.
    pub(crate) fn of(self, delivery: &Delivery) -> Option<String> {
        let envelope = delivery.envelope();
        let id = match self {
            Self::Event => deterministic_id(["event", delivery.queue(), envelope.source(), envelope.id()]),
            Self::Pointer(pointer) => {
                let value = value_at(&envelope.payload(), pointer)?;
                deterministic_id(["value", delivery.queue(), envelope.event_type(), pointer, &value])
            }
        };
        Some(format!("message/{id}"))
    }

    /// Returns the reason to reject a message that has no key.
    fn missing(self) -> String {
        match self {
            Self::Event => "it has no idempotency key".to_owned(),
            Self::Pointer(pointer) => {
                format!("it has no idempotency key: its payload has no text and no whole number at {pointer}")
            }
        }
    }
}

/// Returns the text or the whole number at a JSON pointer.
fn value_at(payload: &[u8], pointer: &str) -> Option<String> {
    let payload: serde_json::Value = serde_json::from_slice(payload).ok()?;
    match payload.pointer(pointer)? {
        serde_json::Value::String(text) if !text.is_empty() => Some(text.clone()),
        serde_json::Value::Number(number) if number.is_u64() || number.is_i64() => Some(number.to_string()),
        _ => None,
    }
}

/// Returns what the messages under a key have in common.
pub(crate) fn fingerprint(delivery: &Delivery) -> String {
    let envelope = delivery.envelope();
    deterministic_id([envelope.event_type().as_bytes(), &envelope.payload()])
}
