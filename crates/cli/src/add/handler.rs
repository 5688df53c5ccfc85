//! The source of a handler: a type for the payload, the function, a test.

use sluicegate_yaml::Document;

use super::{
    contract, names,
    payload::{self, Types},
    register::Widths,
};
use crate::CommandError;

/// A handler to write.
#[derive(Debug, Clone)]
pub(crate) struct NewHandler {
    pub event_type: String,
    /// Whether the payload is JSON that is read into a type.
    pub is_json: bool,
}

impl NewHandler {
    pub(crate) fn module(&self) -> String {
        names::snake(&self.event_type)
    }

    /// Returns whether the contract gives the type its fields.
    pub(crate) fn has_schema(&self, file: &str, contract: &str) -> Result<bool, CommandError> {
        Ok(self.types(&contract::read(file, contract)?).is_some())
    }

    fn types(&self, document: &Document) -> Option<Types> {
        let schema = contract::schema_of(document, &self.event_type)?;
        payload::types(document, schema, &self.event_type)
    }

    /// Returns the source; the type follows the schema that the contract has for the event type.
    pub(crate) fn source(&self, file: &str, contract: &str, widths: Widths) -> Result<String, CommandError> {
        if !self.is_json {
            return Ok(self.with_bytes(widths));
        }
        let types = self.types(&contract::read(file, contract)?);
        Ok(self.with_type(&names::type_name(&self.event_type), types.as_ref(), widths))
    }

    fn with_type(&self, name: &str, types: Option<&Types>, widths: Widths) -> String {
        let event_type = &self.event_type;
        let name = types.map_or(name, |types| &types.name);
        let derive = "#[derive(Debug, Deserialize)]\n";
        let unread = "#[allow(dead_code, reason = \"remove this once the handler reads every field\")]\n";
        let structs = match types {
            Some(types) => types.structs.iter().map(|text| format!("{derive}{unread}pub(crate) {text}\n")).collect(),
            None => format!(
                "{derive}{unread}pub(crate) struct {name} {{\n    // The members that the handler needs, such as \
                 `id: String`.\n}}\n\n"
            ),
        };
        let payload = bound("payload", &literal(types.map_or("{}", |types| &types.sample)), widths);
        let envelope = self.envelope(widths);
        let mut handle = format!("pub(crate) async fn handle(_payload: {name}, delivery: Arc<Delivery>) -> Outcome {{");
        if handle.len() > widths.line {
            handle = format!(
                "pub(crate) async fn handle(\n    _payload: {name},\n    delivery: Arc<Delivery>,\n) -> Outcome {{"
            );
        }
        format!(
            "\
//! Handles `{event_type}`.

use std::sync::Arc;

use serde::Deserialize;
use sluicegate_batch::{{Delivery, Outcome}};

/// The payload. Members that are not named here are left alone.
{structs}/// Handles one event. It may come twice, with the same id: make its effect once per id.
{handle}
    tracing::info!(message_id = delivery.envelope().id(), \"handled\");
    // Your work comes here. `Retry` tries again later; `reject(code, detail)` makes it a dead letter.
    Outcome::Done
}}

#[cfg(test)]
mod tests {{
    use sluicegate_batch::{{Envelope, Outcome, testing}};

    use super::handle;

    #[tokio::test]
    async fn an_event_is_done() {{
        {payload}
        {envelope}
        let envelope = envelope.payload(Some(\"application/json\"), payload).build().expect(\"an envelope\");
        let delivery = testing::delivery(envelope).build();
        let payload = delivery.envelope().json().expect(\"a payload that fits\");
        assert_eq!(handle(payload, delivery).await, Outcome::Done);
    }}
}}
"
        )
    }

    fn envelope(&self, widths: Widths) -> String {
        let event_type = self.event_type.replace('*', "example");
        bound("envelope", &format!("Envelope::builder(\"id-1\", \"/test\", {event_type:?})"), widths)
    }

    fn with_bytes(&self, widths: Widths) -> String {
        let (event_type, envelope) = (&self.event_type, self.envelope(widths));
        format!(
            "\
//! Handles `{event_type}`.

use std::sync::Arc;

use sluicegate_batch::{{Delivery, Outcome}};

/// Handles one event. It may come twice, with the same id: make its effect once per id.
pub(crate) async fn handle(delivery: Arc<Delivery>) -> Outcome {{
    let bytes = delivery.envelope().payload().len();
    tracing::info!(message_id = delivery.envelope().id(), bytes, \"handled\");
    // Your work comes here. `Retry` tries again later; `reject(code, detail)` makes it a dead letter.
    Outcome::Done
}}

#[cfg(test)]
mod tests {{
    use sluicegate_batch::{{Envelope, Outcome, testing}};

    use super::handle;

    #[tokio::test]
    async fn an_event_is_done() {{
        {envelope}
        let envelope = envelope.payload(Some(\"text/plain\"), \"text\").build().expect(\"an envelope\");
        let delivery = testing::delivery(envelope).build();
        assert_eq!(handle(delivery).await, Outcome::Done);
    }}
}}
"
        )
    }
}

/// Returns a `let` in the body of a test, on two lines if one is too short for it.
fn bound(name: &str, value: &str, widths: Widths) -> String {
    let on_one = format!("let {name} = {value};");
    let [on_one_columns, on_two_columns] = [8 + on_one.len(), 12 + value.len() + 1];
    match on_one_columns > widths.line && on_two_columns <= widths.line {
        true => format!("let {name} =\n            {value};"),
        false => on_one,
    }
}

/// Returns a raw string literal.
fn literal(text: &str) -> String {
    let mut hashes = "#".to_owned();
    while text.contains(&format!("\"{hashes}")) {
        hashes.push('#');
    }
    format!("r{hashes}\"{text}\"{hashes}")
}
