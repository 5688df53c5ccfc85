//! [`Settings`]: the settings of an SQS consumer, from its builder or the environment.

use sluicegate_queue::chain;
use sluicegate_queue::sqs::{SdkConfig, sdk_config};

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
    pub(crate) sdk_config: Option<SdkConfig>,
    pub(crate) fifo_receive_count_max: Option<u32>,
    pub(crate) accepts_raw: bool,
    #[cfg(feature = "s3")]
    pub(crate) payloads: Option<Payloads>,
}

impl Settings {
    /// Sets a configuration for `endpoint`, unless one was given.
    pub(crate) fn without_service(&mut self, endpoint: &str, mistakes: &mut Vec<String>) {
        let lookup = |name: &str| Some(if name.starts_with("AWS_ENDPOINT") { endpoint } else { "none" }.to_owned());
        if self.sdk_config.is_none() {
            self.sdk_config = sdk_config(lookup).map_err(|error| mistakes.push(chain(&error))).ok();
        }
    }

    /// Creates the source, and adds configuration errors to `mistakes`.
    pub(crate) fn source(
        self,
        lookup: impl Fn(&str) -> Option<String>,
        mistakes: &mut Vec<String>,
    ) -> Option<SqsSource> {
        let sdk_config = self.sdk_config.map_or_else(|| sdk_config(&lookup), Ok);
        let sdk_config = sdk_config.map_err(|error| mistakes.push(chain(&error))).ok();
        let receives = self
            .fifo_receive_count_max
            .or_else(|| receive_count_max("FIFO_MAX_RECEIVE_COUNT", &lookup, mistakes))
            .unwrap_or(RECEIVE_COUNT_MAX_DEFAULT);
        #[cfg(feature = "s3")]
        let payloads = self.payloads.unwrap_or_else(|| Payloads::from_env(&lookup, mistakes)).with_memory(&lookup);
        #[cfg(not(feature = "s3"))]
        if lookup(PAYLOAD_BUCKET).is_some_and(|buckets| !buckets.trim().is_empty()) {
            mistakes.push(format!(
                "{PAYLOAD_BUCKET} is set, and this function is built without S3: give sluicegate-batch the feature s3 in \
                 its Cargo.toml"
            ));
        }
        let source = SqsSource::new(sdk_config?, receives).accepting_raw(self.accepts_raw);
        #[cfg(feature = "s3")]
        let source = source.with_payloads(payloads);
        Some(source)
    }
}
