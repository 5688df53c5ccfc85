//! What belongs to a RabbitMQ queue, and what it is called: its retry ladder and its dead-letter queue.
//!
//! RabbitMQ has no delay per message that holds: expired messages leave a queue only at its head. So each delay is a queue of
//! its own, with one time to live for all it holds, from where messages go on when their time is over
//! (<https://www.rabbitmq.com/docs/ttl>). The names are a convention that the topology file, the producer and the consumer share.

use std::time::Duration;

/// Where messages go that are given up: `orders.dlq`.
#[must_use]
pub fn dead_letter_queue(queue: &str) -> String {
    format!("{queue}.dlq")
}

/// The queue that holds messages of `queue` for one step of the ladder: `orders.retry.5s`. They come back to `queue`.
#[must_use]
pub fn retry_queue(queue: &str, step_s: u32) -> String {
    format!("{queue}.retry.{step_s}s")
}

/// The exchange (and the queue behind it) that holds messages for `exchange`: `orders.delay.5s`. They go on to `exchange` with
/// the routing key they came with.
#[must_use]
pub fn delay_exchange(exchange: &str, step_s: u32) -> String {
    format!("{exchange}.delay.{step_s}s")
}

/// The delays there are queues for, in whole seconds: ascending, each once, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder(Vec<u32>);

/// Steps that are no ladder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a retry ladder is a list of whole seconds from 1 to 86400, ascending, such as 1,5,15,60,300,900,3600")]
pub struct LadderError;

impl Default for Ladder {
    /// 1 s, 5 s, 15 s, 1 min, 5 min, 15 min and 1 h.
    fn default() -> Self {
        Self(vec![1, 5, 15, 60, 300, 900, 3600])
    }
}

impl Ladder {
    /// The longest step, in seconds: a day.
    pub const STEP_S_MAX: u32 = 86_400;

    /// A ladder of these steps, in seconds.
    ///
    /// # Errors
    /// They are none, not ascending, or beyond 1 to 86,400.
    pub fn new(steps_s: Vec<u32>) -> Result<Self, LadderError> {
        let ascending = steps_s.windows(2).all(|pair| pair[0] < pair[1]);
        let within = steps_s.iter().all(|step| (1..=Self::STEP_S_MAX).contains(step));
        if steps_s.is_empty() || !ascending || !within { Err(LadderError) } else { Ok(Self(steps_s)) }
    }

    /// Reads `1,5,15`.
    ///
    /// # Errors
    /// As [`Ladder::new`].
    pub fn parse(text: &str) -> Result<Self, LadderError> {
        let steps = text.split(',').map(|step| step.trim().parse());
        Self::new(steps.collect::<Result<_, _>>().map_err(|_| LadderError)?)
    }

    /// The steps, in seconds, ascending.
    #[must_use]
    pub fn steps_s(&self) -> &[u32] {
        &self.0
    }

    /// The shortest step that is at least `delay`, if there is one that long.
    #[must_use]
    pub fn step_s(&self, delay: Duration) -> Option<u32> {
        self.0.iter().copied().find(|step| Duration::from_secs(u64::from(*step)) >= delay)
    }

    /// The shortest step that is at least `delay`, or the longest there is.
    #[must_use]
    pub fn nearest_step_s(&self, delay: Duration) -> u32 {
        self.step_s(delay).or(self.0.last().copied()).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ladder_is_read_and_the_next_longer_step_taken() {
        let ladder = Ladder::parse("1, 5,60").unwrap();
        for (delay_ms, step, nearest) in
            [(0, Some(1), 1), (1_000, Some(1), 1), (1_001, Some(5), 5), (60_000, Some(60), 60), (60_001, None, 60)]
        {
            let delay = Duration::from_millis(delay_ms);
            assert_eq!((ladder.step_s(delay), ladder.nearest_step_s(delay)), (step, nearest), "{delay:?}");
        }
        for wrong in ["", "0", "5,1", "5,5", "1,x", "86401", "1,,5"] {
            assert_eq!(Ladder::parse(wrong), Err(LadderError), "{wrong:?}");
        }
    }
}
