//! Event source mappings: `AWS::Lambda::EventSourceMapping`, and the SQS and MQ events of `AWS::Serverless::Function`.

use serde_json::Value;
use sluicegate_sam::{Props, Setting, function_of};

use crate::inventory::{Inventory, Origin};

/// Of SQS. <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
pub(crate) const BATCH_SIZE_DEFAULT: u64 = 10;

/// One event source mapping.
#[derive(Debug)]
pub(crate) struct Mapping {
    pub(crate) origin: Origin,
    /// The function's name.
    pub(crate) function: Setting<String>,
    /// The alias or version the messages go to.
    pub(crate) qualifier: Option<String>,
    pub(crate) source: Source,
    pub(crate) enabled: Setting<bool>,
    pub(crate) batch_size: Setting<u64>,
    pub(crate) window_s: Setting<u64>,
    /// `ReportBatchItemFailures`
    pub(crate) partial_batch: Setting<bool>,
    pub(crate) concurrency_max: Setting<u64>,
    /// `ProvisionedPollerConfig` is written.
    pub(crate) provisioned: bool,
    /// It has a filter.
    pub(crate) filtered: bool,
    /// Properties of other kinds of sources.
    pub(crate) misplaced: Vec<&'static str>,
    /// It certainly exists; otherwise its condition is undecided.
    pub(crate) certain: bool,
    /// It is an event of a SAM function.
    pub(crate) is_event: bool,
}

/// The source of the messages.
#[derive(Debug)]
pub(crate) enum Source {
    Sqs {
        /// The value in the place of the queue's ARN.
        queue: Setting<String>,
    },
    Mq {
        /// The broker's ARN.
        broker: Setting<String>,
        queues: Vec<Setting<String>>,
        /// The number of secrets with credentials.
        logins: Setting<usize>,
        virtual_host: Setting<String>,
        /// `DynamicPolicyName`: SAM gives each policy a distinct name.
        policy_named: Setting<bool>,
    },
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
/// Properties of SQS only. Same page.
const NOT_OF_MQ: [&str; 3] = ["FunctionResponseTypes", "ProvisionedPollerConfig", "ScalingConfig"];

pub(super) fn all(inventory: &Inventory) -> Vec<Mapping> {
    let mut found = Vec::new();
    for resource in inventory.of_kind("AWS::Serverless::Function") {
        let alias = resource.props().text("AutoPublishAlias").known();
        for (name, event) in resource.props().object("Events").members() {
            let props = Props(event).object("Properties");
            let Some(source) = source(&Props(event).text("Type").known().unwrap_or_default(), props) else { continue };
            let origin = resource.origin.part(name, &format!("Events/{name}/Properties"));
            found.push(mapping(
                origin,
                Setting::Known(resource.reference.clone()),
                alias.clone(),
                source,
                props,
                (resource.certain, true),
            ));
        }
    }
    for resource in inventory.of_kind("AWS::Lambda::EventSourceMapping") {
        let props = resource.props();
        let arn = props.text("EventSourceArn");
        let kind = match arn.as_ref() {
            _ if props.get("Queues").is_written() => "MQ",
            Setting::Known(arn) if service(arn).is_some_and(|service| service != "sqs") => continue,
            // Every mapping from a stream says where to start.
            Setting::Unknown(_) if props.get("StartingPosition").is_written() => continue,
            Setting::Absent => continue,
            _ => "SQS",
        };
        let Some(source) = source(kind, props) else { continue };
        let (function, qualifier) = match props.text("FunctionName") {
            Setting::Known(reference) => {
                let (name, qualifier) = function_of(&reference);
                (Setting::Known(name), qualifier)
            }
            other => (other, None),
        };
        found.push(mapping(resource.origin.clone(), function, qualifier, source, props, (resource.certain, false)));
    }
    found
}

fn mapping(
    origin: Origin,
    function: Setting<String>,
    qualifier: Option<String>,
    source: Source,
    props: Props<'_>,
    (certain, is_event): (bool, bool),
) -> Mapping {
    let reports = |types: Vec<Setting<String>>| types.contains(&Setting::Known("ReportBatchItemFailures".to_owned()));
    let of_others = if let Source::Mq { .. } = source { &NOT_OF_MQ[..] } else { &[] };
    Mapping {
        origin,
        function,
        qualifier,
        enabled: props.flag("Enabled"),
        batch_size: props.number("BatchSize"),
        window_s: props.number("MaximumBatchingWindowInSeconds"),
        partial_batch: match props.texts("FunctionResponseTypes") {
            Setting::Known(types) if !reports(types.clone()) && types.iter().any(Setting::is_unknown) => {
                Setting::unknown()
            }
            Setting::Known(types) => Setting::Known(reports(types)),
            Setting::Absent => Setting::Absent,
            Setting::Unknown(_) => Setting::unknown(),
        },
        concurrency_max: props.object("ScalingConfig").number("MaximumConcurrency"),
        provisioned: props.get("ProvisionedPollerConfig").known().is_some(),
        filtered: props.object("FilterCriteria").items("Filters").known().is_some_and(|filters| !filters.is_empty()),
        misplaced: OF_STREAMS.iter().chain(of_others).copied().filter(|name| props.get(name).is_written()).collect(),
        source,
        certain,
        is_event,
    }
}

fn source(kind: &str, props: Props<'_>) -> Option<Source> {
    match kind {
        "SQS" => {
            let queue = if props.get("Queue").is_written() { "Queue" } else { "EventSourceArn" };
            Some(Source::Sqs { queue: props.text(queue) })
        }
        "MQ" => {
            let access = props.items("SourceAccessConfigurations");
            let of_type = |items: &[&Value], kind: &str| {
                let fits = |item: &&&Value| Props(item).text("Type").known().as_deref() == Some(kind);
                items.iter().filter(fits).map(|item| Props(item).text("URI")).collect::<Vec<_>>()
            };
            let (logins, virtual_host) = match access {
                Setting::Known(items) => (
                    Setting::Known(of_type(&items, "BASIC_AUTH").len()),
                    of_type(&items, "VIRTUAL_HOST").pop().unwrap_or_default(),
                ),
                Setting::Absent => (Setting::Absent, Setting::Absent),
                Setting::Unknown(_) => (Setting::unknown(), Setting::unknown()),
            };
            Some(Source::Mq {
                broker: props.text(if props.get("Broker").is_written() { "Broker" } else { "EventSourceArn" }),
                queues: props.listed("Queues"),
                logins,
                virtual_host,
                policy_named: props.flag("DynamicPolicyName"),
            })
        }
        _ => None,
    }
}

fn service(arn: &str) -> Option<&str> {
    arn.strip_prefix("arn:")?.split(':').nth(1)
}
