//! Reads a text into a document.
//!
//! Uses the parser's events instead of its tree, because faults need every duplicate key, a limit on nesting (instead
//! of a stack overflow), and keys as they are written.

use std::{collections::HashMap, ops::Range};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use crate::layout::{Layout, OUTDENTED_LINES_MAX, is_outdented};
use crate::{Data, Dialect, Fault, Faults, Member, Node, pointer, scalar};

/// Deepest nesting of collections. Chosen here: real files stay below 30, and code that walks the tree is recursive.
pub const DEPTH_MAX: usize = 100;
/// Largest number of values of a document, those that aliases repeat included. Chosen here: real files stay below a
/// tenth of it.
pub const NODES_MAX: usize = 500_000;
/// Largest text, in bytes. Chosen here: CloudFormation accepts 1 MB, and real API descriptions stay below 15 MB.
pub const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A document, read to its end.
#[derive(Debug, Clone)]
pub struct Document {
    /// The value of the document.
    pub root: Node,
    /// Faults that leave a tree to check. The node at fault is [`Data::Null`].
    pub faults: Vec<Fault>,
    /// Duplicate keys, in a dialect in which they are not a fault.
    pub duplicates: Vec<Fault>,
}

impl Document {
    /// Reads one YAML or JSON document. `file` is the name that faults give.
    ///
    /// # Errors
    /// The text cannot be read to its end. Faults that leave a tree are in [`Document::faults`].
    pub fn read(file: &str, text: &str, dialect: Dialect) -> Result<Self, Faults> {
        let fault = |line: usize, reason: String| Fault {
            file: file.to_owned(),
            line: line.max(1),
            pointer: String::new(),
            reason,
        };
        if text.len() > TEXT_BYTES_MAX {
            return Err(fault(1, format!("has {} bytes, of {TEXT_BYTES_MAX} allowed", text.len())).into());
        }
        let mut layout = Layout::new(text);
        let (mut indented, mut last) = (0, 0);
        loop {
            let mut reader = Reader::new(file, dialect, &layout);
            let error = match reader.document() {
                Ok(root) => return Ok(Self { root, faults: reader.faults, duplicates: reader.duplicates }),
                Err(Stop::Fault(fault)) => {
                    reader.faults.push(fault);
                    return Err(reader.faults.into());
                }
                Err(Stop::Syntax(error)) => error,
            };
            let line = error.marker().line();
            if !is_outdented(&error) {
                return Err(fault(line, format!("not YAML: {}", error.info())).into());
            }
            if line <= last || indented == OUTDENTED_LINES_MAX {
                let reason =
                    "starts further left than the block around it: indent the lines between its braces or brackets";
                return Err(fault(line, reason.to_owned()).into());
            }
            layout.indent(line);
            (indented, last) = (indented + 1, line);
        }
    }
}

/// The reason why the text cannot be read to its end.
enum Stop {
    Syntax(ScanError),
    Fault(Fault),
}

/// The tag of a value, as far as it matters here.
enum Tagged {
    Untagged,
    /// A tag of YAML itself: "str" for `!!str`.
    Yaml(String),
    /// A short tag of CloudFormation: "Ref" for `!Ref`.
    Short(String),
}

struct Reader<'t> {
    file: &'t str,
    dialect: Dialect,
    layout: &'t Layout<'t>,
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    faults: Vec<Fault>,
    duplicates: Vec<Fault>,
}

impl<'t> Reader<'t> {
    fn new(file: &'t str, dialect: Dialect, layout: &'t Layout<'t>) -> Self {
        let parser = Parser::new_from_str(&layout.text);
        let (faults, duplicates) = (Vec::new(), Vec::new());
        Self { file, dialect, layout, parser, anchors: HashMap::new(), nodes: 0, faults, duplicates }
    }

    fn document(&mut self) -> Result<Node, Stop> {
        let mut root = None;
        loop {
            match self.next()? {
                (Event::StreamEnd, span) => {
                    return root.ok_or_else(|| self.stop(span.start.line(), "", "the file is empty"));
                }
                (Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing, _) => {}
                (_, span) if root.is_some() => {
                    return Err(self.stop(span.start.line(), "", "a second YAML document begins here"));
                }
                (event, span) => root = Some(self.value(event, span, span.start.line(), String::new(), 0)?),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Stop> {
        match self.parser.next_event() {
            Some(event) => event.map_err(Stop::Syntax),
            // Only after StreamEnd, where reading has ended.
            None => Err(self.stop(1, "", "the file ends early")),
        }
    }

    fn value(
        &mut self,
        event: Event<'t>,
        span: Span,
        line: usize,
        pointer: String,
        depth: usize,
    ) -> Result<Node, Stop> {
        if depth > DEPTH_MAX {
            return Err(self.stop(line, &pointer, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        self.count(1, line, &pointer)?;
        let range = self.layout.bytes(&span);
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tagged = self.tagged(tag.as_deref(), line, &pointer);
                let (data, tag) = match tagged {
                    Tagged::Short(tag) => (Ok(Data::Text(text.into_owned())), Some(tag)),
                    _ if style != ScalarStyle::Plain => (Ok(Data::Text(text.into_owned())), None),
                    Tagged::Yaml(kind) => (scalar::tagged(&text, &kind, self.dialect), None),
                    Tagged::Untagged => (scalar::plain(&text, self.dialect), None),
                };
                let data = data.unwrap_or_else(|reason| self.refuse(line, &pointer, reason));
                let range = self.layout.scalar(range, style);
                (anchor, Node { line, range, pointer, tag, is_flow: false, data })
            }
            Event::SequenceStart(anchor, tag) => {
                let tag = self.collection_tag(tag.as_deref(), "seq", line, &pointer);
                let (data, range, is_flow) = self.items(range, &pointer, depth)?;
                (anchor, Node { line, range, pointer, tag, is_flow, data })
            }
            Event::MappingStart(anchor, tag) => {
                let tag = self.collection_tag(tag.as_deref(), "map", line, &pointer);
                let (data, range, is_flow) = self.members(range, &pointer, depth)?;
                (anchor, Node { line, range, pointer, tag, is_flow, data })
            }
            Event::Alias(anchor) => return self.alias(anchor, line, range, pointer, depth),
            _ => return Err(self.stop(line, &pointer, "not a value")),
        };
        if anchor > 0 && self.dialect == Dialect::CloudFormation {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// Reads the items of a sequence that starts with `range`; returns its bytes too, and whether it is in brackets.
    fn items(&mut self, range: Range<usize>, pointer: &str, depth: usize) -> Result<(Data, Range<usize>, bool), Stop> {
        let mut items: Vec<Node> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                let last = items.iter().map(|item| item.range.end).fold(range.end, usize::max);
                let (range, is_flow) = self.closed(range.start..last, &span);
                return Ok((Data::List(items), range, is_flow));
            }
            let pointer = format!("{pointer}/{}", items.len());
            items.push(self.value(event, span, span.start.line(), pointer, depth + 1)?);
        }
    }

    /// Reads the members of a mapping, as `items` does.
    fn members(
        &mut self,
        range: Range<usize>,
        pointer: &str,
        depth: usize,
    ) -> Result<(Data, Range<usize>, bool), Stop> {
        let mut members: Vec<Member> = Vec::new();
        let mut merged = Vec::new();
        let mut lines = HashMap::new();
        let mut last = range.end;
        loop {
            let (event, key_span) = self.next()?;
            let line = key_span.start.line();
            let (key, style) = match event {
                Event::Scalar(key, style, ..) => (key.into_owned(), style),
                Event::MappingEnd => {
                    merge(&mut members, merged);
                    let (range, is_flow) = self.closed(range.start..last, &key_span);
                    return Ok((Data::Map(members), range, is_flow));
                }
                _ => return Err(self.stop(line, pointer, "a key must be text")),
            };
            let child = pointer::child(pointer, &key);
            let key_range = self.layout.scalar(self.layout.bytes(&key_span), style);
            let (event, span) = self.next()?;
            let mut value = self.value(event, span, line, child, depth + 1)?;
            // The parser may report an omitted value on a line after its key.
            if value.data == Data::Null && value.range.is_empty() {
                value.range = key_range.end..key_range.end;
            }
            last = last.max(key_range.end).max(value.range.end);
            if key == "<<" && style == ScalarStyle::Plain {
                match self.dialect {
                    Dialect::Strict => drop(self.refuse(line, &value.pointer, "YAML merge keys are not supported")),
                    Dialect::CloudFormation => {
                        self.check_merged(&value);
                        merged.push((pointer.to_owned(), value));
                        continue;
                    }
                }
            }
            if let Some(first) = lines.insert(key.clone(), line) {
                let fault = self.fault(line, &value.pointer, format!("this key is already there, on line {first}"));
                if self.dialect == Dialect::Strict {
                    self.faults.push(fault);
                    continue;
                }
                self.duplicates.push(fault);
                members.retain(|member| member.key != key);
            }
            members.push(Member { key, key_range, value });
        }
    }

    /// Returns the bytes of a collection that ends at `end`, and whether it is in braces or brackets.
    fn closed(&self, range: Range<usize>, end: &Span) -> (Range<usize>, bool) {
        // The span may go on to the end of the line; that of a collection in block style is empty.
        let end = self.layout.bytes(end);
        match self.layout.after_closing(end.start).filter(|_| !end.is_empty()) {
            Some(end) => (range.start..end, true),
            None => (range, false),
        }
    }

    fn alias(
        &mut self,
        anchor: usize,
        line: usize,
        range: Range<usize>,
        pointer: String,
        depth: usize,
    ) -> Result<Node, Stop> {
        let known = self.anchors.get(&anchor).cloned();
        let node = match known {
            _ if self.dialect == Dialect::Strict => {
                let data = self.refuse(line, &pointer, "YAML aliases are not supported; write the value out");
                return Ok(Node { line, range, pointer, tag: None, is_flow: false, data });
            }
            None => return Err(self.stop(line, &pointer, "this alias is inside its own anchor")),
            Some(node) => node,
        };
        self.count(node.count(), line, &pointer)?;
        if depth + node.depth() > DEPTH_MAX {
            return Err(self.stop(line, &pointer, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(Node { line, range, is_flow: false, ..node.at(pointer) })
    }

    /// Notes a fault for a merge key whose value is not a mapping or a list of mappings.
    fn check_merged(&mut self, value: &Node) {
        if !value.is_map() && (value.items().is_empty() || !value.items().iter().all(Node::is_map)) {
            self.refuse(value.line, &value.pointer, "a merge key takes a mapping or a list of mappings");
        }
    }

    fn count(&mut self, nodes: usize, line: usize, pointer: &str) -> Result<(), Stop> {
        self.nodes += nodes;
        match self.nodes > NODES_MAX {
            true => Err(self.stop(line, pointer, format!("more than {NODES_MAX} values, aliases expanded"))),
            false => Ok(()),
        }
    }

    fn tagged(&mut self, tag: Option<&Tag>, line: usize, pointer: &str) -> Tagged {
        match tag {
            None => Tagged::Untagged,
            Some(tag) if tag.is_yaml_core_schema() => Tagged::Yaml(tag.suffix.clone()),
            // `! 5` is the text "5".
            Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => Tagged::Yaml("str".to_owned()),
            Some(tag) if tag.handle == "!" && self.dialect == Dialect::CloudFormation => {
                Tagged::Short(tag.suffix.clone())
            }
            Some(tag) => {
                self.refuse(line, pointer, &format!("the tag {tag} is not supported"));
                Tagged::Untagged
            }
        }
    }

    /// Returns the short tag of a collection; `kind` is what YAML calls it.
    fn collection_tag(&mut self, tag: Option<&Tag>, kind: &str, line: usize, pointer: &str) -> Option<String> {
        match self.tagged(tag, line, pointer) {
            Tagged::Short(tag) => Some(tag),
            Tagged::Yaml(other) if other != kind && other != "str" => {
                self.refuse(line, pointer, "the value does not fit its YAML tag");
                None
            }
            Tagged::Yaml(_) | Tagged::Untagged => None,
        }
    }

    /// Notes a fault; returns the replacement of the refused value.
    fn refuse(&mut self, line: usize, pointer: &str, reason: &str) -> Data {
        let fault = self.fault(line, pointer, reason);
        self.faults.push(fault);
        Data::Null
    }

    fn stop(&self, line: usize, pointer: &str, reason: impl Into<String>) -> Stop {
        Stop::Fault(self.fault(line, pointer, reason))
    }

    fn fault(&self, line: usize, pointer: &str, reason: impl Into<String>) -> Fault {
        let (file, pointer) = (self.file.to_owned(), pointer.to_owned());
        Fault { file, line: line.max(1), pointer, reason: reason.into() }
    }
}

/// Adds the members of merge keys. A key of the mapping itself wins, then that of the first mapping merged.
fn merge(members: &mut Vec<Member>, merged: Vec<(String, Node)>) {
    for (pointer, merged) in merged {
        let sources = if merged.is_map() { std::slice::from_ref(&merged) } else { merged.items() };
        for member in sources.iter().flat_map(Node::members) {
            if members.iter().all(|own| own.key != member.key) {
                let value = member.value.at(pointer::child(&pointer, &member.key));
                members.push(Member { value, ..member.clone() });
            }
        }
    }
}
