//! [`Loops`]: serve invocations through Lambda's Runtime API in memory that does not grow.
//!
//! `lambda_runtime::run` writes the trace header of each invocation to the environment variable `_X_AMZN_TRACE_ID`.
//! The C library keeps every value that a variable ever had, because the program may still have a pointer to it: about
//! 180 bytes for each invocation. These loops do not set it. A function gets the header from the context of the
//! invocation. What the runtime does with an invocation is unchanged.

use std::cell::Cell;
use std::future::{Ready, poll_fn, ready};
use std::sync::Arc;
use std::task::{self, Poll};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http_body_util::BodyExt;
use lambda_runtime::{Config, Context, Error, LambdaInvocation, Runtime, Service};
use lambda_runtime_api_client::{PooledClient, body::Body, build_request};
use tower_layer::Layer;

/// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-next>
const NEXT: &str = "/2018-06-01/runtime/invocation/next";
const REQUEST_ID: &str = "lambda-runtime-aws-request-id";

/// The loops of one process, each with one invocation at a time.
pub struct Loops<S> {
    service: S,
    client: Arc<PooledClient>,
    config: Arc<Config>,
}

impl<S: Service<LambdaInvocation, Error = Error> + Clone> Loops<S> {
    /// Returns the loops of a runtime with its layers.
    ///
    /// # Errors
    /// The runtime has no service.
    pub fn new(runtime: Runtime<S>) -> Result<Self, Error> {
        let taken = Cell::new(None);
        runtime.layer(Take(&taken));
        let service = taken.take().ok_or("the runtime has no service")?;
        Ok(Self { service, client: Arc::new(PooledClient::builder().build()), config: Arc::new(Config::from_env()) })
    }

    /// Serves one invocation after another, until the process ends.
    ///
    /// # Errors
    /// The Runtime API cannot be reached, or its answer is not an invocation.
    pub fn serve(&self) -> impl Future<Output = Result<(), Error>> + use<S> {
        serve(self.service.clone(), Arc::clone(&self.client), Arc::clone(&self.config))
    }
}

async fn serve(
    mut service: impl Service<LambdaInvocation, Error = Error>,
    client: Arc<PooledClient>,
    config: Arc<Config>,
) -> Result<(), Error> {
    loop {
        let (parts, body) = client.call(build_request().uri(NEXT).body(Body::empty())?).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        let request_id = parts.headers.get(REQUEST_ID).ok_or_else(|| format!("{NEXT} answered {}", parts.status))?;
        let context = Context::new(request_id.to_str()?, Arc::clone(&config), &parts.headers)?;
        poll_fn(|context| service.poll_ready(context)).await?;
        service.call(LambdaInvocation { parts, body, context }).await?;
    }
}

/// Waits for all loops. One that fails does not end the others, because they may have invocations.
///
/// # Errors
/// That of the loop that ended last.
pub async fn all(loops: impl IntoIterator<Item = impl Future<Output = Result<(), Error>>>) -> Result<(), Error> {
    let mut loops: FuturesUnordered<_> = loops.into_iter().collect();
    let mut last = Ok(());
    while let Some(ended) = loops.next().await {
        last = ended;
        if let (Err(error), left @ 1..) = (&last, loops.len()) {
            tracing::error!(%error, left, "a loop of the runtime ended");
        }
    }
    last
}

/// Takes the service of a runtime, which is given to a layer only.
struct Take<'a, S>(&'a Cell<Option<S>>);

impl<S> Layer<S> for Take<'_, S> {
    type Service = NoService;

    fn layer(&self, service: S) -> NoService {
        self.0.set(Some(service));
        NoService
    }
}

/// The service of a runtime whose service was taken.
struct NoService;

impl Service<LambdaInvocation> for NoService {
    type Response = ();
    type Error = Error;
    type Future = Ready<Result<(), Error>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: LambdaInvocation) -> Self::Future {
        ready(Ok(()))
    }
}
