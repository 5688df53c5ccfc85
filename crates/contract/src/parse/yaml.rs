//! YAML as JSON with line numbers.
//!
//! Reads the parser's events itself, rather than a loaded tree, for three things a loader does not give: every duplicate
//! key instead of the first, a limit on nesting instead of a stack overflow, and keys as they are written (`200:` is
//! "200"). Aliases, custom tags and merge keys are refused: a contract says `$ref`.

use std::collections::HashSet;

use saphyr::Scalar;
use saphyr_parser::{Event, Parser, ScanError, StrInput};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::Fault;
use super::at::escape;

/// How deep collections may nest. Ours: real contracts stay below 30, and what walks the tree recurses.
const DEPTH_MAX: usize = 64;

/// A value and the line it starts on; for a member of an object, the line of its key.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) data: Data,
}

#[derive(Debug)]
pub(super) enum Data {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match &self.data {
            Data::Object(members) => members.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.data {
            Data::Null => serializer.serialize_unit(),
            Data::Bool(value) => serializer.serialize_bool(*value),
            Data::Number(value) => value.serialize(serializer),
            Data::Text(value) => serializer.serialize_str(value),
            Data::List(items) => serializer.collect_seq(items),
            Data::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(key, node)| map.serialize_entry(key, node))?;
                map.end()
            }
        }
    }
}

/// Reads one document. `None` if it cannot be read to its end; other faults leave a tree that can still be checked.
pub(super) fn read(file: &str, yaml: &str, faults: &mut Vec<Fault>) -> Option<Node> {
    let mut reader = Reader { file, parser: Parser::new_from_str(yaml), faults };
    match reader.document() {
        Ok(node) => Some(node),
        Err(fault) => {
            faults.push(fault);
            None
        }
    }
}

struct Reader<'f, 'y> {
    file: &'f str,
    parser: Parser<'y, StrInput<'y>>,
    faults: &'f mut Vec<Fault>,
}

impl<'y> Reader<'_, 'y> {
    fn document(&mut self) -> Result<Node, Fault> {
        let mut document = None;
        loop {
            match self.next()? {
                (Event::StreamEnd, line) => {
                    return document.ok_or_else(|| self.fault(line, "", "the document is empty"));
                }
                (Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing, _) => {}
                (_, line) if document.is_some() => {
                    return Err(self.fault(line, "", "a second YAML document begins here"));
                }
                (event, line) => document = Some(self.value(event, line, "", 0)?),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'y>, usize), Fault> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(error)) => Err(self.scan_fault(&error)),
            // After StreamEnd only, and nothing asks then.
            None => Err(self.fault(1, "", "the document ends early")),
        }
    }

    fn value(&mut self, event: Event<'y>, line: usize, pointer: &str, depth: usize) -> Result<Node, Fault> {
        if depth > DEPTH_MAX {
            return Err(self.fault(line, pointer, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let data = match event {
            Event::Scalar(text, style, _, tag) => {
                match Scalar::parse_from_cow_and_metadata(text, style, tag.as_ref()) {
                    Some(scalar) => self.scalar(scalar, line, pointer),
                    None => self.refuse(line, pointer, "the value does not fit its YAML tag"),
                }
            }
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break Data::List(items),
                        (event, line) => {
                            let pointer = format!("{pointer}/{}", items.len());
                            items.push(self.value(event, line, &pointer, depth + 1)?);
                        }
                    }
                }
            }
            Event::MappingStart(..) => self.members(pointer, depth)?,
            Event::Alias(_) => self.refuse(line, pointer, "YAML aliases are not supported; use $ref"),
            _ => return Err(self.fault(line, pointer, "not a value")),
        };
        Ok(Node { line, data })
    }

    fn members(&mut self, pointer: &str, depth: usize) -> Result<Data, Fault> {
        let mut members = Vec::new();
        let mut seen = HashSet::new();
        loop {
            let (key, line) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Data::Object(members)),
                (Event::Scalar(key, ..), line) => (key.into_owned(), line),
                (_, line) => return Err(self.fault(line, pointer, "a key must be text")),
            };
            let pointer = format!("{pointer}/{}", escape(&key));
            if key == "<<" {
                self.refuse(line, &pointer, "YAML merge keys are not supported; use $ref");
            }
            let (event, _) = self.next()?;
            let node = self.value(event, line, &pointer, depth + 1)?;
            if seen.insert(key.clone()) {
                members.push((key, node));
            } else {
                self.refuse(line, &pointer, "this key is already there, above");
            }
        }
    }

    fn scalar(&mut self, scalar: Scalar<'_>, line: usize, pointer: &str) -> Data {
        match scalar {
            Scalar::Null => Data::Null,
            Scalar::Boolean(value) => Data::Bool(value),
            Scalar::Integer(value) => Data::Number(value.into()),
            Scalar::FloatingPoint(value) => match serde_json::Number::from_f64(value.into_inner()) {
                Some(number) => Data::Number(number),
                None => self.refuse(line, pointer, "JSON has no infinity and no NaN"),
            },
            Scalar::String(value) => Data::Text(value.into_owned()),
        }
    }

    fn refuse(&mut self, line: usize, pointer: &str, reason: &str) -> Data {
        let fault = self.fault(line, pointer, reason);
        self.faults.push(fault);
        Data::Null
    }

    fn scan_fault(&self, error: &ScanError) -> Fault {
        self.fault(error.marker().line(), "", format!("not YAML: {}", error.info()))
    }

    fn fault(&self, line: usize, pointer: &str, reason: impl Into<String>) -> Fault {
        Fault { file: self.file.to_owned(), line: line.max(1), pointer: pointer.to_owned(), reason: reason.into() }
    }
}
