//! A function's execution environments: started on demand, reused, limited and replaced.
//!
//! The most recently used idle environment is taken first, so that a few environments serve most invocations. Few
//! environments start at the same time, because a machine has few cores: an invocation that waits to start one takes
//! one that became idle meanwhile. Each invocation runs in a separate task and completes even if the caller drops its
//! future. Every process ends with the [`Function`].

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use uuid::Uuid;

use crate::environment::{Environment, FunctionSpec, INIT_TIMEOUT, InitFailure, Invocation, error_document};
use crate::process::{LineSink, LiveEnvironments};

/// Throttled invocations are logged at most this often.
const THROTTLE_LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Receives each line of a function's log: the function's name, the line.
pub type FunctionObserver = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// The failure of a function's start.
#[derive(Debug, thiserror::Error)]
#[error("function {function}: {reason}")]
pub struct StartError {
    /// The function's name.
    pub function: String,
    /// The cause.
    #[source]
    pub reason: InitFailure,
    /// The last lines it printed, oldest first.
    pub log: Vec<String>,
}

/// Counts of a function's invocations. Clones share the counts without keeping the function alive.
#[derive(Clone, Default)]
pub struct FunctionCounts {
    live: LiveEnvironments,
    totals: Arc<Totals>,
}

#[derive(Default)]
struct Totals {
    invocations: AtomicU64,
    errors: AtomicU64,
    throttles: AtomicU64,
}

impl FunctionCounts {
    /// Returns the number of live environments.
    #[must_use]
    pub fn environments(&self) -> u64 {
        *self.live.borrow() as u64
    }

    /// Returns the number of started invocations.
    #[must_use]
    pub fn invocations(&self) -> u64 {
        self.totals.invocations.load(Ordering::Relaxed)
    }

    /// Returns the number of invocations that failed or timed out.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.totals.errors.load(Ordering::Relaxed)
    }

    /// Returns the number of invocations throttled because all environments were busy.
    #[must_use]
    pub fn throttles(&self) -> u64 {
        self.totals.throttles.load(Ordering::Relaxed)
    }
}

/// A running function. Clones are handles to the same function.
#[derive(Clone)]
pub struct Function {
    inner: Arc<Inner>,
}

struct Inner {
    spec: FunctionSpec,
    lines: LineSink,
    counts: FunctionCounts,
    /// Whether environments are frozen between invocations.
    freeze: AtomicBool,
    /// One permit per busy environment. Idle ones hold no permit and are used before a new one starts, so there are
    /// never more environments than permits.
    permits: Arc<Semaphore>,
    /// One permit per environment that is starting.
    starts: Semaphore,
    /// The time of the last log line about throttling.
    throttle_logged: Mutex<Option<Instant>>,
    stopping: watch::Sender<bool>,
    state: Mutex<State>,
}

/// The code of new environments, and the idle environments.
struct State {
    generation: u64,
    binary: PathBuf,
    idle: Vec<Environment>,
}

impl Function {
    /// Starts the function and waits for its first environment.
    ///
    /// # Errors
    /// The first environment is not ready within [`INIT_TIMEOUT`].
    pub async fn start(spec: FunctionSpec, observer: FunctionObserver) -> Result<Function, StartError> {
        let name = spec.name.clone();
        let state = State { generation: 0, binary: spec.binary.clone(), idle: Vec::new() };
        let inner = Inner {
            lines: Arc::new(move |line| observer(&name, line)),
            counts: FunctionCounts::default(),
            freeze: AtomicBool::new(spec.freeze),
            permits: Arc::new(Semaphore::new(permits(&spec) as usize)),
            starts: Semaphore::new(starts_max()),
            throttle_logged: Mutex::default(),
            stopping: watch::Sender::new(false),
            state: Mutex::new(state),
            spec,
        };
        let function = Function { inner: Arc::new(inner) };
        function.warm_up().await?;
        Ok(function)
    }

    /// Returns the function's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.spec.name
    }

    /// Returns the counts of its invocations.
    #[must_use]
    pub fn counts(&self) -> FunctionCounts {
        self.inner.counts.clone()
    }

    /// Returns the number of environments that are starting or running an invocation.
    #[must_use]
    pub fn busy_environments(&self) -> usize {
        permits(&self.inner.spec) as usize - self.inner.permits.available_permits()
    }

    /// Returns whether its processes are stopped between invocations.
    #[must_use]
    pub fn is_frozen_when_idle(&self) -> bool {
        self.inner.freeze.load(Ordering::Relaxed)
    }

    /// Sets whether its processes are stopped between invocations ([`FunctionSpec::freeze`]), those that are idle now
    /// included.
    pub fn set_frozen_when_idle(&self, freeze: bool) {
        self.inner.freeze.store(freeze, Ordering::Relaxed);
        for environment in &self.inner.state().idle {
            match freeze {
                true => environment.freeze(),
                false => environment.thaw(),
            }
        }
    }

    /// Invokes the function once, with a new trace id if none is given.
    ///
    /// Dropping the future does not stop the invocation, as in Lambda.
    pub async fn invoke(&self, payload: Bytes, trace_id: Option<&str>) -> Invocation {
        let totals = Arc::clone(&self.inner.counts.totals);
        let Ok(permit) = Arc::clone(&self.inner.permits).try_acquire_owned() else {
            let throttles = totals.throttles.fetch_add(1, Ordering::Relaxed) + 1;
            self.inner.log_throttle(throttles);
            return Invocation::Throttled;
        };
        totals.invocations.fetch_add(1, Ordering::Relaxed);
        let request_id = Uuid::now_v7().to_string();
        let trace_id = trace_id.map_or_else(fresh_trace_id, str::to_owned);
        let inner = Arc::clone(&self.inner);
        let work = tokio::spawn({
            let request_id = request_id.clone();
            async move {
                let mut stopping = inner.stopping.subscribe();
                let invocation = tokio::select! {
                    biased;
                    _ = stopping.wait_for(|stop| *stop) => return None,
                    invocation = inner.run(&request_id, payload, trace_id, permit) => invocation,
                };
                if !matches!(invocation, Invocation::Response(_)) {
                    totals.errors.fetch_add(1, Ordering::Relaxed);
                }
                Some(invocation)
            }
        });
        match work.await {
            Ok(Some(invocation)) => invocation,
            Ok(None) | Err(_) => Invocation::FunctionError {
                payload: error_document("Runtime.ExitError", &request_id, "Runtime exited with error: signal: killed"),
            },
        }
    }

    /// Switches to new code: idle environments end, busy ones finish, new ones run `binary`.
    ///
    /// # Errors
    /// The new code does not start; the next invocation tries again.
    pub async fn replace(&self, binary: PathBuf) -> Result<(), StartError> {
        let idle = {
            let mut state = self.inner.state();
            state.generation += 1;
            state.binary = binary;
            std::mem::take(&mut state.idle)
        };
        drop(idle);
        self.warm_up().await
    }

    /// Kills every environment, busy ones included, and returns when their processes have ended. Later invocations are
    /// throttled.
    pub async fn stop(&self) {
        self.inner.stopping.send_replace(true);
        // Each busy environment holds a permit: with all permits taken, no more process can start.
        let _ = self.inner.permits.acquire_many(permits(&self.inner.spec)).await;
        self.inner.permits.close();
        let idle = std::mem::take(&mut self.inner.state().idle);
        drop(idle);
        // Cannot fail: `self` holds the sender.
        let _ = self.inner.counts.live.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Starts one environment, unless the limit is reached.
    async fn warm_up(&self) -> Result<(), StartError> {
        let Ok(permit) = Arc::clone(&self.inner.permits).try_acquire_owned() else { return Ok(()) };
        let (generation, binary) = self.inner.code();
        let inner = &self.inner;
        let mut stopping = inner.stopping.subscribe();
        let started = tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop) => return Ok(()),
            started = Environment::start(&inner.spec, &binary, INIT_TIMEOUT, &inner.counts.live, &inner.lines) => started,
        };
        match started {
            Ok(environment) => {
                inner.check_in(environment, generation, permit);
                Ok(())
            }
            Err((reason, log)) => Err(StartError { function: self.name().to_owned(), reason, log }),
        }
    }
}

/// `Semaphore::acquire_many` takes a `u32`, and a semaphore has a lower limit.
fn permits(spec: &FunctionSpec) -> u32 {
    u32::try_from(spec.concurrency.max().min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX)
}

/// Returns how many environments start at a time: two per core, because starting a process is partly waiting.
fn starts_max() -> usize {
    2 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

impl Inner {
    async fn run(
        &self,
        request_id: &str,
        payload: Bytes,
        trace_id: String,
        permit: OwnedSemaphorePermit,
    ) -> Invocation {
        let (mut generation, mut idle) = self.check_out();
        let mut limit = self.spec.timeout;
        // The semaphore is never closed, so acquiring cannot fail.
        let turn = if idle.is_none() { self.starts.acquire().await.ok() } else { None };
        if turn.is_some() {
            (generation, idle) = self.check_out();
        }
        let mut environment = match idle {
            Some(environment) => environment,
            None => match self.cold_start(request_id, &mut limit).await {
                Ok(environment) => environment,
                Err(invocation) => return invocation,
            },
        };
        drop(turn);
        let (invocation, reusable) = environment.invoke(request_id, payload, trace_id, limit).await;
        if reusable {
            self.check_in(environment, generation, permit);
        } else {
            self.report(request_id, &invocation);
        }
        invocation
    }

    /// Starts an environment; if that fails, retries within the invocation's time, as Lambda does. The time of the
    /// second attempt is subtracted from `limit`.
    async fn cold_start(&self, request_id: &str, limit: &mut std::time::Duration) -> Result<Environment, Invocation> {
        let (_, binary) = self.code();
        let start = |time| Environment::start(&self.spec, &binary, time, &self.counts.live, &self.lines);
        match start(INIT_TIMEOUT).await {
            Ok(environment) => return Ok(environment),
            Err((failure, _)) => (self.lines)(&format!("{failure}; trying once more")),
        }
        let began = Instant::now();
        let invocation = match start(*limit).await {
            Ok(environment) => {
                *limit = limit.saturating_sub(began.elapsed());
                return Ok(environment);
            }
            Err((InitFailure::TimedOut(_), _)) => Invocation::TimedOut,
            Err((failure, _)) => Invocation::FunctionError { payload: failure.payload(request_id) },
        };
        self.report(request_id, &invocation);
        Err(invocation)
    }

    /// Logs that invocations are throttled, and the limit to raise.
    fn log_throttle(&self, throttles: u64) {
        let mut logged = self.throttle_logged.lock().unwrap_or_else(PoisonError::into_inner);
        if *self.stopping.borrow() || logged.is_some_and(|logged| logged.elapsed() < THROTTLE_LOG_INTERVAL) {
            return;
        }
        *logged = Some(Instant::now());
        drop(logged);
        let (reason, limit) = (self.spec.concurrency.reason(), self.spec.concurrency.max());
        (self.lines)(&format!("throttled ({throttles} in all): {limit} environments are busy, {reason}"));
    }

    /// Logs how an invocation ended its environment.
    fn report(&self, request_id: &str, invocation: &Invocation) {
        match invocation {
            Invocation::TimedOut => {
                let seconds = self.spec.timeout.as_secs_f64();
                (self.lines)(&format!("{request_id} Task timed out after {seconds:.2} seconds"));
            }
            Invocation::FunctionError { payload } => (self.lines)(&String::from_utf8_lossy(payload)),
            Invocation::Response(_) | Invocation::Throttled => {}
        }
    }

    fn code(&self) -> (u64, PathBuf) {
        let state = self.state();
        (state.generation, state.binary.clone())
    }

    /// Takes the most recently used idle environment. Environments that ended while idle are dropped.
    fn check_out(&self) -> (u64, Option<Environment>) {
        let mut state = self.state();
        state.idle.retain(Environment::is_alive);
        (state.generation, state.idle.pop())
    }

    /// Keeps an environment for the next invocation, unless its code has been replaced meanwhile.
    fn check_in(&self, environment: Environment, generation: u64, permit: OwnedSemaphorePermit) {
        if self.freeze.load(Ordering::Relaxed) {
            environment.freeze();
        }
        let mut state = self.state();
        if state.generation == generation && !*self.stopping.borrow() {
            state.idle.push(environment);
        }
        drop(state);
        // The permit is released last, so that its next holder finds the environment in the pool.
        drop(permit);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns `Root=1-<epoch seconds>-<96 bits>;Parent=<64 bits>;Sampled=0`.
/// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>
fn fresh_trace_id() -> String {
    let epoch_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (root, parent) = (Uuid::now_v7().simple().to_string(), Uuid::now_v7().simple().to_string());
    format!("Root=1-{epoch_s:08x}-{};Parent={};Sampled=0", &root[8..], &parent[16..])
}

#[cfg(test)]
mod tests;
