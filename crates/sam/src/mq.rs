//! Event source mappings from a RabbitMQ broker on Amazon MQ: MQ events of functions, and resources.
//!
//! Read as SAM and Lambda read them. The local stack has one broker, so ARN, secret and virtual host are checked and
//! not used.
//! <https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-property-function-mq.html>

use std::time::Duration;

use serde_json::{Map, Value};

use super::mapping::BATCHING_WINDOW_S_MAX;
use super::{ACCOUNT, Fault, FunctionPlan, REGION, Reader, Resource};

/// A RabbitMQ event source mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct MqMappingPlan {
    /// The function's name.
    pub function: String,
    /// The queue's name.
    pub queue: String,
    /// The broker's ARN; one of the local stack's own if the template's is known in the cloud only.
    pub broker_arn: String,
    /// Most messages in one invocation.
    pub batch_size: usize,
    /// How long to gather them.
    pub batching_window: Duration,
    /// The patterns of `FilterCriteria`, parsed.
    pub filters: Vec<Value>,
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/services-mq-params.html>
const BATCH_SIZE_DEFAULT: u64 = 100;
/// Same page.
const BATCH_SIZE_MAX: u64 = 10_000;
/// Same page. It cannot be written in whole seconds, so leaving the property out is the only way to have it.
const BATCHING_WINDOW_DEFAULT: Duration = Duration::from_millis(500);
/// A function that works for Amazon MQ may run this long.
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-mq.html>
const TIMEOUT_S_MAX: u64 = 14 * 60;

impl Reader<'_> {
    pub(super) fn mq_event(&mut self, function: &FunctionPlan, properties: &Value, path: &str) -> Result<(), Fault> {
        let source = if properties.get("EventSourceArn").is_some() { "EventSourceArn" } else { "Broker" };
        let known = [
            "BatchSize",
            source,
            "DynamicPolicyName",
            "Enabled",
            "FilterCriteria",
            "FunctionName",
            "MaximumBatchingWindowInSeconds",
            "Queues",
            "SourceAccessConfigurations",
        ];
        let properties = self.known_properties(properties, path, &known)?;
        let fault = |property: &str, reason: &str| Err(self.fault(&format!("{path}/{property}"), reason));
        let Some(broker) = properties.get(source).and_then(Value::as_str) else {
            return fault(source, "must be the broker's ARN");
        };
        let queues = properties.get("Queues").and_then(Value::as_array).map(Vec::as_slice);
        let Some([Value::String(queue)]) = queues else { return fault("Queues", "must list exactly one queue") };
        if let Err(reason) = check_access(&properties) {
            return fault("SourceAccessConfigurations", reason);
        }
        if function.timeout.as_secs() > TIMEOUT_S_MAX {
            let reason = format!("a function with an MQ event has a Timeout of at most {TIMEOUT_S_MAX} s");
            return Err(self.fault(path, reason));
        }
        let batch = self.number_in(&properties, "BatchSize", path, BATCH_SIZE_DEFAULT, 1..=BATCH_SIZE_MAX)?;
        let window = "MaximumBatchingWindowInSeconds";
        let batching_window = match properties.contains_key(window) {
            true => Duration::from_secs(self.number_in(&properties, window, path, 0, 0..=BATCHING_WINDOW_S_MAX)?),
            false => BATCHING_WINDOW_DEFAULT,
        };
        let mapping = MqMappingPlan {
            function: function.name.clone(),
            queue: queue.clone(),
            broker_arn: match broker.starts_with("arn:") {
                true => broker.to_owned(),
                false => format!("arn:aws:mq:{REGION}:{ACCOUNT}:broker:local:b-local"),
            },
            batch_size: usize::try_from(batch).unwrap_or(usize::MAX),
            batching_window,
            filters: self.filters(&properties, path)?,
        };
        if properties.get("Enabled") == Some(&Value::Bool(false)) {
            self.notice(path, "Enabled: false, so no messages are fetched from this queue");
            return Ok(());
        }
        self.plan.mq_mappings.push(mapping);
        Ok(())
    }

    /// Checks for colliding policies. SAM puts a policy for each MQ event into the function's role, and gives all the
    /// same name unless DynamicPolicyName is set: the second replaces the first, or the deployment fails.
    pub(super) fn check_policy_names(&self, resource: &Resource<'_>) -> Result<(), Fault> {
        let properties = &resource.body["Properties"];
        let events = properties["Events"].as_object().into_iter().flat_map(Map::values);
        let events: Vec<_> = events.filter(|event| event["Type"] == "MQ").collect();
        let named = events.iter().filter(|event| event["Properties"]["DynamicPolicyName"] == Value::Bool(true)).count();
        if properties.get("Role").is_none() && events.len() > named + 1 {
            let reason = "more than one MQ event needs DynamicPolicyName: true, or a Role of its own for the function";
            return Err(self.fault(&format!("{}/Events", resource.properties_pointer()), reason));
        }
        Ok(())
    }
}

/// Checks the credentials of a mapping: one secret, and a virtual host if it is not `/`.
fn check_access(properties: &Map<String, Value>) -> Result<(), &'static str> {
    let configurations = properties.get("SourceAccessConfigurations").and_then(Value::as_array);
    let (mut secrets, mut vhosts) = (0, 0);
    for configuration in configurations.into_iter().flatten() {
        let uri = configuration["URI"].as_str().is_some_and(|uri| !uri.is_empty());
        match configuration["Type"].as_str() {
            _ if !uri => return Err("each needs Type and URI"),
            Some("BASIC_AUTH") => secrets += 1,
            Some("VIRTUAL_HOST") => vhosts += 1,
            _ => return Err("for RabbitMQ, Type is BASIC_AUTH or VIRTUAL_HOST"),
        }
    }
    match (secrets, vhosts) {
        (1, 0 | 1) => Ok(()),
        (1, _) => Err("at most one may be a VIRTUAL_HOST"),
        _ => Err("exactly one must be a BASIC_AUTH"),
    }
}
