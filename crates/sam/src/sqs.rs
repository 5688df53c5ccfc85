//! The event source mappings from SQS that the local stack runs.

use std::time::Duration;

use serde_json::Value;

use super::{Fault, FunctionPlan, Mapping, Props, Reader, Resource, Setting, Source, function_of, kafka};

/// An SQS event source mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct MappingPlan {
    /// The function's name.
    pub function: String,
    /// The queue's name.
    pub queue: String,
    /// The most messages of one invocation.
    pub batch_size: usize,
    /// How long to wait for more messages.
    pub batching_window: Duration,
    /// `ScalingConfig: MaximumConcurrency`.
    pub maximum_concurrency: Option<u16>,
    /// `FunctionResponseTypes: [ReportBatchItemFailures]`.
    pub report_batch_item_failures: bool,
    /// The patterns of `FilterCriteria`, parsed.
    pub filters: Vec<Value>,
}

/// Standard queues. <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
pub(super) const BATCH_SIZE_MAX: u64 = 10_000;
/// Same page: FIFO queues, and standard ones without a batching window.
const BATCH_SIZE_MAX_UNWINDOWED: u64 = 10;
/// Same page.
const BATCHING_WINDOW_S_MAX: u64 = 300;
/// The properties that are read of every mapping.
const KNOWN: [&str; 6] =
    ["BatchSize", "Enabled", "EventSourceArn", "FilterCriteria", "FunctionName", "MaximumBatchingWindowInSeconds"];

impl Reader<'_> {
    /// Reads an `AWS::Lambda::EventSourceMapping`.
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-eventsourcemapping.html>
    pub(super) fn mapping_resource(&mut self, resource: &Resource<'_>) -> Result<(), Fault> {
        let path = resource.properties_pointer();
        let properties = self.properties(&resource.body["Properties"], &path);
        let Some(mapping) = Mapping::of_resource(Props(&properties)) else {
            self.not_run(resource, resource.kind.to_owned());
            return Ok(());
        };
        let at = format!("{path}/FunctionName");
        let reference = self.remote_text(&mapping.target, &at)?.unwrap_or_default();
        let name = function_of(&reference).0;
        let Some(function) = self.plan.functions.iter().find(|function| function.name == name).cloned() else {
            if name.is_empty() {
                return Err(self.fault(&at, "must be the name or the ARN of a function"));
            }
            self.notice(&at, &format!("`{reference}` is not run locally, so nothing is fetched for it"));
            return Ok(());
        };
        self.mapping(&function, &mapping, Props(&properties), &path)
    }

    /// Reads a mapping of a function, and adds a notice for each property without effect.
    pub(super) fn mapping(
        &mut self,
        function: &FunctionPlan,
        mapping: &Mapping,
        props: Props<'_>,
        path: &str,
    ) -> Result<(), Fault> {
        let of_source: &[&str] = match &mapping.source {
            Source::Sqs { .. } => &["FunctionResponseTypes", "MetricsConfig", "Queue", "ScalingConfig"],
            Source::Mq { .. } => &["Broker", "DynamicPolicyName", "Queues", "SourceAccessConfigurations"],
            Source::Kafka(_) => &kafka::KNOWN,
        };
        self.notice_others(props, path, &[&KNOWN[..], of_source].concat());
        match &mapping.source {
            Source::Sqs { queue } => self.sqs_mapping(&function.name, mapping, queue, path),
            Source::Mq { .. } => self.mq_mapping(function, mapping, path),
            Source::Kafka(source) => self.kafka_mapping(function, mapping, source, props, path),
        }
    }

    fn sqs_mapping(
        &mut self,
        function: &str,
        mapping: &Mapping,
        queue: &Setting<String>,
        path: &str,
    ) -> Result<(), Fault> {
        if self.is_disabled(mapping, path) {
            return Ok(());
        }
        let at = format!("{path}/{}", if mapping.is_event { "Queue" } else { "EventSourceArn" });
        let arn = self.remote_text(queue, &at)?.unwrap_or_default();
        let Some(queue) = self.plan.queues.iter().find(|known| known.arn == arn) else {
            if queue.is_unknown() || arn.starts_with("arn:") {
                self.notice(&at, &format!("`{arn}` is not run locally, so nothing is fetched from it"));
                return Ok(());
            }
            let reason = format!("`{arn}` is not the ARN of a queue of this template: use !GetAtt Queue.Arn");
            return Err(self.fault(&at, reason));
        };
        let (queue, fifo) = (queue.name.clone(), queue.fifo);
        let window_s = self.window_s(mapping, path)?.unwrap_or(0);
        let batch = self.number(&mapping.batch_size, &format!("{path}/BatchSize"), 1..=BATCH_SIZE_MAX)?;
        if fifo && window_s > 0 {
            return Err(self.fault(path, "a FIFO queue has no batching window"));
        }
        if batch > BATCH_SIZE_MAX_UNWINDOWED && (fifo || window_s == 0) {
            let reason = "BatchSize: at most 10, for FIFO queues and without MaximumBatchingWindowInSeconds";
            return Err(self.fault(path, reason));
        }
        let maximum_concurrency = match &mapping.concurrency_max {
            Setting::Absent => None,
            most => Some(self.number(most, &format!("{path}/MaximumConcurrency"), 2..=1_000)?),
        };
        let mapping = MappingPlan {
            function: function.to_owned(),
            queue,
            batch_size: usize::try_from(batch).unwrap_or(usize::MAX),
            batching_window: Duration::from_secs(window_s),
            maximum_concurrency: maximum_concurrency.and_then(|most| u16::try_from(most).ok()),
            report_batch_item_failures: mapping.partial_batch.is(&true),
            filters: self.filters(mapping, path)?,
        };
        self.plan.mappings.push(mapping);
        Ok(())
    }

    /// Returns whether the mapping is disabled, and adds a notice if it is.
    pub(super) fn is_disabled(&mut self, mapping: &Mapping, path: &str) -> bool {
        let disabled = mapping.enabled.is(&false);
        if disabled {
            self.notice(path, "Enabled: false, so no messages are fetched from this queue");
        }
        disabled
    }

    /// Returns the batching window, if there is one.
    pub(super) fn window_s(&self, mapping: &Mapping, path: &str) -> Result<Option<u64>, Fault> {
        let at = format!("{path}/MaximumBatchingWindowInSeconds");
        let written = Some(&mapping.window_s).filter(|window| window.is_written());
        written.map(|window| self.number(window, &at, 0..=BATCHING_WINDOW_S_MAX)).transpose()
    }

    /// Returns the parsed patterns of `FilterCriteria`.
    pub(super) fn filters(&self, mapping: &Mapping, path: &str) -> Result<Vec<Value>, Fault> {
        let path = format!("{path}/FilterCriteria");
        let filters = match &mapping.filters {
            Setting::Known(filters) => filters.as_slice(),
            Setting::Absent => &[],
            Setting::Unknown(reason) => return self.stand_in(reason, &path, "must be a list").map(|_| Vec::new()),
        };
        let filters = filters.iter().map(|pattern| {
            let pattern = self.remote_text(pattern, &path)?.unwrap_or_default();
            serde_json::from_str(&pattern).map_err(|error| self.fault(&path, format!("Pattern: {error}")))
        });
        filters.collect()
    }
}
