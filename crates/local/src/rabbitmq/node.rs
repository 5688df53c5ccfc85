//! A private RabbitMQ node: started in a folder, on loopback ports of its own, gone with its handle.
//!
//! `node.sh` beside this file says how it runs; nothing is read from or written to the user's home, and no node of the machine
//! is touched. The node's process, its port mapper and whatever they started are one process group, which is killed when the
//! [`Node`] is stopped or dropped, and also when this program dies without a chance to do so. The data stays in the folder.

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

/// How the node is run; for scripts, too.
pub(crate) const SCRIPT: &str = include_str!("node.sh");

/// User and password of a private node.
pub(crate) const USER: &str = "guest";

/// From the AMQP port to the others, as `node.sh` has it: the port mapper, management, distribution.
const PORT_OFFSETS: [u16; 4] = [0, 1, MANAGEMENT_PORT_OFFSET, 20_000];
/// From the AMQP port to that of the management API.
const MANAGEMENT_PORT_OFFSET: u16 = 10_000;
/// Free ports are looked for here: with every offset they stay below those the kernel gives to outgoing connections.
const PORTS: std::ops::Range<u16> = 10_100..12_700;
/// The largest AMQP port that leaves room for the others.
pub(crate) const PORT_MAX: u16 = 45_535;

/// How long a start may take on a busy machine.
const START_TIME_MAX: Duration = Duration::from_secs(120);
/// How long an orderly end may take.
const STOP_TIME_MAX: Duration = Duration::from_secs(30);
/// How long the kernel may take to close the ports of killed processes.
const GONE_TIME_MAX: Duration = Duration::from_secs(5);
/// How often a starting node is asked whether it serves.
const ASK_INTERVAL: Duration = Duration::from_millis(100);
/// How long one such question may take.
const ASK_TIME_MAX: Duration = Duration::from_secs(5);

/// There is no node.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The folder cannot be made, or bash cannot be started.
    #[error("cannot start RabbitMQ in {}: {source}", folder.display())]
    Start {
        /// The folder.
        folder: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// One of its ports is taken, or none is free.
    #[error("cannot start RabbitMQ: {0}")]
    Port(String),
    /// It ended, or did not serve in time. This is also what a machine without RabbitMQ leads to; the log names the package.
    #[error("RabbitMQ did not start: {reason}{}", log_tail(log))]
    Ended {
        /// What happened.
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
pub struct Node {
    folder: PathBuf,
    port: u16,
    process: Option<Process>,
    live: LiveEnvironments,
}

impl Node {
    /// Starts a node with its data in `folder`, on `port` or free ports, and waits until it serves AMQP and management.
    ///
    /// # Errors
    /// See [`NodeError`]. Nothing is left running then.
    pub async fn start(folder: &Path, port: Option<u16>) -> Result<Self, NodeError> {
        let port = match port {
            Some(port) if port > PORT_MAX => {
                return Err(NodeError::Port(format!("port {port} leaves no room for the others: at most {PORT_MAX}")));
            }
            Some(port) => port,
            None => free_port()?,
        };
        let start = |source| NodeError::Start { folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(start)?;
        // The node runs in another folder than this program.
        let folder = std::path::absolute(folder).map_err(start)?;
        let mut node = Self { folder, port, process: None, live: Arc::new(watch::Sender::new(0)) };
        node.restart().await?;
        Ok(node)
    }

    /// Starts it again on the same ports with what its folder has; a running one is killed first.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn restart(&mut self) -> Result<(), NodeError> {
        self.kill().await;
        if let Some(taken) = taken(self.port) {
            return Err(NodeError::Port(format!("port {taken} of 127.0.0.1 is taken")));
        }
        // Lines are kept by the process for the report of a failed start; nobody else wants them.
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
                    format!("it does not serve after {} s: {last}", START_TIME_MAX.as_secs())
                }
            },
        };
        let log = match self.process.take() {
            Some(process) => process.into_log_tail().await,
            None => Vec::new(),
        };
        Err(NodeError::Ended { reason, log })
    }

    /// Kills it with SIGKILL, as a crash of the machine would, and returns when it is gone.
    pub async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            drop(process);
            self.gone().await;
        }
    }

    /// Ends it in order, which takes some seconds, and returns when it is gone. Dropping it is quicker.
    pub async fn stop(mut self) {
        if let Some(process) = &mut self.process {
            process.terminate();
            let _ = timeout(STOP_TIME_MAX, process.exited()).await;
        }
        self.kill().await;
    }

    /// Waits until the processes of the group are reaped.
    async fn gone(&self) {
        // Cannot fail: `self` holds the sender.
        let _ = self.live.subscribe().wait_for(|count| *count == 0).await;
        // The port mapper dies of the same signal, and is no child whose end could be waited for.
        let _ = timeout(GONE_TIME_MAX, async {
            while taken(self.port).is_some() {
                sleep(ASK_INTERVAL / 10).await;
            }
        })
        .await;
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.as_ref().is_some_and(Process::is_alive)
    }

    /// Where its data is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The AMQP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL with user and password and without a virtual host, which means `/`.
    #[must_use]
    pub fn amqp_url(&self) -> String {
        amqp_url(self.port)
    }

    /// A client of its management API.
    #[must_use]
    pub fn management(&self) -> Management {
        management(self.port)
    }

    /// Runs `rabbitmqctl` for it and gives what it prints.
    ///
    /// # Errors
    /// It fails, with what it says.
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
        // What the user's shell says about RabbitMQ is about another node.
        let theirs = std::env::vars_os().map(|(name, _)| name);
        for name in theirs.filter(|name| name.to_string_lossy().starts_with("RABBITMQ_")) {
            command.env_remove(name);
        }
        command.current_dir(&self.folder);
        command
    }
}

/// The URL of a node on this port, with user and password.
#[must_use]
pub(crate) fn amqp_url(port: u16) -> String {
    format!("amqp://{USER}:{USER}@127.0.0.1:{port}")
}

fn management(port: u16) -> Management {
    Management::at(&format!("http://127.0.0.1:{}", port + MANAGEMENT_PORT_OFFSET), USER, USER)
}

/// Waits until a client can work; `last` is why the latest could not.
async fn serves(port: u16, last: Arc<Mutex<String>>) {
    let management = management(port);
    loop {
        let answer = match timeout(ASK_TIME_MAX, speaks_amqp(port)).await {
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
        sleep(ASK_INTERVAL).await;
    }
}

async fn speaks_amqp(port: u16) -> lapin::Result<()> {
    let url = format!("amqp://{USER}:{USER}@127.0.0.1:{port}/%2f");
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    connection.close(200, "ready".into()).await
}

/// Which of the ports of a node on `port` is taken, if one is.
fn taken(port: u16) -> Option<u16> {
    PORT_OFFSETS
        .iter()
        .map(|offset| port + offset)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_err())
}

/// An AMQP port whose siblings are free, too. Starts at different ones, so that nodes started at once do not meet.
///
/// # Errors
/// There is none.
pub(crate) fn free_port() -> Result<u16, NodeError> {
    let count = PORTS.end - PORTS.start;
    // The end of such an id is random.
    let random = uuid::Uuid::now_v7().as_bytes()[14..].iter().fold(0, |sum, byte| (sum << 8) | u16::from(*byte));
    // Two apart: the port mapper is next to it.
    let candidates = (0..count / 2).map(|step| PORTS.start + (random % count + step * 2) % count);
    let mut free = candidates.filter(|port| taken(*port).is_none());
    free.next().ok_or_else(|| NodeError::Port(format!("no free ports from {} to {}", PORTS.start, PORTS.end)))
}

#[cfg(test)]
mod tests;
