//! The template's text as one JSON value that remembers its lines.
//!
//! CloudFormation's short tags become their long form (`!GetAtt A.B` → `{"Fn::GetAtt": ["A", "B"]}`), so that whatever
//! comes after knows one spelling only. Scalars follow the YAML core schema. A template written in JSON is YAML too.
//! Aliases are refused, as CloudFormation refuses them. Two habits of templates that PyYAML, and so SAM, accepts are
//! accepted here: of a duplicate key the last value counts, and a line inside `[…]` or `{…}` may start at any column.

use std::{borrow::Cow, collections::HashMap};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};
use serde_json::{Map, Value};

/// How deep a template may nest; far more than any real one, far less than the stack.
const NESTING_MAX: usize = 100;
/// How many lines inside flow collections may start too far left. Each costs one more pass over the text.
const OUTDENTED_LINES_MAX: usize = 200;
/// How far such a line is moved to the right at most, in columns.
const INDENT_MAX: usize = 1_000;
/// What the parser says of a line inside a flow collection that starts too far left.
const OUTDENTED: [&str; 2] = ["invalid indentation", "invalid indentation in flow construct"];

/// A parsed template. Paths are written `/Resources/Name/Properties`.
#[derive(Debug)]
pub struct Document {
    /// The whole document.
    pub value: Value,
    /// The paths of the keys that are written twice, in document order.
    pub duplicates: Vec<String>,
    lines: HashMap<String, usize>,
}

impl Document {
    /// Reads one YAML document.
    ///
    /// # Errors
    /// The line and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut text = Cow::Borrowed(text);
        let mut last = 0;
        for _ in 0..OUTDENTED_LINES_MAX {
            match Self::parse_strictly(&text) {
                Err(Error::Syntax(error)) if OUTDENTED.contains(&error.info()) && error.marker().line() > last => {
                    last = error.marker().line();
                    text = Cow::Owned(indent(&text, last));
                }
                read => return read.map_err(Error::into_line),
            }
        }
        Self::parse_strictly(&text).map_err(Error::into_line)
    }

    fn parse_strictly(text: &str) -> Result<Self, Error> {
        let mut builder = Builder::default();
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(Error::Syntax)?;
            let line = span.start.line();
            builder.on(event, line).map_err(|reason| Error::Content(line, reason))?;
        }
        let value = builder.root.ok_or_else(|| Error::Content(1, "the file is empty".to_owned()))?;
        Ok(Self { value, duplicates: builder.duplicates, lines: builder.lines })
    }

    /// The line of the node at `path`, or of the nearest node around it.
    pub fn line(&self, path: &str) -> usize {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return *line;
            }
            match path.rfind('/') {
                Some(end) => path = &path[..end],
                None => return 1,
            }
        }
    }
}

/// Why a text is not a template.
enum Error {
    Syntax(ScanError),
    /// The line and what is wrong there.
    Content(usize, String),
}

impl Error {
    fn into_line(self) -> (usize, String) {
        match self {
            Self::Syntax(error) => {
                let reason = match OUTDENTED.contains(&error.info()) {
                    true => {
                        "starts further left than what is around it: indent the lines between its braces or brackets"
                    }
                    false => error.info(),
                };
                (error.marker().line(), reason.to_owned())
            }
            Self::Content(line, reason) => (line, reason),
        }
    }
}

/// The text with one line (counted from 1) indented further than any other. Only for a line inside a flow collection, where
/// indentation means nothing.
fn indent(text: &str, line: usize) -> String {
    let depth = text.lines().map(|line| line.len() - line.trim_start_matches(' ').len()).max().unwrap_or_default();
    let depth = depth.min(INDENT_MAX);
    let mut out = String::with_capacity(text.len() + depth + 1);
    for (number, each) in (1..).zip(text.split_inclusive('\n')) {
        if number == line {
            out.extend(std::iter::repeat_n(' ', depth + 1));
        }
        out.push_str(each);
    }
    out
}

#[derive(Default)]
struct Builder {
    frames: Vec<Frame>,
    duplicates: Vec<String>,
    lines: HashMap<String, usize>,
    root: Option<Value>,
}

struct Frame {
    path: String,
    function: Option<String>,
    items: Items,
}

enum Items {
    List(Vec<Value>),
    Map { entries: Map<String, Value>, key: Option<String> },
}

impl Builder {
    fn on(&mut self, event: Event<'_>, line: usize) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, _, tag) => {
                let function = function_of(tag.as_deref())?;
                if self.take_key(&text, line) {
                    return Ok(());
                }
                let path = self.child_path();
                self.lines.entry(path).or_insert(line);
                let value = match &function {
                    Some(_) => Value::String(text.into_owned()),
                    None => scalar(&text, style, tag.as_deref()),
                };
                self.put(expand(function, value));
                Ok(())
            }
            Event::SequenceStart(_, tag) => self.open(tag.as_deref(), line, Items::List(Vec::new())),
            Event::MappingStart(_, tag) => {
                self.open(tag.as_deref(), line, Items::Map { entries: Map::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(frame) = self.frames.pop() else { return Ok(()) };
                let value = match frame.items {
                    Items::List(items) => Value::Array(items),
                    Items::Map { entries, .. } => Value::Object(entries),
                };
                self.put(expand(frame.function, value));
                Ok(())
            }
            Event::Alias(_) => Err("CloudFormation does not support YAML aliases".to_owned()),
            Event::DocumentStart(_) if self.root.is_some() => Err("a template is one YAML document".to_owned()),
            _ => Ok(()),
        }
    }

    fn open(&mut self, tag: Option<&Tag>, line: usize, items: Items) -> Result<(), String> {
        if self.frames.len() >= NESTING_MAX {
            return Err(format!("nested deeper than {NESTING_MAX} levels"));
        }
        if let Some(Frame { items: Items::Map { key: None, .. }, .. }) = self.frames.last() {
            return Err("a key must be a plain string".to_owned());
        }
        let path = self.child_path();
        self.lines.entry(path.clone()).or_insert(line);
        self.frames.push(Frame { path, function: function_of(tag)?, items });
        Ok(())
    }

    /// Takes `text` as the next key if a mapping waits for one. The key's line is its value's line.
    fn take_key(&mut self, text: &str, line: usize) -> bool {
        let Some(Frame { path, items: Items::Map { key: key @ None, .. }, .. }) = self.frames.last_mut() else {
            return false;
        };
        self.lines.insert(format!("{path}/{text}"), line);
        *key = Some(text.to_owned());
        true
    }

    fn child_path(&self) -> String {
        match self.frames.last() {
            None => String::new(),
            Some(Frame { path, items: Items::List(items), .. }) => format!("{path}/{}", items.len()),
            Some(Frame { path, items: Items::Map { key, .. }, .. }) => {
                format!("{path}/{}", key.as_deref().unwrap_or_default())
            }
        }
    }

    fn put(&mut self, value: Value) {
        match self.frames.last_mut() {
            None => self.root = Some(value),
            Some(Frame { items: Items::List(items), .. }) => items.push(value),
            Some(Frame { path, items: Items::Map { entries, key }, .. }) => {
                let key = key.take().unwrap_or_default();
                if entries.contains_key(&key) {
                    self.duplicates.push(format!("{path}/{key}"));
                }
                entries.insert(key, value);
            }
        }
    }
}

/// The long name of a short tag; YAML's own tags (`!!str`) are no functions.
fn function_of(tag: Option<&Tag>) -> Result<Option<String>, String> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() => Ok(None),
        Some(tag) if tag.handle == "!" && tag.suffix.is_empty() => Ok(None),
        Some(tag) if tag.handle == "!" => Ok(Some(match tag.suffix.as_str() {
            name @ ("Ref" | "Condition") => name.to_owned(),
            name => format!("Fn::{name}"),
        })),
        Some(tag) => Err(format!("unknown tag {tag}")),
        None => Ok(None),
    }
}

fn expand(function: Option<String>, value: Value) -> Value {
    let Some(function) = function else { return value };
    let argument = match (function.as_str(), value) {
        ("Fn::GetAtt", Value::String(dotted)) => {
            let (resource, attribute) = dotted.split_once('.').unwrap_or((&dotted, ""));
            Value::Array(vec![resource.into(), attribute.into()])
        }
        (_, value) => value,
    };
    Value::Object(Map::from_iter([(function, argument)]))
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    if style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.suffix == "str") {
        return Value::String(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        // `1_000`, `0x10` and the like stay text; so does a number JSON cannot write, such as `007` or `.inf`.
        _ => match serde_json::from_str::<Value>(text) {
            Ok(number @ Value::Number(_)) => number,
            _ => Value::String(text.to_owned()),
        },
    }
}
