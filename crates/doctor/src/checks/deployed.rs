//! Checks that need a deployed stack.

use super::{Check, Findings, Model, Severity};
use crate::model::{DAYS_UNCHANGED, VERSIONS};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "changed-since-deployed",
        severity: Severity::Warning,
        title: "a resource differs from its deployment",
        why: "It was changed by hand. The next deployment may or may not change it back: CloudFormation compares templates, not resources.",
        fix: "Put the value into the template and deploy, or change it back.",
        source: "https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html",
        find: changed_since_deployed,
    },
    Check {
        id: "secret-empty",
        severity: Severity::Error,
        title: "the secret still has the value that the template gave it",
        why: "It holds no key, so every request with credentials is answered 503 secrets_missing.",
        fix: "Store the values: sluicegate secrets put NAME --stack STACK, for each x-secret of the contract.",
        source: "https://docs.aws.amazon.com/secretsmanager/latest/userguide/manage_update-secret-value.html",
        find: secret_empty,
    },
    Check {
        id: "secret-unrotated",
        severity: Severity::Warning,
        title: "a secret has been the same for more than a year",
        why: "A leaked value stays valid until it is removed, and a rotation that was never practised is slow when it is urgent.",
        fix: "Add a new value to its list, move the callers, remove the old one (docs/operate.md).",
        source: "https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotating-secrets.html",
        find: secret_unrotated,
    },
];

const UNROTATED_DAYS_MAX: u64 = 365;

fn changed_since_deployed(model: &Model<'_>, findings: &mut Findings) {
    for (origin, what) in &model.inventory.changes {
        findings.add(origin, "", what.as_str());
    }
}

fn secret_empty(model: &Model<'_>, findings: &mut Findings) {
    for secret in model.inventory.of_kind("AWS::SecretsManager::Secret") {
        let text = secret.props().text("SecretString").known();
        let is_used = model.functions.iter().any(|function| function.variable("SECRET_ARN").is(&secret.reference));
        let is_empty = text.is_some_and(|text| ["", "{}"].contains(&text.trim()));
        if is_used && is_empty && secret.props().number(VERSIONS).is(&1) {
            findings.add(&secret.origin, "SecretString", "is empty, and has never been changed");
        }
    }
}

fn secret_unrotated(model: &Model<'_>, findings: &mut Findings) {
    for secret in model.inventory.of_kind("AWS::SecretsManager::Secret") {
        let days_unchanged = secret.props().number(DAYS_UNCHANGED).known();
        if let Some(days) = days_unchanged.filter(|days| *days > UNROTATED_DAYS_MAX) {
            findings.add(&secret.origin, "", format!("was last changed {days} days ago"));
        }
    }
}
