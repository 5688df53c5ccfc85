//! [`Endpoint`]: the calls to one URL, with their connections, timeouts, retries and clock.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::chain;
use crate::clock::Clock;
use crate::environment::AwsEnvironment;
use crate::http_client::{ConnectionError, Connections, Lease};
use crate::progress::Progress;
use crate::retry::RetryBudget;
use crate::service::CallError;

/// The URL of a service or of a bucket.
pub(crate) struct Endpoint {
    connections: Result<Connections, ConnectionError>,
    /// The host of every request, with the port unless it is that of the scheme.
    pub(crate) host: String,
    /// The path of the URL, `/` if it has none.
    pub(crate) path: String,
    attempt_timeout: Duration,
    budget: RetryBudget,
    pub(crate) clock: Clock,
}

impl Endpoint {
    /// Creates an endpoint without connecting. For an https URL it reads the root certificates, unless another of the
    /// environment has.
    pub(crate) fn new(url: String, environment: &AwsEnvironment, attempt_timeout: Duration) -> Self {
        let uri: Uri = url.parse().unwrap_or_default();
        let connections = match uri.host() {
            Some(_) => Connections::new(&uri, || environment.tls()),
            None => Err(ConnectionError::Url(url)),
        };
        #[cfg(feature = "in-process")]
        let connections = connections.map(|connections| connections.with_dialer(environment.dialer.clone()));
        let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let host = uri.host().unwrap_or_default();
        let host = match uri.port_u16().filter(|port| *port != default_port) {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let path = if uri.path().is_empty() { "/" } else { uri.path() }.to_owned();
        Self { connections, host, path, attempt_timeout, budget: RetryBudget::new(), clock: Clock::default() }
    }

    /// Calls `attempt` until it succeeds or fails for good, but not past `deadline`.
    ///
    /// # Errors
    /// That of the last attempt, or that the deadline has passed.
    pub(crate) async fn call<T, F>(
        &self,
        deadline: Instant,
        progress: &Progress,
        attempt: impl Fn() -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let (mut number, mut spent) = (1, 0);
        loop {
            let error = match self.call_once(deadline, attempt()).await {
                Ok(answer) => {
                    self.budget.refund(spent);
                    return Ok(answer);
                }
                Err(CallError::Deadline) => return Err(CallError::Deadline),
                Err(error) => error,
            };
            progress.ended(|| error.is_refusal());
            let Some((wait, cost)) = self.budget.next(&error, number) else { return Err(error) };
            let until = Instant::now() + wait;
            sleep_until(until.min(deadline)).await;
            if until >= deadline {
                return Err(CallError::Deadline);
            }
            (number, spent) = (number + 1, cost);
        }
    }

    /// Waits for one attempt, not past `deadline`. Both share a timer, because each timer that is set costs two system
    /// calls.
    ///
    /// # Errors
    /// That of the attempt, or that the deadline has passed.
    // Not an async function, whose future would have room for the attempt twice.
    pub(crate) fn call_once<T>(
        &self,
        deadline: Instant,
        attempt: impl Future<Output = Result<T, CallError>>,
    ) -> impl Future<Output = Result<T, CallError>> {
        let until = deadline.min(Instant::now() + self.attempt_timeout);
        let late = if until == deadline { CallError::Deadline } else { CallError::Timeout };
        timeout_at(until, attempt).map(|answer| answer.unwrap_or(Err(late)))
    }

    /// Sends a request and returns the answer, whose body is still to be read.
    ///
    /// # Errors
    /// There is no connection, or it broke.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        progress: &Progress,
    ) -> Result<(Response<Incoming>, Lease<'_>), CallError> {
        self.connections()?.send(request, &progress.is_sending).await.map_err(broken)
    }

    /// Opens a connection for the next request.
    ///
    /// # Errors
    /// There is no connection.
    pub(crate) async fn connect(&self) -> Result<(), CallError> {
        self.connections()?.open().await.map_err(broken)
    }

    fn connections(&self) -> Result<&Connections, CallError> {
        self.connections.as_ref().map_err(|error| CallError::Request(chain(error)))
    }
}

fn broken(error: ConnectionError) -> CallError {
    CallError::Connection(chain(&error))
}
