//! The SQS endpoint of the dead-letter tool: a connector of the SDK in place of its HTTP client.

use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::{Response, StatusCode};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

use crate::aws_service::{self, Caller, Operation};
use crate::world::World;

/// Calls the simulated service.
struct Connector {
    world: Arc<World>,
    caller: Caller,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (world, caller) = (Arc::clone(&self.world), self.caller.clone());
        HttpConnectorFuture::new(async move {
            let operation = Operation::of_target(request.headers().get("x-amz-target").unwrap_or_default());
            let body = Bytes::copy_from_slice(request.body().bytes().unwrap_or_default());
            let Some(reply) = aws_service::call(&world, &caller, operation, body).await else {
                return Err(ConnectorError::io("the connection was cut".into()));
            };
            let status = StatusCode::try_from(reply.status).map_err(|error| ConnectorError::user(error.into()))?;
            let mut response = Response::new(status, SdkBody::from(reply.body));
            response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
            if let Some(error) = reply.error {
                response.headers_mut().insert("x-amzn-query-error", error);
            }
            Ok(response)
        })
    }
}

/// Returns the HTTP client of a caller.
pub(crate) fn http_client(world: &Arc<World>, caller: &Caller) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(Connector { world: Arc::clone(world), caller: caller.clone() });
    http_client_fn(move |_, _| connector.clone())
}
