//! Event source mappings from SQS, Amazon MQ and Kafka: `AWS::Lambda::EventSourceMapping`, and the events of functions.

use super::{KAFKA_BATCH_SIZE_DEFAULT, KafkaSource, Props, Setting};

/// The batch size of SQS. <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
pub const BATCH_SIZE_DEFAULT: u64 = 10;
/// The batch size of Amazon MQ. <https://docs.aws.amazon.com/lambda/latest/dg/services-mq-params.html>
pub const MQ_BATCH_SIZE_DEFAULT: u64 = 100;

/// The settings of an event source mapping. An absent setting has Lambda's default, if all sources have the same.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// The name or the ARN of the function, or of an alias or a version of it.
    pub target: Setting<String>,
    /// The function's name.
    pub function: Setting<String>,
    /// The alias or version to invoke.
    pub qualifier: Option<String>,
    /// The source of the messages.
    pub source: Source,
    /// `Enabled`
    pub enabled: Setting<bool>,
    /// The most messages of one invocation.
    pub batch_size: Setting<u64>,
    /// How long to wait for more messages. The default is 0 for SQS and half a second for the others.
    pub window_s: Setting<u64>,
    /// `ReportBatchItemFailures`
    pub partial_batch: Setting<bool>,
    /// `ScalingConfig: MaximumConcurrency`
    pub concurrency_max: Setting<u64>,
    /// `ProvisionedPollerConfig` is written.
    pub provisioned: bool,
    /// The patterns of `FilterCriteria`.
    pub filters: Setting<Vec<Setting<String>>>,
    /// Properties that the source does not have.
    pub misplaced: Vec<&'static str>,
    /// It is an event of a SAM function.
    pub is_event: bool,
}

/// The source of the messages.
#[derive(Debug, Clone)]
pub enum Source {
    /// A queue of SQS.
    Sqs {
        /// The value that must be the queue's ARN.
        queue: Setting<String>,
    },
    /// A RabbitMQ broker on Amazon MQ.
    Mq {
        /// The broker's ARN.
        broker: Setting<String>,
        /// The names of its queues.
        queues: Vec<Setting<String>>,
        /// `SourceAccessConfigurations`
        access: Setting<Vec<SourceAccess>>,
        /// `DynamicPolicyName`: SAM gives the policy of each event a distinct name.
        policy_named: Setting<bool>,
    },
    /// A topic of Kafka.
    Kafka(Box<KafkaSource>),
}

/// One of `SourceAccessConfigurations`.
#[derive(Debug, Clone)]
pub struct SourceAccess {
    /// `BASIC_AUTH` for a secret with credentials, `VIRTUAL_HOST` for a virtual host.
    pub kind: Setting<String>,
    /// The secret's ARN, or the virtual host.
    pub uri: Setting<String>,
}

/// Properties of streams only.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
const OF_STREAMS: [&str; 8] = [
    "BisectBatchOnFunctionError",
    "DestinationConfig",
    "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts",
    "ParallelizationFactor",
    "StartingPosition",
    "StartingPositionTimestamp",
    "TumblingWindowInSeconds",
];
/// Properties that Amazon MQ does not have. Same page.
const NOT_OF_MQ: [&str; 3] = ["FunctionResponseTypes", "ProvisionedPollerConfig", "ScalingConfig"];
/// Properties that Kafka does not have. Same page.
const NOT_OF_KAFKA: [&str; 3] = ["ParallelizationFactor", "ScalingConfig", "TumblingWindowInSeconds"];

/// Returns name and qualifier of a function, from its name, its ARN, or the ARN of an alias or a version.
#[must_use]
pub fn function_of(reference: &str) -> (String, Option<String>) {
    let name = reference.split_once(":function:").map_or(reference, |(_, name)| name);
    match name.split_once(':') {
        Some((name, qualifier)) => (name.to_owned(), Some(qualifier.to_owned())),
        None => (name.to_owned(), None),
    }
}

impl Mapping {
    /// Reads an event of a SAM function; `None` if its source is neither SQS nor Amazon MQ nor Kafka.
    #[must_use]
    pub fn of_event(kind: &str, function: &str, alias: Option<String>, props: Props<'_>) -> Option<Self> {
        let source = match kind {
            "SQS" => Source::Sqs { queue: props.text("Queue") },
            "MQ" => Source::mq(props, "Broker"),
            "MSK" | "SelfManagedKafka" => Source::Kafka(Box::new(KafkaSource::read(props, "Stream"))),
            _ => return None,
        };
        let own = || Setting::Known(function.to_owned());
        Some(Self { qualifier: alias, is_event: true, ..Self::read(own(), own(), source, props) })
    }

    /// Reads an `AWS::Lambda::EventSourceMapping`; `None` if its source is neither SQS nor Amazon MQ nor Kafka.
    #[must_use]
    pub fn of_resource(props: Props<'_>) -> Option<Self> {
        let arn = props.text("EventSourceArn");
        let service = arn.as_str().and_then(|arn| arn.strip_prefix("arn:")?.split(':').nth(1));
        let source = match service {
            _ if props.get("Topics").is_written() => {
                Source::Kafka(Box::new(KafkaSource::read(props, "EventSourceArn")))
            }
            _ if props.get("Queues").is_written() => Source::mq(props, "EventSourceArn"),
            Some("mq") => Source::mq(props, "EventSourceArn"),
            Some(service) if service != "sqs" => return None,
            _ if arn.is_absent() => return None,
            // Only mappings from streams have a StartingPosition.
            _ if arn.is_unknown() && props.get("StartingPosition").is_written() => return None,
            _ => Source::Sqs { queue: arn },
        };
        let target = props.text("FunctionName");
        let (function, qualifier) = match target.clone() {
            Setting::Known(reference) => {
                let (name, qualifier) = function_of(&reference);
                (Setting::Known(name), qualifier)
            }
            other => (other, None),
        };
        Some(Self { qualifier, ..Self::read(target, function, source, props) })
    }

    fn read(target: Setting<String>, function: Setting<String>, source: Source, props: Props<'_>) -> Self {
        let (of_others, batch_size_default) = match source {
            Source::Sqs { .. } => ([&OF_STREAMS[..], &[]], BATCH_SIZE_DEFAULT),
            Source::Mq { .. } => ([&OF_STREAMS[..], &NOT_OF_MQ[..]], MQ_BATCH_SIZE_DEFAULT),
            Source::Kafka(_) => ([&NOT_OF_KAFKA[..], &[]], KAFKA_BATCH_SIZE_DEFAULT),
        };
        let reports = |types: &Vec<Setting<String>>| types.iter().any(|kind| kind.is("ReportBatchItemFailures"));
        let types = props.texts("FunctionResponseTypes");
        Self {
            target,
            function,
            qualifier: None,
            source,
            enabled: props.flag("Enabled").or_default(true),
            batch_size: props.number("BatchSize").or_default(batch_size_default),
            window_s: props.number("MaximumBatchingWindowInSeconds"),
            partial_batch: match types.or_default(Vec::new()) {
                Setting::Known(types) if reports(&types) => Setting::Known(true),
                Setting::Known(types) if types.iter().any(Setting::is_unknown) => Setting::unknown(),
                types => types.and_then(|_| Some(false)),
            },
            concurrency_max: props.object("ScalingConfig").number("MaximumConcurrency"),
            provisioned: props.get("ProvisionedPollerConfig").known().is_some(),
            filters: props
                .object("FilterCriteria")
                .items("Filters")
                .or_default(Vec::new())
                .and_then(|filters| Some(filters.into_iter().map(|filter| Props(filter).text("Pattern")).collect())),
            misplaced: of_others.concat().into_iter().filter(|name| props.get(name).is_written()).collect(),
            is_event: false,
        }
    }
}

impl Source {
    fn mq(props: Props<'_>, broker: &str) -> Self {
        let queues = props.get("Queues").and_then(|queues| queues.as_array().map(Vec::as_slice));
        let access = |items: Vec<_>| {
            let each = items.into_iter().map(Props);
            Some(each.map(|each| SourceAccess { kind: each.text("Type"), uri: each.text("URI") }).collect())
        };
        Self::Mq {
            broker: props.text(broker),
            queues: match queues.or_default(&[]) {
                Setting::Known(queues) => queues.iter().map(|queue| Setting::of(queue).text()).collect(),
                Setting::Absent | Setting::Unknown(_) => vec![Setting::unknown()],
            },
            access: props.items("SourceAccessConfigurations").and_then(access),
            policy_named: props.flag("DynamicPolicyName"),
        }
    }
}
