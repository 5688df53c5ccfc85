//! A running `cargo local` on free ports.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::cargo;
use super::processes::{self, Process};

/// The time limit of the start, which includes building the functions.
const START_TIME_MAX: Duration = Duration::from_secs(900);
/// The time limit of a stop by Ctrl-C.
const STOP_TIME_MAX: Duration = Duration::from_secs(15);
/// The time limit of a line that the stack is about to print, or has printed and the test has not read.
const PRINT_TIME_MAX: Duration = Duration::from_secs(20);
/// The interval at which a condition is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The most open messages whose timelines are printed.
const LAST_OPEN: usize = 3;

/// The stack, its addresses and its output.
pub(crate) struct Stack {
    pub(crate) http: Client,
    pub(crate) gateway: String,
    pub(crate) admin: String,
    pub(crate) aws: String,
    /// The addresses of Kafka's brokers, if the stack has one.
    pub(crate) kafka: Option<String>,
    child: Child,
    printed: Arc<Mutex<Vec<String>>>,
    /// Ends with the stack.
    reading: JoinHandle<()>,
}

impl Stack {
    /// Starts `cargo local` with free ports, `arguments` and `environment`, and waits until it is healthy.
    pub(crate) async fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::run(Command::from(cargo()), arguments, environment).await
    }

    /// Starts it with this cargo command, which has the folder to run in.
    pub(crate) async fn run(mut command: Command, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        command.args(["local", "--port", "0", "--admin-port", "0", "--aws-port", "0"]).args(arguments);
        command.env_remove("FORWARD_URL").envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        let mut child = command.spawn().expect("cargo starts");
        let (sender, mut lines) = unbounded_channel();
        let printed = Arc::<Mutex<Vec<String>>>::default();
        let reading = read(child.stdout.take().expect("a pipe"), sender.clone(), printed.clone());
        read(child.stderr.take().expect("a pipe"), sender, printed.clone());
        let addresses = tokio::time::timeout(START_TIME_MAX, async {
            loop {
                match lines.recv().await {
                    Some(line) if line.starts_with("gateway=") => break Some(line),
                    Some(_) => {}
                    None => break None,
                }
            }
        });
        let Ok(Some(line)) = addresses.await else {
            panic!("cargo local printed no addresses:\n{}", printed.lock().expect("no panic").join("\n"));
        };
        let word = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let address = |name: &str| {
            let found = word(name);
            found.unwrap_or_else(|| panic!("no {name}= in {line:?}")).trim_end_matches('/').to_owned()
        };
        let (gateway, admin, aws) = (address("gateway"), address("admin"), address("aws"));
        let kafka = word("kafka").map(str::to_owned);
        let stack = Self { http: Client::new(), gateway, admin, aws, kafka, child, printed, reading };
        let healthz = format!("{}/healthz", stack.admin);
        stack
            .until("every function is up", START_TIME_MAX, async || {
                let answer = stack.http.get(&healthz).send().await;
                answer.is_ok_and(|answer| answer.status() == 200).then_some(())
            })
            .await;
        stack
    }

    /// Waits for a condition. On a timeout it shows the output of the stack.
    pub(crate) async fn until<T>(&self, fact: &str, time_max: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            assert!(!self.reading.is_finished(), "the stack has ended, before: {fact}\n{}", self.printed());
            assert!(started.elapsed() < time_max, "not within {time_max:?}: {fact}\n{}", self.printed());
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until the stack has printed a line with this text. Returns the first one.
    ///
    /// An answer or a state may be known before its line is printed.
    pub(crate) async fn until_printed(&self, text: &str) -> String {
        let line =
            || self.printed.lock().expect("no panic while reading").iter().find(|line| line.contains(text)).cloned();
        self.until(&format!("{text:?} is printed"), PRINT_TIME_MAX, async || line()).await
    }

    /// Returns the timeline of a message, if the stack has recorded it.
    pub(crate) async fn timeline(&self, id: &str) -> Option<Value> {
        let answer = self.http.get(format!("{}/messages/{id}", self.admin)).send().await.expect("admin answers");
        if answer.status() != 200 { None } else { Some(answer.json().await.expect("JSON")) }
    }

    /// Waits until a message is in `state`. Returns its timeline.
    pub(crate) async fn until_state(&self, id: &str, state: &str, time_max: Duration) -> Value {
        self.until(&format!("message {id} is {state}"), time_max, async || {
            self.timeline(id).await.filter(|timeline| timeline["state"] == state)
        })
        .await
    }

    /// Prints the timelines of the messages that are still open, if they are few and another number than before.
    pub(crate) async fn print_last(&self, open: &BTreeSet<String>, printed: &mut usize) {
        if open.len() > LAST_OPEN || open.len() == *printed {
            return;
        }
        *printed = open.len();
        for id in open {
            eprintln!("still open: {}", self.timeline(id).await.unwrap_or_default());
        }
    }

    /// Returns the last lines that the stack printed.
    pub(crate) fn printed(&self) -> String {
        let printed = self.printed.lock().expect("no panic while reading");
        printed[printed.len().saturating_sub(60)..].join("\n")
    }

    /// Returns the lines that it printed after the first line with this start.
    pub(crate) fn lines_since(&self, start: &str) -> Vec<String> {
        let printed = self.printed.lock().expect("no panic while reading");
        printed.iter().skip_while(|line| !line.starts_with(start)).skip(1).cloned().collect()
    }

    /// Returns the processor time of the processes that it started and that have ended, such as builds.
    pub(crate) fn processor_time_of_children(&self) -> Duration {
        processes::processor_time_of_children(self.child.id().expect("it runs"))
    }

    /// Returns the running function processes.
    pub(crate) fn functions(&self) -> Vec<Process> {
        let descendants = processes::descendants(self.child.id().expect("it runs"));
        // The kernel keeps 15 bytes of a name; the names of RabbitMQ's binaries are longer.
        let function = |each: &Process| ["archiver", "consumer", "ingress"].iter().any(|name| each.name.contains(name));
        descendants.into_iter().filter(function).collect()
    }

    /// Kills it with SIGKILL and waits for the end.
    pub(crate) async fn kill(mut self) {
        processes::signal(self.child.id().expect("it runs"), "KILL");
        self.child.wait().await.expect("it ends");
    }

    /// Sends SIGINT and waits for the end.
    pub(crate) async fn stop(mut self) {
        let id = self.child.id().expect("it runs");
        processes::signal(id, "INT");
        let ended = tokio::time::timeout(STOP_TIME_MAX, self.child.wait()).await;
        assert!(ended.is_ok(), "it does not end within {STOP_TIME_MAX:?} of Ctrl-C:\n{}", self.printed());
    }
}

fn read(
    stream: impl AsyncRead + Send + Unpin + 'static,
    sender: UnboundedSender<String>,
    printed: Arc<Mutex<Vec<String>>>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            printed.lock().expect("no panic while reading").push(line.clone());
            let _ = sender.send(line);
        }
    })
}

/// Returns the names of the steps of a timeline.
pub(crate) fn steps(timeline: &Value) -> Vec<&str> {
    let steps = timeline["steps"].as_array().expect("steps");
    steps.iter().map(|step| step["step"].as_str().expect("a name")).collect()
}
