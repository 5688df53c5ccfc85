//! Self-contained schemas: the targets of references are bundled under `$defs`. Each schema of the document is compiled
//! once to check it, regardless of how often it is used.
//!
//! A bundled schema has its own content at the top, each referenced schema as `$defs/1`, `$defs/2` … and every `$ref`
//! rewritten to match; a schema that contains itself refers to `#`. Unknown keywords are faults, because a misspelt
//! `minimum` admits everything.
//!
//! `format` is an annotation, as in JSON Schema 2020-12 (Validation, section 7), and left out like the other
//! annotations. `x-format-assertion: true` beside it, or at the top of the document for all of them, makes it a check.

use std::collections::HashSet;

use jsonschema::{Draft, draft202012};
use serde_json::{Map, Value};
use sluicegate_yaml::{Data, Node};

use super::checker::{ContractChecker, local_pointer};
use crate::{BodySchema, SchemaText};

/// Keywords whose value is a schema, or a list of schemas.
const SUBSCHEMAS: &[&str] = &[
    "additionalProperties",
    "allOf",
    "anyOf",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "oneOf",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// Keywords whose value is an object of named schemas.
const NAMED_SUBSCHEMAS: &[&str] = &["$defs", "dependentSchemas", "patternProperties", "properties"];

/// Keywords that check something and whose value is not a schema.
const CHECKS: &[&str] = &[
    "const",
    "contentEncoding",
    "contentMediaType",
    "dependentRequired",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "required",
    "type",
    "uniqueItems",
];

/// Annotations, which are left out because the ingress reads its schemas on a cold start. The last four are OpenAPI's
/// own.
const ANNOTATIONS: &[&str] = &[
    "$comment",
    "default",
    "deprecated",
    "description",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
    "discriminator",
    "example",
    "externalDocs",
    "xml",
];

/// Makes `format` a check: beside it, or for the whole document.
pub(super) const FORMAT_ASSERTION: &str = "x-format-assertion";

/// Formats that OpenAPI adds; they describe a type and check nothing.
const OPENAPI_FORMATS: &[&str] = &["binary", "byte", "double", "float", "int32", "int64", "password"];

/// The accepted values of `$schema` and `jsonSchemaDialect`.
const DIALECTS: &[&str] =
    &["https://json-schema.org/draft/2020-12/schema", "https://spec.openapis.org/oas/3.1/dialect/base"];

/// Returns the schema at `at` as self-contained text, or `None` after reporting its faults.
pub(super) fn bundle<'d>(checker: &mut ContractChecker<'d>, at: &'d Node) -> Option<SchemaText> {
    let root = follow_bare_references(checker, at)?;
    if let Some(known) = checker.bundled.get(root.pointer()) {
        return known.clone();
    }
    let pointer = root.pointer().to_owned();
    let schema = bundle_new(checker, root);
    checker.bundled.insert(pointer, schema.clone());
    schema
}

fn bundle_new<'d>(checker: &mut ContractChecker<'d>, root: &'d Node) -> Option<SchemaText> {
    let faults = checker.faults.len();
    let mut bundle = Bundle { checker, schemas: vec![root] };
    let mut rewritten = Vec::new();
    while let Some(schema) = bundle.schemas.get(rewritten.len()).cloned() {
        rewritten.push(bundle.rewrite(schema));
    }
    let number = |index: usize| index.to_string();
    for (schema, at) in rewritten.iter().zip(bundle.schemas) {
        // Its references are replaced by `true` and compiled separately, so that each schema of the document is
        // compiled once.
        let references = (1..rewritten.len()).map(|index| (number(index), Value::Bool(true))).collect();
        compile(checker, at, &with_definitions(schema.clone(), references));
    }
    let mut schemas = rewritten.into_iter();
    let top = schemas.next()?;
    let definitions = schemas.enumerate().map(|(index, schema)| (number(index + 1), schema)).collect();
    (checker.faults.len() == faults).then(|| with_definitions(top, definitions).to_string())
}

fn with_definitions(mut schema: Value, definitions: Map<String, Value>) -> Value {
    if let (Value::Object(keywords), false) = (&mut schema, definitions.is_empty()) {
        keywords.insert("$defs".to_owned(), Value::Object(definitions));
    }
    schema
}

/// Reports every fault in the schema at `at`, the first time it is called for it.
fn compile(checker: &mut ContractChecker<'_>, at: &Node, schema: &Value) {
    if !checker.compiled.insert(at.pointer().to_owned()) {
        return;
    }
    let meta = draft202012::meta::validator();
    let mut errors = meta.iter_errors(schema).map(|error| error.to_owned()).collect::<Vec<_>>();
    if errors.is_empty() {
        // Finds faults that the meta-schema does not, such as an invalid regular expression.
        let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true).offline();
        errors.extend(options.build(schema).err());
    }
    for error in errors {
        let pointer = format!("{}{}", at.pointer(), error.instance_path());
        checker.fault_at(&pointer, format!("not a JSON Schema: {error}"));
    }
}

/// Returns a bundled schema as that of a body. Its descriptions were left out before.
pub(super) fn of_body(schema: SchemaText) -> BodySchema {
    match schema.as_str() {
        "true" | "{}" => BodySchema::Any,
        r#"{"type":"object"}"# => BodySchema::Object,
        _ => BodySchema::Schema(schema),
    }
}

/// Follows schemas that are only a `$ref`: the target becomes the top, which avoids a lookup at run time.
fn follow_bare_references<'d>(checker: &mut ContractChecker<'d>, at: &'d Node) -> Option<&'d Node> {
    let mut target = at;
    let mut seen = HashSet::new();
    while let (Some(reference), [_]) = (target.get("$ref"), target.members()) {
        if !seen.insert(target.pointer().to_owned()) {
            checker.fault(reference, "this $ref is circular");
            return None;
        }
        target = checker.root.follow(&local_pointer(reference.text()?)?).ok()?;
    }
    Some(target)
}

struct Bundle<'c, 'd> {
    checker: &'c mut ContractChecker<'d>,
    /// The requested schema, then each referenced one, whose index is its name in `$defs`.
    schemas: Vec<&'d Node>,
}

impl<'d> Bundle<'_, 'd> {
    fn rewrite(&mut self, at: &'d Node) -> Value {
        if !at.is_map() {
            return copy(at);
        }
        let mut schema = Map::new();
        for (keyword, member) in at.entries() {
            let value = match keyword {
                "$ref" => self.reference(member),
                "format" => match self.asserted_format(at, member) {
                    Some(format) => format,
                    None => continue,
                },
                "$schema" => {
                    check_dialect(self.checker, member);
                    continue;
                }
                "$anchor" | "$dynamicAnchor" | "$dynamicRef" | "$id" | "$recursiveAnchor" | "$recursiveRef" => {
                    self.checker.fault(member, "is not supported; use a $ref that starts with `#/`");
                    continue;
                }
                "nullable" => {
                    self.checker.fault(member, "is OpenAPI 3.0; write `type: [..., 'null']`");
                    continue;
                }
                // Schemas in `$defs` are used only through a `$ref`, which bundles its target.
                "$defs" => {
                    self.rewrite_named(member);
                    continue;
                }
                keyword if NAMED_SUBSCHEMAS.contains(&keyword) => self.rewrite_named(member),
                keyword if SUBSCHEMAS.contains(&keyword) => match member.data() {
                    Data::List(_) => member.items().iter().map(|item| self.rewrite(item)).collect(),
                    _ => self.rewrite(member),
                },
                keyword if CHECKS.contains(&keyword) => copy(member),
                keyword if ANNOTATIONS.contains(&keyword) || keyword.starts_with("x-") => continue,
                _ => {
                    self.checker.fault(member, "is not a keyword of JSON Schema 2020-12 or OpenAPI 3.1");
                    continue;
                }
            };
            schema.insert(keyword.to_owned(), value);
        }
        Value::Object(schema)
    }

    fn rewrite_named(&mut self, at: &'d Node) -> Value {
        if !at.is_map() {
            return copy(at);
        }
        at.entries().map(|(name, member)| (name.to_owned(), self.rewrite(member))).collect()
    }

    /// Returns the reference to the bundled copy. [`super::refs::check`] reports a reference without a target.
    fn reference(&mut self, at: &'d Node) -> Value {
        let target = at.text().and_then(local_pointer).and_then(|pointer| self.checker.root.follow(&pointer).ok());
        let Some(target) = target else { return Value::from("#") };
        let known = self.schemas.iter().position(|schema| schema.pointer() == target.pointer());
        let index = known.unwrap_or_else(|| {
            self.schemas.push(target);
            self.schemas.len() - 1
        });
        Value::from(if index == 0 { "#".to_owned() } else { format!("#/$defs/{index}") })
    }

    /// Returns the format, if it is to be checked.
    fn asserted_format(&mut self, schema: &'d Node, at: &'d Node) -> Option<Value> {
        let holder = if schema.get(FORMAT_ASSERTION).is_some() { schema } else { self.checker.root };
        let is_asserted = self.checker.flag(holder, FORMAT_ASSERTION);
        let format = at.text()?;
        if !OPENAPI_FORMATS.contains(&format) && !jsonschema::options().is_known_format(Draft::Draft202012, format) {
            let unknown = format!("`{format}` is not a known format; it would check nothing");
            if is_asserted { self.checker.fault(at, unknown) } else { self.checker.warn(at, unknown) }
        }
        is_asserted.then(|| copy(at))
    }
}

fn copy(node: &Node) -> Value {
    // A tree of JSON values always converts.
    serde_json::to_value(node).unwrap_or_default()
}

/// Checks every schema in `components`, used or not.
pub(super) fn check_components(checker: &mut ContractChecker<'_>) {
    let schemas = checker.root.follow("/components/schemas");
    for (_, schema) in schemas.into_iter().flat_map(Node::entries) {
        // A compiled schema was already checked through a reference.
        if !checker.compiled.contains(schema.pointer()) {
            bundle(checker, schema);
        }
    }
}

/// Notes a fault for a `$schema` or `jsonSchemaDialect` other than JSON Schema 2020-12.
pub(super) fn check_dialect(checker: &mut ContractChecker<'_>, at: &Node) {
    if at.text().is_none_or(|dialect| !DIALECTS.contains(&dialect)) {
        checker.fault(at, "only JSON Schema 2020-12 is supported");
    }
}
