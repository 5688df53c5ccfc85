//! Brokers of the Kafka protocol on free loopback ports, and the programs of `tests/peers/kafka`, which use real
//! clients.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::{processes, root};

/// The variable with the folder of a Python that has the packages of `tests/peers/kafka/requirements.txt`.
const BIN: &str = "SLUICEGATE_KAFKA_BIN";

/// The variable with the folder of npm packages that has kafkajs.
const NODE_MODULES: &str = "SLUICEGATE_KAFKA_NODE_MODULES";

/// The time limit of a condition on a peer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A broker of one node that keeps its log in a folder. It ends when it is dropped.
pub(crate) struct Broker {
    process: Child,
    port: u16,
    folder: TempDir,
}

impl Broker {
    /// Starts a broker with these topics, as in `orders:3` or `small:1:max.message.bytes=2000`.
    pub(crate) async fn start(topics: &[&str]) -> Self {
        let port = free_port().await;
        let folder = TempDir::new().expect("a folder");
        let broker = Self { process: run(port, folder.path()).await, port, folder };
        program("topics.py", &[&[broker.servers().as_str()], topics].concat()).await;
        broker
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the value of `KAFKA_BOOTSTRAP_SERVERS`.
    pub(crate) fn servers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Stops the broker, which saves its log first. Its port is closed.
    pub(crate) async fn stop(&mut self) {
        processes::signal(self.process.id().expect("it runs"), "TERM");
        self.process.wait().await.expect("it ends");
    }

    /// Starts the broker again, with the same log.
    pub(crate) async fn restart(&mut self) {
        self.process = run(self.port, self.folder.path()).await;
    }

    /// Stops the process until [`Broker::thaw`]: it accepts connections and does not answer.
    pub(crate) async fn freeze(&self) {
        processes::freeze(self.process.id().expect("it runs")).await;
    }

    pub(crate) fn thaw(&self) {
        processes::signal(self.process.id().expect("it runs"), "CONT");
    }

    /// Returns the records of a topic as confluent-kafka (librdkafka) reads them, by partition and offset.
    pub(crate) async fn records(&self, topic: &str) -> Vec<Record> {
        read("confluent", &self.servers(), topic).await
    }
}

/// A login before a broker, encrypted with a certificate and its key if they are given, and for clients of the third
/// file's certificates; see `tests/peers/kafka/login.py`. It ends when it is dropped.
pub(crate) struct Login {
    _process: Child,
    port: u16,
    folder: TempDir,
}

impl Login {
    pub(crate) async fn start(broker: &Broker, mechanism: &str, tls: &[&Path]) -> Self {
        let (port, folder) = (free_port().await, TempDir::new().expect("a folder"));
        let (own, broker) = (port.to_string(), broker.port.to_string());
        let mut command = python("login.py", &[&own, &broker, mechanism, USER, PASSWORD]);
        command.arg(folder.path().join("log")).args(tls);
        Self { _process: listening(command, port).await, port, folder }
    }

    /// Returns the value of `KAFKA_BOOTSTRAP_SERVERS` with this name of the host.
    pub(crate) fn servers(&self, host: &str) -> String {
        format!("{host}:{}", self.port)
    }

    /// Returns the connection of each login so far.
    pub(crate) fn log(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

/// The user of a [`Login`].
pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "pencil, of course = secret";

/// A record as a client reads it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) partition: i64,
    pub(crate) offset: i64,
    pub(crate) key: Option<String>,
    pub(crate) value: Vec<u8>,
    pub(crate) headers: Value,
}

impl Record {
    fn parse(line: &str) -> Self {
        let record: Value = serde_json::from_str(line).expect("a record");
        Self {
            partition: record["partition"].as_i64().expect("a partition"),
            offset: record["offset"].as_i64().expect("an offset"),
            key: record["key"].as_str().map(str::to_owned),
            value: BASE64_STANDARD.decode(record["value"].as_str().expect("a value")).expect("base64"),
            headers: record["headers"].clone(),
        }
    }

    /// Returns the id of the CloudEvent in the value.
    pub(crate) fn event_id(&self) -> String {
        let event: Value = serde_json::from_slice(&self.value).expect("an event");
        event["id"].as_str().expect("an id").to_owned()
    }
}

/// Reads a topic with `confluent` or `aiokafka`.
pub(crate) async fn read(client: &str, servers: &str, topic: &str) -> Vec<Record> {
    program("read.py", &[client, servers, topic]).await.lines().map(Record::parse).collect()
}

/// Reads `count` records of a topic with kafkajs.
pub(crate) async fn read_by_kafkajs(servers: &str, topic: &str, count: usize) -> Vec<Record> {
    let modules = std::env::var(NODE_MODULES);
    let modules = modules.unwrap_or_else(|_| panic!("{NODE_MODULES} is not set: ./tests/run sets it"));
    let mut command = Command::new("node");
    command.arg(path("read.mjs")).args([&modules, servers, topic, &count.to_string()]);
    let mut records: Vec<_> = output(command).await.lines().map(Record::parse).collect();
    records.sort_by_key(|record| (record.partition, record.offset));
    records
}

/// Runs a program of `tests/peers/kafka` to its end and returns what it prints.
pub(crate) async fn program(name: &str, arguments: &[&str]) -> String {
    output(python(name, arguments)).await
}

async fn output(mut command: Command) -> String {
    let output = tokio::time::timeout(PATIENCE * 2, command.kill_on_drop(true).output());
    let output = output.await.expect("it ends").expect("it starts");
    let (said, fault) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}{fault}");
    said.into_owned()
}

async fn run(port: u16, folder: &Path) -> Child {
    listening(python("broker.py", &[&port.to_string(), folder.to_str().expect("UTF-8")]), port).await
}

async fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free loopback port");
    listener.local_addr().expect("an address").port()
}

/// Starts a server and waits until its port is open.
async fn listening(mut command: Command, port: u16) -> Child {
    let process = command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().expect("it starts");
    let listens = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, listens).await.expect("it listens");
    process
}

/// A cluster of three brokers whose leaders, answers and ports a test controls; see `tests/peers/kafka/cluster.py`.
pub(crate) struct MockCluster {
    _process: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    servers: String,
}

impl MockCluster {
    pub(crate) async fn start() -> Self {
        let mut command = python("cluster.py", &[]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut process = command.spawn().expect("it starts");
        let commands = process.stdin.take().expect("its input");
        let answers = BufReader::new(process.stdout.take().expect("its output")).lines();
        let mut cluster = Self { _process: process, commands, answers, servers: String::new() };
        cluster.servers = cluster.answer().await;
        cluster
    }

    /// Returns the value of `KAFKA_BOOTSTRAP_SERVERS`.
    pub(crate) fn servers(&self) -> &str {
        &self.servers
    }

    /// Carries out a command.
    pub(crate) async fn command(&mut self, command: &str) {
        self.commands.write_all(format!("{command}\n").as_bytes()).await.expect("it reads");
        assert_eq!(self.answer().await, "ok", "{command}");
    }

    async fn answer(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.answers.next_line()).await.expect("it answers");
        line.expect("its output").expect("it runs")
    }
}

/// Returns the folder of the programs of the Python packages.
pub(crate) fn bin() -> String {
    std::env::var(BIN).unwrap_or_else(|_| panic!("{BIN} is not set: ./tests/run sets it"))
}

fn python(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(Path::new(&bin()).join("python"));
    command.arg(path(name)).args(arguments);
    command
}

fn path(name: &str) -> PathBuf {
    root().join("tests/peers/kafka").join(name)
}
