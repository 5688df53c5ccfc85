//! HTTP/1.1 over one kept connection and the loop of the Lambda Runtime API, which the floor needs.

use std::io::{Read, Write};
use std::net::TcpStream;

/// Any error ends the process, as a crash on Lambda does.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A connection that is kept between requests.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    pub fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::with_capacity(16 * 1024) })
    }

    /// Sends a request and returns the head and the body of its response.
    pub fn call(&mut self, request: &[u8]) -> Result<(&str, &str)> {
        self.stream.write_all(request)?;
        self.received.clear();
        let (mut head, mut whole) = (0, usize::MAX);
        while self.received.len() < whole {
            let start = self.received.len();
            self.received.resize(if whole < usize::MAX { whole } else { start + 16 * 1024 }, 0);
            let count = self.stream.read(&mut self.received[start..])?;
            if count == 0 {
                return Err("the connection was closed".into());
            }
            self.received.truncate(start + count);
            if whole == usize::MAX
                && let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n")
            {
                head = end + 4;
                let length = header(std::str::from_utf8(&self.received[..head])?, "content-length").unwrap_or("0");
                whole = head + length.parse::<usize>()?;
            }
        }
        Ok(std::str::from_utf8(&self.received)?.split_at(head))
    }
}

/// Returns the value of a header in the head of a response.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let is_named = |line: &&str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
    head.lines().find(is_named)?.split_once(':').map(|(_, value)| value.trim())
}

/// Answers each event of the Runtime API with what `handle` returns.
pub fn serve(mut handle: impl FnMut(&str) -> Result<String>) -> Result<()> {
    let address = std::env::var("AWS_LAMBDA_RUNTIME_API")?;
    let next = format!("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let mut runtime = Connection::open(&address)?;
    loop {
        let (head, event) = runtime.call(next.as_bytes())?;
        let id = header(head, "lambda-runtime-aws-request-id").ok_or("an event without a request id")?;
        let answer = handle(event)?;
        let request = format!(
            "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nhost: {address}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        runtime.call(request.as_bytes())?;
    }
}
