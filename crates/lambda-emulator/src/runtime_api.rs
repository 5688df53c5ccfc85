//! The Lambda Runtime API of one execution environment, on a separate loopback port.
//!
//! A runtime requests the next invocation, answers it once, and requests the next. Calls out of order are refused as by
//! Lambda: an unknown request id with 400 `InvalidRequestID`, a second answer with 403 `InvalidStateTransition`. Each
//! call becomes a `RuntimeCall` for the environment, in order, before the runtime gets its acknowledgement. The server
//! has no timeouts, so that a frozen runtime keeps its socket. Streaming responses, SnapStart and extensions are not
//! implemented.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::json;
use sqs_emulator::serve_with;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// The largest response of a function: 6 MiB and the 100 bytes Lambda adds for its own headers.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>; the exact figure is in the service's error message.
const RESPONSE_BYTES_MAX: usize = 6 * 1024 * 1024 + 100;

/// One invocation, as sent to the runtime.
#[derive(Debug)]
pub(crate) struct Assignment {
    /// `Lambda-Runtime-Aws-Request-Id`.
    pub(crate) request_id: String,
    /// `Lambda-Runtime-Deadline-Ms`, milliseconds since 1970.
    pub(crate) deadline_epoch_ms: u128,
    /// `Lambda-Runtime-Invoked-Function-Arn`.
    pub(crate) function_arn: String,
    /// `Lambda-Runtime-Trace-Id`.
    pub(crate) trace_id: String,
    /// The event.
    pub(crate) payload: Bytes,
}

/// A call of the runtime.
#[derive(Debug)]
pub(crate) enum RuntimeCall {
    /// It waits for an invocation: after init, and after each answer.
    Ready,
    /// Init failed; the error document it sent.
    InitError(Bytes),
    /// The response to the current invocation.
    Response(Bytes),
    /// The error document for the current invocation.
    Error(Bytes),
}

/// A running server; it stops when dropped.
pub(crate) struct RuntimeApi {
    address: SocketAddr,
    shared: Arc<Shared>,
    events: mpsc::UnboundedReceiver<RuntimeCall>,
    server: tokio::task::JoinHandle<()>,
}

struct Shared {
    phase: Mutex<Phase>,
    events: mpsc::UnboundedSender<RuntimeCall>,
}

/// The state of the runtime's loop.
enum Phase {
    Initializing,
    Waiting(oneshot::Sender<Assignment>),
    /// The connection broke before the invocation was sent: the next `next` gets it.
    Pending(Box<Assignment>),
    Running(String),
    Answered(String),
    Failed,
}

impl RuntimeApi {
    /// Starts serving on a free loopback port.
    pub(crate) async fn start() -> std::io::Result<RuntimeApi> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (sender, events) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { phase: Mutex::new(Phase::Initializing), events: sender });
        let server = tokio::spawn({
            let shared = Arc::clone(&shared);
            // Returns only when dropped: errors of accepting connections are retried.
            async move { drop(serve_with(listener, move |request| handle(Arc::clone(&shared), request)).await) }
        });
        Ok(RuntimeApi { address, shared, events, server })
    }

    /// Returns the value of `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Assigns an invocation to the waiting runtime. Call it only after [`RuntimeCall::Ready`].
    pub(crate) fn assign(&self, assignment: Assignment) {
        let mut phase = self.shared.phase();
        let id = assignment.request_id.clone();
        *phase = match std::mem::replace(&mut *phase, Phase::Failed) {
            Phase::Waiting(runtime) => match runtime.send(assignment) {
                Ok(()) => Phase::Running(id),
                Err(assignment) => Phase::Pending(Box::new(assignment)),
            },
            _ => Phase::Pending(Box::new(assignment)),
        };
    }

    /// Waits for the runtime's next call. Cancel-safe.
    pub(crate) async fn next_call(&mut self) -> RuntimeCall {
        match self.events.recv().await {
            Some(event) => event,
            // `shared` holds a sender for as long as `self` lives.
            None => std::future::pending().await,
        }
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, event: RuntimeCall) {
        // Fails only if the environment has ended.
        let _ = self.events.send(event);
    }

    /// Accepts the only answer to `id`.
    fn answer(&self, id: &str, event: RuntimeCall) -> Result<(), Refusal> {
        let mut phase = self.phase();
        match &*phase {
            Phase::Running(current) if current == id => {}
            Phase::Answered(current) if current == id => {
                return Err(Refusal::Transition("ResponseSent", "InvocationResponse"));
            }
            _ => return Err(Refusal::RequestId),
        }
        *phase = Phase::Answered(id.to_owned());
        self.report(event);
        Ok(())
    }
}

async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().strip_prefix("/2018-06-01/runtime/").unwrap_or_default();
    let path: Vec<&str> = path.split('/').collect();
    let answered = match (head.method.as_str(), path.as_slice()) {
        ("GET", ["invocation", "next"]) => next(&shared).await,
        ("POST", ["invocation", id, "response"]) => response(&shared, id, body).await,
        ("POST", ["invocation", id, "error"]) => error(&shared, id, body).await,
        ("POST", ["init", "error"]) => init_error(&shared, body).await,
        (_, ["invocation", "next"] | ["invocation", _, "response" | "error"] | ["init", "error"]) => {
            Ok(answer(StatusCode::METHOD_NOT_ALLOWED, Bytes::new()))
        }
        _ => Ok(answer(StatusCode::NOT_FOUND, Bytes::new())),
    };
    answered.unwrap_or_else(Refusal::into_response)
}

async fn next(shared: &Shared) -> Result<Response<Full<Bytes>>, Refusal> {
    let (sender, receiver) = oneshot::channel();
    {
        let mut phase = shared.phase();
        match std::mem::replace(&mut *phase, Phase::Failed) {
            Phase::Initializing | Phase::Answered(_) => {
                *phase = Phase::Waiting(sender);
                shared.report(RuntimeCall::Ready);
            }
            // A second `next` comes on a new connection, so the old one is closed.
            Phase::Waiting(_) => *phase = Phase::Waiting(sender),
            Phase::Pending(assignment) => {
                *phase = Phase::Running(assignment.request_id.clone());
                return Ok(invocation(*assignment));
            }
            running @ Phase::Running(_) => {
                *phase = running;
                return Err(Refusal::Transition("Running", "Ready"));
            }
            Phase::Failed => return Err(Refusal::Transition("InitError", "Ready")),
        }
    }
    let assignment = receiver.await.map_err(|_| Refusal::Transition("Ready", "Ready"))?;
    Ok(invocation(assignment))
}

fn invocation(assignment: Assignment) -> Response<Full<Bytes>> {
    let mut response = answer(StatusCode::OK, assignment.payload);
    let headers = [
        (HeaderName::from_static("lambda-runtime-aws-request-id"), assignment.request_id),
        (HeaderName::from_static("lambda-runtime-deadline-ms"), assignment.deadline_epoch_ms.to_string()),
        (HeaderName::from_static("lambda-runtime-invoked-function-arn"), assignment.function_arn),
        (HeaderName::from_static("lambda-runtime-trace-id"), assignment.trace_id),
    ];
    // A trace with characters that a header cannot have is left out.
    let headers = headers.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?)));
    response.headers_mut().extend(headers);
    response
}

async fn response(shared: &Shared, id: &str, body: Incoming) -> Result<Response<Full<Bytes>>, Refusal> {
    match read(body).await? {
        Some(body) => shared.answer(id, RuntimeCall::Response(body)).map(|()| accepted()),
        None => {
            shared.answer(id, RuntimeCall::Error(too_large()))?;
            Err(Refusal::TooLarge)
        }
    }
}

async fn error(shared: &Shared, id: &str, body: Incoming) -> Result<Response<Full<Bytes>>, Refusal> {
    let document = read(body).await?.unwrap_or_else(too_large);
    shared.answer(id, RuntimeCall::Error(document)).map(|()| accepted())
}

async fn init_error(shared: &Shared, body: Incoming) -> Result<Response<Full<Bytes>>, Refusal> {
    let document = read(body).await?.unwrap_or_else(too_large);
    let mut phase = shared.phase();
    if !matches!(*phase, Phase::Initializing) {
        return Err(Refusal::Transition("Ready", "InitError"));
    }
    *phase = Phase::Failed;
    shared.report(RuntimeCall::InitError(document));
    Ok(accepted())
}

/// Reads the whole body; returns `None` if it is larger than Lambda's limit. The body is read to its end before a
/// refusal: a client cut off during its upload would see a broken connection instead of the reason.
async fn read(mut body: Incoming) -> Result<Option<Bytes>, Refusal> {
    let mut kept = BytesMut::new();
    let mut fits = true;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refusal::Broken)?.into_data() else { continue };
        fits = fits && kept.len() + data.len() <= RESPONSE_BYTES_MAX;
        if fits {
            kept.extend_from_slice(&data);
        }
    }
    Ok(fits.then(|| kept.freeze()))
}

fn too_large() -> Bytes {
    let message = format!("Response payload size exceeded maximum allowed payload size ({RESPONSE_BYTES_MAX} bytes).");
    json!({ "errorType": "Function.ResponseSizeTooLarge", "errorMessage": message }).to_string().into()
}

fn accepted() -> Response<Full<Bytes>> {
    answer(StatusCode::ACCEPTED, Bytes::from_static(b"{\"status\":\"OK\"}\n"))
}

fn answer(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The refusal of a call, with the answers of Lambda's Runtime API.
enum Refusal {
    RequestId,
    Transition(&'static str, &'static str),
    TooLarge,
    Broken,
}

impl Refusal {
    fn into_response(self) -> Response<Full<Bytes>> {
        let (status, error_type, message) = match self {
            Refusal::RequestId => (StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID".to_owned()),
            Refusal::Transition(from, to) => {
                let message = format!(
                    "State transition from {from} to {to} failed for runtime. Error: State transition is not allowed"
                );
                (StatusCode::FORBIDDEN, "InvalidStateTransition", message)
            }
            Refusal::TooLarge => {
                let message = format!("Exceeded maximum allowed payload size ({RESPONSE_BYTES_MAX} bytes).");
                (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
            }
            Refusal::Broken => {
                (StatusCode::BAD_REQUEST, "TruncatedHTTPRequest", "HTTP request body is truncated".to_owned())
            }
        };
        let document = json!({ "errorType": error_type, "errorMessage": message }).to_string();
        answer(status, document.into())
    }
}
