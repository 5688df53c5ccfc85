//! [`Outcome`]: what a handler decides about a delivery. Nothing else decides, and nobody reads error texts.

use std::error::Error;
use std::time::Duration;

use sluicegate_queue::chain;

/// What becomes of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The work is done; the message is deleted.
    Done,
    /// Try again after a backoff. When the queue's `maxReceiveCount` (SQS) or the consumer's most receives (RabbitMQ) are used up,
    /// the message goes to its dead-letter queue.
    Retry,
    /// Try again as [`Outcome::Retry`] does, for this reason: it is logged, and goes with the message to the dead-letter queue when
    /// its receives are used up. It should name no payload.
    Failed(String),
    /// Try again after exactly this long, rounded up to whole seconds, at most about 11.5 hours (SQS); or after the shortest step
    /// of the retry ladder that is at least this long, or its longest (RabbitMQ).
    RetryAfter(Duration),
    /// Trying again is pointless: the message goes to the dead-letter queue now, with this reason, which is also logged. It
    /// should name no payload.
    Reject(String),
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Done
    }
}

/// For handlers that use `?`: an error is [`Outcome::Failed`], with its causes. A handler that knows that trying again is pointless
/// returns `Ok(Outcome::Reject(…))`.
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
    fn results_are_outcomes() {
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
