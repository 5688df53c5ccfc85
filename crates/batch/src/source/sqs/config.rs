//! [`Settings`]: the settings of an SQS consumer, from its builder or the environment.

use sluicegate_aws_client::AwsEnvironment;

use super::SqsSource;
use super::fifo::RECEIVE_COUNT_MAX_DEFAULT;
#[cfg(feature = "s3")]
use super::payload::Payloads;
use crate::source::environment::receive_count_max;

/// The environment variable with the bucket of payloads that are larger than SQS accepts, or several with spaces
/// between them.
pub(super) const PAYLOAD_BUCKET: &str = "PAYLOAD_BUCKET";

/// The settings given to the builder. The others come from the environment.
#[derive(Default)]
pub(crate) struct Settings {
    /// `None` if it is wrong, which is among the mistakes.
    pub(crate) aws: Option<AwsEnvironment>,
    pub(crate) fifo_receive_count_max: Option<u32>,
    pub(crate) accepts_raw: bool,
    #[cfg(feature = "s3")]
    pub(crate) payloads: Option<Payloads>,
}

impl Settings {
    /// Creates the source, and adds configuration errors to `mistakes`.
    pub(crate) fn source(
        self,
        lookup: impl Fn(&str) -> Option<String>,
        mistakes: &mut Vec<String>,
    ) -> Option<SqsSource> {
        let receives = self
            .fifo_receive_count_max
            .or_else(|| receive_count_max("FIFO_MAX_RECEIVE_COUNT", &lookup, mistakes))
            .unwrap_or(RECEIVE_COUNT_MAX_DEFAULT);
        #[cfg(feature = "s3")]
        let payloads = self.payloads.or_else(|| Some(Payloads::from_env(self.aws.as_ref()?, &lookup)));
        #[cfg(not(feature = "s3"))]
        if lookup(PAYLOAD_BUCKET).is_some_and(|buckets| !buckets.trim().is_empty()) {
            mistakes.push(format!(
                "{PAYLOAD_BUCKET} is set, and this function is built without S3: give sluicegate-batch the feature s3 in \
                 its Cargo.toml"
            ));
        }
        let source = SqsSource::new(self.aws?, receives).accepting_raw(self.accepts_raw);
        #[cfg(feature = "s3")]
        let source = source.with_payloads(payloads?.with_memory(&lookup));
        Some(source)
    }
}
