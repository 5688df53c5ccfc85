//! [`SpanContext`]: what names a span across processes, as W3C and X-Ray write it.

use std::fmt;

/// The flag of a `traceparent` that says that the caller records its span (W3C Trace Context, section 3.2.2.5).
const SAMPLED: u8 = 1;

/// The ids of a span and whether it is recorded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanContext {
    trace_id: u128,
    span_id: u64,
    is_sampled: bool,
}

impl SpanContext {
    /// Parses a version 00 `traceparent`; `None` if it is another text.
    ///
    /// <https://www.w3.org/TR/trace-context/#traceparent-header>
    #[must_use]
    pub fn from_traceparent(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut next = || parts.next();
        let ("00", trace_id, span_id, flags) = (next()?, next()?, next()?, next()?) else { return None };
        if next().is_some() {
            return None;
        }
        let flags = u8::try_from(hex(flags, 2)?).ok()?;
        Self::new(hex(trace_id, 32)?, hex(span_id, 16)?, flags & SAMPLED == SAMPLED)
    }

    /// Parses an X-Ray header with a root and a parent. The root without its version and dashes is the trace id.
    ///
    /// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>
    #[must_use]
    pub fn from_xray(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let fields = text.split(';').filter_map(|field| field.trim().split_once('='));
            fields.into_iter().find_map(|(key, value)| (key == name).then_some(value))
        };
        let (seconds, random) = field("Root")?.strip_prefix("1-")?.split_once('-')?;
        let trace_id = hex(seconds, 8)? << 96 | hex(random, 24)?;
        Self::new(trace_id, hex(field("Parent")?, 16)?, field("Sampled") == Some("1"))
    }

    /// Returns the context of a new span.
    pub(crate) fn fresh(trace_id: u128, is_sampled: bool) -> Self {
        Self { trace_id, span_id: fastrand::u64(1..), is_sampled }
    }

    /// Returns the context of a new span of the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self::fresh(self.trace_id, self.is_sampled)
    }

    pub(crate) fn sampled(self, is_sampled: bool) -> Self {
        Self { is_sampled, ..self }
    }

    /// Returns the `traceparent` header.
    #[must_use]
    pub fn traceparent(self) -> String {
        self.to_string()
    }

    /// Returns whether the span is recorded.
    #[must_use]
    pub fn is_sampled(self) -> bool {
        self.is_sampled
    }

    pub(crate) fn trace_id(self) -> u128 {
        self.trace_id
    }

    pub(crate) fn span_id(self) -> u64 {
        self.span_id
    }

    /// Returns the flags of the `traceparent`.
    pub(crate) fn flags(self) -> u8 {
        if self.is_sampled { SAMPLED } else { 0 }
    }

    /// Ids of zero are invalid in both notations.
    fn new(trace_id: u128, span_id: u128, is_sampled: bool) -> Option<Self> {
        let span_id = u64::try_from(span_id).ok()?;
        (trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id, is_sampled })
    }
}

impl fmt::Display for SpanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags())
    }
}

impl fmt::Debug for SpanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns the id of a new trace. Its first 32 bits are not a time, which X-Ray has not required since 2023.
pub(crate) fn fresh_trace_id() -> u128 {
    fastrand::u128(1..)
}

/// Parses so many lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    is_hex.then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_context_is_read_as_w3c_and_x_ray_write_it() {
        let (trace, span) = ("5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8");
        let w3c = |flags: &str| format!("00-{trace}-{span}-{flags}");
        for (text, expected) in [
            (w3c("01"), Some(w3c("01"))),
            (w3c("00"), Some(w3c("00"))),
            (w3c("03"), Some(w3c("01"))),
            (w3c("02"), Some(w3c("00"))),
            (w3c("1"), None),
            (w3c("01-x"), None),
            (w3c("01").replacen("00", "01", 1), None),
            (w3c("01").to_uppercase(), None),
            (format!("00-{}-{span}-01", "0".repeat(32)), None),
            (format!("00-{trace}-{}-01", "0".repeat(16)), None),
            (String::new(), None),
        ] {
            assert_eq!(SpanContext::from_traceparent(&text).map(SpanContext::traceparent), expected, "{text}");
        }
        for (text, expected) in [
            ("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1", Some(w3c("01"))),
            ("Sampled=0; Parent=53995c3f42cd8ad8; Root=1-5759e988-bd862e3fe1be46a994272793", Some(w3c("00"))),
            ("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Lineage=1:a:0", Some(w3c("00"))),
            ("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1", None),
            ("Root=2-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8", None),
            ("Root=1-5759e988;Parent=53995c3f42cd8ad8", None),
            ("Root", None),
        ] {
            assert_eq!(SpanContext::from_xray(text).map(SpanContext::traceparent), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = (SpanContext::from_traceparent(&text), SpanContext::from_xray(&text));
        }

        #[test]
        fn what_is_written_is_read_again(is_sampled: bool) {
            let context = SpanContext::fresh(fresh_trace_id(), is_sampled);
            prop_assert_eq!(SpanContext::from_traceparent(&context.traceparent()), Some(context));
        }
    }
}
