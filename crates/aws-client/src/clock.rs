//! [`Clock`]: the clock of a service, by which requests to it are signed.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

/// Least difference of the clocks that explains a refused signature, from the SDK.
const CLOCK_SKEW_MIN: Duration = Duration::from_secs(4 * 60);

/// Codes of a signature that may be refused because of the clock, from the SDK.
const CLOCK_SKEW_CODES: [&str; 5] = [
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "AuthFailure",
    "RequestTimeTooSkewed",
    "AccessDeniedException",
];

/// The clock of a service: this machine's, corrected once the service has refused a signature for its date.
#[derive(Default)]
pub(crate) struct Clock {
    /// How far the clock of the service is ahead, in milliseconds.
    skew_ms: AtomicI64,
}

impl Clock {
    /// Returns the time of the service.
    pub(crate) fn of_service(&self, time: SystemTime) -> SystemTime {
        shifted(time, self.skew_ms.load(Ordering::Relaxed))
    }

    /// Returns whether a difference of the clocks explains an error, and corrects the clock.
    pub(crate) fn explains(&self, code: Option<&str>, date: Option<&str>, sent: SystemTime) -> bool {
        code.is_some_and(|code| CLOCK_SKEW_CODES.contains(&code)) && self.correct(date, sent)
    }

    /// Sets the clock by the `Date` of an answer. Returns whether the clocks differ enough to refuse signatures.
    fn correct(&self, date: Option<&str>, sent: SystemTime) -> bool {
        let date = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
        let Some(theirs_ms) = date.and_then(|date| date.to_millis().ok()) else { return false };
        let unix_ms = |time: SystemTime| {
            let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
        };
        // The service looks at its clock halfway between request and answer.
        let ours_ms = unix_ms(sent).midpoint(unix_ms(SystemTime::now()));
        let skew_ms = theirs_ms.saturating_sub(ours_ms);
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
        Duration::from_millis(skew_ms.unsigned_abs()) > CLOCK_SKEW_MIN
    }
}

fn shifted(time: SystemTime, by_ms: i64) -> SystemTime {
    let by = Duration::from_millis(by_ms.unsigned_abs());
    let shifted = if by_ms < 0 { time.checked_sub(by) } else { time.checked_add(by) };
    shifted.unwrap_or(time)
}
