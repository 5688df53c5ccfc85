//! Checks of the archive: what its function may write, and how long its objects are kept.

use sluicegate_contract::ARCHIVE_PREFIX;

use super::{Check, Findings, Model, Severity};
use crate::{inventory::Resource, model::Function};

/// The variable with the bucket's name.
pub(super) const BUCKET: &str = "ARCHIVE_BUCKET";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "archive-permission",
        severity: Severity::Error,
        title: "the role of the archiver may not write the objects of its bucket",
        why: "Nothing is archived: messages wait on the queue of the archive, and are dead letters after their receives.",
        fix: "Allow s3:PutObject on the objects of the bucket below archive/.",
        source: "https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html",
        find: permission,
    },
    Check {
        id: "archive-kept-forever",
        severity: Severity::Info,
        title: "the bucket of the archive has no rule that deletes its objects",
        why: "Objects and what is in them, also about persons, are kept and paid for without end.",
        fix: "Give the bucket a LifecycleConfiguration with ExpirationInDays for archive/.",
        source: "https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lifecycle-mgmt.html",
        find: kept_forever,
    },
];

/// Returns each function with a bucket of the template as its archive.
fn archives<'m>(model: &'m Model<'_>) -> impl Iterator<Item = (&'m Function, &'m Resource)> {
    model.functions.iter().filter_map(|function| {
        let name = function.variable(BUCKET).known()?;
        let bucket = model.inventory.of_kind("AWS::S3::Bucket").find(|bucket| bucket.reference == name)?;
        Some((function, bucket))
    })
}

fn permission(model: &Model<'_>, findings: &mut Findings) {
    for (function, bucket) in archives(model) {
        let objects = format!("{}/{ARCHIVE_PREFIX}*", bucket.arn);
        if let Some(actions) = function.access.lacking(&["s3:PutObject"], Some(&objects)) {
            let what = format!("may not {actions} below {ARCHIVE_PREFIX} of {}", bucket.origin.id);
            findings.add_variable(function, BUCKET, what);
        }
    }
}

fn kept_forever(model: &Model<'_>, findings: &mut Findings) {
    for (_, bucket) in archives(model) {
        let rules = bucket.props().object("LifecycleConfiguration").items("Rules");
        let Some(rules) = rules.or(Vec::new()) else { continue };
        let deletes = |rule: &&serde_json::Value| {
            let rule = sluicegate_sam::Props(rule);
            let has_end = ["ExpirationInDays", "ExpirationDate"].iter().any(|name| !rule.get(name).is_absent());
            // The prefix of a rule is that of the objects, or a part of it from its start.
            let prefix = rule.text("Prefix").or(String::new());
            let reaches = prefix.is_none_or(|prefix| ARCHIVE_PREFIX.starts_with(&*prefix));
            has_end && reaches && !rule.text("Status").is("Disabled")
        };
        if !rules.iter().any(deletes) {
            findings.add(&bucket.origin, "LifecycleConfiguration", "no rule deletes objects below archive/");
        }
    }
}
