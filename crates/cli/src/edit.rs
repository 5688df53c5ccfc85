//! Edits of a text by bytes, so that comments, order and line ends stay as they are.

use std::{collections::BTreeMap, ops::Range};

/// The edits of one text. Ranges do not overlap.
#[derive(Debug, Default)]
pub(crate) struct TextEdits {
    replaced: BTreeMap<usize, (Range<usize>, String)>,
    inserted: BTreeMap<usize, String>,
}

impl TextEdits {
    pub(crate) fn is_empty(&self) -> bool {
        self.replaced.is_empty() && self.inserted.is_empty()
    }

    pub(crate) fn replace(&mut self, range: Range<usize>, new: impl Into<String>) {
        self.replaced.insert(range.start, (range, new.into()));
    }

    /// Removes the lines; comments above them stay.
    pub(crate) fn remove_lines(&mut self, text: &str, range: &Range<usize>) {
        let (mut start, end) = (line_start(text, range.start), line_end(text, range.end));
        // If the last line has no line break, the line break before it is removed too.
        if !text[..end].ends_with('\n') {
            start = text[..start].trim_end_matches(['\r', '\n']).len();
        }
        self.replace(start..end, String::new());
    }

    /// Inserts whole lines, which end with `\n`, at the start of a line or at the end of the text.
    pub(crate) fn insert_lines(&mut self, text: &str, place: usize, lines: &str) {
        let line_break = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let mut lines = lines.replace('\n', line_break);
        if place > 0 && !text[..place].ends_with('\n') {
            lines.truncate(lines.trim_end_matches(['\r', '\n']).len());
            lines.insert_str(0, line_break);
        }
        self.inserted.entry(place).or_default().push_str(&lines);
    }

    /// Returns the text with the edits applied.
    pub(crate) fn apply(&self, text: &str) -> String {
        let (mut out, mut done) = (String::new(), 0);
        let mut places: Vec<usize> = self.replaced.keys().chain(self.inserted.keys()).copied().collect();
        places.sort_unstable();
        places.dedup();
        for place in places {
            out.push_str(&text[done.min(place)..place]);
            done = done.max(place);
            out.push_str(self.inserted.get(&place).map_or("", String::as_str));
            if let Some((range, new)) = self.replaced.get(&place) {
                out.push_str(new);
                done = range.end;
            }
        }
        out + &text[done..]
    }
}

/// Returns the start of the line with this byte.
pub(crate) fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |end| end + 1)
}

/// Returns the start of the next line.
pub(crate) fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |end| at + end + 1)
}

/// Returns a YAML scalar that is also valid in a flow mapping, quoted like the previous one.
pub(crate) fn scalar(value: &str, before: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/_.$~ -".contains(letter);
    match before.chars().next() {
        Some('"') => format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
        Some('\'') => format!("'{}'", value.replace('\'', "''")),
        _ if value.chars().all(is_plain) => value.to_owned(),
        _ => format!("'{}'", value.replace('\'', "''")),
    }
}

#[cfg(test)]
mod tests {
    use super::TextEdits;

    #[test]
    fn lines_are_inserted_and_removed_with_their_line_breaks() {
        for (text, place, expected) in [
            ("a\nb\n", 2, "a\nnew\nb\n"),
            ("a\r\nb\r\n", 3, "a\r\nnew\r\nb\r\n"),
            ("a\nb\n", 4, "a\nb\nnew\n"),
            ("a\nb", 3, "a\nb\nnew"),
            ("", 0, "new\n"),
        ] {
            let mut edits = TextEdits::default();
            edits.insert_lines(text, place, "new\n");
            let edited = edits.apply(text);
            assert_eq!(edited, expected, "{text:?}");
            let at = edited.find("new").expect("it is there");
            let mut edits = TextEdits::default();
            edits.remove_lines(&edited, &(at..at + 3));
            assert_eq!(edits.apply(&edited), text);
        }
    }
}
