//! The template's text as a tree with lines and bytes, and as one JSON value.
//!
//! In the JSON value CloudFormation's short tags have their long form (`!GetAtt A.B` is `{"Fn::GetAtt": ["A", "B"]}`),
//! so that resolution handles one spelling. The tree keeps the spelling of the text.

use serde_json::{Map, Value};
use sluicegate_yaml::{Data, Dialect, Fault, Faults, Node};

/// A parsed template.
#[derive(Debug)]
pub struct TemplateDocument {
    /// The template's file name, for faults.
    pub file: String,
    /// The template as a tree.
    pub root: Node,
    /// The template as JSON, with functions in their long form.
    pub value: Value,
    /// The duplicate keys, in document order. The last value counts, as in SAM.
    pub duplicates: Vec<Fault>,
}

impl TemplateDocument {
    /// Reads one YAML or JSON document; `file` is its name in faults.
    ///
    /// # Errors
    /// The text is not YAML, or contains YAML that SAM does not accept.
    pub fn parse(file: &str, text: &str) -> Result<Self, Faults> {
        let document = sluicegate_yaml::Document::read(file, text, Dialect::CloudFormation)?;
        if !document.faults.is_empty() {
            return Err(Faults::in_order(document.faults));
        }
        let value = value(&document.root);
        Ok(Self { file: file.to_owned(), root: document.root, value, duplicates: document.duplicates })
    }

    /// Returns the line of the node at `pointer`, or of the nearest node around it.
    #[must_use]
    pub fn line(&self, pointer: &str) -> usize {
        let (Ok(node) | Err(node)) = self.root.follow(pointer);
        node.line()
    }

    /// Returns a fault at `pointer`.
    #[must_use]
    pub fn fault(&self, pointer: &str, reason: impl Into<String>) -> Fault {
        let (file, line) = (self.file.clone(), self.line(pointer));
        Fault { file, line, pointer: pointer.to_owned(), reason: reason.into() }
    }
}

fn value(node: &Node) -> Value {
    let value = match node.data() {
        Data::Null => Value::Null,
        Data::Bool(value) => Value::from(*value),
        Data::Number(number) => Value::from(number.clone()),
        Data::Text(text) => Value::from(text.as_str()),
        Data::List(items) => items.iter().map(value).collect(),
        Data::Map(_) => node.entries().map(|(key, node)| (key.to_owned(), value(node))).collect(),
    };
    match node.tag() {
        None => value,
        Some(tag) => Value::Object(Map::from_iter([call(tag, value)])),
    }
}

/// Returns the long form of a short tag and its argument.
fn call(tag: &str, argument: Value) -> (String, Value) {
    match (tag, argument) {
        ("Ref" | "Condition", argument) => (tag.to_owned(), argument),
        ("GetAtt", Value::String(dotted)) => {
            let (resource, attribute) = dotted.split_once('.').unwrap_or((&dotted, ""));
            ("Fn::GetAtt".to_owned(), Value::from([resource, attribute].map(Value::from).to_vec()))
        }
        (tag, argument) => (format!("Fn::{tag}"), argument),
    }
}
