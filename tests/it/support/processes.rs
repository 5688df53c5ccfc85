//! Processes in `/proc`: descendants, memory, and signals to a single process.

use std::fs;
use std::time::Duration;

use tokio::time::{sleep, timeout};

/// The longest time until a process is stopped.
const FREEZE_TIME_MAX: Duration = Duration::from_secs(10);

/// A process by its id and the name of its binary.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) id: u32,
    pub(crate) name: String,
    parent: u32,
}

impl Process {
    /// Returns the most memory that it had, in MB: `VmHWM`.
    pub(crate) fn memory_peak_mb(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak.expect("its memory").parse::<usize>().expect("a number") / 1_024
    }
}

/// Returns all descendants of `id`.
pub(crate) fn descendants(id: u32) -> Vec<Process> {
    let all: Vec<Process> = fs::read_dir("/proc")
        .expect("a Linux machine")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(read)
        .collect();
    let mut found = Vec::new();
    let mut open = vec![id];
    while let Some(parent) = open.pop() {
        for each in all.iter().filter(|each| each.parent == parent) {
            open.push(each.id);
            found.push(each.clone());
        }
    }
    found
}

/// Returns whether this process still runs.
pub(crate) fn runs(process: &Process) -> bool {
    read(process.id).is_some_and(|now| now.name == process.name)
}

/// Returns the processor time of the children of `id` that have ended, with their children: `cutime` and `cstime`.
pub(crate) fn processor_time_of_children(id: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("it runs");
    let fields = stat[stat.rfind(')').expect("a name") + 1..].split_whitespace();
    // In ticks of a hundredth of a second (`USER_HZ`), independent of the kernel's timer frequency.
    let ticks: u64 = fields.skip(13).take(2).map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

/// Sends a signal. A process that has already ended is not an error.
pub(crate) fn signal(id: u32, name: &str) {
    let kill = std::process::Command::new("kill").args(["-s", name, "--", &id.to_string()]).output();
    kill.expect("kill runs");
}

/// Stops a process, and waits until each of its threads is stopped, because on a busy machine they run on for a while.
pub(crate) async fn freeze(id: u32) {
    signal(id, "STOP");
    let is_stopped = || {
        let threads = fs::read_dir(format!("/proc/{id}/task")).expect("it runs");
        let mut stats = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok());
        stats.all(|stat| stat[stat.rfind(')').expect("a name") + 1..].trim_start().starts_with('T'))
    };
    let stopped = async {
        while !is_stopped() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(FREEZE_TIME_MAX, stopped).await.expect("its threads are stopped");
}

/// Reads `/proc/ID/stat`: `id (name) state parent …`. A zombie has ended.
fn read(id: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (start, rest) = (stat.find('(')?, stat.rfind(')')?);
    let mut fields = stat[rest + 1..].split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (state != "Z").then(|| Process { id, name: stat[start + 1..rest].to_owned(), parent })
}
