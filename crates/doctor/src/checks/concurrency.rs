//! Checks of concurrency: throttled deliveries use up receives.

use super::{Check, Findings, Model, Severity};
use crate::model::{Function, Mapping};

const SCALING: &str = "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "reserved-concurrency-zero",
        severity: Severity::Error,
        title: "a consumer has a reserved concurrency of 0",
        why: "Every delivery is throttled, so messages use up their receives and become dead letters that no handler has seen.",
        fix: "Remove ReservedConcurrentExecutions: 0. To stop a consumer, disable its event source mapping.",
        source: SCALING,
        find: reserved_concurrency_zero,
    },
    Check {
        id: "reserved-below-maximum-concurrency",
        severity: Severity::Error,
        title: "a consumer's reserved concurrency is below the sum of its mappings' MaximumConcurrency",
        why: "The mappings start more invocations than may run. Throttled ones use up receives, and good messages become dead letters that no handler has seen.",
        fix: "Set ReservedConcurrentExecutions to at least the sum of MaximumConcurrency of the function's queues, or remove it.",
        source: SCALING,
        find: reserved_below_maximum_concurrency,
    },
    Check {
        id: "reserved-without-maximum-concurrency",
        severity: Severity::Error,
        title: "a consumer is limited by reserved concurrency alone",
        why: "Lambda starts more invocations than may run. Throttled ones use up receives, and good messages become dead letters that no handler has seen.",
        fix: "Limit the mapping with ScalingConfig: MaximumConcurrency: Lambda then polls less, and nothing is throttled.",
        source: SCALING,
        find: reserved_without_maximum_concurrency,
    },
    Check {
        id: "concurrency-above-account",
        severity: Severity::Warning,
        title: "consumers may use the account's whole concurrency",
        why: "A new account has a small quota (10 is common), not 1,000. At the quota all functions are throttled: callers of ingress get a 503, and throttled deliveries use up receives.",
        fix: "Ask for a higher quota of concurrent executions (Service Quotas), or lower MaximumConcurrency (the parameter ConsumerConcurrency; 2 is the least).",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html",
        find: concurrency_above_account,
    },
    Check {
        id: "no-maximum-concurrency",
        severity: Severity::Warning,
        title: "nothing limits the concurrency of a queue's consumer",
        why: "Up to 1,250 batches run at once. That may overload what they call, and throttles other functions of the account.",
        fix: "Set ScalingConfig: MaximumConcurrency to what the consumer's dependencies can handle.",
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
