//! Invocations that are repeated while the function is throttled.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Invoke;
use crate::environment::Invocation;

/// The first pause before a throttled invocation is retried. It doubles.
const THROTTLE_PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest such pause.
const THROTTLE_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Why a batch was not processed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvokeError {
    /// The function reported an error.
    #[error("the function failed: {0}")]
    Function(String),
    /// The function did not answer within its timeout.
    #[error("the function timed out")]
    TimedOut,
    /// The mapping was stopped while the function was throttled.
    #[error("the function was throttled")]
    Throttled,
}

/// Invokes the function and returns its response. Retries while it is throttled, until `stop`.
pub(crate) async fn invoke<I: Invoke>(
    function: &I,
    event: &Bytes,
    stop: &CancellationToken,
) -> Result<Bytes, InvokeError> {
    let mut pause = THROTTLE_PAUSE_MIN;
    loop {
        return match function.invoke(event.clone()).await {
            Invocation::Response(response) => Ok(response),
            Invocation::FunctionError { payload } => {
                Err(InvokeError::Function(String::from_utf8_lossy(&payload).into_owned()))
            }
            Invocation::TimedOut => Err(InvokeError::TimedOut),
            Invocation::Throttled => {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => Err(InvokeError::Throttled),
                    () = sleep(pause) => {
                        pause = (pause * 2).min(THROTTLE_PAUSE_MAX);
                        continue;
                    }
                }
            }
        };
    }
}
