//! One execution environment: a function binary behind a Runtime API of its own.
//!
//! It goes through Lambda's life: init within a limit, then one invocation at a time, frozen in between if asked. It ends
//! by time-out, by the exit of its process, or by being dropped; then its process group is killed and nothing of it stays.
//! Its variables are Lambda's and the function's own; of the caller's only what says where programs and certificates
//! are and how much is told is inherited: `PATH`, `SSL_CERT_DIR`, `SSL_CERT_FILE`, `RUST_BACKTRACE` and `RUST_LOG`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::json;
use tokio::process::Command;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::process::{Exit, LineSink, LiveEnvironments, Process};
use crate::runtime_api::{Assignment, Event, RuntimeApi};

/// How long init may take before the first invocation retries it.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-ib>
pub const INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Inherited from the shell that runs the local stack. The last two win over the template: whoever sets them wants to see more.
const INHERITED: [&str; 5] = ["PATH", "RUST_BACKTRACE", "RUST_LOG", "SSL_CERT_DIR", "SSL_CERT_FILE"];

/// What a function is, as far as its environments need it.
#[derive(Debug, Clone)]
pub struct FunctionSpec {
    /// The function's name.
    pub name: String,
    /// Its ARN; the Region is read from it.
    pub arn: String,
    /// The executable that speaks the Runtime API.
    pub binary: PathBuf,
    /// The function's own variables. Those that Lambda reserves are ignored here as there.
    pub environment: BTreeMap<String, String>,
    /// Told to the function; not enforced.
    pub memory_mb: u32,
    /// How long one invocation may take.
    pub timeout: Duration,
    /// How many environments may work at once; one more invocation is throttled.
    pub concurrency: Concurrency,
    /// Stop the process between invocations, as Lambda does.
    pub freeze: bool,
}

/// How many environments of a function may work at once, and where that limit comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concurrency {
    /// `ReservedConcurrentExecutions` of the template; 0 throttles every invocation.
    Reserved(usize),
    /// The local stack's limit.
    Unreserved(usize),
}

impl Concurrency {
    /// The number of environments.
    #[must_use]
    pub fn max(self) -> usize {
        match self {
            Self::Reserved(max) | Self::Unreserved(max) => max,
        }
    }

    /// Where the limit comes from and how to raise it, for the log.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Reserved(_) => "as many as ReservedConcurrentExecutions in the template allows",
            Self::Unreserved(_) => "as many as --concurrency allows",
        }
    }
}

/// What came of one invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// The function answered.
    Response(Bytes),
    /// The function reported an error or its process ended: the error document `{"errorType", "errorMessage"}`.
    FunctionError {
        /// JSON, as the function sent it or as Lambda words it.
        payload: Bytes,
    },
    /// The function did not answer within its time-out; its process was killed.
    TimedOut,
    /// All environments are busy (or the function is stopped). Nothing was run.
    Throttled,
}

/// Why an environment did not come up.
#[derive(Debug, thiserror::Error)]
pub enum InitFailure {
    /// The binary could not be started, or no port was free.
    #[error("cannot start {}: {source}", binary.display())]
    Spawn {
        /// The executable.
        binary: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The runtime reported an error through `/runtime/init/error`.
    #[error("init failed: {}", String::from_utf8_lossy(document))]
    Reported {
        /// The error document it sent.
        document: Bytes,
    },
    /// The process ended before it asked for an invocation.
    #[error("{0}")]
    Exited(String),
    /// It did not ask for an invocation in time.
    #[error("init took longer than {:.2} seconds", .0.as_secs_f64())]
    TimedOut(Duration),
}

impl InitFailure {
    /// The error document that an invocation gets.
    pub(crate) fn payload(&self, request_id: &str) -> Bytes {
        match self {
            InitFailure::Spawn { .. } => error_document("Runtime.InvalidEntrypoint", request_id, &self.to_string()),
            InitFailure::Reported { document } => document.clone(),
            InitFailure::Exited(reason) => error_document("Runtime.ExitError", request_id, reason),
            InitFailure::TimedOut(_) => error_document("Sandbox.Timedout", request_id, &self.to_string()),
        }
    }
}

/// `{"errorType": …, "errorMessage": "RequestId: … Error: …"}`, as Lambda words its own errors.
pub(crate) fn error_document(error_type: &str, request_id: &str, reason: &str) -> Bytes {
    json!({ "errorType": error_type, "errorMessage": format!("RequestId: {request_id} Error: {reason}") })
        .to_string()
        .into()
}

/// A process that waits for an invocation.
pub(crate) struct Environment {
    // Before `api`: the process must be dead before its API goes away, or it would complain about that.
    process: Process,
    api: RuntimeApi,
    arn: String,
}

impl Environment {
    /// Starts `binary` and waits until it asks for its first invocation, for `limit` at most. A failure comes with the last
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
                event = api.event() => match event {
                    Event::InitError(document) => Err(InitFailure::Reported { document }),
                    // Nothing else can come: no invocation was handed out.
                    Event::Ready | Event::Response(_) | Event::Error(_) => Ok(()),
                },
                Exit(reason) = process.exited() => Err(InitFailure::Exited(reason)),
            }
        };
        match timeout_at(deadline, first).await.unwrap_or(Err(InitFailure::TimedOut(limit))) {
            Ok(()) => Ok(Environment { process, api, arn: spec.arn.clone() }),
            Err(failure) => Err((failure, process.into_log_tail().await)),
        }
    }

    /// Runs one invocation until the runtime asks for the next, ends, or `limit` has passed. The environment can be used again
    /// only if the second value is true.
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
                    event = self.api.event() => Ok(event),
                    exit = self.process.exited() => Err(exit),
                }
            };
            match timeout_at(deadline, step).await {
                Ok(Ok(Event::Response(body))) => answer = Some(Invocation::Response(body)),
                Ok(Ok(Event::Error(payload))) => answer = Some(Invocation::FunctionError { payload }),
                Ok(Ok(Event::Ready | Event::InitError(_))) => {
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

    /// See [`Process::freeze`]; the next invocation thaws it.
    pub(crate) fn freeze(&self) {
        self.process.freeze();
    }

    /// False once the process has ended by itself.
    pub(crate) fn is_alive(&self) -> bool {
        self.process.is_alive()
    }
}

fn task_root(binary: &Path) -> Option<&Path> {
    binary.parent().filter(|folder| !folder.as_os_str().is_empty())
}

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
