//! The embedded SQS: standard and FIFO queues that behave as Amazon's do, in memory, on a clock that is given.
//!
//! `Sqs::call` takes an action and its AWS JSON input and gives its output, long polling included. Underneath is a pure state
//! machine (`engine`, `queue`, `fifo`) that takes the time as an argument; this module adds the lock, the waiting and the
//! observers. Every error has Amazon's name.
//!
//! Absent on purpose: propagation delays, throttling, access control (`Policy` is remembered, `AddPermission` and
//! `RemovePermission` are refused), encryption (its attributes are remembered), a set of queues for each account and Region
//! (a queue's ARN and URL name those of the caller that created it, and every caller sees it), and empty answers to short
//! polls of queues that have messages.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde_json::{Value, json};
use tokio::time::{sleep_until, timeout_at};

use crate::actions::{self, ReceiveCall};
use crate::caller::Caller;
use crate::clock::{Clock, EpochMs};
use crate::config::SqsConfig;
use crate::engine::Engine;
use crate::error::ApiError;
use crate::event::QueueEvent;

/// Sees every event before the call that caused it returns; must be quick, must not block, and must not call the service.
pub type Observer = Arc<dyn Fn(&QueueEvent) + Send + Sync>;

/// The service. Clones share the queues.
#[derive(Clone)]
pub struct Sqs {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    engine: Mutex<Engine>,
    observers: RwLock<Vec<Observer>>,
    /// Events on their way to the observers; pushed under the engine's lock, so in the order they happened.
    outbox: Mutex<VecDeque<QueueEvent>>,
    /// Held while telling the observers, so that they hear one event at a time.
    telling: Mutex<()>,
}

impl Sqs {
    /// A service without queues. URLs start with `http://127.0.0.1:4566` until `set_base_url` says otherwise.
    #[must_use]
    pub fn new(clock: Clock, config: SqsConfig) -> Self {
        let inner = Inner {
            clock,
            engine: Mutex::new(Engine::new(config, "http://127.0.0.1:4566".to_owned())),
            observers: RwLock::default(),
            outbox: Mutex::default(),
            telling: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What queue URLs begin with: scheme, host and port. Requests may name a queue by any base.
    pub fn set_base_url(&self, url: impl Into<String>) {
        lock(&self.inner.engine).base_url = url.into().trim_end_matches('/').to_owned();
    }

    /// The account of callers without one.
    pub(crate) fn account(&self) -> String {
        lock(&self.inner.engine).config.account.clone()
    }

    /// Adds an observer; it hears of everything from now on.
    pub fn observe(&self, observer: Observer) {
        self.inner.observers.write().unwrap_or_else(PoisonError::into_inner).push(observer);
    }

    /// Runs one action, such as `SendMessage`, on its AWS JSON input. `ReceiveMessage` waits as long as it was asked to.
    ///
    /// # Errors
    /// What the API documents for the action, and `UnknownOperationException` for an action SQS does not have.
    pub async fn call(&self, action: &str, input: Value) -> Result<Value, ApiError> {
        self.call_as(&Caller::default(), action, input).await
    }

    /// The same for a caller with a Region, an account or a trace.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_as(&self, caller: &Caller, action: &str, input: Value) -> Result<Value, ApiError> {
        if action == "ReceiveMessage" {
            return self.receive(input).await;
        }
        let answer = self.with_engine(|engine, now| actions::run(engine, action, input, caller, now))?;
        if action == "StartMessageMoveTask" {
            self.drive_move_task(&answer);
        }
        Ok(answer)
    }

    /// Tries at once and then whenever the queue says so, until something comes or the wait is over.
    async fn receive(&self, input: Value) -> Result<Value, ApiError> {
        let (call, begun) = self.with_engine(|engine, now| Ok((ReceiveCall::check(engine, input, now)?, now)))?;
        let deadline = begun.saturating_add(EpochMs::from(call.wait_s) * 1_000);
        loop {
            let attempt = self.with_engine(|engine, now| {
                let queue = engine.queue(&call.name, now)?;
                // Registered under the lock, so that no change after this look goes unheard.
                let changed = queue.changed.clone().notified_owned();
                let answer = call.run(engine, now)?;
                let next = engine.queue(&call.name, now)?.next_ready_at();
                Ok((answer, changed, next, now))
            })?;
            let (answer, changed, next, now) = attempt;
            if let Some(answer) = answer {
                return Ok(answer);
            }
            if now >= deadline {
                return Ok(json!({}));
            }
            let wake_at = next.map_or(deadline, |next| next.max(now.saturating_add(1)).min(deadline));
            // Woken or timed out: either way it is time to look again.
            let _ = timeout_at(self.inner.clock.instant(wake_at), changed).await;
        }
    }

    /// Lets a move task go on by itself until it ends.
    fn drive_move_task(&self, started: &Value) {
        let Some(id) = started["TaskHandle"].as_str().and_then(actions::task_id_in) else { return };
        let sqs = self.clone();
        tokio::spawn(async move {
            while let Some(next) = sqs.with_engine(|engine, now| engine.step_move_task(&id, now)) {
                sleep_until(sqs.inner.clock.instant(next)).await;
            }
        });
    }

    /// Runs `work` under the lock, then tells the observers what happened. When it returns, they know.
    pub(crate) fn with_engine<T>(&self, work: impl FnOnce(&mut Engine, EpochMs) -> T) -> T {
        let result = {
            let mut engine = lock(&self.inner.engine);
            let result = work(&mut engine, self.inner.clock.now());
            lock(&self.inner.outbox).extend(engine.events.drain(..));
            result
        };
        self.tell_observers();
        result
    }

    /// Empties the outbox. Waits for another thread that is at it, which may still be telling what happened here: no caller
    /// has a message, or the answer to a send, before the observers know of it.
    fn tell_observers(&self) {
        let _telling = lock(&self.inner.telling);
        let observers = self.inner.observers.read().unwrap_or_else(PoisonError::into_inner).clone();
        loop {
            let Some(event) = lock(&self.inner.outbox).pop_front() else { break };
            for observer in &observers {
                observer(&event);
            }
        }
    }
}

/// Locks; a panic elsewhere while the lock was held does not spread.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
