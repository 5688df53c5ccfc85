//! The parameters and the body of a request.

use serde_json::Value;
use sluicegate_webhook::is_header_name;
use sluicegate_yaml::Node;

use super::checker::ContractChecker;
use super::content;
use super::schema;
use crate::{BATCH_ITEMS_MAX, Body, BodySchema, Location, Parameter, is_json};

const PARAMETER_FIELDS: &[&str] = &[
    "name",
    "in",
    "description",
    "required",
    "deprecated",
    "allowEmptyValue",
    "style",
    "explode",
    "allowReserved",
    "schema",
    "example",
    "examples",
];

/// Headers whose parameter definitions OpenAPI ignores (OpenAPI 3.1, Parameter Object).
const NOT_PARAMETERS: &[&str] = &["accept", "authorization", "content-type"];

/// Returns the parameters of the operation, and those of its path item that it does not replace.
pub(super) fn parameters<'d>(
    checker: &mut ContractChecker<'d>,
    item: &'d Node,
    operation: &'d Node,
    path_names: &[&str],
) -> Vec<Parameter> {
    let mut parameters = list(checker, operation, path_names);
    for inherited in list(checker, item, path_names) {
        if !parameters.iter().any(|own| same(own, &inherited)) {
            parameters.push(inherited);
        }
    }
    parameters
}

fn same(a: &Parameter, b: &Parameter) -> bool {
    a.location == b.location && a.name == b.name
}

fn list<'d>(checker: &mut ContractChecker<'d>, owner: &'d Node, path_names: &[&str]) -> Vec<Parameter> {
    let Some(at) = owner.get("parameters") else { return Vec::new() };
    let mut parameters: Vec<Parameter> = Vec::new();
    for entry in checker.list(at) {
        let Some(parameter) = parameter(checker, entry, path_names) else { continue };
        if parameters.iter().any(|other| same(other, &parameter)) {
            checker.fault(entry, format!("the parameter `{}` is already there, above", parameter.name));
        }
        parameters.push(parameter);
    }
    parameters
}

fn parameter<'d>(checker: &mut ContractChecker<'d>, entry: &'d Node, path_names: &[&str]) -> Option<Parameter> {
    let at = checker.resolve(entry)?;
    if let Some(content) = at.get("content") {
        checker.fault(content, "a parameter with `content` is not supported; use `schema`");
        return None;
    }
    checker.fields_and_extensions(at, PARAMETER_FIELDS)?;
    // A schema with a fault becomes `None`. A contract with a fault is not used.
    let schema = at.get("schema").and_then(|at| {
        let schema = schema::bundle(checker, at)?;
        check_one_value(checker, at, &schema);
        Some(schema)
    });
    let required = checker.flag(at, "required");
    let name = checker.required_text(at, "name");
    let location = checker.required_text(at, "in");
    let (name, location) = (name?, location?);

    let (location, style) = match location {
        "path" => (Location::Path, "simple"),
        "query" => (Location::Query, "form"),
        "header" => (Location::Header, "simple"),
        other => {
            checker.fault_at(&at.child_pointer("in"), format!("`{other}` is not supported; use path, query or header"));
            return None;
        }
    };
    if let Some(other) = at.get("style").filter(|given| given.text() != Some(style)) {
        checker.fault(other, format!("only the style `{style}` is supported here"));
    }
    let name_at = at.child_pointer("name");
    let name = match location {
        Location::Header if !is_header_name(name) => {
            checker.fault_at(&name_at, format!("`{name}` is not a header name"));
            return None;
        }
        Location::Header => name.to_ascii_lowercase(),
        Location::Path | Location::Query => name.to_owned(),
    };
    if location == Location::Header && NOT_PARAMETERS.contains(&name.as_str()) {
        checker.fault_at(&name_at, format!("OpenAPI ignores a header parameter `{name}`"));
    }
    if location == Location::Path && !path_names.contains(&name.as_str()) {
        // Reported at the entry, because a shared parameter may be valid on another path.
        checker.fault(entry, format!("the path has no {{{name}}}"));
    }
    if location == Location::Path && !required {
        checker.fault_at(&at.child_pointer("required"), "a path parameter must be `required: true`");
    }
    Some(Parameter { name, location, required, schema })
}

/// Notes a fault for a parameter that is a list or an object, which would need a style.
fn check_one_value(checker: &mut ContractChecker<'_>, at: &Node, schema: &str) {
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    let kinds = schema.get("type").cloned().unwrap_or_default();
    let is_many = |kind: &Value| kind == "array" || kind == "object";
    if is_many(&kinds) || kinds.as_array().is_some_and(|kinds| kinds.iter().any(is_many)) {
        checker.fault(at, "a parameter is one value; array and object are not supported");
    }
}

/// Returns the request body of an operation, if it declares one.
pub(super) fn body<'d>(checker: &mut ContractChecker<'d>, operation: &'d Node) -> Option<Body> {
    let at = checker.resolve(operation.get("requestBody")?)?;
    checker.fields_and_extensions(at, &["description", "content", "required"])?;
    let required = checker.flag(at, "required");
    let content_at = checker.required(at, "content")?;
    checker.mapping(content_at)?;
    if content_at.members().is_empty() {
        checker.fault(content_at, "names no media type");
    }
    let keys = content::keys(checker, operation);
    let mut items = (0, BATCH_ITEMS_MAX);
    let mut content: Vec<(String, BodySchema)> = Vec::new();
    for (media_type, at) in content_at.entries() {
        let Some(media_type) = self::media_type(checker, media_type, at) else { continue };
        if content.iter().any(|(other, _)| *other == media_type) {
            checker.fault(at, "this media type is already there, above");
        }
        let Some(at) = checker.resolve(at) else { continue };
        if checker.fields_and_extensions(at, &["schema", "example", "examples"]).is_none() {
            continue;
        }
        let schema = at.get("schema");
        if content::is_batch(&keys, &media_type) {
            content::check_batch(checker, &media_type, at);
            let Some(batch) = content::batch(checker, schema) else { continue };
            items = (batch.items_min.max(items.0), batch.items_max.min(items.1));
            content.push((media_type, content::item_schema(checker, batch.items)));
            continue;
        }
        if let Some(schema) = schema.as_ref().filter(|_| !is_json(&media_type)) {
            checker.fault(schema, "only JSON is checked against a schema");
        }
        let schema = schema.and_then(|schema| schema::bundle(checker, schema));
        content.push((media_type, schema.map_or(BodySchema::Any, schema::of_body)));
    }
    let content::Keys { is_batch, has_binary_events, content_codings } = keys;
    Some(Body { required, content, content_codings, is_batch, has_binary_events, items })
}

fn media_type(checker: &mut ContractChecker<'_>, text: &str, at: &Node) -> Option<String> {
    let fault = match text.split_once('/') {
        _ if text.contains('*') => "media type ranges are not supported; name each media type",
        _ if text.contains(';') => "a media type has no parameters here",
        // Type and subtype are tokens, as header names are.
        Some((kind, subtype)) if is_header_name(kind) && is_header_name(subtype) => {
            return Some(text.to_ascii_lowercase());
        }
        _ => "is not a media type",
    };
    checker.fault(at, fault);
    None
}
