//! Items of a table for the local stack: the list `Seed` in the metadata of an `AWS::DynamoDB::Table`, which AWS does
//! not read.
//!
//! An item is plain YAML: a text is DynamoDB's `S`, a number `N`, a truth value `BOOL`, a list `L`, a map `M`. Each has
//! the keys of its table.

use serde_json::{Map, Value, json};

use crate::{Fault, Reader, Resource};

impl Reader<'_> {
    /// Returns the items as the input of PutItem has them. `keys` is the input of CreateTable.
    pub(super) fn seed(&self, resource: &Resource<'_>, keys: &Value) -> Result<Vec<Value>, Fault> {
        let pointer = resource.node.child_pointer("Metadata");
        let metadata = self.properties(&resource.body["Metadata"], &pointer);
        let pointer = format!("{pointer}/Seed");
        let items = match &metadata["Seed"] {
            Value::Null => return Ok(Vec::new()),
            Value::Array(items) => items,
            _ => return Err(self.fault(&pointer, "must be a list of items")),
        };
        let item = |(index, item): (usize, &Value)| {
            let pointer = format!("{pointer}/{index}");
            let item = self.required(item, &pointer)?;
            let Value::Object(members) = &item else { return Err(self.fault(&pointer, "must be a map of attributes")) };
            let typed: Map<_, _> = members.iter().map(|(name, value)| (name.clone(), attribute(value))).collect();
            for (name, kind) in key_attributes(keys) {
                if typed.get(name).is_none_or(|value| value.get(kind).is_none_or(|value| value == "")) {
                    let kind = if kind == "N" { "a number" } else { "a text" };
                    return Err(self.fault(&pointer, format!("must have the key `{name}` of the table, {kind}")));
                }
            }
            Ok(Value::Object(typed))
        };
        items.iter().enumerate().map(item).collect()
    }
}

/// Returns the names of a table's keys with their types.
fn key_attributes(keys: &Value) -> impl Iterator<Item = (&str, &str)> {
    let schema = keys["KeySchema"].as_array().into_iter().flatten();
    schema.filter_map(|key| {
        let name = key["AttributeName"].as_str()?;
        let mut defined = keys["AttributeDefinitions"].as_array().into_iter().flatten();
        let kind = defined.find(|defined| defined["AttributeName"] == name)?["AttributeType"].as_str()?;
        Some((name, kind))
    })
}

/// Returns a value with its type in DynamoDB.
fn attribute(value: &Value) -> Value {
    match value {
        Value::Null => json!({ "NULL": true }),
        Value::Bool(value) => json!({ "BOOL": value }),
        Value::Number(number) => json!({ "N": number.to_string() }),
        Value::String(text) => json!({ "S": text }),
        Value::Array(values) => json!({ "L": values.iter().map(attribute).collect::<Vec<_>>() }),
        Value::Object(members) => {
            let members: Map<_, _> = members.iter().map(|(name, value)| (name.clone(), attribute(value))).collect();
            json!({ "M": members })
        }
    }
}
