//! Checks of concurrency: throttled deliveries use up receives.

use super::{Check, Findings, Model, Severity};
use crate::model::{Function, Mapping};

const SCALING: &str = "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "reserved-concurrency-zero",
        severity: Severity::Error,
        title: "a consumer may not run at all",
        why: "With no concurrency every delivery is throttled; its receives are used up and it gets to the dead-letter queue, unseen.",
        fix: "Remove ReservedConcurrentExecutions: 0. To stop a consumer, disable its event source mapping.",
        source: SCALING,
        find: reserved_concurrency_zero,
    },
    Check {
        id: "reserved-below-maximum-concurrency",
        severity: Severity::Error,
        title: "a consumer's reserved concurrency is below the sum of its mappings' MaximumConcurrency",
        why: "The mappings start more invocations than may run. Those throttled use up receives, and good messages get to the dead-letter queue without the code having seen them.",
        fix: "Set ReservedConcurrentExecutions to at least the sum of MaximumConcurrency of the function's queues, or remove it.",
        source: SCALING,
        find: reserved_below_maximum_concurrency,
    },
    Check {
        id: "reserved-without-maximum-concurrency",
        severity: Severity::Error,
        title: "a consumer is limited by reserved concurrency alone",
        why: "Lambda polls on and invokes more than may run. Those throttled use up receives, and good messages get to the dead-letter queue without the code having seen them.",
        fix: "Limit the mapping with ScalingConfig: MaximumConcurrency, which polls less instead of throttling.",
        source: SCALING,
        find: reserved_without_maximum_concurrency,
    },
    Check {
        id: "concurrency-above-account",
        severity: Severity::Warning,
        title: "consumers may take every environment that the account runs at once",
        why: "A new account has a small quota (10 is common), not 1,000. At it invocations are throttled, ingress's too: callers get a 503, and throttled deliveries use up receives.",
        fix: "Ask for a higher quota of concurrent executions (Service Quotas), or lower MaximumConcurrency (the parameter ConsumerConcurrency; 2 is the least).",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html",
        find: concurrency_above_account,
    },
    Check {
        id: "no-maximum-concurrency",
        severity: Severity::Warning,
        title: "nothing limits how many environments work a queue off",
        why: "Up to 1,250 batches run at once. What they call may not bear it, and other functions of the account are throttled.",
        fix: "Set ScalingConfig: MaximumConcurrency to what the consumer's dependencies bear.",
        source: SCALING,
        find: no_maximum_concurrency,
    },
];

/// Returns each function with the mappings that feed it from SQS.
fn consumers<'m>(model: &'m Model<'_>) -> impl Iterator<Item = (&'m Function, Vec<&'m Mapping>)> {
    model.functions.iter().filter_map(|function| {
        let own = model.consumed().filter(|(.., by)| by.name == function.name).map(|(_, mapping, _)| mapping);
        let own: Vec<_> = own.collect();
        (!own.is_empty()).then_some((function, own))
    })
}

fn reserved_concurrency_zero(model: &Model<'_>, findings: &mut Findings) {
    for (function, _) in consumers(model).filter(|(function, _)| function.reserved.is(&0)) {
        findings.add(&function.origin, "ReservedConcurrentExecutions", "is 0");
    }
}

fn reserved_below_maximum_concurrency(model: &Model<'_>, findings: &mut Findings) {
    for (function, mappings) in consumers(model) {
        let each = mappings.iter().map(|mapping| mapping.concurrency_max.copied());
        if let (Some(reserved @ 1..), Some(sum)) = (function.reserved.copied(), each.sum::<Option<u64>>())
            && reserved < sum
        {
            let what = format!("{reserved} are reserved, its event source mappings start up to {sum}");
            findings.add(&function.origin, "ReservedConcurrentExecutions", what);
        }
    }
}

fn reserved_without_maximum_concurrency(model: &Model<'_>, findings: &mut Findings) {
    for (function, mappings) in consumers(model) {
        let Some(reserved @ 1..) = function.reserved.copied() else { continue };
        for mapping in mappings.iter().filter(|mapping| mapping.concurrency_max.is_absent()) {
            let what = format!("has no MaximumConcurrency, and {reserved} are reserved for {}", function.origin.id);
            findings.add(&mapping.origin, "ScalingConfig", what);
        }
    }
}

fn concurrency_above_account(model: &Model<'_>, findings: &mut Findings) {
    let Some(quota) = model.inventory.account_concurrency else { return };
    let mut together: u64 = 0;
    let mut last = None;
    for (function, mappings) in consumers(model) {
        let each = mappings.iter().filter_map(|mapping| mapping.concurrency_max.copied());
        let mapped = each.fold(0_u64, u64::saturating_add);
        let own = match function.reserved.copied() {
            Some(reserved) if mapped == 0 => reserved,
            Some(reserved) => reserved.min(mapped),
            None => mapped,
        };
        together = together.saturating_add(own);
        last = Some(function);
    }
    if let Some(function) = last.filter(|_| together >= quota) {
        let what = format!("consumers start up to {together} environments, and the account runs {quota} at once");
        findings.add(&function.origin, "", what);
    }
}

fn no_maximum_concurrency(model: &Model<'_>, findings: &mut Findings) {
    for (function, mappings) in consumers(model).filter(|(function, _)| function.reserved.is_absent()) {
        for mapping in mappings.iter().filter(|mapping| mapping.concurrency_max.is_absent() && !mapping.provisioned) {
            findings.add(&mapping.origin, "ScalingConfig", format!("nothing limits {}", function.origin.id));
        }
    }
}
