//! [`Moment`]: a point in time whose age is right after a freeze of the process.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A point in time by both clocks, because the monotonic clock may stop while a function is frozen and the wall clock
/// may be set back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    /// Returns the time since then, by the clock that counted more.
    pub(crate) fn age(&self) -> Duration {
        self.monotonic.elapsed().max(self.wall.elapsed().unwrap_or_default())
    }

    /// Returns the monotonic clock.
    pub(crate) fn monotonic(&self) -> Instant {
        self.monotonic
    }
}
