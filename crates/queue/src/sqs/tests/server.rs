//! A scripted SQS on a loopback socket: does one step for each request that arrives, on any connection.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use md5::{Digest, Md5};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

/// The reaction to one request, after it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Store,
    StoreThenClose,
    WrongMd5,
    NoMd5,
    NoMessageId,
    Garbage,
    Error(u16, &'static str),
    /// 400 with this code and text.
    Refusal(&'static str, &'static str),
    /// The answer to a batch: what becomes of each entry. The last entry comes first.
    Batch(&'static [Entry]),
    Close,
    CloseAndStopListening,
    Hang,
}

/// What a batch does with an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry {
    Stored,
    WrongMd5,
    Failed(&'static str, bool),
    Unnamed,
}

fn batch(request: &Value, entries: &[Entry]) -> String {
    let sent = request["Entries"].as_array().unwrap();
    assert_eq!(sent.len(), entries.len(), "{request}");
    let (mut stored, mut failed) = (Vec::new(), Vec::new());
    for (sent, entry) in sent.iter().zip(entries).rev() {
        let digest = Md5::digest(sent["MessageBody"].as_str().unwrap());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let id = &sent["Id"];
        let message_id = format!("m-{}", id.as_str().unwrap());
        match entry {
            Entry::Stored => stored.push(json!({ "Id": id, "MessageId": message_id, "MD5OfMessageBody": digest })),
            Entry::WrongMd5 => {
                stored.push(json!({ "Id": id, "MessageId": message_id, "MD5OfMessageBody": "0".repeat(32) }));
            }
            Entry::Failed(code, sender_fault) => failed.push(json!({
                "Id": id, "Code": code, "SenderFault": sender_fault,
                "Message": "One or more parameters are invalid. Reason: Message must be shorter than 9 bytes.",
            })),
            Entry::Unnamed => {}
        }
    }
    if failed.is_empty() {
        return json!({ "Successful": stored }).to_string();
    }
    json!({ "Successful": stored, "Failed": failed }).to_string()
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) target: String,
    pub(crate) body: Value,
}

#[derive(Default)]
struct State {
    steps: VecDeque<Step>,
    requests: Vec<Request>,
    connections: usize,
}

pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: watch::Sender<bool>,
    closed: Arc<Notify>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(steps: &[Step]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { steps: steps.iter().copied().collect(), ..State::default() }));
        let (stop, mut stopped) = watch::channel(false);
        let closed = Arc::new(Notify::new());
        let accepting = tokio::spawn({
            let (state, stop, closed) = (Arc::clone(&state), stop.clone(), Arc::clone(&closed));
            async move {
                loop {
                    let stream = tokio::select! {
                        accepted = listener.accept() => accepted.unwrap().0,
                        _ = stopped.wait_for(|stop| *stop) => return,
                    };
                    state.lock().unwrap().connections += 1;
                    tokio::spawn(serve(stream, Arc::clone(&state), stop.clone(), Arc::clone(&closed)));
                }
            }
        });
        Self { address, state, stop, closed, accepting }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// Waits until a step has closed a connection.
    pub(crate) async fn closed(&self) {
        self.closed.notified().await;
    }

    /// Returns once the address refuses connections.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        self.accepting.await.unwrap();
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>, stop: watch::Sender<bool>, closed: Arc<Notify>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        let body = request.body["MessageBody"].as_str().unwrap_or_default();
        let digest: String = Md5::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
        let step = {
            let mut state = state.lock().unwrap();
            state.requests.push(request.clone());
            state.steps.pop_front().unwrap_or(Step::Error(400, "NoMoreSteps"))
        };
        let (status, answer) = match step {
            Step::Store | Step::StoreThenClose => {
                (200, json!({ "MessageId": "m-1", "MD5OfMessageBody": digest }).to_string())
            }
            Step::WrongMd5 => (200, json!({ "MessageId": "m-1", "MD5OfMessageBody": "0".repeat(32) }).to_string()),
            Step::NoMd5 => (200, json!({ "MessageId": "m-1" }).to_string()),
            Step::NoMessageId => (200, json!({ "MD5OfMessageBody": digest }).to_string()),
            Step::Garbage => (200, "<html>".to_owned()),
            Step::Error(status, code) => (status, json!({ "__type": code, "message": "as planned" }).to_string()),
            Step::Refusal(code, text) => (400, json!({ "__type": code, "message": text }).to_string()),
            Step::Batch(entries) => (200, batch(&request.body, entries)),
            Step::Hang => std::future::pending().await,
            Step::CloseAndStopListening => {
                stop.send_replace(true);
                // The accepting task drops its listener when it sees this; only then may the client look again.
                stop.closed().await;
                return;
            }
            Step::Close => return,
        };
        let length = answer.len();
        let head = format!(
            "HTTP/1.1 {status} Planned\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all((head + &answer).as_bytes()).await.unwrap();
        if matches!(step, Step::StoreThenClose) {
            drop(stream);
            return closed.notify_one();
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let (mut target, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(": ") {
            None if line.trim_end().is_empty() => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok()?,
            Some((name, value)) if name.eq_ignore_ascii_case("x-amz-target") => value.clone_into(&mut target),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { target, body: serde_json::from_slice(&body).ok()? })
}
