//! [`Outcome`]: the decision of a handler about a delivery. Error texts do not influence it.

use std::error::Error;
use std::time::Duration;

use sluicegate_queue::chain;

/// The decision about a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The message is handled and is deleted.
    Done,
    /// Retry after a backoff. Once the queue's `maxReceiveCount` (SQS) or the consumer's maximum of receives (RabbitMQ)
    /// is reached, the message goes to its dead-letter queue.
    Retry,
    /// Retry like [`Outcome::Retry`], for this reason. The reason is logged, and accompanies the message to the
    /// dead-letter queue when its receives are exhausted. It should not contain payload.
    Failed(String),
    /// Retry after this delay: rounded up to whole seconds, at most about 11.5 hours (SQS); or the shortest retry delay
    /// that is at least as long, or else the longest (RabbitMQ).
    RetryAfter(Duration),
    /// A retry is pointless: the message goes to the dead-letter queue now, with this reason, which is also logged. It
    /// should not contain payload.
    Reject(String),
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Done
    }
}

/// For handlers that use `?`: an error becomes [`Outcome::Failed`] with its causes. A handler for which a retry is
/// pointless returns `Ok(Outcome::Reject(…))`.
impl<T: Into<Outcome>, E: Into<Box<dyn Error + Send + Sync>>> From<Result<T, E>> for Outcome {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => value.into(),
            Err(error) => Self::Failed(chain(error.into().as_ref())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_convert_to_outcomes() {
        let parsed = |text: &str| -> Result<(), std::num::ParseIntError> { text.parse::<u8>().map(drop) };
        assert_eq!(Outcome::from(parsed("7")), Outcome::Done);
        assert_eq!(Outcome::from(parsed("x")), Outcome::Failed("invalid digit found in string".to_owned()));
        let chosen: Result<Outcome, String> = Ok(Outcome::Reject("no such article".to_owned()));
        assert_eq!(Outcome::from(chosen), Outcome::Reject("no such article".to_owned()));
        let disposition: Result<(), &str> = Err("the warehouse is closed");
        assert_eq!(Outcome::from(disposition), Outcome::Failed("the warehouse is closed".to_owned()));
        let caused = std::io::Error::other(parsed("x").unwrap_err());
        assert_eq!(Outcome::from(Err::<(), _>(caused)), Outcome::Failed("invalid digit found in string".to_owned()));
    }
}
