//! The service: locking, long polls and observers around the engine, a pure state machine that takes the current time
//! as an argument.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde_json::Value;
use tokio::sync::futures::OwnedNotified;
use tokio::time::{sleep_until, timeout_at};

use crate::actions::{self, Answer, Input, ReceiveCall};
use crate::caller::Caller;
use crate::clock::{Clock, EpochMs};
use crate::config::SqsConfig;
use crate::engine::Engine;
use crate::error::ApiError;
use crate::event::QueueEvent;
use crate::message::ReceivedMessage;

/// Receives every event before the call that caused it returns. It must return quickly, not block, and not call the
/// service.
pub type QueueObserver = Arc<dyn Fn(&QueueEvent) + Send + Sync>;

/// The service. Clones share the queues.
#[derive(Clone)]
pub struct Sqs {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    engine: Mutex<Engine>,
    observers: RwLock<Vec<QueueObserver>>,
    /// Events for the observers, in order, as they are pushed under the engine's lock.
    outbox: Mutex<VecDeque<QueueEvent>>,
    /// Held while the observers run, so that they receive one event at a time.
    notifying: Mutex<()>,
}

impl Sqs {
    /// Creates a service without queues. URLs start with `http://127.0.0.1:4566` unless `set_base_url` changes it.
    #[must_use]
    pub fn new(clock: Clock, config: SqsConfig) -> Self {
        let inner = Inner {
            clock,
            engine: Mutex::new(Engine::new(config, "http://127.0.0.1:4566".to_owned())),
            observers: RwLock::default(),
            outbox: Mutex::default(),
            notifying: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Sets the start of queue URLs: scheme, host and port. Requests may name a queue by any base.
    pub fn set_base_url(&self, url: impl Into<String>) {
        lock(&self.inner.engine).base_url = url.into().trim_end_matches('/').to_owned();
    }

    /// Returns the account of callers without one.
    pub(crate) fn account(&self) -> String {
        lock(&self.inner.engine).config.account.clone()
    }

    /// Adds an observer, which receives every event from now on.
    pub fn observe(&self, observer: QueueObserver) {
        self.inner.observers.write().unwrap_or_else(PoisonError::into_inner).push(observer);
    }

    /// Runs one action, such as `SendMessage`, on its AWS JSON input. `ReceiveMessage` waits as long as requested.
    ///
    /// # Errors
    /// The action's documented errors; `UnknownOperationException` for an unknown action.
    pub async fn call(&self, action: &str, input: Value) -> Result<Value, ApiError> {
        self.call_as(&Caller::default(), action, input).await
    }

    /// Runs an action like [`call`](Self::call), for a caller with a Region, an account or a trace.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_as(&self, caller: &Caller, action: &str, input: Value) -> Result<Value, ApiError> {
        self.run(caller, action, Input::Value(input)).await.map(Answer::into_value)
    }

    /// Runs an action like [`call_as`](Self::call_as) on the text of its input; returns that of the answer.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_json(&self, caller: &Caller, action: &str, input: &[u8]) -> Result<Vec<u8>, ApiError> {
        let answer = self.run(caller, action, Input::Json(input)).await?;
        // An answer can always be written.
        Ok(serde_json::to_vec(&answer).unwrap_or_default())
    }

    /// Runs an action on its input as JSON text or as a value.
    async fn run(&self, caller: &Caller, action: &str, input: Input<'_>) -> Result<Answer, ApiError> {
        if action == "ReceiveMessage" {
            return self.receive(input).await;
        }
        let answer = self.with_engine(|engine, now| actions::run(engine, action, input, caller, now))?;
        if action == "StartMessageMoveTask"
            && let Answer::Value(started) = &answer
        {
            self.drive_move_task(started);
        }
        Ok(answer)
    }

    /// Tries immediately and after each change of the queue, until there is a message or the wait time has passed.
    async fn receive(&self, input: Input<'_>) -> Result<Answer, ApiError> {
        let (call, begun, first) = self.with_engine(|engine, now| {
            let call = ReceiveCall::check(engine, input, now)?;
            let first = attempt(&call, engine, now)?;
            Ok((call, now, first))
        })?;
        let deadline = begun.saturating_add(EpochMs::from(call.wait_s) * 1_000);
        let mut latest = (first, begun);
        loop {
            let (changed, next) = match latest.0 {
                Attempt::Received(messages) => return Ok(Answer::Received { messages }),
                Attempt::Empty { .. } if latest.1 >= deadline => return Ok(Answer::Empty {}),
                Attempt::Empty { changed, next } => (changed, next),
            };
            let wake_at = next.map_or(deadline, |next| next.max(latest.1.saturating_add(1)).min(deadline));
            // Woken or timed out: try again.
            let _ = timeout_at(self.inner.clock.instant(wake_at), changed).await;
            latest = self.with_engine(|engine, now| Ok((attempt(&call, engine, now)?, now)))?;
        }
    }

    /// Runs a move task in the background until it ends.
    fn drive_move_task(&self, started: &Value) {
        let Some(id) = started["TaskHandle"].as_str().and_then(actions::task_id_in) else { return };
        let sqs = self.clone();
        tokio::spawn(async move {
            while let Some(next) = sqs.with_engine(|engine, now| engine.step_move_task(&id, now)) {
                sleep_until(sqs.inner.clock.instant(next)).await;
            }
        });
    }

    /// Runs `work` under the lock, then passes its events to the observers before it returns.
    pub(crate) fn with_engine<T>(&self, work: impl FnOnce(&mut Engine, EpochMs) -> T) -> T {
        let result = {
            let mut engine = lock(&self.inner.engine);
            let result = work(&mut engine, self.inner.clock.now());
            // An action that adds no event returns nothing that an observer must know first.
            if engine.events.is_empty() {
                return result;
            }
            lock(&self.inner.outbox).extend(engine.events.drain(..));
            result
        };
        self.notify_observers();
        result
    }

    /// Drains the outbox. Waits for another thread that drains it, because that thread may hold this call's events: no
    /// caller gets a message, or the answer to a send, before the observers have its event.
    fn notify_observers(&self) {
        let _notifying = lock(&self.inner.notifying);
        let observers = self.inner.observers.read().unwrap_or_else(PoisonError::into_inner).clone();
        loop {
            let Some(event) = lock(&self.inner.outbox).pop_front() else { break };
            for observer in &observers {
                observer(&event);
            }
        }
    }
}

/// The result of one attempt of a receive.
enum Attempt {
    Received(Vec<ReceivedMessage>),
    Empty {
        /// Completes at the queue's next change.
        changed: OwnedNotified,
        /// The time at which a message becomes visible without a change.
        next: Option<EpochMs>,
    },
}

fn attempt(call: &ReceiveCall, engine: &mut Engine, now: EpochMs) -> Result<Attempt, ApiError> {
    if let Some(messages) = call.run(engine, now)? {
        return Ok(Attempt::Received(messages));
    }
    let queue = engine.queue(&call.name, now)?;
    // Registered under the same lock, so that no later change is missed.
    Ok(Attempt::Empty { changed: queue.changed.clone().notified_owned(), next: queue.next_ready_at() })
}

/// Locks a mutex, even if it is poisoned.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
