//! [`FailingMessages`]: decides when a failing message of a FIFO queue is dead-lettered.
//!
//! On a FIFO queue the receive count includes receives without a call of the handler: when an earlier message of its
//! group fails, or when time runs out, a message is returned untouched, and SQS counts that receive too. If only
//! `maxReceiveCount` counted, one failing message or slow handlers would dead-letter healthy messages that no handler
//! has received (<https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>). Three rules apply:
//!
//! - A message is dead-lettered when its handler fails at the head of its group, [`RECEIVE_COUNT_MAX_DEFAULT`] receives
//!   after the first such failure. Then its group continues.
//! - Receives are counted from the first failure that this execution environment saw. Another environment may have seen
//!   an earlier one, so a message may get more tries than configured, but not fewer: about 4 more with 10 environments
//!   on the queue.
//! - Near the queue's own `maxReceiveCount`, the first failure at the head of the group is the last try. The remaining
//!   receives are reserved for the messages behind it: each receive handles at least one message, so every message of a
//!   batch is handled.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

pub(crate) use sluicegate_queue::dead_letter::RECEIVE_COUNT_MAX_DEFAULT;

use crate::settlement::Tries;

/// Returns the receives in reserve for waiting messages: a tenth of the queue's `maxReceiveCount`, at least 1, and at
/// most the 10 messages of a FIFO batch.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>
fn reserved_receives(queue_receive_count_max: u32) -> u32 {
    (queue_receive_count_max / 10).clamp(1, 10)
}

/// Largest number of failing messages that are tracked. Beyond it the oldest is dropped, and may get more tries.
const MESSAGES_MAX: usize = 1_000;

/// The failing messages of FIFO queues that this execution environment has seen.
pub(crate) struct FailingMessages {
    receive_count_max: u32,
    /// Message ids with the receive count at the first failure at the head of the group, the oldest first.
    first_failures: Mutex<VecDeque<(String, u32)>>,
}

impl FailingMessages {
    /// Dead-letters messages after this many receives.
    pub(crate) fn new(receive_count_max: u32) -> Self {
        Self { receive_count_max, first_failures: Mutex::default() }
    }

    /// Counts a failure. `head` is true if no earlier message of its group was in the batch. `queue_receive_count_max`
    /// is the queue's `maxReceiveCount`, if known.
    pub(crate) fn failed(
        &self,
        id: &str,
        receive_count: u32,
        head: bool,
        queue_receive_count_max: Option<u32>,
    ) -> Tries {
        let queue_receive_count_max = queue_receive_count_max.unwrap_or(u32::MAX);
        if !head {
            return Tries { count: 1, last: receive_count >= queue_receive_count_max };
        }
        let count = receive_count.saturating_sub(self.first_failure(id, receive_count)).saturating_add(1);
        let near_the_end = queue_receive_count_max.saturating_sub(reserved_receives(queue_receive_count_max));
        Tries { count, last: count >= self.receive_count_max || receive_count >= near_the_end }
    }

    /// Returns the receive count at the first failure, which is this one if none is known.
    fn first_failure(&self, id: &str, receive_count: u32) -> u32 {
        let mut known = self.first_failures.lock().unwrap_or_else(PoisonError::into_inner);
        // A message that came back from the dead-letter queue is counted from 1 again.
        if let Some((_, first)) = known.iter_mut().find(|(known, _)| known == id) {
            *first = receive_count.min(*first);
            return *first;
        }
        if known.len() == MESSAGES_MAX {
            known.pop_front();
        }
        known.push_back((id.to_owned(), receive_count));
        receive_count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Failures of one message `(receive count, head)`, and what each means: its number, with `!` if it is the last.
    fn check(queue_receive_count_max: Option<u32>, failures: &[(u32, bool)], expected: &str) {
        let failing = FailingMessages::new(3);
        let tries =
            failures.iter().map(|&(receives, head)| failing.failed("m", receives, head, queue_receive_count_max));
        let shown: Vec<_> =
            tries.map(|tries| format!("{}{}", tries.count, if tries.last { "!" } else { "" })).collect();
        assert_eq!(shown.join(" "), expected, "{queue_receive_count_max:?} {failures:?}");
    }

    #[test]
    fn only_receives_since_the_first_failure_at_the_head_count() {
        let head = |receives: std::ops::RangeInclusive<u32>| receives.map(|n| (n, true)).collect::<Vec<_>>();
        check(Some(100), &head(1..=4), "1 2 3! 4!");
        check(None, &head(7..=9), "1 2 3!");
        // The message waited, failed behind others, and lost one receive in a crash.
        check(Some(100), &[(6, false), (7, false), (8, true), (10, true)], "1 1 1 3!");
        // Near the queue's own limit one failure at the head is enough; behind others, only the queue's last receive
        // counts.
        check(Some(100), &[(89, true)], "1");
        check(Some(100), &[(90, true)], "1!");
        check(Some(100), &[(99, false), (100, false)], "1 1!");
        for (queue, last) in [(1, 1), (2, 1), (5, 4), (25, 23)] {
            check(Some(queue), &[(last, true)], "1!");
            if last > 1 {
                check(Some(queue), &[(last - 1, true)], "1");
            }
        }
        check(Some(100), &[(5, true), (6, true), (1, true), (2, true), (3, true)], "1 2 1 2 3!");
    }

    #[test]
    fn the_oldest_message_is_dropped_first() {
        let failing = FailingMessages::new(5);
        for n in 0..=MESSAGES_MAX {
            failing.failed(&n.to_string(), 1, true, None);
        }
        let count = |id: &str| failing.failed(id, 2, true, None).count;
        assert_eq!((count("1"), count("0")), (2, 1));
        assert_eq!(failing.first_failures.lock().unwrap().len(), MESSAGES_MAX);
    }
}
