//! A YAML document whose nodes know where they are written, so that one of them can be changed and the rest left as it is.
//!
//! Only what a template may hold: no aliases, no duplicate keys, plain keys, one document.

use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Value, json};

use super::Refusal;

/// How deep a template may nest; far more than any real one, far less than the stack.
const NESTING_MAX: usize = 100;

/// One node: what it is, and which bytes of the text it is written in.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// From the first byte to the one after the last. Of a mapping or list in block style, to the end of its last node.
    pub range: Range<usize>,
    /// `!Ref` and the like.
    tag: Option<String>,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: String,
    pub key_range: Range<usize>,
    pub value: Node,
}

impl Entry {
    /// From the first byte of the key to the one after the value's last.
    pub(super) fn range(&self) -> Range<usize> {
        self.key_range.start..self.value.range.end.max(self.key_range.end)
    }
}

impl Node {
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let mut reader = Reader { text, offsets: offsets(text), frames: Vec::new(), root: None };
        for event in Parser::new_from_str(text) {
            let (event, span) =
                event.map_err(|error| Refusal { line: error.marker().line(), reason: error.info().to_owned() })?;
            let refuse = |reason: String| Refusal { line: span.start.line(), reason };
            reader.on(event, span.start.index()..span.end.index()).map_err(refuse)?;
        }
        reader.root.ok_or_else(|| Refusal { line: 1, reason: "the file is empty".to_owned() })
    }

    /// The entries, of a mapping; none of anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Map(entries) => entries,
            Kind::Scalar(_) | Kind::List(_) => &[],
        }
    }

    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The text of a scalar without a function.
    pub(super) fn text(&self) -> Option<&str> {
        match (&self.kind, &self.tag) {
            (Kind::Scalar(text), None) => Some(text),
            _ => None,
        }
    }

    /// Whether the mapping or list is written in brackets.
    pub(super) fn is_flow(&self, text: &str) -> bool {
        text[self.range.start..].starts_with(['{', '['])
    }

    /// What the node says, wherever and however it is written.
    pub(super) fn value(&self) -> Value {
        let value = match &self.kind {
            Kind::Scalar(text) => Value::from(text.as_str()),
            Kind::List(items) => items.iter().map(Self::value).collect(),
            Kind::Map(entries) => Value::Object(
                entries.iter().map(|entry| (entry.key.clone(), entry.value.value())).collect::<Map<_, _>>(),
            ),
        };
        self.tag.as_ref().map_or(value.clone(), |tag| json!({ tag.as_str(): value }))
    }
}

/// The parser counts characters; the byte each one starts at, and the end.
fn offsets(text: &str) -> Vec<usize> {
    text.char_indices().map(|(offset, _)| offset).chain([text.len()]).collect()
}

/// The bytes of a scalar alone: the parser counts the blanks and the comment after a quoted one to it.
fn written(text: &str, range: Range<usize>, style: ScalarStyle) -> Range<usize> {
    let slice = &text[range.clone()];
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

struct Reader<'t> {
    text: &'t str,
    offsets: Vec<usize>,
    frames: Vec<Frame>,
    root: Option<Node>,
}

struct Frame {
    node: Node,
    key: Option<(String, Range<usize>)>,
}

impl Reader<'_> {
    fn on(&mut self, event: Event<'_>, span: Range<usize>) -> Result<(), String> {
        let range = self.byte(span.start)..self.byte(span.end);
        let tag = |tag: Option<&Tag>| {
            tag.filter(|tag| !tag.is_yaml_core_schema() && !tag.suffix.is_empty()).map(ToString::to_string)
        };
        match event {
            Event::Scalar(text, style, _, of) => {
                let range = written(self.text, range, style);
                if let Some(Frame { node: Node { kind: Kind::Map(_), .. }, key: key @ None }) = self.frames.last_mut() {
                    *key = Some((text.into_owned(), range));
                    return Ok(());
                }
                self.put(Node { range, tag: tag(of.as_deref()), kind: Kind::Scalar(text.into_owned()) })
            }
            Event::SequenceStart(_, of) => self.open(range, tag(of.as_deref()), Kind::List(Vec::new())),
            Event::MappingStart(_, of) => self.open(range, tag(of.as_deref()), Kind::Map(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Frame { mut node, .. }) = self.frames.pop() else { return Ok(()) };
                if node.is_flow(self.text) {
                    node.range.end = range.end;
                }
                self.put(node)
            }
            Event::Alias(_) => Err("CloudFormation does not support YAML aliases".to_owned()),
            Event::DocumentStart(_) if self.root.is_some() => Err("a template is one YAML document".to_owned()),
            _ => Ok(()),
        }
    }

    fn byte(&self, character: usize) -> usize {
        self.offsets.get(character).copied().unwrap_or(self.text.len())
    }

    fn open(&mut self, range: Range<usize>, tag: Option<String>, kind: Kind) -> Result<(), String> {
        if self.frames.len() >= NESTING_MAX {
            return Err(format!("nested deeper than {NESTING_MAX} levels"));
        }
        if let Some(Frame { node: Node { kind: Kind::Map(_), .. }, key: None }) = self.frames.last() {
            return Err("a key must be a plain string".to_owned());
        }
        self.frames.push(Frame { node: Node { range, tag, kind }, key: None });
        Ok(())
    }

    fn put(&mut self, node: Node) -> Result<(), String> {
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        let mut end = node.range.end;
        match &mut frame.node.kind {
            Kind::List(items) => items.push(node),
            Kind::Map(entries) => {
                let (key, key_range) = frame.key.take().unwrap_or_default();
                if entries.iter().any(|entry| entry.key == key) {
                    return Err(format!("`{key}` is written twice"));
                }
                // A missing value may be said to lie beyond the line of its key.
                let empty = matches!(&node.kind, Kind::Scalar(text) if text.is_empty() && node.range.is_empty());
                let node = if empty { Node { range: key_range.end..key_range.end, ..node } } else { node };
                end = node.range.end.max(key_range.end);
                entries.push(Entry { key, key_range, value: node });
            }
            Kind::Scalar(_) => {}
        }
        frame.node.range.end = frame.node.range.end.max(end);
        Ok(())
    }
}
