//! A private broker: noida-db, in a folder and on a loopback port. It ends with its handle, and when this program ends.
//!
//! It is one program of 12 MB without a Java machine, from the Python package index. It keeps its log in the folder,
//! and speaks the protocol of Kafka, but it is not Apache Kafka: docs/kafka.md says what was seen of it.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sluicegate_lambda_emulator::Process;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::choice::KafkaError;

/// The program, which is searched for in `PATH`.
const PROGRAM: &str = "noida-db";
/// Runs a program in the place of the shell, and ends the process group when the standard input is closed.
const ATTENDED: &str = r#"exec 3<&0; { cat <&3 >/dev/null; kill 0; } & exec 3<&-; exec "$@" </dev/null"#;
/// Limit for a start on a busy machine.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// Pause between two attempts to connect.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// A running broker. Its data is removed when it is dropped.
pub(crate) struct KafkaNode {
    _process: Process,
    _folder: Folder,
}

impl KafkaNode {
    /// Starts a broker on a port and waits until it accepts connections.
    pub(super) async fn start(port: u16) -> Result<Self, KafkaError> {
        let start = |source| KafkaError::Start { program: PathBuf::from(PROGRAM), source };
        let program = program().ok_or_else(|| start(std::io::ErrorKind::NotFound.into()))?;
        let folder = Folder(std::env::temp_dir().join(format!("sluicegate-kafka-{}", uuid::Uuid::now_v7())));
        std::fs::create_dir_all(&folder.0).map_err(start)?;
        let mut command = Command::new("sh");
        command.args(["-c", ATTENDED, "sh"]).arg(program).args(["start", "--only", "kafka", "--host", "127.0.0.1"]);
        command.arg("--kafka-port").arg(port.to_string()).arg("--data-dir").arg(&folder.0).current_dir(&folder.0);
        let live = Arc::new(watch::Sender::new(0));
        let mut process = Process::spawn_attended(command, &live, &(Arc::new(|_: &str| {}) as _)).map_err(start)?;
        let listens = async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
                sleep(CHECK_INTERVAL).await;
            }
        };
        let reason = tokio::select! {
            biased;
            _ = process.exited() => "its process ended".to_owned(),
            listened = timeout(START_TIME_MAX, listens) => match listened {
                Ok(()) => return Ok(Self { _process: process, _folder: folder }),
                Err(_) => format!("not ready after {} s", START_TIME_MAX.as_secs()),
            },
        };
        Err(KafkaError::Ended { reason, log: process.into_log_tail().await })
    }
}

/// Returns the path of the program.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(PROGRAM)).find(|program| program.is_file())
}

/// Returns a free port.
pub(super) fn free_port() -> Result<u16, KafkaError> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let failed = |error: std::io::Error| KafkaError::Ended { reason: error.to_string(), log: Vec::new() };
    port.map(|address| address.port()).map_err(failed)
}

/// A temporary folder, removed when dropped. Files that remain are harmless.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let folder: &Path = &self.0;
        let _ = std::fs::remove_dir_all(folder);
    }
}
