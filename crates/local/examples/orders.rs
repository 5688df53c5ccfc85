//! The load of `tests/bench/local`: sends orders to a stack over keep-alive connections, and checks each answer.
//!
//! `cargo run --release -p sluicegate-local --example orders -- 127.0.0.1:3000 --keys 64 --seconds 10`. One thread
//! serves all connections, each with one order at a time, so that the load takes little from the stack on the same
//! processors. The keys `bench-0`, `bench-1`, … take turns, because a route limits the orders of each caller.

use std::collections::HashSet;
use std::error::Error;
use std::io::Write as _;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

const ORDER: &str = r#"{"order_id":"o-1","customer_id":"c-1","items":[{"sku":"tea","quantity":2}]}"#;
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The answers of one connection.
#[derive(Default)]
struct Answers {
    ids: Vec<Uuid>,
    waits: Vec<Duration>,
    /// The number of answers that are not 202, and the first of them.
    refused: u64,
    first_refused: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("usage: orders HOST:PORT [--connections N] [--keys N] [--seconds N]")?;
    let (mut connections, mut keys, mut seconds) = (8_usize, 1_usize, 10_u64);
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--connections" => connections = value.parse()?,
            "--keys" => keys = value.parse()?,
            "--seconds" => seconds = value.parse()?,
            _ => return Err(format!("unknown option {option}").into()),
        }
    }
    let (began, mut running) = (Instant::now(), JoinSet::new());
    let end = began + Duration::from_secs(seconds);
    for index in 0..connections {
        running.spawn(send(address.clone(), index, keys, end));
    }
    let mut all = Answers::default();
    while let Some(answers) = running.join_next().await {
        let Answers { ids, waits, refused, first_refused } = answers??;
        all.ids.extend(ids);
        all.waits.extend(waits);
        all.refused += refused;
        all.first_refused = all.first_refused.or(first_refused);
    }
    let elapsed_s = began.elapsed().as_secs_f64();
    let distinct = all.ids.iter().collect::<HashSet<_>>().len();
    all.waits.sort_unstable();
    let wait_ms = |percent: usize| {
        let wait = all.waits.get(all.waits.len() * percent / 100);
        wait.map_or(0.0, |wait| wait.as_secs_f64() * 1_000.0)
    };
    println!(
        r#"{{"accepted":{},"distinct":{distinct},"refused":{},"seconds":{elapsed_s:.3},"median_ms":{:.2},"p99_ms":{:.2}}}"#,
        all.ids.len(),
        all.refused,
        wait_ms(50),
        wait_ms(99)
    );
    match all.first_refused {
        None => Ok(()),
        Some(answer) => Err(format!("{} orders were refused: {answer}", all.refused).into()),
    }
}

/// Sends orders on one connection, one after another, until the end.
async fn send(address: String, index: usize, keys: usize, end: Instant) -> Result<Answers> {
    let mut stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let (mut answers, mut request, mut answer) = (Answers::default(), Vec::new(), Vec::new());
    let mut turn = index;
    while Instant::now() < end {
        request.clear();
        write!(
            request,
            "POST /orders HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nX-Api-Key: bench-{}\r\n\
             Idempotency-Key: {}\r\nContent-Length: {}\r\n\r\n{ORDER}",
            turn % keys.max(1),
            Uuid::now_v7(),
            ORDER.len()
        )?;
        turn += 1;
        let sent = Instant::now();
        stream.write_all(&request).await?;
        let (status, body) = timeout(ANSWER_WAIT_MAX, receive(&mut stream, &mut answer)).await??;
        answers.waits.push(sent.elapsed());
        match id(body).filter(|_| status == 202) {
            Some(id) => answers.ids.push(id),
            None => {
                answers.refused += 1;
                answers.first_refused.get_or_insert_with(|| format!("{status} {body}"));
            }
        }
    }
    Ok(answers)
}

/// Receives an answer; returns its status and body.
async fn receive<'a>(stream: &mut TcpStream, answer: &'a mut Vec<u8>) -> Result<(u16, &'a str)> {
    answer.clear();
    while parse(answer)?.is_none() {
        if stream.read_buf(answer).await? == 0 {
            return Err("the connection was closed".into());
        }
    }
    parse(answer)?.ok_or_else(|| "no answer".into())
}

/// Returns the status and the body of an answer that has arrived as a whole.
fn parse(answer: &[u8]) -> Result<Option<(u16, &str)>> {
    let Some((head, body)) = str::from_utf8(answer)?.split_once("\r\n\r\n") else { return Ok(None) };
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).ok_or("no status line")?.parse()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    let length = length.ok_or("no content-length")??;
    Ok((body.len() >= length).then_some((status, body)))
}

/// Returns the message id in the body of a 202.
fn id(body: &str) -> Option<Uuid> {
    let (_, rest) = body.split_once(r#""id":""#)?;
    Uuid::parse_str(rest.split('"').next()?).ok()
}
