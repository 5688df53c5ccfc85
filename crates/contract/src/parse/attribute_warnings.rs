//! Warnings about templates whose values may be invalid as attributes of an event.
//!
//! An attribute of a CloudEvent has no control characters and no Unicode noncharacters, and the envelope allows 2,048
//! bytes. The ingress refuses a request with another value; a schema can exclude such values beforehand.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look};
use serde_json::{Map, Value};
use sluicegate_webhook::Provider;

use crate::{Body, BodySchema, Location, Parameter, ValueSource, pointer};

/// The longest attribute that the envelope accepts, in bytes.
const BYTES_MAX: usize = 2_048;

/// The longest UTF-8 encoding of a character, in bytes.
const CHARACTER_BYTES_MAX: usize = 4;

/// Formats whose values are short and plain.
const PLAIN_FORMATS: &[&str] = &["date", "date-time", "duration", "ipv4", "ipv6", "time", "uuid"];

/// The depth to which references and `allOf` are followed.
const DEPTH_MAX: usize = 64;

/// The parts of a request that the templates of an operation can use.
pub(super) struct Request<'r> {
    pub(super) path_names: &'r [&'r str],
    pub(super) body: Option<&'r Body>,
    pub(super) parameters: &'r [Parameter],
    /// The provider that signs every request.
    pub(super) provider: Option<&'r Provider>,
    /// Whether a request without credentials may be admitted.
    pub(super) public: bool,
    /// Whether a signature may admit a request.
    pub(super) is_signed: bool,
    /// Whether every caller has claims.
    pub(super) has_claims: bool,
}

/// Returns the reasons why a value from `source` may be invalid as an attribute; empty if every value is valid.
pub(super) fn doubts(source: &ValueSource, request: &Request<'_>) -> Vec<&'static str> {
    let parameter = |location, name: &str| {
        let is_it = |parameter: &&crate::Parameter| parameter.location == location && parameter.name == name;
        let Some(parameter) = request.parameters.iter().find(is_it) else {
            return vec!["is not a declared parameter, so any value is possible"];
        };
        let schema = parameter.schema.as_deref().and_then(|schema| serde_json::from_str(schema).ok());
        let mut known = Known { is_required: parameter.required, ..Known::default() };
        if let Some(schema) = &schema {
            known.read(&applied(schema, schema));
        }
        known.doubts()
    };
    match source {
        ValueSource::Header(name) => parameter(Location::Header, name),
        ValueSource::Path(name) => parameter(Location::Path, name),
        ValueSource::Query(name) => parameter(Location::Query, name),
        ValueSource::Body(pointer) => {
            let schemas = request.body.into_iter().flat_map(|body| &body.content);
            let mut doubts: Vec<_> = schemas.flat_map(|(_, schema)| in_body(schema, pointer)).collect();
            doubts.sort_unstable();
            doubts.dedup();
            doubts
        }
        // Every attribute of a CloudEvent and every principal has been checked, and no schema describes claims.
        ValueSource::Form { .. } | ValueSource::Event(_) | ValueSource::Principal | ValueSource::Claims(_) => {
            Vec::new()
        }
    }
}

fn in_body(schema: &BodySchema, pointer: &str) -> Vec<&'static str> {
    let schema: Value = match schema {
        BodySchema::Schema(text) => serde_json::from_str(text).unwrap_or_default(),
        BodySchema::Any | BodySchema::Object => Value::Bool(true),
    };
    let mut known = Known { is_required: true, ..Known::default() };
    let mut here = applied(&schema, &schema);
    for name in pointer::keys(pointer) {
        let required = here.iter().filter_map(|part| part.get("required")?.as_array()).flatten();
        known.is_required &= required.into_iter().any(|required| *required == *name);
        let below = here.iter().filter_map(|part| part.get("properties")?.get(&*name));
        here = below.flat_map(|below| applied(&schema, below)).collect();
    }
    known.read(&here);
    known.doubts()
}

/// Returns the schema objects that all apply to one value: the schema itself, those it references, and `allOf`.
fn applied<'s>(root: &'s Value, schema: &'s Value) -> Vec<&'s Map<String, Value>> {
    fn add<'s>(root: &'s Value, schema: &'s Value, depth: usize, all: &mut Vec<&'s Map<String, Value>>) {
        let Some(keywords) = schema.as_object().filter(|_| depth < DEPTH_MAX && all.len() < DEPTH_MAX) else { return };
        all.push(keywords);
        let target =
            keywords.get("$ref").and_then(Value::as_str).and_then(|target| root.pointer(target.strip_prefix('#')?));
        let parts = keywords.get("allOf").and_then(Value::as_array).into_iter().flatten();
        target.into_iter().chain(parts).for_each(|part| add(root, part, depth + 1, all));
    }
    let mut all = Vec::new();
    add(root, schema, 0, &mut all);
    all
}

/// The constraints of schemas on one value.
#[derive(Default)]
struct Known {
    is_required: bool,
    is_plain: bool,
    bytes_max: Option<usize>,
}

impl Known {
    fn read(&mut self, schemas: &[&Map<String, Value>]) {
        for keywords in schemas {
            if let Some(kinds) = keywords.get("type") {
                let is_text = |kind: &Value| kind == "string";
                if !is_text(kinds) && !kinds.as_array().is_some_and(|kinds| kinds.iter().any(is_text)) {
                    self.holds(true, Some(BYTES_MAX));
                }
            }
            let constant = keywords.get("const").map(std::slice::from_ref);
            if let Some(values) = keywords.get("enum").and_then(Value::as_array).map(Vec::as_slice).or(constant) {
                let texts = || values.iter().filter_map(Value::as_str);
                self.holds(texts().all(is_plain), Some(texts().map(str::len).max().unwrap_or_default()));
            }
            if let Some(format) = keywords.get("format").and_then(Value::as_str) {
                let is_plain = PLAIN_FORMATS.contains(&format);
                self.holds(is_plain, is_plain.then_some(BYTES_MAX));
            }
            if let Some(characters) = keywords.get("maxLength").and_then(Value::as_u64) {
                let bytes = usize::try_from(characters).unwrap_or(usize::MAX).saturating_mul(CHARACTER_BYTES_MAX);
                self.holds(false, Some(bytes));
            }
            let pattern = keywords.get("pattern").and_then(Value::as_str);
            if let Some(pattern) = pattern.and_then(|pattern| regex_syntax::parse(pattern).ok()) {
                let of = pattern.properties();
                // Unless the pattern is anchored at both ends, any text may precede or follow the match.
                let is_whole = of.look_set_prefix().contains(Look::Start) && of.look_set_suffix().contains(Look::End);
                self.holds(is_whole && matches_plain(&pattern), of.maximum_len().filter(|_| is_whole));
            }
        }
    }

    fn holds(&mut self, is_plain: bool, bytes_max: Option<usize>) {
        self.is_plain |= is_plain;
        self.bytes_max = self.bytes_max.into_iter().chain(bytes_max).min();
    }

    fn doubts(&self) -> Vec<&'static str> {
        let all = [
            (!self.is_required, "may be missing, which is refused: make it required"),
            (
                !self.is_plain,
                "may have control characters, which an event must not have: give it a `pattern` from ^ to $ that excludes them, such as ^[ -~]+$",
            ),
            (
                self.bytes_max.is_none_or(|bytes| bytes > BYTES_MAX),
                "may be longer than the 2,048 bytes of an event attribute: give it a `maxLength` of at most 512",
            ),
        ];
        all.into_iter().filter_map(|(is_doubt, reason)| is_doubt.then_some(reason)).collect()
    }
}

/// Returns whether every character that the pattern matches is allowed in an event.
fn matches_plain(pattern: &Hir) -> bool {
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => std::str::from_utf8(&literal.0).is_ok_and(is_plain),
        HirKind::Class(Class::Unicode(class)) => {
            let mut refused = refused();
            refused.intersect(class);
            refused.ranges().is_empty()
        }
        HirKind::Class(Class::Bytes(_)) => false,
        HirKind::Repetition(repetition) => matches_plain(&repetition.sub),
        HirKind::Capture(capture) => matches_plain(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().all(matches_plain),
    }
}

/// Returns whether every character of a text is allowed in an event.
fn is_plain(text: &str) -> bool {
    let refused = refused();
    let is_refused = |c: char| refused.ranges().iter().any(|range| (range.start()..=range.end()).contains(&c));
    !text.contains(is_refused)
}

/// Returns the characters that are not allowed: control characters and noncharacters (CloudEvents 1.0.2, type system,
/// String).
fn refused() -> ClassUnicode {
    let planes = (0..=0x10_u32).map(|plane| (plane * 0x1_0000 + 0xFFFE, plane * 0x1_0000 + 0xFFFF));
    let ranges = [(0x00, 0x1F), (0x7F, 0x9F), (0xFDD0, 0xFDEF)].into_iter().chain(planes);
    let range = |(start, end)| Some(ClassUnicodeRange::new(char::from_u32(start)?, char::from_u32(end)?));
    ClassUnicode::new(ranges.filter_map(range))
}
