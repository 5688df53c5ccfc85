//! Event source mappings from SQS: `AWS::Lambda::EventSourceMapping`, and the SQS events of functions.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{Fault, Reader, Resource, resolve::stand_in};

/// An SQS event source mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct MappingPlan {
    /// The function's name.
    pub function: String,
    /// The queue's name.
    pub queue: String,
    /// Most messages in one invocation.
    pub batch_size: usize,
    /// How long to gather them.
    pub batching_window: Duration,
    /// `ScalingConfig: MaximumConcurrency`.
    pub maximum_concurrency: Option<u16>,
    /// `FunctionResponseTypes: [ReportBatchItemFailures]`.
    pub report_batch_item_failures: bool,
    /// The patterns of `FilterCriteria`, parsed.
    pub filters: Vec<Value>,
}

/// <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
const BATCH_SIZE_DEFAULT: u64 = 10;
/// Same page: standard queues.
const BATCH_SIZE_MAX: u64 = 10_000;
/// Same page: FIFO queues, and standard ones without a batching window.
const BATCH_SIZE_MAX_UNWINDOWED: u64 = 10;
/// Same page.
pub(super) const BATCHING_WINDOW_S_MAX: u64 = 300;

/// Properties that SQS events of functions and mappings share.
const KNOWN: [&str; 7] = [
    "BatchSize",
    "Enabled",
    "FilterCriteria",
    "FunctionResponseTypes",
    "MaximumBatchingWindowInSeconds",
    "MetricsConfig",
    "ScalingConfig",
];

/// Returns name and qualifier of a function, from its name, its ARN, or the ARN of an alias or a version.
#[must_use]
pub fn function_of(reference: &str) -> (String, Option<String>) {
    let name = reference.split_once(":function:").map_or(reference, |(_, name)| name);
    match name.split_once(':') {
        Some((name, qualifier)) => (name.to_owned(), Some(qualifier.to_owned())),
        None => (name.to_owned(), None),
    }
}

impl Reader<'_> {
    /// Reads an `AWS::Lambda::EventSourceMapping`.
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-eventsourcemapping.html>
    pub(super) fn mapping_resource(&mut self, resource: &Resource<'_>) -> Result<(), Fault> {
        let (path, properties) = (resource.properties_pointer(), &resource.body["Properties"]);
        let resolver = &self.stack.resolver;
        let known_text = |name: &str| {
            let at = format!("{path}/{name}");
            resolver.met_unknown.set(false);
            let value = properties.get(name).map(|value| resolver.optional_text(value, &at));
            match value.transpose() {
                Err(_) if resolver.met_unknown.get() => Ok(stand_in(name)),
                value => value.map(|value| value.flatten().unwrap_or_default()),
            }
        };
        let source = known_text("EventSourceArn")?;
        let is_mq = properties.get("Queues").is_some() || source.split(':').nth(2) == Some("mq");
        let of_other = properties.get("StartingPosition").is_some() || source.is_empty();
        if !is_mq && (of_other || source.starts_with("arn:") && source.split(':').nth(2) != Some("sqs")) {
            self.not_run(resource, resource.kind.to_owned());
            return Ok(());
        }
        let reference = known_text("FunctionName")?;
        let name = function_of(&reference).0;
        let Some(function) = self.plan.functions.iter().find(|function| function.name == name).cloned() else {
            let at = format!("{path}/FunctionName");
            if name.is_empty() {
                return Err(self.fault(&at, "must be the name or the ARN of a function"));
            }
            self.notice(&at, &format!("`{reference}` is not run locally, so nothing is fetched for it"));
            return Ok(());
        };
        match is_mq {
            true => self.mq_event(&function, properties, &path),
            false => self.sqs_event(&function.name, properties, &path),
        }
    }

    /// Reads the properties of an SQS event, or those of a mapping.
    pub(super) fn sqs_event(&mut self, function: &str, properties: &Value, path: &str) -> Result<(), Fault> {
        let source = if properties.get("EventSourceArn").is_some() { "EventSourceArn" } else { "Queue" };
        let known = [&KNOWN[..], &[source, "FunctionName"]].concat();
        let properties = self.known_properties(properties, path, &known)?;
        if properties.get("Enabled") == Some(&Value::Bool(false)) {
            self.notice(path, "Enabled: false, so no messages are fetched from this queue");
            return Ok(());
        }
        let arn = properties.get(source).and_then(Value::as_str).unwrap_or_default();
        let Some(queue) = self.plan.queues.iter().find(|queue| queue.arn == arn) else {
            if self.stack.resolver.met_unknown.get() || arn.starts_with("arn:") {
                self.notice(
                    &format!("{path}/{source}"),
                    &format!("`{arn}` is not run locally, so nothing is fetched from it"),
                );
                return Ok(());
            }
            let reason = format!("`{arn}` is the ARN of no queue of this template (use !GetAtt Queue.Arn)");
            return Err(self.fault(&format!("{path}/{source}"), reason));
        };
        let (queue, fifo) = (queue.name.clone(), queue.fifo);
        let window_s =
            self.number_in(&properties, "MaximumBatchingWindowInSeconds", path, 0, 0..=BATCHING_WINDOW_S_MAX)?;
        let batch = self.number_in(&properties, "BatchSize", path, BATCH_SIZE_DEFAULT, 1..=BATCH_SIZE_MAX)?;
        if fifo && window_s > 0 {
            return Err(self.fault(path, "a FIFO queue has no batching window"));
        }
        if batch > BATCH_SIZE_MAX_UNWINDOWED && (fifo || window_s == 0) {
            let reason = "BatchSize: at most 10, for FIFO queues and without MaximumBatchingWindowInSeconds";
            return Err(self.fault(path, reason));
        }
        let scaling = properties.get("ScalingConfig").and_then(Value::as_object).cloned().unwrap_or_default();
        let concurrency = self.number_in(&scaling, "MaximumConcurrency", path, 0, 2..=1_000)?;
        let types = properties.get("FunctionResponseTypes").and_then(Value::as_array);
        let mapping = MappingPlan {
            function: function.to_owned(),
            queue,
            batch_size: usize::try_from(batch).unwrap_or(usize::MAX),
            batching_window: Duration::from_secs(window_s),
            maximum_concurrency: u16::try_from(concurrency).ok().filter(|concurrency| *concurrency > 0),
            report_batch_item_failures: types.is_some_and(|types| types.contains(&"ReportBatchItemFailures".into())),
            filters: self.filters(&properties, path)?,
        };
        self.plan.mappings.push(mapping);
        Ok(())
    }

    /// Returns the parsed patterns of `FilterCriteria`.
    pub(super) fn filters(&self, properties: &Map<String, Value>, path: &str) -> Result<Vec<Value>, Fault> {
        let filters = properties.get("FilterCriteria").and_then(|criteria| criteria["Filters"].as_array());
        let filters = filters.into_iter().flatten().map(|filter| {
            let pattern = filter["Pattern"].as_str().unwrap_or_default();
            serde_json::from_str(pattern)
                .map_err(|error| self.fault(&format!("{path}/FilterCriteria"), format!("Pattern: {error}")))
        });
        filters.collect()
    }

    /// Returns the properties that are read, resolved; the others are named. Whether one of them is known in the cloud
    /// only is in `met_unknown` afterwards.
    pub(super) fn known_properties(
        &mut self,
        properties: &Value,
        path: &str,
        known: &[&str],
    ) -> Result<Map<String, Value>, Fault> {
        self.stack.resolver.met_unknown.set(false);
        let mut resolved = Map::new();
        for (name, value) in properties.as_object().into_iter().flatten() {
            let path = format!("{path}/{name}");
            if !known.contains(&name.as_str()) {
                self.notice(&path, "has no effect locally");
                continue;
            }
            let value = match self.stack.resolver.resolve(value, &path) {
                Err(_) if self.stack.resolver.met_unknown.get() => Some(Value::from(stand_in(name))),
                value => value?,
            };
            resolved.extend(value.map(|value| (name.clone(), value)));
        }
        Ok(resolved)
    }
}
