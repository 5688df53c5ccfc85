//! [`JsonLine`]: an event of tracing as one JSON object.
//!
//! The members are those of tracing-subscriber's JSON format: `level`, `fields`, `span` (the innermost span) and
//! `spans` (all of them, outermost first). The format there parses the fields of each span into a tree for each line,
//! and repeats a single span in `spans`; here they are copied, and `spans` appears only if there is more than one.

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

/// Formats an event. The fields of spans must be formatted by
/// [`JsonFields`](tracing_subscriber::fmt::format::JsonFields).
pub(super) struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        out.write_str(r#"{"level":""#)?;
        out.write_str(event.metadata().level().as_str())?;
        out.write_str(r#"","fields":{"#)?;
        let mut members = Members { out: &mut out, written: Ok(false) };
        event.record(&mut members);
        members.written?;
        out.write_char('}')?;
        let span = event.parent().and_then(|id| context.span(id)).or_else(|| context.lookup_current());
        if let Some(span) = span {
            out.write_str(r#","span":"#)?;
            write_span::<S, N>(&mut out, &span)?;
            if span.parent().is_some() {
                out.write_str(r#","spans":"#)?;
                let mut before = '[';
                for each in span.scope().from_root() {
                    out.write_char(before)?;
                    write_span::<S, N>(&mut out, &each)?;
                    before = ',';
                }
                out.write_char(']')?;
            }
        }
        out.write_str("}\n")
    }
}

/// Writes the fields of a span, which are a JSON object, with its name as a further member.
fn write_span<S, N: 'static>(out: &mut Writer<'_>, span: &SpanRef<'_, S>) -> fmt::Result
where
    S: for<'a> LookupSpan<'a>,
{
    let extensions = span.extensions();
    let fields = extensions.get::<FormattedFields<N>>().map_or("", |fields| fields.fields.as_str());
    let fields = fields.strip_suffix('}').filter(|fields| fields.starts_with('{')).unwrap_or("{");
    out.write_str(fields)?;
    out.write_str(if fields == "{" { r#""name":""# } else { r#","name":""# })?;
    write_escaped(out, span.name())?;
    out.write_str("\"}")
}

/// Writes fields as the members of an object.
struct Members<'a, 'b> {
    out: &'a mut Writer<'b>,
    /// Whether a member was written, or the first error.
    written: Result<bool, fmt::Error>,
}

impl Members<'_, '_> {
    fn member(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        let Ok(is_next) = self.written else { return };
        let out = &mut *self.out;
        let write = || {
            out.write_str(if is_next { ",\"" } else { "\"" })?;
            write_escaped(out, field.name())?;
            out.write_str("\":")?;
            value(out)
        };
        self.written = write().map(|()| true);
    }
}

impl Visit for Members<'_, '_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.member(field, |out| write!(out, "{value:?}")),
            false => self.member(field, |out| out.write_str("null")),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, |out| write!(out, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, |out| write!(out, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |out| out.write_str(if value { "true" } else { "false" }));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, |out| {
            out.write_char('"')?;
            write_escaped(out, value)?;
            out.write_char('"')
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.member(field, |out| {
            out.write_char('"')?;
            write!(Escaped(out), "{value:?}")?;
            out.write_char('"')
        });
    }
}

/// Escapes what is written to it, as the content of a JSON string.
struct Escaped<'a, 'b>(&'a mut Writer<'b>);

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_escaped(self.0, text)
    }
}

/// Returns whether a JSON string has to escape a byte: a control character, a quote or a backslash.
fn is_escaped(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// Returns whether one of eight bytes [`is_escaped`], in a quarter of the instructions.
///
/// <https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord>
fn has_escaped(word: [u8; 8]) -> bool {
    let each = |byte: u8| u64::from_ne_bytes([byte; 8]);
    let word = u64::from_ne_bytes(word);
    let has_less = |word: u64, than: u8| word.wrapping_sub(each(than)) & !word & each(0x80) != 0;
    has_less(word, b' ') || has_less(word ^ each(b'"'), 1) || has_less(word ^ each(b'\\'), 1)
}

/// Writes the content of a JSON string.
fn write_escaped(out: &mut Writer<'_>, text: &str) -> fmt::Result {
    // Most texts have nothing to escape.
    let (words, end) = text.as_bytes().as_chunks();
    if !words.iter().any(|word| has_escaped(*word)) && !end.iter().copied().any(is_escaped) {
        return out.write_str(text);
    }
    let mut rest = text;
    while let Some(at) = rest.bytes().position(is_escaped) {
        let (before, from) = rest.split_at(at);
        // What is escaped is ASCII.
        let (special, after) = from.split_at(1);
        out.write_str(before)?;
        match special {
            "\n" => out.write_str("\\n")?,
            "\r" => out.write_str("\\r")?,
            "\t" => out.write_str("\\t")?,
            "\"" | "\\" => {
                out.write_char('\\')?;
                out.write_str(special)?;
            }
            _ => special.bytes().try_for_each(|byte| write!(out, "\\u{byte:04x}"))?,
        }
        rest = after;
    }
    out.write_str(rest)
}

#[cfg(test)]
mod tests;
