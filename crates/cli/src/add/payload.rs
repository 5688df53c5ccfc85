//! Rust types of a payload, from its schema.

use std::collections::BTreeMap;

use sluicegate_yaml::{Data, Document, Node};

use super::{
    contract::resolved,
    names::{is_keyword, pascal, type_name},
};

/// The largest depth of nested schemas that become types.
const DEPTH_MAX: usize = 12;

/// Types for a payload.
pub(crate) struct Types {
    /// The name of the payload's struct.
    pub name: String,
    /// The sources of the structs, the payload's first.
    pub structs: Vec<String>,
    /// An example of a payload that the structs accept, as JSON.
    pub sample: String,
}

/// Returns types for a schema of an object; `None` for another schema.
pub(crate) fn types(document: &Document, schema: &Node, name: &str) -> Option<Types> {
    let mut writer = Writer { root: &document.root, structs: Vec::new(), by_pointer: BTreeMap::new() };
    let schema = resolved(writer.root, schema)?;
    schema.get("properties").filter(|properties| !properties.members().is_empty())?;
    let name = writer.structure(schema, name, 0)?;
    let sample = writer.sample(schema, &name, 0);
    Some(Types { name, structs: writer.structs.into_iter().map(|(_, text)| text).collect(), sample })
}

/// Returns an example of a schema as JSON, by the same rules.
pub(crate) fn sample(document: &Document, schema: &Node) -> String {
    let writer = Writer { root: &document.root, structs: Vec::new(), by_pointer: BTreeMap::new() };
    writer.sample(schema, "value", 0)
}

struct Writer<'d> {
    root: &'d Node,
    /// Each struct's name and source.
    structs: Vec<(String, String)>,
    /// Names of structs by the pointer of their schema: a schema that is used twice becomes one struct.
    by_pointer: BTreeMap<String, String>,
}

impl<'d> Writer<'d> {
    /// Writes the struct of an object; returns its name.
    fn structure(&mut self, schema: &'d Node, name: &str, depth: usize) -> Option<String> {
        if let Some(name) = self.by_pointer.get(schema.pointer()) {
            return Some(name.clone());
        }
        let mut own = type_name(name);
        while self.structs.iter().any(|(taken, _)| *taken == own) {
            own.push('_');
        }
        self.by_pointer.insert(schema.pointer().to_owned(), own.clone());
        let place = self.structs.len();
        self.structs.push((own.clone(), String::new()));
        let mut fields = String::new();
        for (key, property) in schema.get("properties").into_iter().flat_map(Node::entries) {
            let field = field_name(key);
            let Some(kind) = self.kind(property, &format!("{own}{}", pascal(key)), depth + 1) else {
                fields += &format!("    // `{key}` has no type that follows from the schema: add a field for it.\n");
                continue;
            };
            if field != key {
                fields += &format!("    #[serde(rename = {key:?})]\n");
            }
            let is_optional = !required(schema).any(|name| name == key) && !kind.starts_with("Option<");
            let kind = if is_optional { format!("Option<{kind}>") } else { kind };
            fields += &format!("    {field}: {kind},\n");
        }
        self.structs[place].1 = format!("struct {own} {{\n{fields}}}\n");
        Some(own)
    }

    /// Returns the type of a value; `None` if the schema does not say.
    fn kind(&mut self, schema: &'d Node, name: &str, depth: usize) -> Option<String> {
        if depth > DEPTH_MAX {
            return None;
        }
        let name = match schema.get("$ref").and_then(Node::text).and_then(|target| target.rsplit('/').next()) {
            Some(component) => component.to_owned(),
            None => name.to_owned(),
        };
        let schema = resolved(self.root, schema)?;
        let kinds = kinds(schema);
        let kind = match kinds.iter().copied().filter(|kind| *kind != "null").collect::<Vec<_>>()[..] {
            ["string"] => "String".to_owned(),
            ["boolean"] => "bool".to_owned(),
            ["number"] => "f64".to_owned(),
            ["integer"] => integer(schema).to_owned(),
            ["array"] => format!("Vec<{}>", self.kind(schema.get("items")?, &name, depth + 1)?),
            ["object"] if schema.get("properties").is_some_and(|it| !it.members().is_empty()) => {
                // A struct that contains itself needs a `Box` to have a size.
                let is_open = self.by_pointer.contains_key(schema.pointer());
                let name = self.structure(schema, &name, depth)?;
                if is_open { format!("Box<{name}>") } else { name }
            }
            ["object"] => {
                let values = schema.get("additionalProperties").filter(|values| values.is_map())?;
                format!("std::collections::BTreeMap<String, {}>", self.kind(values, &name, depth + 1)?)
            }
            _ => return None,
        };
        Some(if kinds.contains(&"null") { format!("Option<{kind}>") } else { kind })
    }

    /// Returns a value that the types accept, as JSON: the schema's example, or an object of its required members.
    fn sample(&self, schema: &'d Node, name: &str, depth: usize) -> String {
        let Some(schema) = resolved(self.root, schema).filter(|_| depth <= DEPTH_MAX) else { return "null".to_owned() };
        let listed = |list: &str| schema.get(list).and_then(|list| list.items().first());
        let example = listed("examples").or(schema.get("example")).or(schema.get("const")).or(listed("enum"));
        if let Some(json) = example.and_then(|example| serde_json::to_string(example).ok()) {
            return json;
        }
        let number = || {
            let least = ["minimum", "exclusiveMinimum"].into_iter().find_map(|it| number(schema.get(it)?));
            // Above an exclusive minimum, and at an inclusive one.
            (least.unwrap_or_default() + 1.0).max(1.0)
        };
        match kinds(schema).first().copied() {
            Some("string") => format!("{:?}", format!("{name}-1")),
            Some("boolean") => "true".to_owned(),
            Some("integer") => format!("{:.0}", number()),
            Some("number") => format!("{:?}", number()),
            Some("array") => {
                format!("[{}]", schema.get("items").map_or("null".to_owned(), |it| self.sample(it, name, depth + 1)))
            }
            Some("object") => {
                let property = |key: &str| schema.get("properties").and_then(|properties| properties.get(key));
                let members = required(schema)
                    .filter_map(|key| Some(format!("{key:?}: {}", self.sample(property(key)?, key, depth + 1))));
                format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
            }
            _ => "null".to_owned(),
        }
    }
}

fn required(schema: &Node) -> impl Iterator<Item = &str> {
    schema.get("required").map_or(&[][..], Node::items).iter().filter_map(Node::text)
}

/// Returns the names in `type`, which is one name or a list.
fn kinds(schema: &Node) -> Vec<&str> {
    match schema.get("type").map(Node::data) {
        Some(Data::Text(kind)) => vec![kind],
        Some(Data::List(kinds)) => kinds.iter().filter_map(Node::text).collect(),
        _ => Vec::new(),
    }
}

fn integer(schema: &Node) -> &'static str {
    let bound = |names: [&str; 2]| names.into_iter().find_map(|name| number(schema.get(name)?));
    let (least, most) = (bound(["minimum", "exclusiveMinimum"]), bound(["maximum", "exclusiveMaximum"]));
    let is_int32 = schema.get("format").and_then(Node::text) == Some("int32");
    let is_unsigned = least.is_some_and(|least| least >= 0.0);
    let (low, high) = if is_unsigned { (0.0, f64::from(u32::MAX)) } else { (f64::from(i32::MIN), f64::from(i32::MAX)) };
    let is_small = is_int32 || (least.is_some_and(|it| it >= low) && most.is_some_and(|it| it <= high));
    match (is_unsigned, is_small) {
        (true, true) => "u32",
        (true, false) => "u64",
        (false, true) => "i32",
        (false, false) => "i64",
    }
}

fn number(node: &Node) -> Option<f64> {
    match node.data() {
        Data::Number(number) => number.as_f64(),
        _ => None,
    }
}

/// Returns the name of a field: `order_id` for `orderId` and `order-id`.
fn field_name(key: &str) -> String {
    let mut name = String::new();
    for letter in key.chars() {
        match letter {
            'A'..='Z' => {
                if name.ends_with(|before: char| before.is_ascii_lowercase() || before.is_ascii_digit()) {
                    name.push('_');
                }
                name.push(letter.to_ascii_lowercase());
            }
            'a'..='z' | '0'..='9' => name.push(letter),
            _ => name.push('_'),
        }
    }
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        name.insert(0, '_');
    }
    if is_keyword(&name) || name.bytes().all(|byte| byte == b'_') {
        name.push('_');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::types;
    use crate::add::contract;

    /// What a schema becomes: the structs, and the sample, which fits them as far as JSON is concerned.
    fn check(schema: &str, structs: &str, sample: &str) {
        let yaml = format!(
            "components:\n  schemas:\n    Item: {{ type: object, properties: {{ sku: {{ type: string }} }} }}\n    Tree: {{ type: object, required: [left], properties: {{ left: {{ $ref: '#/components/schemas/Tree' }}, all: {{ type: array, items: {{ $ref: '#/components/schemas/Tree' }} }} }} }}\n    Payload: {schema}\n"
        );
        let document = contract::read("openapi.yaml", &yaml).expect("YAML");
        let node = document.root.follow("/components/schemas/Payload").expect("the schema");
        let found = types(&document, node, "Payload");
        let text: String = found.iter().flat_map(|found| &found.structs).cloned().collect();
        assert_eq!(text.split_whitespace().collect::<Vec<_>>().join(" "), structs, "{schema}");
        if let Some(found) = found {
            assert_eq!(found.sample, sample, "{schema}");
            serde_json::from_str::<serde_json::Value>(&found.sample).expect("JSON");
        }
    }

    #[test]
    fn a_schema_becomes_structs() {
        let object = |properties: &str| format!("{{ type: object, required: [a], properties: {{ {properties} }} }}");
        for (property, field, sample) in [
            ("a: { type: string }", "a: String,", r#"{"a": "a-1"}"#),
            ("a: { type: string, enum: [x, y] }", "a: String,", r#"{"a": "x"}"#),
            ("b: { type: string }", "b: Option<String>,", "{}"),
            ("a: { type: [string, 'null'] }", "a: Option<String>,", r#"{"a": "a-1"}"#),
            ("b: { type: ['null', string] }", "b: Option<String>,", "{}"),
            ("a: { type: boolean }", "a: bool,", r#"{"a": true}"#),
            ("a: { type: number }", "a: f64,", r#"{"a": 1.0}"#),
            ("a: { type: integer }", "a: i64,", r#"{"a": 1}"#),
            ("a: { type: integer, minimum: 5 }", "a: u64,", r#"{"a": 6}"#),
            ("a: { type: integer, format: int32, minimum: 1, maximum: 9 }", "a: u32,", r#"{"a": 2}"#),
            ("a: { type: integer, minimum: -9, maximum: 9 }", "a: i32,", r#"{"a": 1}"#),
            ("a: { type: array, items: { type: string } }", "a: Vec<String>,", r#"{"a": ["a-1"]}"#),
            (
                "a: { type: object, additionalProperties: { type: integer } }",
                "a: std::collections::BTreeMap<String, i64>,",
                r#"{"a": {}}"#,
            ),
            (
                "a: { type: object }",
                "// `a` has no type that follows from the schema: add a field for it.",
                r#"{"a": {}}"#,
            ),
            (
                "a: { oneOf: [{ type: string }] }",
                "// `a` has no type that follows from the schema: add a field for it.",
                r#"{"a": null}"#,
            ),
            ("orderId: { type: string }", r#"#[serde(rename = "orderId")] order_id: Option<String>,"#, "{}"),
            ("type: { type: string }", r#"#[serde(rename = "type")] type_: Option<String>,"#, "{}"),
            ("2nd: { type: string }", r#"#[serde(rename = "2nd")] _2nd: Option<String>,"#, "{}"),
        ] {
            check(&object(property), &format!("struct Payload {{ {field} }}"), sample);
        }
        check(
            &object("a: { type: array, items: { $ref: '#/components/schemas/Item' } }"),
            "struct Payload { a: Vec<Item>, } struct Item { sku: Option<String>, }",
            r#"{"a": [{}]}"#,
        );
        check(
            &object("a: { type: object, properties: { b: { type: string } } }"),
            "struct Payload { a: PayloadA, } struct PayloadA { b: Option<String>, }",
            r#"{"a": {}}"#,
        );
        check("{ type: object }", "", "");
        check("{ $ref: '#/components/schemas/Payload' }", "", "");
    }

    #[test]
    fn a_schema_that_contains_itself_ends() {
        let yaml = "components: { schemas: { Tree: { type: object, required: [name], properties: { name: { type: string }, \
                    left: { $ref: '#/components/schemas/Tree' } } } } }";
        let document = contract::read("openapi.yaml", yaml).expect("YAML");
        let node = document.root.follow("/components/schemas/Tree").expect("the schema");
        let found = types(&document, node, "Tree").expect("an object");
        assert_eq!(found.structs, ["struct Tree {\n    name: String,\n    left: Option<Box<Tree>>,\n}\n"]);
        assert_eq!(found.sample, r#"{"name": "name-1"}"#);
    }
}
