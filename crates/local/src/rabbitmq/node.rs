//! A private RabbitMQ node: runs in a folder, on separate loopback ports, and ends with its handle.
//!
//! `node.sh` beside this file starts it. It does not use the user's home folder and does not affect another node of the
//! machine. The node's process, its port mapper and their children are one process group, which is killed when the
//! [`RabbitmqNode`] is stopped or dropped, and also when this program ends. The data stays in the folder.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::options::BasicQosOptions;
use lapin::{Connection, ConnectionProperties};
use serde::de::IgnoredAny;
use sluicegate_lambda_emulator::{LiveEnvironments, Process};
use sluicegate_topology::Management;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// The script that runs the node.
pub(crate) const SCRIPT: &str = include_str!("node.sh");

/// User and password of a private node.
pub(crate) const USER: &str = "guest";

/// Offsets of the ports from the AMQP port, as in `node.sh`: AMQP, port mapper, management, distribution.
const PORT_OFFSETS: [u16; 4] = [0, 1, MANAGEMENT_PORT_OFFSET, 20_000];
/// Offset of the management API's port from the AMQP port.
const MANAGEMENT_PORT_OFFSET: u16 = 10_000;
/// The range of free ports to search: with every offset they stay below the kernel's ephemeral ports.
const PORTS: std::ops::Range<u16> = 10_100..12_700;
/// The largest AMQP port that leaves room for the others.
pub(crate) const PORT_MAX: u16 = 45_535;

/// Limit for a start on a busy machine.
const START_TIME_MAX: Duration = Duration::from_secs(120);
/// Limit for an orderly stop.
const STOP_TIME_MAX: Duration = Duration::from_secs(30);
/// Limit for the kernel to close the ports of killed processes.
const EXIT_TIME_MAX: Duration = Duration::from_secs(5);
/// Pause between two readiness checks.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// Limit for one readiness check.
const CHECK_TIME_MAX: Duration = Duration::from_secs(5);

/// The failure of a node.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The folder cannot be created, or bash cannot be started.
    #[error("cannot start RabbitMQ in {}: {source}", folder.display())]
    Start {
        /// The folder.
        folder: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// One of its ports is taken, or no ports are free.
    #[error("cannot start RabbitMQ: {0}")]
    Port(String),
    /// It ended, or was not ready in time. On a machine without RabbitMQ, the log names the package to install.
    #[error("RabbitMQ did not start: {reason}{}", log_tail(log))]
    Ended {
        /// The reason.
        reason: String,
        /// Its last lines.
        log: Vec<String>,
    },
    /// `rabbitmqctl` failed.
    #[error("rabbitmqctl: {0}")]
    Ctl(String),
}

fn log_tail(log: &[String]) -> String {
    log.iter().map(|line| format!("\n  | {line}")).collect()
}

/// A running node.
pub struct RabbitmqNode {
    folder: PathBuf,
    port: u16,
    process: Option<Process>,
    live: LiveEnvironments,
}

impl RabbitmqNode {
    /// Starts a node with its data in `folder`, on `port` or free ports, and waits until it serves AMQP and management.
    ///
    /// # Errors
    /// See [`NodeError`]. No process remains after an error.
    pub async fn start(folder: &Path, port: Option<u16>) -> Result<Self, NodeError> {
        let port = match port {
            Some(port) if port > PORT_MAX => {
                return Err(NodeError::Port(format!(
                    "port {port} leaves no room for the node's other ports: at most {PORT_MAX}"
                )));
            }
            Some(port) => port,
            None => free_port()?,
        };
        let start = |source| NodeError::Start { folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(start)?;
        // The node has another working directory than this program.
        let folder = std::path::absolute(folder).map_err(start)?;
        let mut node = Self { folder, port, process: None, live: Arc::new(watch::Sender::new(0)) };
        node.restart().await?;
        Ok(node)
    }

    /// Starts the node again on the same ports with its data; a running node is killed first.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn restart(&mut self) -> Result<(), NodeError> {
        self.kill().await;
        if let Some(taken) = taken(self.port) {
            return Err(NodeError::Port(format!("port {taken} of 127.0.0.1 is taken")));
        }
        // The process keeps the last lines for the report of a failed start; the others are dropped.
        let lines = Arc::new(|_: &str| {});
        let process = Process::spawn_attended(self.command("attend"), &self.live, &(lines as _))
            .map_err(|source| NodeError::Start { folder: self.folder.clone(), source })?;
        let process = self.process.insert(process);
        let started = Instant::now();
        let last = Arc::new(Mutex::new(String::new()));
        let serves = serves(self.port, Arc::clone(&last));
        let reason = tokio::select! {
            biased;
            _ = process.exited() => "its process ended".to_owned(),
            served = timeout(START_TIME_MAX, serves) => match served {
                Ok(()) => {
                    tracing::debug!(port = self.port, took_ms = started.elapsed().as_millis(), "RabbitMQ serves");
                    return Ok(());
                }
                Err(_) => {
                    let last = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    format!("not ready after {} s: {last}", START_TIME_MAX.as_secs())
                }
            },
        };
        let log = match self.process.take() {
            Some(process) => process.into_log_tail().await,
            None => Vec::new(),
        };
        Err(NodeError::Ended { reason, log })
    }

    /// Kills the node with SIGKILL, like a crash of the machine, and returns when it has ended and its ports are free.
    /// Its helpers end too, on a busy machine a moment later.
    pub async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            drop(process);
            self.gone().await;
        }
    }

    /// Shuts the node down cleanly, which takes some seconds, and returns as [`kill`](Self::kill) does. Dropping it is
    /// quicker.
    pub async fn stop(mut self) {
        if let Some(process) = &mut self.process {
            process.terminate();
            let _ = timeout(STOP_TIME_MAX, process.exited()).await;
        }
        self.kill().await;
    }

    /// Stops the node's processes until [`thaw`](Self::thaw), like a machine that hangs: connections stay open, and
    /// nothing is answered.
    pub fn freeze(&self) {
        self.process.iter().for_each(Process::freeze);
    }

    /// Resumes a frozen node.
    pub fn thaw(&self) {
        self.process.iter().for_each(Process::thaw);
    }

    /// Waits until the node is reaped and its ports are free.
    async fn gone(&self) {
        // Cannot fail: `self` holds the sender.
        let _ = self.live.subscribe().wait_for(|count| *count == 0).await;
        // The same signal ends the port mapper, which is not a child of this process and cannot be waited for.
        let _ = timeout(EXIT_TIME_MAX, async {
            while taken(self.port).is_some() {
                sleep(CHECK_INTERVAL / 10).await;
            }
        })
        .await;
    }

    /// Returns whether the node is running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.as_ref().is_some_and(Process::is_alive)
    }

    /// Returns the folder of its data.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the AMQP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its URL with user and password, for the virtual host `/`.
    #[must_use]
    pub fn amqp_url(&self) -> String {
        amqp_url(self.port)
    }

    /// Returns a client of its management API.
    #[must_use]
    pub fn management(&self) -> Management {
        management(self.port)
    }

    /// Runs `rabbitmqctl` for this node and returns its output.
    ///
    /// # Errors
    /// The output of a failed command.
    pub async fn ctl(&self, words: &[&str]) -> Result<String, NodeError> {
        let mut command = self.command("ctl");
        command.args(words).stdin(std::process::Stdio::null()).kill_on_drop(true);
        let output = command.output().await.map_err(|error| NodeError::Ctl(error.to_string()))?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true => Ok(printed),
            false => Err(NodeError::Ctl(format!("{printed}{}", String::from_utf8_lossy(&output.stderr)))),
        }
    }

    fn command(&self, word: &str) -> Command {
        let mut command = Command::new("bash");
        command.args(["-c", SCRIPT, "node.sh", word]).arg(&self.folder).arg(self.port.to_string());
        // RabbitMQ variables of the user's shell would configure another node.
        let inherited = std::env::vars_os().map(|(name, _)| name);
        for name in inherited.filter(|name| name.to_string_lossy().starts_with("RABBITMQ_")) {
            command.env_remove(name);
        }
        command.current_dir(&self.folder);
        command
    }
}

/// Returns the URL of a node on this port, with user and password.
#[must_use]
pub(crate) fn amqp_url(port: u16) -> String {
    format!("amqp://{USER}:{USER}@127.0.0.1:{port}")
}

fn management(port: u16) -> Management {
    Management::at(&format!("http://127.0.0.1:{}", port + MANAGEMENT_PORT_OFFSET), USER, USER)
}

/// Waits until a client can connect; `last` holds the reason of the latest failure.
async fn serves(port: u16, last: Arc<Mutex<String>>) {
    let management = management(port);
    loop {
        let answer = match timeout(CHECK_TIME_MAX, speaks_amqp(port)).await {
            Ok(Ok(())) => {
                let overview = management.get::<IgnoredAny>(&["overview"], "").await;
                overview.map(drop).map_err(|error| error.to_string())
            }
            Ok(Err(error)) => Err(format!("AMQP: {error}")),
            Err(_) => Err("AMQP: no answer".to_owned()),
        };
        match answer {
            Ok(()) => return,
            Err(reason) => *last.lock().unwrap_or_else(PoisonError::into_inner) = reason,
        }
        sleep(CHECK_INTERVAL).await;
    }
}

async fn speaks_amqp(port: u16) -> lapin::Result<()> {
    let url = format!("amqp://{USER}:{USER}@127.0.0.1:{port}/%2f");
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    connection.close(200, "ready".into()).await
}

/// Returns the first taken port of a node on `port`.
fn taken(port: u16) -> Option<u16> {
    PORT_OFFSETS
        .iter()
        .map(|offset| port + offset)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_err())
}

/// Returns an AMQP port whose other ports are free too. The search starts at a random port, so that nodes started
/// together do not collide.
///
/// # Errors
/// No port is free.
pub(crate) fn free_port() -> Result<u16, NodeError> {
    let count = PORTS.end - PORTS.start;
    // The last bytes of a UUIDv7 are random.
    let random = uuid::Uuid::now_v7().as_bytes()[14..].iter().fold(0, |sum, byte| (sum << 8) | u16::from(*byte));
    // Steps of two, because the port mapper uses the next port.
    let candidates = (0..count / 2).map(|step| PORTS.start + (random % count + step * 2) % count);
    let mut free = candidates.filter(|port| taken(*port).is_none());
    free.next().ok_or_else(|| NodeError::Port(format!("no free ports from {} to {}", PORTS.start, PORTS.end)))
}

#[cfg(test)]
mod tests;
