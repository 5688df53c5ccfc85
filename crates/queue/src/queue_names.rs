//! Names of the queues that belong to a RabbitMQ queue: its retry queues and its dead-letter queue.
//!
//! RabbitMQ expires messages only at the head of a queue, so a short delay would wait behind a longer one in the same
//! queue. Instead, each delay has a queue with one time to live for all messages, from which they are dead-lettered to
//! their destination (<https://www.rabbitmq.com/docs/ttl>). The topology file, the producer, the consumer and the
//! dead-letter tool share these names.

use std::time::Duration;

/// The suffix of every dead-letter queue's name.
pub const DEAD_LETTER_QUEUE_SUFFIX: &str = ".dlq";

/// The part of a retry queue's name between the queue and the delay.
pub const RETRY_QUEUE_INFIX: &str = ".retry.";

/// Returns the name of the dead-letter queue of `queue`: `orders.dlq`.
#[must_use]
pub fn dead_letter_queue(queue: &str) -> String {
    format!("{queue}{DEAD_LETTER_QUEUE_SUFFIX}")
}

/// Returns the name of the queue that delays messages of `queue` before they return to it: `orders.retry.5s`.
#[must_use]
pub fn retry_queue(queue: &str, delay_s: u32) -> String {
    format!("{queue}{RETRY_QUEUE_INFIX}{delay_s}s")
}

/// Returns the name of the exchange, and of the queue bound to it, that delays messages for `exchange`:
/// `orders.delay.5s`. The messages keep their routing key.
#[must_use]
pub fn delay_exchange(exchange: &str, delay_s: u32) -> String {
    format!("{exchange}.delay.{delay_s}s")
}

/// The delays that have a queue, in whole seconds: ascending, distinct, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryDelays(Vec<u32>);

/// Invalid retry delays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("retry delays are a list of whole seconds from 1 to 86400, ascending, such as 1,5,15,60,300,900,3600")]
pub struct RetryDelaysError;

impl Default for RetryDelays {
    /// Returns 1 s, 5 s, 15 s, 1 min, 5 min, 15 min and 1 h.
    fn default() -> Self {
        Self(vec![1, 5, 15, 60, 300, 900, 3600])
    }
}

impl RetryDelays {
    /// The longest delay, in seconds: a day.
    pub const DELAY_S_MAX: u32 = 86_400;

    /// Creates retry delays from a list of seconds.
    ///
    /// # Errors
    /// The list is empty, not ascending, or not within 1 to 86,400.
    pub fn new(delays_s: Vec<u32>) -> Result<Self, RetryDelaysError> {
        let ascending = delays_s.windows(2).all(|pair| pair[0] < pair[1]);
        let within = delays_s.iter().all(|delay| (1..=Self::DELAY_S_MAX).contains(delay));
        if delays_s.is_empty() || !ascending || !within { Err(RetryDelaysError) } else { Ok(Self(delays_s)) }
    }

    /// Parses a list such as `1,5,15`.
    ///
    /// # Errors
    /// As [`RetryDelays::new`].
    pub fn parse(text: &str) -> Result<Self, RetryDelaysError> {
        let delays = text.split(',').map(|delay| delay.trim().parse());
        Self::new(delays.collect::<Result<_, _>>().map_err(|_| RetryDelaysError)?)
    }

    /// Returns the delays in seconds, ascending.
    #[must_use]
    pub fn delays_s(&self) -> &[u32] {
        &self.0
    }

    /// Returns the shortest of these delays that is at least `delay`, in seconds.
    #[must_use]
    pub fn at_least_s(&self, delay: Duration) -> Option<u32> {
        self.0.iter().copied().find(|delay_s| Duration::from_secs(u64::from(*delay_s)) >= delay)
    }

    /// Returns the shortest of these delays that is at least `delay`, or else the longest, in seconds.
    #[must_use]
    pub fn nearest_s(&self, delay: Duration) -> u32 {
        self.at_least_s(delay).or(self.0.last().copied()).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_delays_are_parsed_and_the_next_longer_one_is_chosen() {
        let retry_delays = RetryDelays::parse("1, 5,60").unwrap();
        for (delay_ms, step, nearest) in
            [(0, Some(1), 1), (1_000, Some(1), 1), (1_001, Some(5), 5), (60_000, Some(60), 60), (60_001, None, 60)]
        {
            let delay = Duration::from_millis(delay_ms);
            assert_eq!((retry_delays.at_least_s(delay), retry_delays.nearest_s(delay)), (step, nearest), "{delay:?}");
        }
        for wrong in ["", "0", "5,1", "5,5", "1,x", "86401", "1,,5"] {
            assert_eq!(RetryDelays::parse(wrong), Err(RetryDelaysError), "{wrong:?}");
        }
    }
}
