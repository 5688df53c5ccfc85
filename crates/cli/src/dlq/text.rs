//! Texts about dead letters.

use sluicegate_dlq::{DeadLetter, RunReport};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

pub(super) use crate::text::{line, lines, table};

/// Returns a time in UTC, to the second.
pub(super) fn time(moment: Option<OffsetDateTime>) -> String {
    let shown = moment
        .and_then(|moment| moment.to_offset(time::UtcOffset::UTC).replace_nanosecond(0).ok()?.format(&Rfc3339).ok());
    shown.unwrap_or_else(|| "-".to_owned())
}

/// Returns a text in one line, `-` if there is none.
pub(super) fn optional(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), line)
}

/// Returns the name of a queue, which is the last part of an ARN.
pub(super) fn queue(name: &str) -> &str {
    if name.starts_with("arn:") { name.rsplit(':').next().unwrap_or(name) } else { name }
}

/// Returns a message in one line.
pub(super) fn summary(letter: &DeadLetter) -> String {
    format!(
        "{}  {}  {}",
        time(letter.occurred_at()),
        line(&letter.id),
        match (&letter.event_type, &letter.pointer) {
            (Some(event_type), _) => line(event_type),
            (None, Some(_)) => "(payload in S3)".to_owned(),
            (None, None) => "(no envelope)".to_owned(),
        }
    )
}

/// Returns the note about messages that could not be reached, if any.
pub(super) fn unreached(report: &RunReport) -> Option<String> {
    let count = report.unreached.filter(|count| *count > 0)?;
    Some(match report.groups_held {
        0 => format!(
            "about {count} more could not be reached: another reader has them, they have just arrived, or the queue's count is delayed"
        ),
        groups => format!(
            "about {count} more could not be reached: a FIFO queue blocks groups with a message in flight ({groups} groups); or another \
             reader has them"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc_to_the_second() {
        let moment = OffsetDateTime::parse("2026-11-21T10:00:00.123+02:00", &Rfc3339).ok();
        assert_eq!(time(moment), "2026-11-21T08:00:00Z");
        assert_eq!(time(None), "-");
    }
}
