//! The throughput of an SQS endpoint: sends, receives and deletes messages over keep-alive connections, and checks each
//! answer.
//!
//! `cargo run --release -p sqs-emulator --example load` measures this crate's server, which it starts in its own
//! process. `-- http://127.0.0.1:4566` measures another server, and `--connections` and `--seconds` set the load. One
//! cycle is a send, a receive and a delete.
//!
//! The load is one thread. It reads the answer of one connection and writes its next request while the server has those
//! of the others, so neither waits for the other, and the server finds several requests when it wakes. The server in
//! the same process is one thread too, as in `sqs-emulator`.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use sqs_emulator::{Clock, Sqs, SqsConfig, serve};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

/// The body of each message, as JSON has it, and its MD5.
const BODY: (&str, &str) = ("{\\\"order\\\":1}", "190ad5fd0596a0629a0aa256937135a3");
const TIMEOUT: Duration = Duration::from_secs(10);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Measures the throughput of an SQS endpoint
#[derive(Parser)]
struct Arguments {
    /// The endpoint; without one, a server in this process
    endpoint: Option<String>,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// The length of the measurement
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

fn main() -> Result<()> {
    let Arguments { endpoint, connections, seconds } = Arguments::parse();
    let endpoint = match endpoint {
        Some(endpoint) => endpoint,
        None => started()?,
    };
    let (cycles, elapsed) = measure(&endpoint, connections, Duration::from_secs(seconds))?;
    let per_second = cycles as f64 / elapsed.as_secs_f64();
    println!(
        "{cycles} cycles in {:.1} s: {per_second:.0} cycles, {:.0} requests per second",
        elapsed.as_secs_f64(),
        3.0 * per_second
    );
    Ok(())
}

/// Starts a server on a thread. Returns its address.
fn started() -> Result<String> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let url = endpoint.clone();
    thread::spawn(move || {
        runtime.block_on(async {
            let sqs = Sqs::new(Clock::system(), SqsConfig::default());
            sqs.set_base_url(url);
            serve(listener, sqs).await
        })
    });
    Ok(endpoint)
}

/// Returns the cycles of all connections, and the time they took.
fn measure(endpoint: &str, connections: usize, length: Duration) -> Result<(u64, Duration)> {
    let address = endpoint.trim_start_matches("http://").trim_end_matches('/');
    let mut first = Connection::open(address)?;
    let name = format!("load-{}", std::process::id());
    let created = first.call("CreateQueue", &format!(r#"{{"QueueName":"{name}"}}"#))?;
    let url = text(&created, "QueueUrl")?.to_owned();
    let opened = (0..connections).map(|_| Connection::open(address)).collect::<Result<Vec<_>>>()?;
    let started = Instant::now();
    let cycles = cycle(opened, &url, length)?;
    let elapsed = started.elapsed();
    let left = format!(r#"{{"QueueUrl":"{url}","AttributeNames":["All"]}}"#);
    let left = first.call("GetQueueAttributes", &left)?;
    for state in ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"] {
        expect(text(&left, state)? == "0", "a message is left", &left)?;
    }
    first.call("DeleteQueue", &format!(r#"{{"QueueUrl":"{url}"}}"#))?;
    Ok((cycles, elapsed))
}

/// Sends, receives and deletes on every connection until the time has passed. Returns the cycles.
fn cycle(mut connections: Vec<Connection>, url: &str, length: Duration) -> Result<u64> {
    let (body, md5) = BODY;
    let send = format!(r#"{{"QueueUrl":"{url}","MessageBody":"{body}"}}"#);
    let receive = format!(r#"{{"QueueUrl":"{url}","MaxNumberOfMessages":1}}"#);
    let expected = format!(r#""{body}""#);
    let (started, mut cycles) = (Instant::now(), 0);
    connections.iter_mut().try_for_each(|connection| connection.request("SendMessage", &send))?;
    loop {
        for connection in &mut connections {
            let sent = connection.answer("SendMessage")?;
            expect(text(sent, "MD5OfMessageBody")? == md5, "not the MD5 of the body", sent)?;
            // Each connection has sent as many messages as it receives, so there is one.
            connection.request("ReceiveMessage", &receive)?;
        }
        for connection in &mut connections {
            let received = connection.answer("ReceiveMessage")?;
            expect(text(received, "MD5OfBody")? == md5, "not the MD5 of the body", received)?;
            expect(received.contains(&expected), "not the body", received)?;
            let handle = text(received, "ReceiptHandle")?;
            let delete = format!(r#"{{"QueueUrl":"{url}","ReceiptHandle":"{handle}"}}"#);
            connection.request("DeleteMessage", &delete)?;
        }
        let is_over = started.elapsed() >= length;
        for connection in &mut connections {
            connection.answer("DeleteMessage")?;
            cycles += 1;
            if !is_over {
                connection.request("SendMessage", &send)?;
            }
        }
        if is_over {
            return Ok(cycles);
        }
    }
}

/// Returns a string member, as it is written.
fn text<'a>(json: &'a str, name: &str) -> Result<&'a str> {
    let (_, rest) = json.split_once(&format!("\"{name}\":")).ok_or_else(|| format!("no {name} in {json}"))?;
    let value = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
    Ok(value.ok_or_else(|| format!("{name} is not a string in {json}"))?)
}

fn expect(is_right: bool, what: &str, answer: &str) -> Result<()> {
    if is_right { Ok(()) } else { Err(format!("{what}: {answer}").into()) }
}

/// A keep-alive connection.
struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
    /// What was read last.
    read: [u8; 8 * 1_024],
}

impl Connection {
    fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self { stream, request: Vec::new(), answer: Vec::new(), read: [0; _] })
    }

    /// Calls an action. Returns the body of the answer, which must have status 200.
    fn call(&mut self, action: &str, body: &str) -> Result<String> {
        self.request(action, body)?;
        self.answer(action).map(str::to_owned)
    }

    fn request(&mut self, action: &str, body: &str) -> Result<()> {
        self.request.clear();
        write!(
            self.request,
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-amz-json-1.0\r\nX-Amz-Target: \
             AmazonSQS.{action}\r\nAuthorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, \
             SignedHeaders=host, Signature=0\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        Ok(self.stream.write_all(&self.request)?)
    }

    fn answer(&mut self, action: &str) -> Result<&str> {
        self.answer.clear();
        while complete(&self.answer)?.is_none() {
            let bytes = self.stream.read(&mut self.read)?;
            expect(bytes > 0, "the connection was closed", &String::from_utf8_lossy(&self.answer))?;
            self.answer.extend_from_slice(&self.read[..bytes]);
        }
        let (status, body) = complete(&self.answer)?.ok_or("no answer")?;
        expect(status == "200", action, &format!("{status} {body}"))?;
        Ok(body)
    }
}

/// Returns the status and the body of an answer that has arrived as a whole.
fn complete(answer: &[u8]) -> Result<Option<(&str, &str)>> {
    let Some((head, body)) = str::from_utf8(answer)?.split_once("\r\n\r\n") else { return Ok(None) };
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).ok_or("no status line")?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    let length = length.ok_or("no content-length")??;
    Ok((body.len() >= length).then_some((status, body)))
}
