//! Checks of the template's text: what CloudFormation ignores or refuses before it creates a resource.

use super::{Check, Findings, Model, Severity};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "parameter-value",
        severity: Severity::Error,
        title: "a parameter has a value that its declaration does not allow",
        why: "CloudFormation refuses the deployment.",
        fix: "Give a value that AllowedValues, MinValue, MaxValue, MinLength and MaxLength of the parameter admit.",
        source: "https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html",
        find: parameter_value,
    },
    Check {
        id: "duplicate-key",
        severity: Severity::Warning,
        title: "a key is written twice",
        why: "The last value counts, and the first is ignored without a warning. YAML does not allow duplicate keys.",
        fix: "Merge the two, or remove the first.",
        source: "https://yaml.org/spec/1.2.2/#3213-node-comparison",
        find: duplicate_key,
    },
];

fn parameter_value(model: &Model<'_>, findings: &mut Findings) {
    for (origin, what) in &model.inventory.refused {
        findings.add(origin, "", what.as_str());
    }
}

fn duplicate_key(model: &Model<'_>, findings: &mut Findings) {
    for (origin, what) in &model.inventory.repeated {
        findings.add(origin, "", what.as_str());
    }
}
