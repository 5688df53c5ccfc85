//! [`RecordProgress`]: records whether any attempt of one send through the SDK can have stored the message.
//!
//! The SDK reports only the error of the last attempt. A "connection refused" on the third attempt does not show
//! whether the first, whose answer may have been lost, stored the message. An attempt is harmless if it had no
//! connection, or if SQS answered with a refusal.

use std::sync::Arc;

use aws_sdk_sqs::config::interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef};
use aws_sdk_sqs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sqs::error::{BoxError, ProvideErrorMetadata};
use aws_sdk_sqs::operation::send_message::SendMessageError;
use aws_smithy_runtime_api::client::connection::CaptureSmithyConnection;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use sluicegate_aws_client::{Progress, is_throttling};

/// Records the progress of one send.
#[derive(Debug)]
pub(super) struct RecordProgress(pub(super) Arc<Progress>);

#[dyn_dispatch_hint]
impl Intercept for RecordProgress {
    fn name(&self) -> &'static str {
        "RecordProgress"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.started();
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.ended(|| is_harmless(context, config));
        Ok(())
    }
}

/// Returns whether the attempt cannot have stored the message.
fn is_harmless(context: &FinalizerInterceptorContextRef<'_>, config: &ConfigBag) -> bool {
    let Some(response) = context.response() else {
        // The HTTP client sets this as soon as it has a connection for the request.
        return config.load::<CaptureSmithyConnection>().is_some_and(|connection| connection.get().is_none());
    };
    let error = context.output_or_error().and_then(Result::err).and_then(|error| error.as_operation_error());
    let service = error.and_then(|error| error.downcast_ref::<SendMessageError>());
    response.status().is_client_error() || service.is_some_and(is_throttled)
}

/// Returns whether SQS, or KMS on its behalf, throttled the request: nothing was stored, and a later attempt may
/// succeed.
#[must_use]
pub fn is_throttled(error: &SendMessageError) -> bool {
    error.code().is_some_and(is_throttling)
}
