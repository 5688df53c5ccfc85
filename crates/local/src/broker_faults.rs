//! Faults of the broker, set on purpose: SQS that answers late or not at all, RabbitMQ that hangs.
//!
//! Those of SQS are at the AWS port, so they are seen by the functions and by every other client of it. The mappings of
//! the emulated queues do not use the port and go on. A private RabbitMQ node is stopped as a process, for all clients.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::{Value, json};
use sqs_emulator::Sqs;

/// Longest delay of an answer: twice the longest integration timeout of an HTTP API, after which every client gave up.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>
pub(crate) const DELAY_MS_MAX: u64 = 60_000;

/// A fault of SQS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub(crate) enum SqsFault {
    /// Every answer is late.
    Slow { delay_ms: u64 },
    /// Every request is answered with 503 and has no effect.
    Unavailable,
    /// Every request ends the connection and has no effect.
    Disconnect,
    /// Every request has its effect and then ends the connection: a message is stored, and its sender does not know.
    LostAnswer,
}

/// Stops or resumes the process of the private RabbitMQ node; returns false if it is not running.
pub(crate) type FreezeNode = Arc<dyn Fn(bool) -> bool + Send + Sync>;

/// The present faults. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct BrokerFaults {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Whether SQS has a fault, so that a request without one takes no lock.
    has_sqs_fault: AtomicBool,
    sqs: Mutex<Option<SqsFault>>,
    /// Requests that the present fault of SQS has met.
    affected: AtomicU64,
    node: Mutex<Option<FreezeNode>>,
    is_node_frozen: AtomicBool,
}

impl BrokerFaults {
    /// Sets the fault of SQS, or ends it.
    pub(crate) fn set_sqs(&self, fault: Option<SqsFault>) {
        *self.inner.sqs.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        self.inner.affected.store(0, Ordering::Relaxed);
        self.inner.has_sqs_fault.store(fault.is_some(), Ordering::Release);
    }

    /// Adds the private RabbitMQ node.
    #[cfg(feature = "rabbitmq")]
    pub(crate) fn set_node(&self, freeze: FreezeNode) {
        *self.inner.node.lock().unwrap_or_else(PoisonError::into_inner) = Some(freeze);
    }

    /// Returns whether there is a private RabbitMQ node.
    pub(crate) fn has_node(&self) -> bool {
        self.inner.node.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Stops or resumes the process of the private RabbitMQ node; returns false if there is none.
    pub(crate) fn freeze_node(&self, freeze: bool) -> bool {
        let node = self.inner.node.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let done = node.is_some_and(|node| node(freeze));
        self.inner.is_node_frozen.store(done && freeze, Ordering::Relaxed);
        done
    }

    /// Returns the faults: `{"sqs": {"fault", "affected"} or null, "rabbitmq": {"fault"} or null}`.
    pub(crate) fn describe(&self) -> Value {
        let mut sqs = json!(*self.inner.sqs.lock().unwrap_or_else(PoisonError::into_inner));
        if !sqs.is_null() {
            sqs["affected"] = self.inner.affected.load(Ordering::Relaxed).into();
        }
        let is_frozen = self.inner.is_node_frozen.load(Ordering::Relaxed);
        json!({ "sqs": sqs, "rabbitmq": is_frozen.then(|| json!({ "fault": "frozen" })) })
    }

    /// Answers a request to SQS, with the present fault. `None` ends the connection.
    pub(crate) async fn answer(&self, sqs: &Sqs, request: Request<Incoming>) -> Option<Response<Full<Bytes>>> {
        if !self.inner.has_sqs_fault.load(Ordering::Acquire) {
            return Some(sqs_emulator::answer(sqs, request).await);
        }
        let fault = *self.inner.sqs.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.affected.fetch_add(1, Ordering::Relaxed);
        match fault {
            None => Some(sqs_emulator::answer(sqs, request).await),
            Some(SqsFault::Slow { delay_ms }) => {
                let answer = sqs_emulator::answer(sqs, request).await;
                tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                Some(answer)
            }
            Some(SqsFault::Unavailable) => Some(unavailable()),
            Some(SqsFault::Disconnect) => None,
            Some(SqsFault::LostAnswer) => {
                let _ = sqs_emulator::answer(sqs, request).await;
                None
            }
        }
    }
}

fn unavailable() -> Response<Full<Bytes>> {
    let body = json!({
        "__type": "com.amazonaws.sqs#ServiceUnavailable",
        "message": "SQS is unavailable: this fault was set at the admin port.",
    });
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    response
}
