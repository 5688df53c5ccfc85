//! The service: locking, long polls and observers around the engine, a pure state machine that takes the current time
//! as an argument.

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
        if action == "ReceiveMessage" {
            return self.receive(input).await;
        }
        let answer = self.with_engine(|engine, now| actions::run(engine, action, input, caller, now))?;
        if action == "StartMessageMoveTask" {
            self.drive_move_task(&answer);
        }
        Ok(answer)
    }

    /// Tries immediately and after each change of the queue, until there is a message or the wait time has passed.
    async fn receive(&self, input: Value) -> Result<Value, ApiError> {
        let (call, begun) = self.with_engine(|engine, now| Ok((ReceiveCall::check(engine, input, now)?, now)))?;
        let deadline = begun.saturating_add(EpochMs::from(call.wait_s) * 1_000);
        loop {
            let attempt = self.with_engine(|engine, now| {
                let queue = engine.queue(&call.name, now)?;
                // Registered under the lock, so that no later change is missed.
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
            // Woken or timed out: try again.
            let _ = timeout_at(self.inner.clock.instant(wake_at), changed).await;
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

/// Locks a mutex, even if it is poisoned.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
