//! [`run`]: serves requests through Lambda's Runtime API in memory that does not grow.
//!
//! `lambda_runtime::run` writes the trace header of each invocation to the environment variable `_X_AMZN_TRACE_ID`.
//! The C library keeps every value that a variable ever had, because the program may still have a pointer to it: about
//! 180 bytes for each request. The ingress gets the header from the context of the invocation and nothing of it reads
//! the variable, so this loop does not set it. What the runtime does with an invocation is unchanged.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;

use http_body_util::BodyExt;
use lambda_http::lambda_runtime::{Config, Error, LambdaEvent, LambdaInvocation, Runtime, Service};
use lambda_http::tower::{Layer, ServiceExt as _};
use lambda_http::{Context, service_fn};
use lambda_runtime_api_client::{PooledClient, body::Body, build_request};

use crate::{Arrival, LambdaAnswer};

/// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-next>
const NEXT: &str = "/2018-06-01/runtime/invocation/next";
const REQUEST_ID: &str = "lambda-runtime-aws-request-id";

/// Serves Lambda until the process ends.
///
/// # Errors
/// The Runtime API cannot be reached, or its answer is not an invocation.
pub(crate) async fn run<F>(handler: impl FnMut(LambdaEvent<Arrival>) -> F + Send) -> Result<(), Error>
where
    F: Future<Output = Result<LambdaAnswer, Infallible>> + Send,
{
    let taken = Cell::new(None);
    Runtime::new(service_fn(handler)).layer(Take(&taken));
    let Some(mut service) = taken.take() else { return Err("the runtime has no service".into()) };
    let config = Arc::new(Config::from_env());
    let client = PooledClient::builder().build();
    loop {
        let (parts, body) = client.call(build_request().uri(NEXT).body(Body::empty())?).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        let request_id = parts.headers.get(REQUEST_ID).ok_or_else(|| format!("{NEXT} answered {}", parts.status))?;
        let context = Context::new(request_id.to_str()?, Arc::clone(&config), &parts.headers)?;
        service.ready().await?.call(LambdaInvocation { parts, body, context }).await?;
    }
}

/// Takes the service of a runtime, which is given to a layer only.
struct Take<'a, S>(&'a Cell<Option<S>>);

impl<S> Layer<S> for Take<'_, S> {
    type Service = lambda_http::tower::util::ServiceFn<fn(LambdaInvocation) -> Ready<Result<(), Error>>>;

    fn layer(&self, service: S) -> Self::Service {
        self.0.set(Some(service));
        service_fn(|_| ready(Ok(())))
    }
}
