//! The injected clock.
//!
//! `Clock::now` is the epoch time in milliseconds, derived from tokio's clock: under `tokio::time::pause` it moves only
//! when tokio's time is advanced, so that tests of timeouts and windows need no waiting. It never goes backwards, even
//! when the wall clock is set.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type EpochMs = u64;

/// A source of epoch time that follows tokio's clock. Copies have the same time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    origin_epoch_ms: EpochMs,
}

impl Clock {
    /// Creates a clock set to the system's current time.
    #[must_use]
    pub fn system() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::starting_at(millis(since_epoch))
    }

    /// Creates a clock whose current time is `epoch_ms`.
    #[must_use]
    pub fn starting_at(epoch_ms: EpochMs) -> Self {
        Self { origin: Instant::now(), origin_epoch_ms: epoch_ms }
    }

    /// Returns the current time.
    #[must_use]
    pub fn now(&self) -> EpochMs {
        self.origin_epoch_ms.saturating_add(millis(self.origin.elapsed()))
    }

    /// Returns the instant at which `now` reaches `epoch_ms`; for a time before the clock's start, its start.
    #[must_use]
    pub fn instant(&self, epoch_ms: EpochMs) -> Instant {
        let ahead = Duration::from_millis(epoch_ms.saturating_sub(self.origin_epoch_ms));
        self.origin.checked_add(ahead).unwrap_or(self.origin)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn follows_tokio_time_to_the_millisecond() {
        let clock = Clock::starting_at(1_000);
        assert_eq!(clock.now(), 1_000);
        tokio::time::advance(Duration::from_millis(1_500)).await;
        assert_eq!(clock.now(), 2_500);
        tokio::time::sleep_until(clock.instant(4_000)).await;
        assert_eq!(clock.now(), 4_000);
        assert!(clock.instant(0) <= Instant::now());
    }
}
