//! Execution environments: a function binary behind its Runtime API.
//!
//! An environment follows Lambda's lifecycle: init within a limit, then one invocation at a time, optionally frozen
//! in between. It ends by timeout, by the exit of its process, or when dropped; its process group is killed then. Its
//! variables are those of Lambda and of the function; `PATH`, `SSL_CERT_DIR`, `SSL_CERT_FILE`, `RUST_BACKTRACE` and
//! `RUST_LOG` are inherited from the caller.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::json;
use tokio::process::Command;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::process::{Exit, LineSink, LiveEnvironments, Process};
use crate::runtime_api::{Assignment, RuntimeApi, RuntimeCall};

/// Limit for init before the first invocation retries it.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-ib>
pub const INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Variables inherited from the caller, which override those of the function.
const INHERITED: [&str; 5] = ["PATH", "RUST_BACKTRACE", "RUST_LOG", "SSL_CERT_DIR", "SSL_CERT_FILE"];

/// The settings of a function.
#[derive(Debug, Clone)]
pub struct FunctionSpec {
    /// The function's name.
    pub name: String,
    /// Its ARN; the Region is read from it.
    pub arn: String,
    /// The executable that speaks the Runtime API.
    pub binary: PathBuf,
    /// The function's variables. Those that Lambda reserves are ignored, as in Lambda.
    pub environment: BTreeMap<String, String>,
    /// Passed to the function; not enforced.
    pub memory_mb: u32,
    /// Limit for one invocation.
    pub timeout: Duration,
    /// The largest number of environments busy at the same time; one more invocation is throttled.
    pub concurrency: Concurrency,
    /// Whether the process is stopped between invocations, as Lambda does.
    pub freeze: bool,
}

/// The largest number of environments of a function busy at the same time, and the origin of that limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concurrency {
    /// `ReservedConcurrentExecutions` of the template; 0 throttles every invocation.
    Reserved(usize),
    /// The limit of the stack.
    Unreserved(usize),
}

impl Concurrency {
    /// Returns the number of environments.
    #[must_use]
    pub fn max(self) -> usize {
        match self {
            Self::Reserved(max) | Self::Unreserved(max) => max,
        }
    }

    /// Returns the origin of the limit, for the log.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Reserved(_) => "as many as ReservedConcurrentExecutions in the template allows",
            Self::Unreserved(_) => "as many as --concurrency allows",
        }
    }
}

/// The result of one invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// The function answered.
    Response(Bytes),
    /// The function reported an error or its process ended: the error document `{"errorType", "errorMessage"}`.
    FunctionError {
        /// JSON, from the function or with Lambda's error texts.
        payload: Bytes,
    },
    /// The function did not answer within its timeout; its process was killed.
    TimedOut,
    /// All environments are busy or the function is stopped. Nothing ran.
    Throttled,
}

/// The failure of an environment's start.
#[derive(Debug, thiserror::Error)]
pub enum InitFailure {
    /// The binary could not be started, or no port was free.
    #[error("cannot start {}: {source}", binary.display())]
    Spawn {
        /// The executable.
        binary: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The runtime reported an error through `/runtime/init/error`.
    #[error("init failed: {}", String::from_utf8_lossy(document))]
    Reported {
        /// The error document it sent.
        document: Bytes,
    },
    /// The process ended before it requested an invocation.
    #[error("{0}")]
    Exited(String),
    /// The process did not request an invocation in time.
    #[error("init took longer than {:.2} seconds", .0.as_secs_f64())]
    TimedOut(Duration),
}

impl InitFailure {
    /// Returns the error document for an invocation.
    pub(crate) fn payload(&self, request_id: &str) -> Bytes {
        match self {
            InitFailure::Spawn { .. } => error_document("Runtime.InvalidEntrypoint", request_id, &self.to_string()),
            InitFailure::Reported { document } => document.clone(),
            InitFailure::Exited(reason) => error_document("Runtime.ExitError", request_id, reason),
            InitFailure::TimedOut(_) => error_document("Sandbox.Timedout", request_id, &self.to_string()),
        }
    }
}

/// Returns `{"errorType": …, "errorMessage": "RequestId: … Error: …"}`, in the form of Lambda's errors.
pub(crate) fn error_document(error_type: &str, request_id: &str, reason: &str) -> Bytes {
    json!({ "errorType": error_type, "errorMessage": format!("RequestId: {request_id} Error: {reason}") })
        .to_string()
        .into()
}

/// A process that serves invocations.
pub(crate) struct Environment {
    // Declared before `api`: the process must end before its API, or it would log the lost connection.
    process: Process,
    api: RuntimeApi,
    arn: String,
}

impl Environment {
    /// Starts `binary` and waits until it requests its first invocation, at most `limit`. The error includes the last
    /// lines of its log.
    pub(crate) async fn start(
        spec: &FunctionSpec,
        binary: &Path,
        limit: Duration,
        live: &LiveEnvironments,
        lines: &LineSink,
    ) -> Result<Environment, (InitFailure, Vec<String>)> {
        let deadline = Instant::now() + limit;
        let spawn = |source| (InitFailure::Spawn { binary: binary.to_owned(), source }, Vec::new());
        let mut api = RuntimeApi::start().await.map_err(spawn)?;
        let mut command = Command::new(binary);
        command.env_clear().envs(variables(spec, binary, &api.address().to_string()));
        if let Some(folder) = task_root(binary) {
            command.current_dir(folder);
        }
        let mut process = Process::spawn(command, live, lines).map_err(spawn)?;
        let first = async {
            tokio::select! {
                biased;
                event = api.next_call() => match event {
                    RuntimeCall::InitError(document) => Err(InitFailure::Reported { document }),
                    // No other event is possible: no invocation was assigned.
                    RuntimeCall::Ready | RuntimeCall::Response(_) | RuntimeCall::Error(_) => Ok(()),
                },
                Exit(reason) = process.exited() => Err(InitFailure::Exited(reason)),
            }
        };
        match timeout_at(deadline, first).await.unwrap_or(Err(InitFailure::TimedOut(limit))) {
            Ok(()) => Ok(Environment { process, api, arn: spec.arn.clone() }),
            Err(failure) => Err((failure, process.into_log_tail().await)),
        }
    }

    /// Runs one invocation until the runtime requests the next one, ends, or `limit` has passed. The second value is
    /// whether the environment can be reused.
    pub(crate) async fn invoke(
        &mut self,
        request_id: &str,
        payload: Bytes,
        trace_id: String,
        limit: Duration,
    ) -> (Invocation, bool) {
        let deadline = Instant::now() + limit;
        let deadline_epoch_ms = (SystemTime::now() + limit).duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.process.thaw();
        let (request_id, function_arn) = (request_id.to_owned(), self.arn.clone());
        self.api.assign(Assignment {
            request_id: request_id.clone(),
            deadline_epoch_ms,
            function_arn,
            trace_id,
            payload,
        });
        let mut answer = None;
        loop {
            let step = async {
                tokio::select! {
                    biased;
                    event = self.api.next_call() => Ok(event),
                    exit = self.process.exited() => Err(exit),
                }
            };
            match timeout_at(deadline, step).await {
                Ok(Ok(RuntimeCall::Response(body))) => answer = Some(Invocation::Response(body)),
                Ok(Ok(RuntimeCall::Error(payload))) => answer = Some(Invocation::FunctionError { payload }),
                Ok(Ok(RuntimeCall::Ready | RuntimeCall::InitError(_))) => {
                    if let Some(answer) = answer.take() {
                        return (answer, true);
                    }
                }
                Ok(Err(Exit(reason))) => {
                    let error = || error_document("Runtime.ExitError", &request_id, &reason);
                    return (answer.unwrap_or_else(|| Invocation::FunctionError { payload: error() }), false);
                }
                Err(_elapsed) => return (answer.unwrap_or(Invocation::TimedOut), false),
            }
        }
    }

    /// Freezes the process (see [`Process::freeze`]); the next invocation thaws it.
    pub(crate) fn freeze(&self) {
        self.process.freeze();
    }

    /// Resumes a frozen process.
    pub(crate) fn thaw(&self) {
        self.process.thaw();
    }

    /// Returns whether the process is running.
    pub(crate) fn is_alive(&self) -> bool {
        self.process.is_alive()
    }
}

fn task_root(binary: &Path) -> Option<&Path> {
    binary.parent().filter(|folder| !folder.as_os_str().is_empty())
}

/// Returns the variables of the function's environment.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime>
fn variables(spec: &FunctionSpec, binary: &Path, runtime_api: &str) -> BTreeMap<String, String> {
    let region = spec.arn.split(':').nth(3).unwrap_or_default();
    let today = time::OffsetDateTime::now_utc();
    let (year, month, day) = (today.year(), u8::from(today.month()), today.day());
    let root = task_root(binary).unwrap_or(Path::new(".")).to_string_lossy().into_owned();
    let reserved = [
        ("AWS_LAMBDA_RUNTIME_API", runtime_api.to_owned()),
        ("AWS_LAMBDA_FUNCTION_NAME", spec.name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", spec.memory_mb.to_string()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", spec.name)),
        ("AWS_LAMBDA_LOG_STREAM_NAME", format!("{year}/{month:02}/{day:02}/[$LATEST]{}", Uuid::now_v7().simple())),
        ("AWS_REGION", region.to_owned()),
        ("AWS_DEFAULT_REGION", region.to_owned()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ("AWS_SESSION_TOKEN", "test".to_owned()),
        ("LAMBDA_TASK_ROOT", root),
        ("TZ", ":UTC".to_owned()),
        ("_HANDLER", "bootstrap".to_owned()),
    ];
    let mut variables = spec.environment.clone();
    variables.extend(INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))));
    variables.extend(reserved.map(|(name, value)| (name.to_owned(), value)));
    variables
}
