//! The sender of a request.

/// Facts about the sender of a request.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The Region of the credential scope; `None` stands for the service's.
    pub region: Option<String>,
    /// The account of the credentials: 12 digits; `None` stands for the service's.
    pub account: Option<String>,
    /// The header `X-Amzn-Trace-Id`: the `AWSTraceHeader` of messages sent without one.
    pub trace_header: Option<String>,
}
