//! Checks that need a deployed stack.

use sluicegate_sam::Setting;

use crate::{
    finding::{Check, Findings, Severity},
    model::Model,
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "changed-since-deployed",
        severity: Severity::Warning,
        title: "a resource differs from its deployment",
        why: "It was changed by hand. The next deployment may put it back, or may not: CloudFormation compares templates, not what is there.",
        fix: "Put the value into the template and deploy, or change it back.",
        source: "https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html",
        find: changed_since_deployed,
    },
    Check {
        id: "secret-empty",
        severity: Severity::Error,
        title: "the secret has only the value that the template made",
        why: "It holds no key, so every request with credentials is answered 503 secrets_missing.",
        fix: "Put the values in: sluicegate secrets put NAME --stack STACK, for each x-secret of the contract.",
        source: "https://docs.aws.amazon.com/secretsmanager/latest/userguide/manage_update-secret-value.html",
        find: secret_empty,
    },
    Check {
        id: "secret-unrotated",
        severity: Severity::Warning,
        title: "a secret has been the same for more than a year",
        why: "Everyone who has seen it can still sign and call, and a rotation that was never practised is slow on the day of a leak.",
        fix: "Add a new value to its list, move the callers, remove the old one (docs/operate.md).",
        source: "https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotating-secrets.html",
        find: secret_unrotated,
    },
];

const UNROTATED_DAYS_MAX: u64 = 365;

fn changed_since_deployed(model: &Model<'_>, findings: &mut Findings) {
    for (origin, what) in model.changes {
        findings.add(origin, "", what.as_str());
    }
}

fn secret_empty(model: &Model<'_>, findings: &mut Findings) {
    for secret in model.secrets.iter().filter(|secret| secret.versions == Setting::Known(1)) {
        let text = secret.text.as_ref().known().map(|text| text.trim());
        let used = model
            .functions
            .iter()
            .any(|function| function.variable("SECRET_ARN").known().as_ref() == Some(&secret.arn));
        if used && text.is_some_and(|text| text.is_empty() || text == "{}") {
            findings.add(&secret.origin, "SecretString", "is empty, and has never been changed");
        }
    }
}

fn secret_unrotated(model: &Model<'_>, findings: &mut Findings) {
    for secret in &model.secrets {
        if let Some(days) = secret.days_unchanged.as_ref().known().filter(|days| **days > UNROTATED_DAYS_MAX) {
            findings.add(&secret.origin, "", format!("was last changed {days} days ago"));
        }
    }
}
