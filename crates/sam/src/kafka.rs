//! Event source mappings from topics of Kafka: Amazon MSK (`MSK`) and other clusters (`SelfManagedKafka`).
//!
//! The local stack has one cluster, so addresses, credentials and pollers are not used.
//! <https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-property-function-msk.html>
//! <https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-property-function-selfmanagedkafka.html>

use std::time::Duration;

use serde_json::Value;

use super::{ACCOUNT, Fault, FunctionPlan, Mapping, Props, REGION, Reader, Setting, sqs::BATCH_SIZE_MAX};

/// The batch size of Kafka. <https://docs.aws.amazon.com/lambda/latest/dg/msk-esm-parameters.html>
pub const KAFKA_BATCH_SIZE_DEFAULT: u64 = 100;
/// The window of a mapping that has no `MaximumBatchingWindowInSeconds`. Same page.
const BATCHING_WINDOW_DEFAULT: Duration = Duration::from_millis(500);
/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>
const RETRIES_MAX: i64 = 10_000;
/// Same page.
const RECORD_AGE_S_MIN: i64 = 60;
/// Same page.
const RECORD_AGE_S_MAX: i64 = 604_800;
/// The retries of a mapping with an on-failure destination and no limit of retries.
/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure-destination.html>
const RETRIES_WITH_DESTINATION: u32 = 10;
/// The value of a limit that does not limit. Same pages.
const UNLIMITED: i64 = -1;
/// The start of a topic as on-failure destination. Same page.
const TOPIC_SCHEME: &str = "kafka://";
/// The longest name of a topic. <https://kafka.apache.org/documentation/#basic_ops_add_topic>
const TOPIC_CHARS_MAX: usize = 249;
/// The settings that need provisioned mode.
/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>
const OF_PROVISIONED: [&str; 4] =
    ["BisectBatchOnFunctionError", "FunctionResponseTypes", "MaximumRecordAgeInSeconds", "MaximumRetryAttempts"];

/// The properties of a mapping from Kafka that are read, or have no local counterpart.
pub(super) const KNOWN: [&str; 18] = [
    "AmazonManagedKafkaEventSourceConfig",
    "BisectBatchOnFunctionError",
    "ConsumerGroupId",
    "DestinationConfig",
    "FunctionResponseTypes",
    "KafkaBootstrapServers",
    "LoggingConfig",
    "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts",
    "MetricsConfig",
    "ProvisionedPollerConfig",
    "SelfManagedEventSource",
    "SelfManagedKafkaEventSourceConfig",
    "SourceAccessConfigurations",
    "StartingPosition",
    "StartingPositionTimestamp",
    "Stream",
    "Topics",
];

/// Topics of a cluster, as the source of a mapping.
#[derive(Debug, Clone)]
pub struct KafkaSource {
    /// The ARN of an Amazon MSK cluster; absent for another cluster.
    pub cluster: Setting<String>,
    /// The topics; Lambda accepts exactly one.
    pub topics: Vec<Setting<String>>,
    /// `ConsumerGroupId`
    pub group: Setting<String>,
    /// `StartingPosition`
    pub starting_position: Setting<String>,
    /// `StartingPositionTimestamp`, in seconds since 1970.
    pub starting_s: Setting<f64>,
    /// `BisectBatchOnFunctionError`
    pub bisects: Setting<bool>,
    /// `MaximumRetryAttempts`
    pub retries_max: Setting<i64>,
    /// `MaximumRecordAgeInSeconds`
    pub record_age_s_max: Setting<i64>,
    /// `DestinationConfig: OnFailure: Destination`
    pub on_failure: Setting<String>,
}

/// A mapping from a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct KafkaMappingPlan {
    /// The function's name.
    pub function: String,
    /// The topic.
    pub topic: String,
    /// The ARN of the Amazon MSK cluster, or an ARN of the local stack if only AWS knows it; `None` for another
    /// cluster.
    pub cluster_arn: Option<String>,
    /// The consumer group; a name of the function and the topic if the template has none, where Lambda makes a unique
    /// one.
    pub group: String,
    /// Where the group starts if it has no committed offset.
    pub start: StartingPosition,
    /// The most records of one invocation.
    pub batch_size: usize,
    /// How long to wait for more records.
    pub batching_window: Duration,
    /// `FunctionResponseTypes: [ReportBatchItemFailures]`.
    pub report_batch_item_failures: bool,
    /// Whether a failed batch is split in two.
    pub bisects: bool,
    /// The most retries of a batch; `None` for no limit.
    pub retries_max: Option<u32>,
    /// The greatest age of a record that is delivered; `None` for no limit.
    pub record_age_max: Option<Duration>,
    /// Where records go that are given up.
    pub on_failure: Option<OnFailure>,
    /// The patterns of `FilterCriteria`, parsed.
    pub filters: Vec<Value>,
}

/// Where a consumer group starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartingPosition {
    /// `TRIM_HORIZON`: at the first record.
    TrimHorizon,
    /// `LATEST`: after the last record.
    Latest,
    /// `AT_TIMESTAMP`: at the first record that is not older, in milliseconds since 1970.
    At(i64),
}

/// The destination of records that are given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnFailure {
    /// A queue of SQS: its name and URL.
    Queue {
        /// The queue's name.
        name: String,
        /// Its URL.
        url: String,
    },
    /// A topic of the same cluster.
    Topic(String),
}

impl KafkaSource {
    /// Reads the properties of an event or of an `AWS::Lambda::EventSourceMapping`; `cluster` is the property with the
    /// ARN of an Amazon MSK cluster.
    pub(super) fn read(props: Props<'_>, cluster: &str) -> Self {
        let group = ["AmazonManagedKafkaEventSourceConfig", "SelfManagedKafkaEventSourceConfig"]
            .map(|config| props.object(config).text("ConsumerGroupId"));
        let group = [props.text("ConsumerGroupId")].into_iter().chain(group).find(Setting::is_written);
        let limit = |name: &str| {
            props.get(name).and_then(|value| value.as_i64().or_else(|| value.as_str()?.trim().parse().ok()))
        };
        Self {
            cluster: props.text(cluster),
            topics: props.listed("Topics"),
            group: group.unwrap_or_default(),
            starting_position: props.text("StartingPosition"),
            starting_s: props.decimal("StartingPositionTimestamp"),
            bisects: props.flag("BisectBatchOnFunctionError").or_default(false),
            retries_max: limit("MaximumRetryAttempts"),
            record_age_s_max: limit("MaximumRecordAgeInSeconds"),
            on_failure: props.object("DestinationConfig").object("OnFailure").text("Destination"),
        }
    }
}

impl Reader<'_> {
    /// Reads a mapping from a topic.
    pub(super) fn kafka_mapping(
        &mut self,
        function: &FunctionPlan,
        mapping: &Mapping,
        source: &KafkaSource,
        props: Props<'_>,
        path: &str,
    ) -> Result<(), Fault> {
        let at = |property: &str| format!("{path}/{property}");
        let topic = match source.topics.as_slice() {
            [topic] => self.remote_text(topic, &at("Topics"))?,
            _ => None,
        };
        let Some(topic) = topic else { return Err(self.fault(&at("Topics"), "must list exactly one topic")) };
        self.topic_name(&topic, &at("Topics"))?;
        let cluster = self.remote_text(&source.cluster, path)?;
        let local_arn = || format!("arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/local/local");
        let batch = self.number(&mapping.batch_size, &at("BatchSize"), 1..=BATCH_SIZE_MAX)?;
        let on_failure = self.on_failure(&source.on_failure, &topic, &at("DestinationConfig"))?;
        let retries_max = self.limit(&source.retries_max, &at("MaximumRetryAttempts"), 0, RETRIES_MAX)?;
        let retries_max = retries_max.and_then(|retries| u32::try_from(retries).ok());
        let group = self.remote_text(&source.group, &at("ConsumerGroupId"))?;
        let age_s = &source.record_age_s_max;
        let age_s = self.limit(age_s, &at("MaximumRecordAgeInSeconds"), RECORD_AGE_S_MIN, RECORD_AGE_S_MAX)?;
        let plan = KafkaMappingPlan {
            function: function.name.clone(),
            cluster_arn: cluster.map(|arn| if arn.starts_with("arn:") { arn } else { local_arn() }),
            group: group.unwrap_or_else(|| format!("{}-{topic}", function.name)),
            start: self.start(source, path)?,
            batch_size: usize::try_from(batch).unwrap_or(usize::MAX),
            batching_window: self.window_s(mapping, path)?.map_or(BATCHING_WINDOW_DEFAULT, Duration::from_secs),
            report_batch_item_failures: mapping.partial_batch.is(&true),
            bisects: source.bisects.is(&true),
            retries_max: retries_max.or(on_failure.is_some().then_some(RETRIES_WITH_DESTINATION)),
            record_age_max: age_s.map(Duration::from_secs),
            on_failure,
            filters: self.filters(mapping, path)?,
            topic,
        };
        let needs_pollers = OF_PROVISIONED.into_iter().filter(|name| props.get(name).is_written());
        let to_topic = matches!(plan.on_failure, Some(OnFailure::Topic(_))).then_some("DestinationConfig");
        if let (false, Some(property)) = (mapping.provisioned, needs_pollers.chain(to_topic).next()) {
            self.notice(&at(property), "Lambda accepts it with ProvisionedPollerConfig only");
        }
        if !self.is_disabled(mapping, path) {
            self.plan.kafka_mappings.push(plan);
        }
        Ok(())
    }

    /// Checks the name of a topic. <https://kafka.apache.org/documentation/#basic_ops_add_topic>
    fn topic_name(&self, topic: &str, path: &str) -> Result<(), Fault> {
        let is_name = !topic.is_empty()
            && topic.len() <= TOPIC_CHARS_MAX
            && topic.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        let reason = || format!("`{topic}` is not the name of a topic: up to 249 letters, digits, `.`, `_` and `-`");
        if is_name { Ok(()) } else { Err(self.fault(path, reason())) }
    }

    fn start(&self, source: &KafkaSource, path: &str) -> Result<StartingPosition, Fault> {
        let at = format!("{path}/StartingPosition");
        match self.text(&source.starting_position, &at)?.as_deref() {
            Some("TRIM_HORIZON") => Ok(StartingPosition::TrimHorizon),
            Some("LATEST") => Ok(StartingPosition::Latest),
            Some("AT_TIMESTAMP") => match source.starting_s.copied().and_then(milliseconds) {
                Some(milliseconds) => Ok(StartingPosition::At(milliseconds)),
                None => Err(self.fault(&at, "AT_TIMESTAMP needs StartingPositionTimestamp, in seconds since 1970")),
            },
            _ => Err(self.fault(&at, "must be TRIM_HORIZON, LATEST or AT_TIMESTAMP")),
        }
    }

    /// Returns a limit; `None` if it is not written, or is [`UNLIMITED`].
    fn limit(&self, limit: &Setting<i64>, path: &str, least: i64, most: i64) -> Result<Option<u64>, Fault> {
        let expected = format!("must be {UNLIMITED} for no limit, or a whole number from {least} to {most}");
        match limit {
            Setting::Absent | Setting::Known(UNLIMITED) => Ok(None),
            Setting::Known(limit) if (least..=most).contains(limit) => Ok(u64::try_from(*limit).ok()),
            Setting::Unknown(reason) => self.stand_in(reason, path, &expected).map(|_| None),
            Setting::Known(_) => Err(self.fault(path, expected)),
        }
    }

    fn on_failure(&mut self, to: &Setting<String>, topic: &str, path: &str) -> Result<Option<OnFailure>, Fault> {
        let Some(destination) = self.remote_text(to, path)? else { return Ok(None) };
        if let Some(name) = destination.strip_prefix(TOPIC_SCHEME) {
            self.topic_name(name, path)?;
            if name == topic {
                return Err(self.fault(path, "the destination is the topic that is read"));
            }
            return Ok(Some(OnFailure::Topic(name.to_owned())));
        }
        if let Some(queue) = self.plan.queues.iter().find(|queue| queue.arn == destination) {
            return Ok(Some(OnFailure::Queue { name: queue.name.clone(), url: queue.url.clone() }));
        }
        self.notice(path, &format!("`{destination}` is not run locally, so records that are given up are dropped"));
        Ok(None)
    }
}

/// Returns whole milliseconds; `None` for a time before 1970.
fn milliseconds(seconds: f64) -> Option<i64> {
    i64::try_from(Duration::try_from_secs_f64(seconds).ok()?.as_millis()).ok()
}
