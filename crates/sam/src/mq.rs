//! The event source mappings from a RabbitMQ broker on Amazon MQ that the local stack runs.
//!
//! They are checked as by SAM and Lambda. The local stack has one broker, so ARN, secret and virtual host are not used.
//! <https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-property-function-mq.html>

use std::time::Duration;

use serde_json::Value;

use super::{
    ACCOUNT, Fault, FunctionPlan, Mapping, REGION, Reader, Setting, Source, SourceAccess, sqs::BATCH_SIZE_MAX,
};

/// A RabbitMQ event source mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct MqMappingPlan {
    /// The function's name.
    pub function: String,
    /// The queue's name.
    pub queue: String,
    /// The broker's ARN, or an ARN of the local stack if only AWS knows the broker's.
    pub broker_arn: String,
    /// The most messages of one invocation.
    pub batch_size: usize,
    /// How long to wait for more messages.
    pub batching_window: Duration,
    /// The patterns of `FilterCriteria`, parsed.
    pub filters: Vec<Value>,
}

/// The property is in whole seconds, so only a mapping without it has this window.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-mq-params.html>
const BATCHING_WINDOW_DEFAULT: Duration = Duration::from_millis(500);
/// The longest timeout of a function with an MQ event.
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-mq.html>
const TIMEOUT_S_MAX: u64 = 14 * 60;

impl Reader<'_> {
    pub(super) fn mq_mapping(&mut self, function: &FunctionPlan, mapping: &Mapping, path: &str) -> Result<(), Fault> {
        let Source::Mq { broker, queues, access, .. } = &mapping.source else { return Ok(()) };
        let source = if mapping.is_event { "Broker" } else { "EventSourceArn" };
        let at = |property: &str| format!("{path}/{property}");
        let Some(broker) = self.remote_text(broker, &at(source))? else {
            return Err(self.fault(&at(source), "must be the broker's ARN"));
        };
        let queue = match queues.as_slice() {
            [queue] if *queue != Setting::unknown() => self.remote_text(queue, &at("Queues"))?,
            _ => None,
        };
        let Some(queue) = queue else { return Err(self.fault(&at("Queues"), "must list exactly one queue")) };
        if let Err(reason) = check_access(&access.clone().known().unwrap_or_default()) {
            return Err(self.fault(&at("SourceAccessConfigurations"), reason));
        }
        if function.timeout.as_secs() > TIMEOUT_S_MAX {
            let reason = format!("a function with an MQ event has a Timeout of at most {TIMEOUT_S_MAX} s");
            return Err(self.fault(path, reason));
        }
        let batch = self.number(&mapping.batch_size, &at("BatchSize"), 1..=BATCH_SIZE_MAX)?;
        let plan = MqMappingPlan {
            function: function.name.clone(),
            queue,
            broker_arn: match broker.starts_with("arn:") {
                true => broker,
                false => format!("arn:aws:mq:{REGION}:{ACCOUNT}:broker:local:b-local"),
            },
            batch_size: usize::try_from(batch).unwrap_or(usize::MAX),
            batching_window: self.window_s(mapping, path)?.map_or(BATCHING_WINDOW_DEFAULT, Duration::from_secs),
            filters: self.filters(mapping, path)?,
        };
        if !self.is_disabled(mapping, path) {
            self.plan.mq_mappings.push(plan);
        }
        Ok(())
    }
}

/// Checks the credentials of a mapping: one secret, and a virtual host if it is not `/`.
fn check_access(access: &[SourceAccess]) -> Result<(), &'static str> {
    let (mut secrets, mut vhosts) = (0, 0);
    for SourceAccess { kind, uri } in access {
        let is_empty = uri.as_str().map_or(uri.is_absent(), str::is_empty);
        match kind.as_str() {
            _ if is_empty => return Err("each needs Type and URI"),
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
