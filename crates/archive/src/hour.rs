//! [`Hour`]: an hour of UTC, by which objects are partitioned.

use std::fmt;

use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

/// An hour of UTC in the years 1 to 9999. `Display` writes its folders: `date=2026-11-29/hour=10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(OffsetDateTime);

impl Hour {
    /// Returns the hour of a moment. A moment outside of the years has the hour of the Unix epoch.
    #[must_use]
    pub fn of(moment: OffsetDateTime) -> Self {
        let moment = moment.checked_to_offset(UtcOffset::UTC).filter(|moment| (1..=9999).contains(&moment.year()));
        let moment = moment.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let hour = Time::from_hms(moment.hour(), 0, 0).unwrap_or(Time::MIDNIGHT);
        Self(moment.replace_time(hour))
    }

    /// Reads the folders of an hour.
    pub(crate) fn parse(date: &str, hour: &str) -> Option<Self> {
        let mut parts = date.strip_prefix("date=")?.splitn(3, '-');
        let mut number = |digits: usize| {
            let part = parts.next()?;
            (part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit())).then_some(part)
        };
        let (year, month, day) = (number(4)?.parse().ok()?, number(2)?.parse::<u8>().ok()?, number(2)?.parse().ok()?);
        let date = Date::from_calendar_date(year, Month::try_from(month).ok()?, day).ok()?;
        let is_hour = |hour: &&str| hour.len() == 2 && hour.bytes().all(|byte| byte.is_ascii_digit());
        let hour = hour.strip_prefix("hour=").filter(is_hour)?.parse().ok()?;
        Some(Self::of(date.with_time(Time::from_hms(hour, 0, 0).ok()?).assume_utc()))
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.0.to_calendar_date();
        write!(f, "date={year:04}-{:02}-{day:02}/hour={:02}", u8::from(month), self.0.hour())
    }
}

#[cfg(test)]
mod tests {
    use time::format_description::well_known::Rfc3339;

    use super::*;

    #[test]
    fn a_moment_has_the_hour_of_utc() {
        for (moment, hour) in [
            ("2026-11-29T10:59:59.999Z", "date=2026-11-29/hour=10"),
            ("2026-11-29T00:30:00+01:00", "date=2026-11-28/hour=23"),
            ("0001-01-01T00:00:00Z", "date=0001-01-01/hour=00"),
            ("9999-12-31T23:00:00Z", "date=9999-12-31/hour=23"),
            ("9999-12-31T23:30:00-01:00", "date=1970-01-01/hour=00"),
            ("0000-01-01T00:00:00Z", "date=1970-01-01/hour=00"),
        ] {
            let found = Hour::of(OffsetDateTime::parse(moment, &Rfc3339).unwrap());
            assert_eq!(found.to_string(), hour, "{moment}");
            let (date, clock) = hour.split_once('/').unwrap();
            assert_eq!(Hour::parse(date, clock), Some(found), "{hour}");
        }
    }

    #[test]
    fn other_folders_are_not_hours() {
        for (date, hour) in [
            ("date=2026-02-30", "hour=10"),
            ("date=2026-11-29", "hour=24"),
            ("date=2026-11-29", "hour=1"),
            ("date=2026-1-029", "hour=10"),
            ("date=+026-11-29", "hour=10"),
            ("2026-11-29", "hour=10"),
            ("date=2026-11-29", "10"),
            ("date=2026-11-29", "hour=+1"),
        ] {
            assert_eq!(Hour::parse(date, hour), None, "{date}/{hour}");
        }
    }
}
