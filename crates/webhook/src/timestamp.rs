//! The time of signing, and the check against its limits.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::SignatureError;
use crate::scheme::{TimeUnit, Timestamp};

impl TimeUnit {
    /// Returns a time in this unit, in seconds since 1970.
    fn unix_s(self, text: &[u8]) -> Option<i64> {
        let text = std::str::from_utf8(text).ok()?;
        let whole = || text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i64>().ok()).flatten();
        match self {
            Self::S => whole(),
            Self::Ms => whole().map(|ms| ms / 1000),
            Self::Rfc3339 => OffsetDateTime::parse(text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp),
        }
    }

    /// Writes a time in seconds since 1970 in this unit; `None` for one before 1970 or after the year 9999.
    pub(crate) fn write(self, unix_s: i64) -> Option<String> {
        if unix_s < 0 {
            return None;
        }
        match self {
            Self::S => Some(unix_s.to_string()),
            Self::Ms => Some(unix_s.checked_mul(1000)?.to_string()),
            Self::Rfc3339 => OffsetDateTime::from_unix_timestamp(unix_s).ok()?.format(&Rfc3339).ok(),
        }
    }
}

impl Timestamp {
    /// Returns the place in words: `the header x-time`.
    pub(crate) fn place(&self) -> String {
        if let Some(claim) = &self.claim {
            return format!("the claim {claim} of the token");
        }
        match (&self.field, &self.body) {
            (Some(field), _) => format!("the field {field} of the signature"),
            (None, Some(pointer)) => format!("{pointer} in the body"),
            (None, None) => format!("the header {}", self.header.first()),
        }
    }

    /// Checks that the time is within the limits.
    pub(crate) fn check(&self, text: &[u8], now_unix_s: i64) -> Result<(), SignatureError> {
        let malformed = || SignatureError::TimestampMalformed { place: self.place(), unit: self.unit };
        let signed_unix_s = self.unit.unix_s(text).ok_or_else(malformed)?;
        let off_s = signed_unix_s.abs_diff(now_unix_s);
        match signed_unix_s < now_unix_s {
            true if self.past_seconds.is_some_and(|past| off_s > past) => {
                Err(SignatureError::TimestampTooOld { age_s: off_s })
            }
            false if self.future_seconds.is_some_and(|future| off_s > future) => {
                Err(SignatureError::TimestampTooNew { ahead_s: off_s })
            }
            _ => Ok(()),
        }
    }
}
