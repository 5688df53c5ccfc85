//! The real binaries of the functions behind a Runtime API: several invocations at a time, as on Lambda Managed
//! Instances, and SIGTERM.

mod concurrency;
mod runtime_api;
mod sigterm;
mod slow_server;

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use self::runtime_api::RuntimeApi;
use crate::support::function_binary::built;
use crate::support::processes;

/// The time limit of a wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running function and its Runtime API.
struct Function {
    api: RuntimeApi,
    process: Child,
    lines: UnboundedReceiver<String>,
}

impl Function {
    /// Starts the function `name` with this many invocations at a time, and waits until it asks for as many.
    async fn start(name: &str, concurrency: usize, environment: &[(&str, &str)]) -> Self {
        let api = RuntimeApi::start().await;
        let mut command = Command::new(built(&format!("functions/{name}"), name).await);
        command.env_clear().envs([
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_LAMBDA_FUNCTION_NAME", name),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "2048"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_RUNTIME_API", &api.address),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ]);
        if concurrency > 1 {
            command.env("AWS_LAMBDA_MAX_CONCURRENCY", concurrency.to_string());
        }
        command.envs(environment.iter().copied()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("the function starts");
        let mut output = BufReader::new(process.stdout.take().expect("piped")).lines();
        let (sender, lines) = unbounded_channel();
        // Read at once, because the function waits while the pipe is full.
        tokio::spawn(async move {
            while let Ok(Some(line)) = output.next_line().await {
                // The receiver ends with the test.
                let _ = sender.send(line);
            }
        });
        let function = Self { api, process, lines };
        function.api.until_waiting(concurrency).await;
        function
    }

    /// Sends SIGTERM, and waits until the function has logged that.
    async fn terminate(&mut self) {
        processes::signal(self.process.id().expect("it runs"), "TERM");
        let logged = async {
            while let Some(line) = self.lines.recv().await {
                if line.contains("SIGTERM") {
                    return;
                }
            }
            panic!("the function ended without a log line");
        };
        timeout(PATIENCE, logged).await.expect("SIGTERM is noticed");
    }

    /// Waits for the end of the function. Returns its status, and how often it asked for an invocation.
    async fn ended(mut self) -> (ExitStatus, usize) {
        let status = timeout(PATIENCE, self.process.wait()).await.expect("the function ends").expect("its status");
        (status, self.api.asked())
    }
}
