//! [`Rate`], and the limiter that enforces it.

use std::{str::FromStr, time::Duration};

use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

/// Longest lateness of a timer that later turns compensate, so that the rate is reached on average.
const LATENESS_MAX: Duration = Duration::from_millis(20);

/// A positive number of messages per second: `50/s`, `50`, `0.5/s`, `30/m`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(f64);

/// A text that is not a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected messages in a second, more than none, such as 50/s (or in a minute: 30/m)")]
pub struct RateError;

impl Rate {
    /// Returns the messages per second.
    #[must_use]
    pub fn per_s(self) -> f64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (number, per_s) = match (text.strip_suffix("/s"), text.strip_suffix("/m")) {
            (Some(number), _) => (number, 1.0),
            (_, Some(number)) => (number, 60.0),
            _ => (text, 1.0),
        };
        let rate = number.parse::<f64>().map_err(|_| RateError)? / per_s;
        // The slowest rate is one message a day, so that the interval is representable.
        if (1.0 / 86_400.0..=1_000_000.0).contains(&rate) { Ok(Self(rate)) } else { Err(RateError) }
    }
}

/// Grants turns at a rate.
pub struct RateLimiter {
    interval: Duration,
    next: Mutex<Option<Instant>>,
}

impl RateLimiter {
    /// Creates a limiter; without a rate, it grants every turn at once.
    #[must_use]
    pub fn new(rate: Option<Rate>) -> Self {
        let interval = rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate.0));
        Self { interval, next: Mutex::new(None) }
    }

    /// Waits for the next turn. There are at most as many turns as the time since the first allows, plus one.
    pub async fn turn(&self) {
        if self.interval.is_zero() {
            return;
        }
        let turn = {
            let mut next = self.next.lock().await;
            let now = Instant::now();
            let earliest = now.checked_sub(LATENESS_MAX).unwrap_or(now);
            let turn = next.map_or(now, |next| next.max(earliest));
            *next = Some(turn + self.interval);
            turn
        };
        sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        for (text, per_s) in [("50/s", 50.0), ("50", 50.0), ("0.5/s", 0.5), ("30/m", 0.5)] {
            assert_eq!(text.parse(), Ok(Rate(per_s)), "{text}");
        }
        for wrong in ["", "0", "-1/s", "x", "5/h", "NaN", "inf", "1e9", "1e-9"] {
            assert_eq!(wrong.parse::<Rate>(), Err(RateError), "{wrong}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn turns_come_at_the_rate_for_concurrent_callers() {
        for (rate, turns, expected_ms) in [("10/s", 31, 3_000), ("0.5/s", 3, 4_000), ("200/s", 201, 1_000)] {
            let limiter = RateLimiter::new(Some(rate.parse().unwrap()));
            let begun = Instant::now();
            futures_util::future::join_all((0..turns).map(|_| limiter.turn())).await;
            let off = begun.elapsed().abs_diff(Duration::from_millis(expected_ms));
            assert!(off <= Duration::from_millis(2), "{rate}: {:?}", begun.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn unused_time_is_not_compensated() {
        let limiter = RateLimiter::new(Some("10/s".parse().unwrap()));
        limiter.turn().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let begun = Instant::now();
        for _ in 0..11 {
            limiter.turn().await;
        }
        assert!(begun.elapsed() >= Duration::from_millis(970), "{:?}", begun.elapsed());
    }
}
