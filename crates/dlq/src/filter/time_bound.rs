//! [`TimeBound`]: a point in time as users write it.

use std::{str::FromStr, time::Duration};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::FilterError;

/// A point in time: RFC 3339 (`2026-11-21T08:00:00Z`), or a time ago (`90s`, `30m`, `2h`, `7d`, `1w`, `1h30m`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeBound(pub OffsetDateTime);

impl FromStr for TimeBound {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
            return Ok(Self(moment));
        }
        let moment = ago(text).and_then(|ago| OffsetDateTime::now_utc().checked_sub(ago.try_into().ok()?));
        moment.map(Self).ok_or_else(|| {
            FilterError("expected a time such as 2026-11-21T08:00:00Z, or how long ago: 90s, 30m, 2h, 7d".to_owned())
        })
    }
}

fn ago(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds: u64 = 0;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit())?;
        let (digits, after) = rest.split_at(unit_at);
        let unit = after.chars().next()?;
        let unit_s = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        seconds = seconds.checked_add(digits.parse::<u64>().ok()?.checked_mul(unit_s)?)?;
        rest = after.strip_prefix(unit)?;
    }
    (!text.is_empty()).then_some(Duration::from_secs(seconds))
}
