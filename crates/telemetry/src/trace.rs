//! The trace id of a log line: the same from the request to the handler, for both kinds of trace header.

/// Returns the trace id of a W3C `traceparent`, else the root of an X-Ray trace header (`Root=1-…;Parent=…`), in
/// X-Ray's own notation so that a search in X-Ray finds it.
///
/// <https://www.w3.org/TR/trace-context/#traceparent-header>,
/// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>
#[must_use]
pub fn trace_id<'a>(traceparent: Option<&'a str>, xray: Option<&'a str>) -> Option<&'a str> {
    let of_traceparent = || traceparent?.split('-').nth(1).filter(|id| id.len() == 32);
    let of_xray = || xray?.split(';').find_map(|part| part.trim().strip_prefix("Root=")).filter(|id| !id.is_empty());
    of_traceparent().or_else(of_xray)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_has_one_id() {
        let w3c = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let xray = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        for (traceparent, header, expected) in [
            (Some(w3c), Some(xray), Some("4bf92f3577b34da6a3ce929d0e0e4736")),
            (None, Some(xray), Some("1-5759e988-bd862e3fe1be46a994272793")),
            (Some("nonsense"), Some("Self=1-2-3; Root=1-4-5"), Some("1-4-5")),
            (Some("00-short-1-01"), Some("Root="), None),
            (None, None, None),
        ] {
            assert_eq!(trace_id(traceparent, header), expected, "{traceparent:?} {header:?}");
        }
    }
}
