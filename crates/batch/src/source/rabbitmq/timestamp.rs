//! Times as Lambda writes them into an Amazon MQ event: `Jan 1, 1970, 12:33:41 AM`, in UTC.
//!
//! Newer Java runtimes write a narrow no-break space (U+202F) before AM and PM, older ones omit the comma after the
//! year. Both forms are read (<https://bugs.openjdk.org/browse/JDK-8284840>). A time that cannot be read is dropped.

use time::{Date, Month, Time};

/// Returns the seconds since 1970, if the text is such a time.
pub(super) fn unix_s(text: &str) -> Option<u64> {
    let mut words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
    let month = month(words.next()?)?;
    let day = words.next()?.parse().ok()?;
    let year = words.next()?.parse().ok()?;
    let mut clock = words.next()?.splitn(3, ':').map(|part| part.parse::<u8>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let hour = match (words.next(), hour) {
        (None, 0..24) => hour,
        (Some("AM"), 1..=12) => hour % 12,
        (Some("PM"), 1..=12) => hour % 12 + 12,
        _ => return None,
    };
    if words.next().is_some() {
        return None;
    }
    let date = Date::from_calendar_date(year, month, day).ok()?;
    let time = Time::from_hms(hour, minute, second).ok()?;
    u64::try_from(date.with_time(time).assume_utc().unix_timestamp()).ok()
}

fn month(name: &str) -> Option<Month> {
    const NAMES: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let index = NAMES.iter().position(|known| *known == name)?;
    u8::try_from(index + 1).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formatted_timestamps_are_parsed() {
        for (text, expected) in [
            ("Jan 1, 1970, 12:33:41 AM", Some(2021)),
            ("Jan 1, 1970, 12:33:41\u{202F}AM", Some(2021)),
            ("Jan 1, 1970 12:33:41 PM", Some(45_221)),
            ("Jan 1, 1970, 1:33:41 PM", Some(48_821)),
            ("Nov 21, 2026, 8:59:57\u{202F}AM", Some(1_795_251_597)),
            ("Feb 29, 2024, 00:00:00", Some(1_709_164_800)),
            ("Feb 29, 2023, 1:00:00 AM", None),
            ("Dec 31, 1969, 1:00:00 AM", None),
            ("Jan 1, 1970, 13:00:00 AM", None),
            ("Jan 1, 1970, 1:00 AM", None),
            ("Jan 1, 1970, 1:00:00 AM UTC", None),
            ("1970-01-01T00:33:41Z", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(unix_s(text), expected, "{text:?}");
        }
    }
}
