//! [`Verdict`]: what a send says about its broker, for the [breaker](sluicegate_queue::breaker) of the queue, which
//! keeps requests away while the broker fails or is slow. They are then refused without a call of the broker.
//!
//! Concurrent sends are not limited: an environment gets one request at a time, and on Lambda Managed Instances as many
//! as its function has loops.

use std::time::Duration;

use sluicegate_queue::{
    Receipt, SendError,
    breaker::{BreakerLimits, Permit},
};

/// The limits of each queue's breaker. At the default timeout of 10 s, a broker that does not answer keeps an
/// environment busy for 30 s before the third failure opens it. The times are what a client should wait
/// ([`SendError::retry_after`]) after one failure, and when an operator must act.
pub(crate) const LIMITS: BreakerLimits =
    BreakerLimits { failures_max: 3, open_initial: Duration::from_secs(2), open_max: Duration::from_secs(30) };

/// A success that takes this long counts as a failure. It is longer than one attempt on a connection that died while
/// the environment was frozen: 2.5 s on SQS and on RabbitMQ. It is also the threshold of `SlowAlarm`.
const SLOW_AFTER: Duration = Duration::from_secs(3);

/// What a send says about the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It answers in time.
    Healthy,
    /// It fails or is slow; the text is for the log.
    Failing(String),
    /// Nothing: the message, the configuration or another service is at fault, or the request had little time.
    Unclear,
}

impl Verdict {
    /// Returns the verdict of a send that took so long. `is_late` says that its deadline has passed.
    pub(crate) fn of(sent: &Result<Receipt, SendError>, took: Duration, is_late: bool) -> Self {
        match sent {
            Ok(_) if took < SLOW_AFTER => Self::Healthy,
            Ok(_) => Self::Failing(format!("stored after {took:.1?}")),
            Err(SendError::NotSent { .. } | SendError::Unknown { .. }) if is_late && took < SLOW_AFTER => Self::Unclear,
            Err(error @ (SendError::NotSent { .. } | SendError::Unknown { .. })) => Self::Failing(error.to_string()),
            Err(
                SendError::PayloadNotStored { .. }
                | SendError::Unroutable { .. }
                | SendError::Refused { .. }
                | SendError::TooLarge { .. },
            ) => Self::Unclear,
        }
    }

    /// Returns the verdict of a batch. One stored message proves that the broker answers, after a time that depends on
    /// the size of the batch.
    pub(crate) fn of_all(sent: &[Result<Receipt, SendError>], took: Duration, is_late: bool) -> Self {
        if sent.iter().any(Result::is_ok) {
            return Self::Healthy;
        }
        let mut verdicts = sent.iter().map(|each| Self::of(each, took, is_late));
        verdicts.find(|verdict| *verdict != Self::Unclear).unwrap_or(Self::Unclear)
    }

    /// Ends a send with this verdict. The queue's name is for the log.
    pub(crate) fn settle(&self, permit: Permit<'_>, queue: &str) {
        match self {
            Self::Healthy => {
                if permit.succeeded() {
                    tracing::info!(queue, "the queue accepts messages again");
                }
            }
            Self::Failing(reason) => {
                if permit.failed() {
                    tracing::warn!(queue, reason, "the queue does not answer: requests are refused until it does");
                }
            }
            Self::Unclear => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_broker_does_opens_a_breaker() {
        let reason = || "no answer".to_owned();
        let sent = || Ok(Receipt { id: "m".to_owned(), broker_id: String::new() });
        let refused = |message_at_fault| Err(SendError::Refused { reason: reason(), message_at_fault });
        let (not_sent, unknown) =
            (|| Err(SendError::NotSent { reason: reason() }), || Err(SendError::Unknown { reason: reason() }));
        let failing = |text: &str| Verdict::Failing(text.to_owned());
        for (sent, took_ms, is_late, expected) in [
            (sent(), 2_999, false, Verdict::Healthy),
            (sent(), 3_000, false, failing("stored after 3.0s")),
            (not_sent(), 0, false, failing("not sent: no answer")),
            (unknown(), 0, false, failing("perhaps sent: no answer")),
            (not_sent(), 9_700, true, failing("not sent: no answer")),
            // The request had little time left, or none.
            (not_sent(), 0, true, Verdict::Unclear),
            (unknown(), 2_999, true, Verdict::Unclear),
            (refused(true), 0, false, Verdict::Unclear),
            (refused(false), 9_700, false, Verdict::Unclear),
            (Err(SendError::TooLarge { bytes: 2, bytes_max: 1 }), 0, false, Verdict::Unclear),
            (Err(SendError::Unroutable { reason: reason() }), 0, false, Verdict::Unclear),
            (Err(SendError::PayloadNotStored { reason: reason() }), 9_700, true, Verdict::Unclear),
        ] {
            let took = Duration::from_millis(took_ms);
            assert_eq!(Verdict::of(&sent, took, is_late), expected, "{sent:?} after {took:?}");
        }
        let slow = Duration::from_secs(9);
        assert_eq!(Verdict::of_all(&[not_sent(), sent()], slow, false), Verdict::Healthy, "a batch may take long");
        assert_eq!(Verdict::of_all(&[refused(true), not_sent()], slow, true), failing("not sent: no answer"));
        assert_eq!(Verdict::of_all(&[refused(true), refused(false)], slow, true), Verdict::Unclear);
        assert_eq!(Verdict::of_all(&[], slow, true), Verdict::Unclear);
    }
}
