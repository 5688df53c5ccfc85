//! The template's text as one JSON value that remembers its lines.
//!
//! CloudFormation's short tags become their long form (`!GetAtt A.B` → `{"Fn::GetAtt": ["A", "B"]}`), so that whatever
//! comes after knows one spelling only. Scalars follow the YAML core schema. A template written in JSON is YAML too.
//! Aliases and duplicate keys are refused, as CloudFormation refuses them.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Value};

/// How deep a template may nest; far more than any real one, far less than the stack.
const NESTING_MAX: usize = 100;

/// A parsed template. Paths are written `/Resources/Name/Properties`.
#[derive(Debug)]
pub struct Document {
    /// The whole document.
    pub value: Value,
    lines: HashMap<String, usize>,
}

impl Document {
    /// Reads one YAML document.
    ///
    /// # Errors
    /// The line and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut builder = Builder::default();
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| (error.marker().line(), error.info().to_owned()))?;
            let line = span.start.line();
            builder.on(event, line).map_err(|reason| (line, reason))?;
        }
        let value = builder.root.ok_or_else(|| (1, "the file is empty".to_owned()))?;
        Ok(Self { value, lines: builder.lines })
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

#[derive(Default)]
struct Builder {
    frames: Vec<Frame>,
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
                self.put(expand(function, value))
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
                self.put(expand(frame.function, value))
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

    fn put(&mut self, value: Value) -> Result<(), String> {
        match self.frames.last_mut() {
            None => self.root = Some(value),
            Some(Frame { items: Items::List(items), .. }) => items.push(value),
            Some(Frame { items: Items::Map { entries, key }, .. }) => {
                let key = key.take().unwrap_or_default();
                if entries.contains_key(&key) {
                    return Err(format!("`{key}` is written twice"));
                }
                entries.insert(key, value);
            }
        }
        Ok(())
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
