//! The file's text as values with their lines and paths.
//!
//! Every duplicate key is a fault of its own, nesting is limited instead of overflowing the stack, and aliases and merge keys
//! are refused: what is written is what is meant.

use std::collections::HashSet;

use saphyr::Scalar;
use saphyr_parser::{Event, Parser, ScanError, StrInput};

use super::Fault;

/// How deep values may nest. Ours: a topology needs five levels.
const DEPTH_MAX: usize = 32;

/// A value, the line it starts on (for a member, that of its key) and the path to it: `/queues/orders`.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) path: String,
    pub(super) data: Data,
}

#[derive(Debug)]
pub(super) enum Data {
    /// Nothing, or something that a fault was noted for already.
    Null,
    Bool(bool),
    Integer(i64),
    Text(String),
    /// A number with a fraction: nothing here is one.
    Fraction,
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.members().iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// The members of an object; none if it is something else.
    pub(super) fn members(&self) -> &[(String, Node)] {
        match &self.data {
            Data::Object(members) => members,
            _ => &[],
        }
    }

    /// The path to a member.
    pub(super) fn child_path(&self, key: &str) -> String {
        child_path(&self.path, key)
    }
}

fn child_path(path: &str, key: &str) -> String {
    format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Reads one document. `None` if it cannot be read to its end; other faults leave a tree that can still be checked.
pub(super) fn read(file: &str, text: &str, faults: &mut Vec<Fault>) -> Option<Node> {
    let mut reader = Reader { file, parser: Parser::new_from_str(text), faults };
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
                    return document.ok_or_else(|| self.fault(line, "", "the file is empty"));
                }
                (Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing, _) => {}
                (_, line) if document.is_some() => {
                    return Err(self.fault(line, "", "a second YAML document begins here"));
                }
                (event, line) => document = Some(self.value(event, line, String::new(), 0)?),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'y>, usize), Fault> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(error)) => Err(self.scan_fault(&error)),
            // After StreamEnd only, and nothing asks then.
            None => Err(self.fault(1, "", "the file ends early")),
        }
    }

    fn value(&mut self, event: Event<'y>, line: usize, path: String, depth: usize) -> Result<Node, Fault> {
        if depth > DEPTH_MAX {
            return Err(self.fault(line, &path, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let data = match event {
            Event::Scalar(text, style, _, tag) => {
                match Scalar::parse_from_cow_and_metadata(text, style, tag.as_ref()) {
                    Some(Scalar::Null) => Data::Null,
                    Some(Scalar::Boolean(value)) => Data::Bool(value),
                    Some(Scalar::Integer(value)) => Data::Integer(value),
                    Some(Scalar::FloatingPoint(_)) => Data::Fraction,
                    Some(Scalar::String(value)) => Data::Text(value.into_owned()),
                    None => self.refuse(line, &path, "the value does not fit its YAML tag"),
                }
            }
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break Data::List(items),
                        (event, line) => {
                            let path = format!("{path}/{}", items.len());
                            items.push(self.value(event, line, path, depth + 1)?);
                        }
                    }
                }
            }
            Event::MappingStart(..) => self.members(&path, depth)?,
            Event::Alias(_) => self.refuse(line, &path, "YAML aliases are not supported"),
            _ => return Err(self.fault(line, &path, "not a value")),
        };
        Ok(Node { line, path, data })
    }

    fn members(&mut self, path: &str, depth: usize) -> Result<Data, Fault> {
        let mut members = Vec::new();
        let mut seen = HashSet::new();
        loop {
            let (key, line) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Data::Object(members)),
                (Event::Scalar(key, ..), line) => (key.into_owned(), line),
                (_, line) => return Err(self.fault(line, path, "a key must be text")),
            };
            let path = child_path(path, &key);
            if key == "<<" {
                self.refuse(line, &path, "YAML merge keys are not supported");
            }
            let (event, _) = self.next()?;
            let node = self.value(event, line, path.clone(), depth + 1)?;
            if seen.insert(key.clone()) {
                members.push((key, node));
            } else {
                self.refuse(line, &path, "this key is already there, above");
            }
        }
    }

    fn refuse(&mut self, line: usize, path: &str, reason: &str) -> Data {
        let fault = self.fault(line, path, reason);
        self.faults.push(fault);
        Data::Null
    }

    fn scan_fault(&self, error: &ScanError) -> Fault {
        self.fault(error.marker().line(), "", format!("not YAML: {}", error.info()))
    }

    fn fault(&self, line: usize, path: &str, reason: impl Into<String>) -> Fault {
        Fault { file: self.file.to_owned(), line: line.max(1), path: path.to_owned(), reason: reason.into() }
    }
}
