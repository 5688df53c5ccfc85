//! `sluicegate secrets listen`: takes one handshake in which a provider sends its secret, and stores the secret.
//!
//! It listens on the loopback interface, behind the operator's tunnel, until the handshake or the time limit. The
//! secret is stored before the handshake is answered, so a provider that was answered signs with a stored secret.
//! Ingress never writes secrets.

use std::{net::Ipv4Addr, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request as HttpRequest,
};
use clap::Args;
use http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use serde_json::Value;
use sluicegate_webhook::{Handshake, HandshakeAnswer, Provider, Request, Scheme};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};

use super::{Where, document, names::Kind};
use crate::{CommandError, output::say};

/// The largest body of a handshake, in bytes. Notion's has about 100.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// The time that the answer may take after the secret is stored.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);

/// Take one handshake in which the provider sends its secret (Asana, Notion), and store the secret
///
/// Listens on 127.0.0.1 alone: forward the URL of the webhook to it, with a tunnel or from your server. The first
/// handshake is answered and its secret stored, as `secrets put` does; anything else is answered 404.
#[derive(Args)]
#[command(verbatim_doc_comment)]
#[command(after_help = "\
Example:
  sluicegate secrets listen asana --stack sluicegate-dev")]
pub(super) struct Arguments {
    /// The name of the list, an x-secret of the contract
    name: String,
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 3002)]
    port: u16,
    /// Seconds to wait for the handshake
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Remove the other values of the list
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    place: Where,
}

pub(super) async fn listen(arguments: &Arguments) -> Result<(), CommandError> {
    let Arguments { name, port, timeout, replace, place } = arguments;
    let Kind::Signature { provider, scheme } = place.names()?.kind(name, false)? else {
        return Err(format!("{name} are not signing secrets: use sluicegate secrets put {name}").into());
    };
    let known: Vec<&str> = Provider::all().iter().filter(|it| sends_secret(&it.scheme)).map(|it| &*it.slug).collect();
    if !sends_secret(&scheme) {
        let known = known.join(" and ");
        return Err(format!(
            "{provider} sends no secret in a handshake, as {known} do: use sluicegate secrets put {name}"
        )
        .into());
    }
    let store = place.open().await?;
    // Fails now, not when the provider waits.
    store.read().await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).await;
    let listener = listener.map_err(|error| format!("port {port}: {error}: pass another --port"))?;
    let address = listener.local_addr()?;
    eprintln!("Listening on http://{address} for the handshake of {provider}, for {timeout} s.");
    eprintln!("Next: forward the URL of the webhook to it, then create the webhook at {provider}.");

    let storing = async |secret: String| {
        let change = store.update(|document| document.add(name, Value::String(secret.clone()), *replace)).await?;
        Ok((secret, change))
    };
    let taken = take_one(listener, &scheme, Duration::from_secs(*timeout), storing).await?;
    let Some(Taken { stored: (secret, change), is_repeated }) = taken else {
        return Err(format!(
            "no handshake of {provider} within {timeout} s: check that the webhook's URL is forwarded to http://{address}, \
             or wait longer with --timeout"
        )
        .into());
    };
    let fingerprint = document::fingerprint_of(&secret);
    let removed = if change.removed > 0 { format!("; {} removed", change.removed) } else { String::new() };
    eprintln!("{name} {fingerprint} is live within 30 seconds{removed}; {} in the list of {}", change.live, store.id());
    if !is_repeated {
        eprintln!("Next: enter this value at {provider}, which asks for it.");
        say(&secret);
    }
    eprintln!("Next: forward the URL to the API again; its events are signed with this secret.");
    eprintln!(
        "If you did not create a webhook just now, do not keep the value: sluicegate secrets remove {name} --fingerprint \
         {fingerprint}"
    );
    Ok(())
}

fn sends_secret(scheme: &Scheme) -> bool {
    scheme.handshakes.iter().any(|handshake| handshake.secret.is_some())
}

/// A handshake that was taken.
#[derive(Debug, PartialEq, Eq)]
struct Taken<T> {
    stored: T,
    /// Whether the answer repeated the secret. A provider without that asks the operator for it.
    is_repeated: bool,
}

/// A request, and the way to answer it.
struct Received {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    answer: oneshot::Sender<Response<Body>>,
}

/// Answers requests until the first handshake with a secret, which is stored and then answered. Returns `None` without
/// one within the time limit.
///
/// # Errors
/// The secret is not stored; the provider is answered 503.
async fn take_one<T>(
    listener: TcpListener,
    scheme: &Scheme,
    time_max: Duration,
    store: impl AsyncFn(String) -> Result<T, CommandError>,
) -> Result<Option<Taken<T>>, CommandError> {
    // One request is handled at a time, so a second handshake is never stored.
    let (sender, mut requests) = mpsc::channel(1);
    let (stop, stopped) = oneshot::channel::<()>();
    let app = Router::new().fallback(move |request| receive(sender.clone(), request));
    let server = axum::serve(listener, app).with_graceful_shutdown(async {
        // The result is the same if the sender was dropped.
        drop(stopped.await);
    });
    let server = tokio::spawn(async { server.await });
    let taken = tokio::time::timeout(time_max, async {
        while let Some(request) = requests.recv().await {
            let Some((secret, answer, is_repeated)) = read(scheme, &request) else {
                drop(request.answer.send(status(StatusCode::NOT_FOUND)));
                continue;
            };
            let stored = store(secret).await;
            let answer = if stored.is_ok() { answer } else { status(StatusCode::SERVICE_UNAVAILABLE) };
            drop(request.answer.send(answer));
            return stored.map(|stored| Some(Taken { stored, is_repeated }));
        }
        Ok(None)
    });
    let taken = taken.await.unwrap_or(Ok(None));
    drop(requests);
    drop(stop);
    // A client that keeps its connection open does not keep the command running.
    drop(tokio::time::timeout(ANSWER_TIME_MAX, server).await);
    taken
}

/// Hands a request over, and waits for its answer.
async fn receive(requests: mpsc::Sender<Received>, request: HttpRequest) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        return status(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let (answer, answered) = oneshot::channel();
    let request = Received { method: parts.method, uri: parts.uri, headers: parts.headers, body, answer };
    if requests.send(request).await.is_err() {
        return status(StatusCode::SERVICE_UNAVAILABLE);
    }
    answered.await.unwrap_or_else(|_| status(StatusCode::SERVICE_UNAVAILABLE))
}

/// Returns the secret of a handshake, the answer, and whether the answer repeats the secret; `None` for any other
/// request.
fn read(scheme: &Scheme, received: &Received) -> Option<(String, Response<Body>, bool)> {
    // A page in a browser on this machine can reach the port, and cannot leave out the header.
    if received.headers.contains_key(header::ORIGIN) {
        return None;
    }
    let url = received.uri.to_string();
    let request = Request::new(&received.headers, &received.body).at(received.method.as_str(), &url);
    let handshake = scheme.handshakes.iter().find(|handshake| handshake.secret.is_some() && handshake.is(&request))?;
    let secret = handshake.received_secret(&request)?.ok().filter(|secret| scheme.secret(secret).is_ok())?;
    let Handshake { headers, body, .. } = handshake;
    let is_repeated = !headers.is_empty() || body.is_some();
    let HandshakeAnswer { status, headers, body } = handshake.answer(&request, &[]).ok()?;
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(name, value);
    }
    Some((secret, answer.body(Body::from(body)).ok()?, is_repeated))
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{SocketAddr, TcpStream},
        sync::Mutex,
    };

    use super::*;

    const TIME_MAX: Duration = Duration::from_secs(30);

    fn scheme(slug: &str) -> Scheme {
        Provider::named(slug).unwrap().scheme.clone()
    }

    /// Returns a request; each of `headers` ends with a line break.
    fn request(method: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "{method} /any HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        )
    }

    /// Returns the answer to a request, in lower case.
    fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.to_ascii_lowercase()
    }

    /// Sends requests one after the other; returns their answers, what was taken and what was stored.
    async fn taken(
        slug: &str,
        requests: Vec<String>,
        stores: bool,
    ) -> (Vec<String>, Result<Option<Taken<()>>, String>, Vec<String>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = tokio::task::spawn_blocking(move || -> Vec<String> {
            requests.iter().map(|request| exchange(address, request)).collect()
        });
        let stored = Mutex::new(Vec::new());
        let store = async |secret: String| {
            stored.lock().unwrap().push(secret);
            if stores { Ok(()) } else { Err("not stored".into()) }
        };
        let taken = take_one(listener, &scheme(slug), TIME_MAX, store).await;
        (client.await.unwrap(), taken.map_err(|error| error.to_string()), stored.into_inner().unwrap())
    }

    #[tokio::test]
    async fn the_first_handshake_is_stored_and_answered() {
        let requests = [
            request("GET", "", ""),
            request("POST", "", "{}"),
            // From a page in a browser.
            request("POST", "x-hook-secret: s-0\r\norigin: https://a.example\r\n", ""),
            // Not a secret.
            request("POST", "x-hook-secret: a b\r\n", ""),
            request("POST", "x-hook-secret: s-1\r\n", ""),
        ];
        let (answers, taken, stored) = taken("asana", requests.into(), true).await;
        assert_eq!(taken, Ok(Some(Taken { stored: (), is_repeated: true })));
        assert_eq!(stored, ["s-1"]);
        let (last, before) = answers.split_last().unwrap();
        assert!(before.iter().all(|answer| answer.starts_with("http/1.1 404")), "{before:?}");
        assert!(last.starts_with("http/1.1 200") && last.contains("x-hook-secret: s-1"), "{last}");
    }

    #[tokio::test]
    async fn a_secret_in_the_body_is_for_the_operator() {
        let requests = vec![request("POST", "", r#"{"verification_token":"secret_t1"}"#)];
        let (answers, taken, stored) = taken("notion", requests, true).await;
        assert_eq!((taken, stored), (Ok(Some(Taken { stored: (), is_repeated: false })), vec!["secret_t1".to_owned()]));
        assert!(answers[0].starts_with("http/1.1 200"), "{answers:?}");
    }

    #[tokio::test]
    async fn a_secret_that_is_not_stored_is_not_confirmed() {
        let (answers, taken, _) = taken("asana", vec![request("POST", "x-hook-secret: s-1\r\n", "")], false).await;
        assert_eq!(taken, Err("not stored".to_owned()));
        assert!(answers[0].starts_with("http/1.1 503") && !answers[0].contains("s-1"), "{answers:?}");
    }

    /// Neither silence nor an unfinished request keeps the command waiting.
    #[tokio::test]
    async fn it_ends_without_a_handshake() {
        for sent in ["", "POST / HTTP/1.1\r\nhost: a\r\nx-hook-secret: s-1\r\n"] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            stream.write_all(sent.as_bytes()).unwrap();
            let taken = take_one(listener, &scheme("asana"), Duration::from_millis(50), async |_| Ok(())).await;
            assert!(matches!(taken, Ok(None)));
        }
    }
}
