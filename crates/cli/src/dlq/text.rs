//! Text for a terminal. A dead letter may contain any text, so control characters and characters that change the
//! writing direction are replaced.

use std::fmt::Write as _;

use sluicegate_dlq::{DeadLetter, RunReport};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Returns text for one line.
pub(super) fn line(text: &str) -> String {
    text.chars().map(|c| if is_plain(c) { c } else { '\u{FFFD}' }).collect()
}

/// Returns text for several lines.
pub(super) fn lines(text: &str) -> String {
    text.chars().map(|c| if is_plain(c) || matches!(c, '\n' | '\t') { c } else { '\u{FFFD}' }).collect()
}

fn is_plain(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Returns a time in UTC, to the second.
pub(super) fn time(moment: Option<OffsetDateTime>) -> String {
    let shown = moment
        .and_then(|moment| moment.to_offset(time::UtcOffset::UTC).replace_nanosecond(0).ok()?.format(&Rfc3339).ok());
    shown.unwrap_or_else(|| "-".to_owned())
}

/// Returns the name of a queue, which is the last part of an ARN.
pub(super) fn queue(name: &str) -> &str {
    if name.starts_with("arn:") { name.rsplit(':').next().unwrap_or(name) } else { name }
}

/// Returns a table with columns as wide as their widest cell.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}", cells.join("  ").trim_end());
    }
    out
}

/// Returns a message in one line.
pub(super) fn summary(letter: &DeadLetter) -> String {
    format!(
        "{}  {}  {}",
        time(letter.occurred_at()),
        line(&letter.id),
        line(letter.event_type.as_deref().unwrap_or("(no envelope)"))
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
    fn nothing_that_commands_a_terminal_is_shown() {
        assert_eq!(line("a\u{1b}[2Jb\nc\u{202e}d\u{9b}é"), "a\u{FFFD}[2Jb\u{FFFD}c\u{FFFD}d\u{FFFD}é");
        assert_eq!(lines("a\n\tb\r\u{7f}"), "a\n\tb\u{FFFD}\u{FFFD}");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["A".into(), "LONG".into()], vec!["äbc".into(), String::new()]];
        assert_eq!(table(&rows), "A    LONG\näbc\n");
    }

    #[test]
    fn times_are_in_utc_to_the_second() {
        let moment = OffsetDateTime::parse("2026-11-21T10:00:00.123+02:00", &Rfc3339).ok();
        assert_eq!(time(moment), "2026-11-21T08:00:00Z");
        assert_eq!(time(None), "-");
    }
}
