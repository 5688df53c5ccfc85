//! The sender of a request.

/// What a request says of its sender, besides its input.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The Region of the credential scope; `None` is the service's own.
    pub region: Option<String>,
    /// The account of the credentials: 12 digits; `None` is the service's own.
    pub account: Option<String>,
    /// The header `X-Amzn-Trace-Id`: the `AWSTraceHeader` of messages that are sent without one.
    pub trace_header: Option<String>,
}
