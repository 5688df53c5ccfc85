//! Schemas that stand alone: what one refers to is bundled under `$defs`, and the whole is compiled once to prove it.
//!
//! A schema comes out with its own content at the top, each referenced schema as `$defs/1`, `$defs/2` … and every `$ref`
//! rewritten to match; a schema that contains itself refers to `#`. Keywords nobody reads are faults, because a
//! misspelt `minimum` admits everything.

use std::collections::HashSet;

use jsonschema::{Draft, draft202012};
use serde_json::{Map, Value};

use super::at::{At, local_pointer};
use super::checker::Checker;
use super::yaml::{Data, Node};
use crate::SchemaText;

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

/// Keywords that tell people something; left out, as the ingress reads its schemas on a cold start. The last four are
/// OpenAPI's own.
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

/// Formats that OpenAPI adds; they describe a type and check nothing.
const OPENAPI_FORMATS: &[&str] = &["binary", "byte", "double", "float", "int32", "int64", "password"];

/// The only `$schema` and `jsonSchemaDialect` there are.
const DIALECTS: &[&str] =
    &["https://json-schema.org/draft/2020-12/schema", "https://spec.openapis.org/oas/3.1/dialect/base"];

/// The schema at `at` as text that stands alone, or `None` after taking note of what is wrong with it.
pub(super) fn bundle<'d>(checker: &mut Checker<'d>, at: &At<'d>) -> Option<SchemaText> {
    let faults = checker.faults.len();
    let root = follow_bare_references(checker, at)?;
    let mut bundle = Bundle { checker, schemas: vec![root] };
    let mut bundled = bundle.rewrite(&bundle.schemas.first()?.clone());
    let mut definitions = Map::new();
    let mut done = 1;
    while let Some(schema) = bundle.schemas.get(done).cloned() {
        definitions.insert(done.to_string(), bundle.rewrite(&schema));
        done += 1;
    }
    if let (Value::Object(top), false) = (&mut bundled, definitions.is_empty()) {
        top.insert("$defs".to_owned(), Value::Object(definitions));
    }
    bundle.compile(&bundled);
    (checker.faults.len() == faults).then(|| bundled.to_string())
}

/// What `{ $ref: … }` alone stands for can be the top itself, which saves a hop at run time.
fn follow_bare_references<'d>(checker: &mut Checker<'d>, at: &At<'d>) -> Option<At<'d>> {
    let mut target = at.clone();
    let mut seen = HashSet::new();
    while let (Some(reference), [_]) = (target.get("$ref"), target.members().as_slice()) {
        if !seen.insert(target.pointer.clone()) {
            checker.fault(&reference, "this $ref leads back to itself");
            return None;
        }
        target = checker.root.follow(&local_pointer(reference.text()?)?).ok()?;
    }
    Some(target)
}

struct Bundle<'c, 'd> {
    checker: &'c mut Checker<'d>,
    /// The schema asked for, then each one referred to; its index is its name in `$defs`.
    schemas: Vec<At<'d>>,
}

impl<'d> Bundle<'_, 'd> {
    fn rewrite(&mut self, at: &At<'d>) -> Value {
        if !at.is_object() {
            return copy(at.node);
        }
        let mut schema = Map::new();
        for (keyword, member) in at.members() {
            let value = match keyword {
                "$ref" => self.reference(&member),
                "format" => {
                    self.check_format(&member);
                    copy(member.node)
                }
                "$schema" => {
                    check_dialect(self.checker, &member);
                    continue;
                }
                "$anchor" | "$dynamicAnchor" | "$dynamicRef" | "$id" | "$recursiveAnchor" | "$recursiveRef" => {
                    self.checker.fault(&member, "is not supported; use a $ref that starts with `#/`");
                    continue;
                }
                "nullable" => {
                    self.checker.fault(&member, "is OpenAPI 3.0; write `type: [..., 'null']`");
                    continue;
                }
                // Only a $ref reaches into $defs, and each schema one reaches is bundled by itself.
                "$defs" => {
                    self.rewrite_named(&member);
                    continue;
                }
                keyword if NAMED_SUBSCHEMAS.contains(&keyword) => self.rewrite_named(&member),
                keyword if SUBSCHEMAS.contains(&keyword) => match &member.node.data {
                    Data::List(_) => member.items().iter().map(|item| self.rewrite(item)).collect(),
                    _ => self.rewrite(&member),
                },
                keyword if CHECKS.contains(&keyword) => copy(member.node),
                keyword if ANNOTATIONS.contains(&keyword) || keyword.starts_with("x-") => continue,
                _ => {
                    self.checker.fault(&member, "is not a keyword of JSON Schema 2020-12 or OpenAPI 3.1");
                    continue;
                }
            };
            schema.insert(keyword.to_owned(), value);
        }
        Value::Object(schema)
    }

    fn rewrite_named(&mut self, at: &At<'d>) -> Value {
        if !at.is_object() {
            return copy(at.node);
        }
        at.members().into_iter().map(|(name, member)| (name.to_owned(), self.rewrite(&member))).collect()
    }

    /// The reference to the bundled copy. One that leads nowhere is [`super::refs::check`]'s to report.
    fn reference(&mut self, at: &At<'d>) -> Value {
        let target = at.text().and_then(local_pointer).and_then(|pointer| self.checker.root.follow(&pointer).ok());
        let Some(target) = target else { return Value::from("#") };
        let known = self.schemas.iter().position(|schema| schema.pointer == target.pointer);
        let index = known.unwrap_or_else(|| {
            self.schemas.push(target);
            self.schemas.len() - 1
        });
        Value::from(if index == 0 { "#".to_owned() } else { format!("#/$defs/{index}") })
    }

    fn check_format(&mut self, at: &At<'d>) {
        let Some(format) = at.text() else { return };
        if !OPENAPI_FORMATS.contains(&format) && !jsonschema::options().is_known_format(Draft::Draft202012, format) {
            self.checker.fault(at, format!("`{format}` is not a known format; it would check nothing"));
        }
    }

    fn compile(&mut self, schema: &Value) {
        let meta = draft202012::meta::validator();
        let mut errors = meta.iter_errors(schema).map(|error| error.to_owned()).collect::<Vec<_>>();
        if errors.is_empty() {
            // What the meta-schema cannot see, such as a broken regular expression.
            let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true).offline();
            errors.extend(options.build(schema).err());
        }
        for error in errors {
            let pointer = self.source_pointer(error.instance_path().as_str());
            self.checker.fault_at(&pointer, format!("not a JSON Schema: {error}"));
        }
    }

    /// Where in the document a place in the bundled schema comes from.
    fn source_pointer(&self, bundled: &str) -> String {
        let of_definition = bundled.strip_prefix("/$defs/").and_then(|rest| {
            let (index, below) = rest.split_once('/').map_or((rest, String::new()), |(i, b)| (i, format!("/{b}")));
            Some((self.schemas.get(index.parse::<usize>().ok()?)?, below))
        });
        match (of_definition, self.schemas.first()) {
            (Some((schema, below)), _) => format!("{}{below}", schema.pointer),
            (None, Some(root)) => format!("{}{bundled}", root.pointer),
            (None, None) => bundled.to_owned(),
        }
    }
}

fn copy(node: &Node) -> Value {
    // A tree of JSON values always converts.
    serde_json::to_value(node).unwrap_or_default()
}

/// Checks every schema in `components`, used or not.
pub(super) fn check_components(checker: &mut Checker<'_>) {
    let schemas = checker.root.follow("/components/schemas");
    for (_, schema) in schemas.map(|schemas| schemas.members()).unwrap_or_default() {
        bundle(checker, &schema);
    }
}

/// A `$schema` or `jsonSchemaDialect` must name JSON Schema 2020-12.
pub(super) fn check_dialect(checker: &mut Checker<'_>, at: &At<'_>) {
    if at.text().is_none_or(|dialect| !DIALECTS.contains(&dialect)) {
        checker.fault(at, "only JSON Schema 2020-12 is supported");
    }
}
