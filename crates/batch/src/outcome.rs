//! [`Outcome`]: the decision of a handler about a delivery. Error texts do not influence it.

use std::error::Error;
use std::fmt;
use std::iter::successors;
use std::time::Duration;

use sluicegate_queue::chain;

use crate::Rejection;

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
    /// that is at least as long, or else the longest (RabbitMQ). On an ordered queue of RabbitMQ the delay ends at the
    /// latest with the invocation.
    RetryAfter(Duration),
    /// A retry is pointless: the message goes to the dead-letter queue now, with this code and detail, which are also
    /// logged.
    Reject(Rejection),
}

impl Outcome {
    /// Returns [`Outcome::Reject`] with a stable code and a detail: see [`Rejection::new`].
    #[must_use]
    pub fn reject(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Reject(Rejection::new(code, detail))
    }
}

impl From<Rejection> for Outcome {
    fn from(rejection: Rejection) -> Self {
        Self::Reject(rejection)
    }
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Done
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Retry => f.write_str("retry"),
            Self::Failed(reason) => f.write_str(reason),
            Self::Reject(rejection) => rejection.fmt(f),
            Self::RetryAfter(delay) => write!(f, "retry after {delay:?}"),
        }
    }
}

/// An outcome is an error too, so that a function within a handler can decide: `Err(Outcome::RetryAfter(…))?`. A
/// [`Rejection`] is one by itself.
impl Error for Outcome {}

/// For handlers that use `?`: an error becomes [`Outcome::Failed`] with its causes. If the error or one of its causes
/// is an [`Outcome`] or a [`Rejection`], that is the outcome; the reason of a reject or a failure then has the whole
/// chain.
impl<T: Into<Outcome>, E: Into<Box<dyn Error + Send + Sync>>> From<Result<T, E>> for Outcome {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => value.into(),
            Err(error) => of_error(error.into().as_ref()),
        }
    }
}

/// Returns the outcome of an error: that in its chain, or else a failure with the whole chain.
pub(crate) fn of_error(error: &(dyn Error + 'static)) -> Outcome {
    let decided = |cause: &&(dyn Error + 'static)| {
        let rejected = || cause.downcast_ref().cloned().map(Outcome::Reject);
        cause.downcast_ref().cloned().or_else(rejected)
    };
    match successors(Some(error), |&cause| cause.source()).find_map(|cause| decided(&cause)) {
        None | Some(Outcome::Failed(_)) => Outcome::Failed(chain(error)),
        Some(Outcome::Reject(rejection)) => Outcome::Reject(rejection.with_detail(chain(error))),
        Some(other) => other,
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
        let chosen: Result<Outcome, String> = Ok(Outcome::reject("unknown", "no such article"));
        assert_eq!(Outcome::from(chosen), Outcome::reject("unknown", "no such article"));
        let disposition: Result<(), &str> = Err("the warehouse is closed");
        assert_eq!(Outcome::from(disposition), Outcome::Failed("the warehouse is closed".to_owned()));
        let caused = std::io::Error::other(parsed("x").unwrap_err());
        assert_eq!(Outcome::from(Err::<(), _>(caused)), Outcome::Failed("invalid digit found in string".to_owned()));
    }

    #[test]
    fn an_error_may_be_or_have_an_outcome() {
        #[derive(Debug, thiserror::Error)]
        #[error("order 7 is not shipped")]
        struct NotShipped<E: Error + 'static>(#[source] E);

        let reject = Outcome::reject("unknown", "no such article");
        let later = Outcome::RetryAfter(Duration::from_secs(60));
        for outcome in
            [Outcome::Done, Outcome::Retry, Outcome::Failed("closed".to_owned()), later.clone(), reject.clone()]
        {
            let by_question_mark = || -> Result<(), Box<dyn Error + Send + Sync>> { Err(outcome.clone())? };
            assert_eq!(Outcome::from(by_question_mark()), outcome);
        }
        let caused = |outcome| Outcome::from(Err::<(), _>(NotShipped(outcome)));
        let with_causes = Outcome::reject("unknown", "order 7 is not shipped: no such article");
        assert_eq!(caused(reject), with_causes);
        assert_eq!(caused(later.clone()), later);
        let by_rejection = Err::<(), _>(NotShipped(Rejection::new("unknown", "no such article")));
        assert_eq!(Outcome::from(by_rejection), with_causes);
    }
}
