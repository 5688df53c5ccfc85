//! Text for a terminal. A message or a secret's entry may contain any text, so control characters and characters that
//! change the writing direction are replaced.

use std::fmt::Write as _;

/// Returns text for one line.
pub(crate) fn line(text: &str) -> String {
    text.chars().map(|c| if is_plain(c) { c } else { '\u{FFFD}' }).collect()
}

/// Returns text for several lines.
pub(crate) fn lines(text: &str) -> String {
    text.chars().map(|c| if is_plain(c) || matches!(c, '\n' | '\t') { c } else { '\u{FFFD}' }).collect()
}

fn is_plain(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Returns a table with columns as wide as their widest cell.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(line("a\u{1b}[2Jb\nc\u{202e}d\u{9b}é"), "a\u{FFFD}[2Jb\u{FFFD}c\u{FFFD}d\u{FFFD}é");
        assert_eq!(lines("a\n\tb\r\u{7f}"), "a\n\tb\u{FFFD}\u{FFFD}");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["A".into(), "LONG".into()], vec!["äbc".into(), String::new()]];
        assert_eq!(table(&rows), "A    LONG\näbc\n");
    }
}
