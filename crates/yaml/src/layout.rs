//! The text as the parser reads it, and the mapping of its positions to the bytes of the file.
//!
//! YAML 1.2 requires the lines of a flow collection to be indented further than the block around them. PyYAML, and so
//! SAM, does not:
//!
//! ```yaml
//! Variables: !Join ['', [
//!   a,
//! ]]
//! ```
//!
//! The parser refuses such a line. The line is then indented in a copy of the text, which does not change its meaning,
//! and the copy is parsed.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use saphyr_parser::{Marker, ScalarStyle, ScanError, Span};

/// Largest number of lines that start too far left: each costs one more pass over the text.
pub(crate) const OUTDENTED_LINES_MAX: usize = 200;
/// Largest indentation of such a line, in columns.
const INDENT_MAX: usize = 1_000;

/// The parser's errors about a line inside a flow collection that starts too far left.
const OUTDENTED: [&str; 2] = ["invalid indentation", "invalid indentation in flow construct"];

/// Returns whether the error is about a line inside a flow collection that starts too far left.
pub(crate) fn is_outdented(error: &ScanError) -> bool {
    OUTDENTED.contains(&error.info())
}

/// A text with some of its lines indented.
pub(crate) struct Layout<'t> {
    original: &'t str,
    pub(crate) text: Cow<'t, str>,
    /// Columns put before a line, by its number.
    inserted: BTreeMap<usize, usize>,
    /// The byte at which each character of `text` starts, and the end: the parser counts characters.
    offsets: Vec<usize>,
}

impl<'t> Layout<'t> {
    pub(crate) fn new(original: &'t str) -> Self {
        Self { original, text: original.into(), inserted: BTreeMap::new(), offsets: offsets(original) }
    }

    /// Indents one line, counted from 1, further than any line of the file.
    pub(crate) fn indent(&mut self, line: usize) {
        let depth = |line: &str| line.len() - line.trim_start_matches(' ').len();
        let depth = self.original.lines().map(depth).max().unwrap_or_default().min(INDENT_MAX) + 1;
        self.inserted.insert(line, depth);
        let mut text = String::with_capacity(self.text.len() + depth);
        for (number, each) in (1..).zip(self.text.split_inclusive('\n')) {
            if number == line {
                text.extend(std::iter::repeat_n(' ', depth));
            }
            text.push_str(each);
        }
        self.offsets = offsets(&text);
        self.text = text.into();
    }

    /// Returns the bytes of the file that a span of the parser covers.
    pub(crate) fn bytes(&self, span: &Span) -> Range<usize> {
        let start = self.byte(&span.start);
        start..self.byte(&span.end).max(start)
    }

    fn byte(&self, mark: &Marker) -> usize {
        let byte = self.offsets.get(mark.index()).copied().unwrap_or(self.text.len());
        let above: usize = self.inserted.range(..mark.line()).map(|(_, columns)| columns).sum();
        let here = self.inserted.get(&mark.line()).copied().unwrap_or_default().min(mark.col());
        byte.saturating_sub(above + here)
    }

    /// Returns the bytes of a scalar alone: the parser's span of a quoted scalar includes blanks and a comment after
    /// it.
    pub(crate) fn scalar(&self, range: Range<usize>, style: ScalarStyle) -> Range<usize> {
        let Some(slice) = self.original.get(range.clone()) else { return range };
        let quote = match style {
            ScalarStyle::SingleQuoted => '\'',
            ScalarStyle::DoubleQuoted => '"',
            _ => return range.start..range.start + slice.trim_end().len(),
        };
        let Some(open) = slice.find(quote) else { return range };
        let mut letters = slice[open + 1..].char_indices().peekable();
        while let Some((at, letter)) = letters.next() {
            let is_doubled = letter == quote && quote == '\'' && letters.peek().is_some_and(|(_, next)| *next == '\'');
            if is_doubled || (letter == '\\' && quote == '"') {
                letters.next();
            } else if letter == quote {
                return range.start..range.start + open + 1 + at + 1;
            }
        }
        range
    }

    /// Returns the byte after the brace or bracket at `end`; `None` where a collection in block style ends.
    pub(crate) fn after_closing(&self, end: usize) -> Option<usize> {
        self.original.get(end..)?.starts_with([']', '}']).then_some(end + 1)
    }
}

fn offsets(text: &str) -> Vec<usize> {
    text.char_indices().map(|(offset, _)| offset).chain([text.len()]).collect()
}
