//! Stage 3, [`Validated`]: the media type, the parameters and the body are what the contract says.
//!
//! A body is parsed only here, after its sender is known and its size is checked. Nesting is limited by the parser (128
//! levels, `serde_json`'s own limit), so that no document can exhaust the stack. The payload itself is never rewritten.

use std::borrow::Cow;

use serde_json::Value;
use sluicegate_contract::{Body, Idempotency, Location, Parameter, is_json};

use crate::{
    authenticate::Authenticated,
    idempotency_key::{self, SENT_TWICE},
    rejection::{Code, Rejection},
    route::Routed,
    schemas::Schemas,
};

/// A request that fits the contract.
#[derive(Debug)]
pub struct Validated<'c> {
    authenticated: Authenticated<'c>,
    document: Option<Value>,
}

impl<'c> Validated<'c> {
    /// Checks parameters, media type and body.
    ///
    /// # Errors
    /// 415, 400 or 422, the last with the JSON pointer of each fault.
    pub fn new(authenticated: Authenticated<'c>, schemas: &Schemas) -> Result<Self, Rejection> {
        let routed = authenticated.routed();
        for parameter in &routed.operation().parameters {
            check_parameter(routed, parameter, schemas)?;
        }
        let document = match &routed.operation().body {
            Some(body) if !routed.body().is_empty() => check_body(routed, body, schemas)?,
            Some(body) if body.required => {
                return Err(Rejection::new(Code::BodyMissing, "This route takes a body, and none was sent."));
            }
            _ => None,
        };
        Ok(Self { authenticated, document })
    }

    /// The stage before.
    #[must_use]
    pub fn authenticated(&self) -> &Authenticated<'c> {
        &self.authenticated
    }

    /// The parsed body, when it is JSON.
    #[must_use]
    pub fn document(&self) -> Option<&Value> {
        self.document.as_ref()
    }
}

fn check_parameter(routed: &Routed<'_>, parameter: &Parameter, schemas: &Schemas) -> Result<(), Rejection> {
    let name = parameter.name.as_str();
    let arrival = routed.arrival();
    let (place, value) = match parameter.location {
        Location::Header => ("header", arrival.header(name).map(Cow::Borrowed)),
        Location::Path => ("path parameter", routed.path_param(name).map(Cow::Borrowed)),
        Location::Query => ("query parameter", arrival.query_value(name)),
    };
    let idempotency = routed.operation().enqueue.idempotency.as_ref();
    let is_key = parameter.location == Location::Header && idempotency.and_then(Idempotency::header) == Some(name);
    let code = if is_key { Code::IdempotencyKeyInvalid } else { Code::ParameterInvalid };
    let invalid = |reason: &str| Err(Rejection::new(code, format!("The {place} {name} {reason}.")));
    let Some(text) = value else {
        return match parameter.location {
            Location::Header if arrival.repeats_header(name) => invalid(SENT_TWICE),
            Location::Query if arrival.repeats_query(name) => invalid(SENT_TWICE),
            _ if parameter.required => invalid("is required"),
            _ => Ok(()),
        };
    };
    // The schema is for the key, not for the quotes around it.
    let text = if is_key {
        match idempotency_key::from_header(name, &text) {
            Ok(key) => key.into_owned(),
            Err(error) => return invalid(&error.to_string()),
        }
    } else {
        text.into_owned()
    };
    let schema = parameter.schema.as_ref();
    let value = Value::String(text);
    let faults = schemas.faults(schema, &value)?;
    let Some(fault) = faults.first() else { return Ok(()) };
    // A parameter is text; a schema that asks for a number or a boolean means what the text spells.
    let spelled = value.as_str().and_then(|text| serde_json::from_str(text).ok());
    match spelled.filter(|value: &Value| value.is_number() || value.is_boolean()) {
        Some(value) if schemas.faults(schema, &value)?.is_empty() => Ok(()),
        _ => invalid(&format!("is not valid: {}", fault.detail)),
    }
}

fn check_body(routed: &Routed<'_>, body: &Body, schemas: &Schemas) -> Result<Option<Value>, Rejection> {
    let sent = routed.arrival().header("content-type").unwrap_or_default();
    let essence = sent.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let Some((_, schema)) = body.content.iter().find(|(media_type, _)| *media_type == essence) else {
        let takes = body.content.iter().map(|(media_type, _)| media_type.as_str()).collect::<Vec<_>>().join(", ");
        let rejection = Rejection::new(Code::MediaTypeUnsupported, format!("This route takes {takes}."));
        return Err(rejection.header("accept-post", takes));
    };
    if !is_json(&essence) {
        return Ok(None);
    }
    let invalid = |detail: String| Rejection::new(Code::JsonInvalid, detail);
    let text = std::str::from_utf8(routed.body())
        .map_err(|error| invalid(format!("The body is not UTF-8 at byte {}.", error.valid_up_to())))?;
    let document: Value = serde_json::from_str(text).map_err(|error| {
        invalid(format!("The body is not JSON at line {}, column {}.", error.line(), error.column()))
    })?;
    let faults = schemas.faults(schema.as_ref(), &document)?;
    if faults.is_empty() {
        return Ok(Some(document));
    }
    let detail = "The body is JSON, and not what this route takes; see errors.";
    Err(Rejection { faults, ..Rejection::new(Code::SchemaViolated, detail) })
}
