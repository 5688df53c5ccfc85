//! The account and the Region of the service.

/// The identity of the service in ARNs and URLs.
#[derive(Debug, Clone)]
pub struct SqsConfig {
    /// The Region in ARNs.
    pub region: String,
    /// The account in ARNs and URLs: 12 digits.
    pub account: String,
}

impl Default for SqsConfig {
    fn default() -> Self {
        Self { region: "us-east-1".to_owned(), account: "000000000000".to_owned() }
    }
}
