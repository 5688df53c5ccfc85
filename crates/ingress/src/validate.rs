//! Stage 3, [`Validated`]: media type, parameters and body match the contract.
//!
//! A body is parsed only in this stage, after authentication and the size check. The parser limits nesting to 128
//! levels (the limit of `serde_json`), so that no document can exhaust the stack. The payload is never rewritten. A
//! content coding that the route accepts is removed first.
//!
//! A body is one message or, of a batch, several ([`Body::mode`]); each is checked by itself. A CloudEvent of the
//! sender is checked as one, and by the schema.
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
use sluicegate_contract::{Body, BodySchema, Idempotency, Location, Mode, Parameter};
use sluicegate_envelope::Envelope;
use sluicegate_webhook::FORM_MEDIA_TYPE;

use crate::{
    authenticate::Authenticated,
    batch, cloud_event, content_coding,
    idempotency_key::{self, SENT_TWICE},
    json::{self, JsonError},
    media_type,
    rejection::{BodyFault, Code, Rejection, SCHEMA_VIOLATED},
    schemas::Schemas,
};

/// The media type of a body that is JSON whatever its sender says, as that of SNS.
const JSON: &str = "application/json";

/// A request that matches the contract.
#[derive(Debug)]
pub struct Validated<'c> {
    authenticated: Authenticated<'c>,
    /// The body without its content coding, if it has one.
    decoded: Option<Vec<u8>>,
    content: Content,
}

/// The messages of a request.
#[derive(Debug)]
enum Content {
    One(Part),
    /// The items of a batch, in order.
    Many(Vec<Result<(Vec<u8>, Part), Rejection>>),
}

/// What is read of one message.
#[derive(Debug, Default)]
struct Part {
    document: Option<Value>,
    event: Option<Box<Envelope>>,
}

/// One message of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft<'v> {
    pub(crate) request: &'v Validated<'v>,
    /// The exact bytes.
    pub(crate) payload: &'v [u8],
    /// The parsed payload, or what of it the templates use.
    pub(crate) document: Option<&'v Value>,
    /// The CloudEvent of the sender.
    pub(crate) event: Option<&'v Envelope>,
    /// The position in a batch.
    pub(crate) position: Option<usize>,
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
        let mut decoded = None;
        let content = match (&routed.operation().body, routed.body().is_empty()) {
            (Some(body), false) => {
                let bytes_max = routed.operation().enqueue.payload_bytes_max;
                decoded = content_coding::decode(routed.arrival(), body, routed.body(), bytes_max)?;
                check_body(&authenticated, body, decoded.as_deref().unwrap_or(routed.body()), schemas)?
            }
            (Some(body), true) if body.required => {
                return Err(Rejection::new(Code::BodyMissing, "This route accepts a body, and none was sent."));
            }
            (None, false) => {
                return Err(Rejection::new(Code::BodyUnexpected, "This route accepts no body, and one was sent."));
            }
            (Some(body), true) if body.has_binary_events => {
                let event = Some(cloud_event::binary(routed.arrival(), None, &[])?);
                Content::One(Part { event, document: None })
            }
            (_, true) => Content::One(Part::default()),
        };
        Ok(Self { authenticated, decoded, content })
    }

    /// Returns the previous stage.
    #[must_use]
    pub fn authenticated(&self) -> &Authenticated<'c> {
        &self.authenticated
    }

    /// Returns the bytes of the body, without its content coding.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.decoded.as_deref().unwrap_or(self.authenticated.routed().body())
    }

    /// Returns the parsed body, if it is one JSON document and the operation uses its content; of a signed body without
    /// a schema, no more than what the templates use.
    #[must_use]
    pub fn document(&self) -> Option<&Value> {
        match &self.content {
            Content::One(part) => part.document.as_ref(),
            Content::Many(_) => None,
        }
    }

    /// Returns the only message; `None` for a batch.
    pub(crate) fn one(&self) -> Option<Draft<'_>> {
        match &self.content {
            Content::One(part) => Some(self.draft(self.body(), part, None)),
            Content::Many(_) => None,
        }
    }

    /// Returns the items of a batch, or why one is refused; none without a batch.
    pub(crate) fn items(&self) -> impl Iterator<Item = Result<Draft<'_>, Rejection>> {
        let items = match &self.content {
            Content::One(_) => &[],
            Content::Many(items) => items.as_slice(),
        };
        items.iter().enumerate().map(|(position, item)| match item {
            Ok((payload, part)) => Ok(self.draft(payload, part, Some(position))),
            Err(rejection) => Err(rejection.clone()),
        })
    }

    fn draft<'v>(&'v self, payload: &'v [u8], part: &'v Part, position: Option<usize>) -> Draft<'v> {
        Draft { request: self, payload, document: part.document.as_ref(), event: part.event.as_deref(), position }
    }

    /// Returns the body if it is a form in UTF-8.
    pub(crate) fn form(&self) -> Option<&str> {
        let routed = self.authenticated.routed();
        let sent = media_type::essence(routed.arrival().header("content-type")?);
        let is_form = sent.eq_ignore_ascii_case(FORM_MEDIA_TYPE);
        is_form.then(|| std::str::from_utf8(self.body()).ok()).flatten()
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

/// Checks the body, and returns its messages.
fn check_body(
    authenticated: &Authenticated<'_>,
    body: &Body,
    bytes: &[u8],
    schemas: &Schemas,
) -> Result<Content, Rejection> {
    let arrival = authenticated.routed().arrival();
    let sent = match authenticated.has_json() {
        true => JSON,
        false => arrival.header("content-type").unwrap_or_default(),
    };
    let essence = media_type::essence(sent);
    let Some((media_type, schema)) =
        body.content.iter().find(|(media_type, _)| media_type.eq_ignore_ascii_case(essence))
    else {
        return Err(media_type_unsupported(body, format_args!("This route accepts {}.", names(body))));
    };
    let mode = body.mode(media_type);
    let event = match mode {
        Mode::BinaryEvent => Some(cloud_event::binary(arrival, Some(&media_type::normalized(sent)), bytes)?),
        _ => None,
    };
    if !body.is_document(media_type) {
        return Ok(Content::One(Part { document: None, event }));
    }
    if media_type::charset(sent).is_some_and(|charset| !is_utf8(charset)) {
        return Err(media_type_unsupported(body, format_args!("JSON is UTF-8 (RFC 8259), without another charset.")));
    }
    let reader = Reader { authenticated, schema, schemas, mode };
    if reader.reads_nothing() {
        return Ok(Content::One(Part { document: None, event }));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| json_invalid(format!("The body is not UTF-8 at byte {}.", error.valid_up_to())))?;
    if !mode.is_batch() {
        let part = reader.part(text)?;
        return Ok(Content::One(Part { event: part.event.or(event), ..part }));
    }
    let (items_min, items_max) = body.items;
    let (items, count) = match mode {
        Mode::Lines => batch::lines(text, items_max),
        _ => batch::array(text, items_max).map_err(not_json)?.ok_or_else(|| not_array("is not of type \"array\""))?,
    };
    if count < items_min {
        return Err(not_array(&format!("has less than {items_min} items")));
    }
    if count > items_max {
        return Err(not_array(&format!("has more than {items_max} items")));
    }
    let read = |item: &str| Ok((item.as_bytes().to_vec(), reader.part(item)?));
    Ok(Content::Many(items.into_iter().map(read).collect()))
}

/// Reads JSON as far as the contract needs it.
struct Reader<'r> {
    authenticated: &'r Authenticated<'r>,
    schema: &'r BodySchema,
    schemas: &'r Schemas,
    mode: Mode,
}

impl Reader<'_> {
    fn is_signed(&self) -> bool {
        self.authenticated.scheme().is_some()
    }

    fn pointers(&self) -> impl Iterator<Item = &str> {
        self.authenticated.routed().operation().enqueue.body_pointers()
    }

    /// Returns whether the body is passed on unread.
    fn reads_nothing(&self) -> bool {
        let is_opaque = matches!(self.mode, Mode::Payload | Mode::BinaryEvent);
        is_opaque && self.is_signed() && *self.schema == BodySchema::Any && self.pointers().next().is_none()
    }

    /// Reads one message.
    fn part(&self, text: &str) -> Result<Part, Rejection> {
        if !matches!(self.mode, Mode::Event | Mode::Events) {
            return Ok(Part { document: self.document(text)?, event: None });
        }
        let document = json::parse(text).map_err(not_json)?;
        let faults = match self.schema {
            BodySchema::Schema(schema) => self.schemas.faults(schema, &document)?,
            BodySchema::Any | BodySchema::Object => Vec::new(),
        };
        let event = cloud_event::structured(text)?;
        refuse(faults)?;
        Ok(Part { document: Some(document), event: Some(event) })
    }

    /// Returns the document only if templates use it or its schema constrains the content.
    fn document(&self, text: &str) -> Result<Option<Value>, Rejection> {
        let reads_body = self.pointers().next().is_some();
        let (document, faults) = match self.schema {
            BodySchema::Schema(text_of_schema) => {
                let document = json::parse(text).map_err(not_json)?;
                let faults = self.schemas.faults(text_of_schema, &document)?;
                (Some(document), faults)
            }
            BodySchema::Any | BodySchema::Object => {
                let document = match (reads_body, self.is_signed()) {
                    (true, true) => Some(json::values_at(text, self.pointers()).map_err(not_json)?),
                    (true, false) => Some(json::parse(text).map_err(not_json)?),
                    (false, _) => json::check_syntax(text).map(|()| None).map_err(not_json)?,
                };
                let fits = *self.schema == BodySchema::Any || text.trim_ascii_start().starts_with('{');
                let fault = || vec![BodyFault::at_root("the value is not of type \"object\"")];
                (document, if fits { Vec::new() } else { fault() })
            }
        };
        refuse(faults)?;
        Ok(document)
    }
}

fn refuse(faults: Vec<BodyFault>) -> Result<(), Rejection> {
    if faults.is_empty() {
        return Ok(());
    }
    Err(Rejection { faults, ..Rejection::new(Code::SchemaViolated, SCHEMA_VIOLATED) })
}

fn not_array(reason: &str) -> Rejection {
    let faults = vec![BodyFault::at_root(&format!("the value {reason}"))];
    Rejection { faults, ..Rejection::new(Code::SchemaViolated, SCHEMA_VIOLATED) }
}

fn json_invalid(detail: String) -> Rejection {
    Rejection::new(Code::JsonInvalid, detail)
}

fn not_json(error: JsonError) -> Rejection {
    match error {
        JsonError::Syntax { line, column } => {
            json_invalid(format!("The body is not JSON at line {line}, column {column}."))
        }
        JsonError::Duplicate(pointer) => Rejection {
            faults: vec![BodyFault::new(pointer, "the object has this member twice".to_owned())],
            ..json_invalid("The body has duplicate members; see errors.".to_owned())
        },
    }
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
