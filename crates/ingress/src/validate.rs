//! Stage 3, [`Validated`]: media type, parameters and body match the contract.
//!
//! A body is parsed only in this stage, after authentication and the size check. The parser limits nesting to 128
//! levels (the limit of `serde_json`), so that no document can exhaust the stack. The payload is never rewritten.
//!
//! How much of a JSON body is read:
//!
//! | schema | templates use the body | signed | read |
//! |---|---|---|---|
//! | constrains the content | yes or no | yes or no | the whole document |
//! | none, `true`, or only `type: object` | yes | no | the whole document |
//! | none, `true`, or only `type: object` | yes | yes | the syntax, and the values that are used |
//! | none, `true`, or only `type: object` | no | yes or no | the syntax |
//! | none or `true` | no | yes | nothing |
//!
//! What is read has no duplicate members, because readers may differ on which one counts. The rest of a signed body
//! may be what a strict reader refuses: its provider would only repeat it.

use std::{borrow::Cow, fmt};

use serde_json::Value;
use sluicegate_contract::{Body, BodySchema, Idempotency, Location, Parameter, is_json};
use sluicegate_webhook::FORM_MEDIA_TYPE;

use crate::{
    authenticate::Authenticated,
    idempotency_key::{self, SENT_TWICE},
    json::{self, JsonError},
    media_type,
    rejection::{BodyFault, Code, Rejection, SCHEMA_VIOLATED},
    route::Routed,
    schemas::Schemas,
};

/// The media type of a body that is JSON whatever its sender says, as that of SNS.
const JSON: &str = "application/json";

/// A request that matches the contract.
#[derive(Debug)]
pub struct Validated<'c> {
    authenticated: Authenticated<'c>,
    document: Option<Value>,
}

impl<'c> Validated<'c> {
    /// Checks parameters, media type and body.
    ///
    /// # Errors
    /// 415, 400 or 422, the last with the JSON pointer of each fault found.
    pub fn new(authenticated: Authenticated<'c>, schemas: &Schemas) -> Result<Self, Rejection> {
        let routed = authenticated.routed();
        for parameter in &routed.operation().parameters {
            check_parameter(&authenticated, parameter, schemas)?;
        }
        let document = match (&routed.operation().body, routed.body().is_empty()) {
            (Some(body), false) => check_body(&authenticated, body, schemas)?,
            (Some(body), true) if body.required => {
                return Err(Rejection::new(Code::BodyMissing, "This route accepts a body, and none was sent."));
            }
            (None, false) => {
                return Err(Rejection::new(Code::BodyUnexpected, "This route accepts no body, and one was sent."));
            }
            (_, true) => None,
        };
        Ok(Self { authenticated, document })
    }

    /// Returns the previous stage.
    #[must_use]
    pub fn authenticated(&self) -> &Authenticated<'c> {
        &self.authenticated
    }

    /// Returns the parsed body, if it is JSON and the operation uses its content; of a signed body without a schema, no
    /// more than what the templates use.
    #[must_use]
    pub fn document(&self) -> Option<&Value> {
        self.document.as_ref()
    }

    /// Returns the body if it is a form in UTF-8.
    pub(crate) fn form(&self) -> Option<&str> {
        let routed = self.authenticated.routed();
        let sent = media_type::essence(routed.arrival().header("content-type")?);
        let is_form = sent.eq_ignore_ascii_case(FORM_MEDIA_TYPE);
        is_form.then(|| std::str::from_utf8(routed.body()).ok()).flatten()
    }

    /// Returns the normalized media type of the body: JSON where the scheme of the signature says so.
    #[must_use]
    pub fn media_type(&self) -> Option<Cow<'_, str>> {
        if self.authenticated.has_json() {
            return Some(Cow::Borrowed(JSON));
        }
        self.authenticated.routed().arrival().header("content-type").map(media_type::normalized)
    }
}

fn check_parameter(
    authenticated: &Authenticated<'_>,
    parameter: &Parameter,
    schemas: &Schemas,
) -> Result<(), Rejection> {
    let routed = authenticated.routed();
    let name = parameter.name.as_str();
    let arrival = routed.arrival();
    let (place, value) = match parameter.location {
        Location::Header => ("header", authenticated.header(name).map(Cow::Borrowed)),
        Location::Path => ("path parameter", routed.path_param(name).map(Cow::Borrowed)),
        Location::Query => ("query parameter", arrival.query_value(name)),
    };
    let idempotency = routed.operation().enqueue.idempotency.as_ref();
    let is_key = parameter.location == Location::Header && idempotency.and_then(Idempotency::header) == Some(name);
    let code = if is_key { Code::IdempotencyKeyInvalid } else { Code::ParameterInvalid };
    let invalid = |reason: &str| Err(Rejection::new(code, format!("The {place} {name} {reason}.")));
    // The schema applies to the key without its quotes.
    let value = match is_key {
        true => idempotency_key::read(authenticated, name, parameter.required)?.map(Cow::Owned),
        false => value,
    };
    let Some(text) = value else {
        return match parameter.location {
            Location::Header if arrival.repeats_header(name) => invalid(SENT_TWICE),
            Location::Query if arrival.repeats_query(name) => invalid(SENT_TWICE),
            _ if parameter.required => invalid("is required"),
            _ => Ok(()),
        };
    };
    let Some(schema) = &parameter.schema else { return Ok(()) };
    let value = Value::String(text.into_owned());
    let faults = schemas.faults(schema, &value)?;
    let Some(fault) = faults.first() else { return Ok(()) };
    // A parameter is text; a schema for a number or a boolean applies to the parsed text.
    let spelled = value.as_str().and_then(|text| serde_json::from_str(text).ok());
    match spelled.filter(|value: &Value| value.is_number() || value.is_boolean()) {
        Some(value) if schemas.faults(schema, &value)?.is_empty() => Ok(()),
        _ => invalid(&format!("is not valid: {}", fault.detail)),
    }
}

/// Checks the body. Returns the document only if templates use it or its schema constrains the content.
fn check_body(authenticated: &Authenticated<'_>, body: &Body, schemas: &Schemas) -> Result<Option<Value>, Rejection> {
    let routed = authenticated.routed();
    check_content_encoding(routed)?;
    let sent = match authenticated.has_json() {
        true => JSON,
        false => routed.arrival().header("content-type").unwrap_or_default(),
    };
    let essence = media_type::essence(sent);
    let Some((media_type, schema)) =
        body.content.iter().find(|(media_type, _)| media_type.eq_ignore_ascii_case(essence))
    else {
        return Err(media_type_unsupported(body, format_args!("This route accepts {}.", names(body))));
    };
    if !is_json(media_type) {
        return Ok(None);
    }
    if media_type::charset(sent).is_some_and(|charset| !is_utf8(charset)) {
        return Err(media_type_unsupported(body, format_args!("JSON is UTF-8 (RFC 8259), without another charset.")));
    }
    let is_signed = authenticated.scheme().is_some();
    let mut pointers = routed.operation().enqueue.body_pointers().peekable();
    let reads_body = pointers.peek().is_some();
    if is_signed && *schema == BodySchema::Any && !reads_body {
        return Ok(None);
    }
    let invalid = |detail: String| Rejection::new(Code::JsonInvalid, detail);
    let text = std::str::from_utf8(routed.body())
        .map_err(|error| invalid(format!("The body is not UTF-8 at byte {}.", error.valid_up_to())))?;
    let not_json = |error| match error {
        JsonError::Syntax { line, column } => invalid(format!("The body is not JSON at line {line}, column {column}.")),
        JsonError::Duplicate(pointer) => Rejection {
            faults: vec![BodyFault::new(pointer, "the object has this member twice".to_owned())],
            ..invalid("The body has duplicate members; see errors.".to_owned())
        },
    };
    let (document, faults) = match schema {
        BodySchema::Schema(text_of_schema) => {
            let document = json::parse(text).map_err(not_json)?;
            let faults = schemas.faults(text_of_schema, &document)?;
            (Some(document), faults)
        }
        BodySchema::Any | BodySchema::Object => {
            let document = match (reads_body, is_signed) {
                (true, true) => Some(json::values_at(text, pointers).map_err(not_json)?),
                (true, false) => Some(json::parse(text).map_err(not_json)?),
                (false, _) => json::check_syntax(text).map(|()| None).map_err(not_json)?,
            };
            let fits = *schema == BodySchema::Any || text.trim_ascii_start().starts_with('{');
            (document, if fits { Vec::new() } else { vec![BodyFault::at_root("the value is not of type \"object\"")] })
        }
    };
    if faults.is_empty() {
        return Ok(document);
    }
    Err(Rejection { faults, ..Rejection::new(Code::SchemaViolated, SCHEMA_VIOLATED) })
}

/// Refuses content codings, because the payload is passed on unchanged and the handler would not know its coding.
fn check_content_encoding(routed: &Routed<'_>) -> Result<(), Rejection> {
    let sent = routed.arrival().headers.get_all("content-encoding").iter();
    let codings = sent.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    if codings.map(<[u8]>::trim_ascii).all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    // RFC 9110, section 12.5.3: Accept-Encoding in a 415 answer lists the accepted codings.
    Err(Rejection::new(Code::ContentEncodingUnsupported, "Send the body without a content coding (identity).")
        .header("accept-encoding", "identity"))
}

fn media_type_unsupported(body: &Body, detail: fmt::Arguments<'_>) -> Rejection {
    Rejection::new(Code::MediaTypeUnsupported, detail.to_string()).header("accept-post", names(body))
}

fn names(body: &Body) -> String {
    body.content.iter().map(|(media_type, _)| media_type.as_str()).collect::<Vec<_>>().join(", ")
}

/// Returns whether the charset is UTF-8 or its subset ASCII.
fn is_utf8(charset: &str) -> bool {
    ["utf-8", "utf8", "us-ascii"].iter().any(|name| charset.eq_ignore_ascii_case(name))
}
