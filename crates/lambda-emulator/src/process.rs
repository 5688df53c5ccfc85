//! A child process in a separate process group, which ends with its handle.
//!
//! Dropping a [`Process`] kills the whole group. A task reaps the child, so no zombie remains and the count of live
//! processes can be awaited. Each printed line goes to the caller at once.

use std::collections::VecDeque;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The longest log line that is not split, as in CloudWatch Logs, in bytes.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html>
const LOG_LINE_BYTES_MAX: u64 = 256 * 1024;

/// Lines kept for the report of a failed start.
const LOG_TAIL_LINES: usize = 20;

/// Longest wait for the end of the output after the process ended. Only a process that left the group can hold the
/// output open.
const LOG_END_WAIT: Duration = Duration::from_secs(1);

/// Receives each line that the child prints, without its line end.
pub type LineSink = Arc<dyn Fn(&str) + Send + Sync>;

/// The number of live processes; a pool waits until it is zero.
pub type LiveEnvironments = Arc<watch::Sender<usize>>;

/// A running child process.
pub struct Process {
    group: Pid,
    exit: watch::Receiver<Option<Exit>>,
    readers: Vec<JoinHandle<()>>,
    tail: Arc<Mutex<VecDeque<String>>>,
    /// Kept open while this program runs, for a child that exits when it is closed.
    _stdin: Option<ChildStdin>,
}

/// The end of a process, in the format of Lambda's `Runtime.ExitError`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit(pub String);

impl Process {
    /// Starts `command` with its output piped to `lines`.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn spawn(mut command: Command, live: &LiveEnvironments, lines: &LineSink) -> std::io::Result<Process> {
        command.stdin(Stdio::null());
        Process::spawn_with_stdin(command, live, lines)
    }

    /// Starts the command like [`spawn`](Self::spawn), with a standard input that is closed when this program ends,
    /// even if it is killed.
    pub fn spawn_attended(mut command: Command, live: &LiveEnvironments, lines: &LineSink) -> std::io::Result<Process> {
        command.stdin(Stdio::piped());
        Process::spawn_with_stdin(command, live, lines)
    }

    fn spawn_with_stdin(mut command: Command, live: &LiveEnvironments, lines: &LineSink) -> std::io::Result<Process> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        let mut child = command.spawn()?;
        let pid =
            child.id().and_then(|id| i32::try_from(id).ok()).ok_or_else(|| std::io::Error::other("no process id"))?;
        let group = Pid::from_raw(pid);
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let mut readers = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            readers.push(tokio::spawn(forward(pipe, Arc::clone(lines), Arc::clone(&tail))));
        }
        if let Some(pipe) = child.stderr.take() {
            readers.push(tokio::spawn(forward(pipe, Arc::clone(lines), Arc::clone(&tail))));
        }
        let attendance = child.stdin.take();
        let (sender, exit) = watch::channel(None);
        live.send_modify(|count| *count += 1);
        tokio::spawn(reap(child, group, sender, Arc::clone(live)));
        Ok(Process { group, exit, readers, tail, _stdin: attendance })
    }

    /// Waits for the end of the process. Cancel-safe.
    pub async fn exited(&mut self) -> Exit {
        match self.exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.clone().unwrap_or_else(unknown),
            Err(_) => unknown(),
        }
    }

    /// Returns false once the process has been reaped.
    pub fn is_alive(&self) -> bool {
        self.exit.borrow().is_none()
    }

    /// Stops every process of the group with SIGSTOP, as Lambda freezes an environment. If this program ends meanwhile,
    /// the kernel sends SIGHUP and SIGCONT to the orphaned group, so a frozen child does not remain.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Resumes a frozen group.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Sends SIGTERM to the child, but not to the rest of its group.
    pub fn terminate(&self) {
        if self.is_alive() {
            let _ = kill(self.group, Signal::SIGTERM);
        }
    }

    /// Kills the group and returns its last lines.
    pub async fn into_log_tail(mut self) -> Vec<String> {
        self.signal(Signal::SIGKILL);
        for reader in self.readers.drain(..) {
            let _ = tokio::time::timeout(LOG_END_WAIT, reader).await;
        }
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    fn signal(&self, signal: Signal) {
        // The id of a reaped group may have been reused. A failure means that the group has no process left.
        if self.is_alive() {
            let _ = killpg(self.group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

async fn reap(mut child: Child, group: Pid, exit: watch::Sender<Option<Exit>>, live: LiveEnvironments) {
    let status = child.wait().await;
    // Ends processes that the child left behind.
    let _ = killpg(group, Signal::SIGKILL);
    exit.send_replace(Some(status.map_or_else(|_| unknown(), |status| describe(&status))));
    live.send_modify(|count| *count -= 1);
}

fn unknown() -> Exit {
    Exit("Runtime exited without providing a reason".to_owned())
}

fn describe(status: &ExitStatus) -> Exit {
    use std::os::unix::process::ExitStatusExt;
    if let Some(code) = status.code() {
        return if code == 0 { unknown() } else { Exit(format!("Runtime exited with error: exit status {code}")) };
    }
    let name = match status.signal().and_then(|number| Signal::try_from(number).ok()) {
        Some(Signal::SIGABRT) => "aborted",
        Some(Signal::SIGKILL) => "killed",
        Some(Signal::SIGSEGV) => "segmentation fault",
        Some(Signal::SIGTERM) => "terminated",
        Some(other) => other.as_str(),
        None => return unknown(),
    };
    Exit(format!("Runtime exited with error: signal: {name}"))
}

async fn forward(pipe: impl AsyncRead + Unpin, lines: LineSink, tail: Arc<Mutex<VecDeque<String>>>) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while let Ok(1..) = (&mut pipe).take(LOG_LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        lines(text);
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == LOG_TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(text.to_owned());
        drop(tail);
        line.clear();
    }
}
