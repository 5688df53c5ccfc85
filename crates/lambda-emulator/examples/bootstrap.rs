//! A function for tests: speaks the Lambda Runtime API with the standard library alone.
//!
//! `ON_INIT` selects its behaviour before the first `next`: `exit`, `error`, `sleep`, or nothing. The payload selects
//! its behaviour in an invocation: `"exit"`, `"error"`, `"sleep"`, `"large"`, `"twice"`, `"variables"`; a payload that
//! contains the text of `FAIL_ON` is an error; any other payload is answered with the process id and the payload.

use std::io::{BufRead, BufReader, Error, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// More than Lambda's limit for a response.
const LARGE_BYTES: usize = 7 * 1024 * 1024;

const FOREVER: Duration = Duration::from_secs(3600);

struct Api {
    socket: BufReader<TcpStream>,
}

struct Answer {
    status: String,
    request_id: String,
    body: Vec<u8>,
}

impl Api {
    fn call(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Answer, Error> {
        let length = body.len();
        let head =
            format!("{method} /2018-06-01/runtime/{path} HTTP/1.1\r\nhost: api\r\ncontent-length: {length}\r\n\r\n");
        self.socket.get_mut().write_all(head.as_bytes())?;
        self.socket.get_mut().write_all(body)?;
        let mut answer = Answer { status: String::new(), request_id: String::new(), body: Vec::new() };
        let mut line = String::new();
        self.socket.read_line(&mut line)?;
        answer.status = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut body_bytes = 0;
        loop {
            line.clear();
            self.socket.read_line(&mut line)?;
            match line.trim().split_once(": ") {
                Some(("content-length", length)) => body_bytes = length.parse().map_err(Error::other)?,
                Some(("lambda-runtime-aws-request-id", id)) => id.clone_into(&mut answer.request_id),
                Some(_) => {}
                None => break,
            }
        }
        answer.body = vec![0; body_bytes];
        self.socket.read_exact(&mut answer.body)?;
        Ok(answer)
    }
}

fn main() -> Result<(), Error> {
    let address = std::env::var("AWS_LAMBDA_RUNTIME_API").map_err(Error::other)?;
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    let mut api = Api { socket: BufReader::new(socket) };
    let pid = std::process::id();
    println!("started");
    match std::env::var("ON_INIT").as_deref() {
        Ok("exit") => {
            eprintln!("no configuration");
            std::process::exit(3);
        }
        Ok("error") => {
            api.call("POST", "init/error", br#"{"errorType":"Bad","errorMessage":"init"}"#)?;
        }
        Ok("sleep") => std::thread::sleep(FOREVER),
        _ => {}
    }
    loop {
        let next = api.call("GET", "invocation/next", b"")?;
        let payload = String::from_utf8_lossy(&next.body).into_owned();
        let response = format!("invocation/{}/response", next.request_id);
        let fails = std::env::var("FAIL_ON").is_ok_and(|text| payload.contains(&text));
        match payload.as_str() {
            "\"exit\"" => std::process::exit(1),
            "\"sleep\"" => std::thread::sleep(FOREVER),
            other if other == "\"error\"" || fails => {
                let error = format!("invocation/{}/error", next.request_id);
                api.call("POST", &error, br#"{"errorType":"Bad","errorMessage":"invoke"}"#)?;
            }
            "\"large\"" => {
                let answer = api.call("POST", &response, &vec![b' '; LARGE_BYTES])?;
                println!("large {}", answer.status);
            }
            "\"twice\"" => {
                let unknown = api.call("POST", "invocation/00000000/response", b"{}")?;
                let first = api.call("POST", &response, b"{}")?;
                let second = api.call("POST", &response, b"{}")?;
                println!("unknown {}, first {}, second {}", unknown.status, first.status, second.status);
            }
            "\"variables\"" => {
                let names: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
                api.call("POST", &response, names.join("\n").as_bytes())?;
            }
            _ => {
                println!("invoked");
                api.call("POST", &response, format!("{{\"pid\":{pid},\"echo\":{payload}}}").as_bytes())?;
            }
        }
    }
}
