//! What only a deployed stack can show.

use crate::{
    finding::{Check, Hits, Severity},
    model::Model,
    setting::Setting,
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "changed-since-deployed",
        severity: Severity::Warning,
        title: "something is not as it was deployed",
        why: "Somebody changed it by hand. The next deployment may put it back, or may not: CloudFormation compares templates, not what is there.",
        mend: "Put the value into the template and deploy, or change it back.",
        source: "https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html",
        find: changed_since_deployed,
    },
    Check {
        id: "secret-empty",
        severity: Severity::Error,
        title: "the secret still is as the template made it",
        why: "It holds no key, so every request is answered 401 or 503.",
        mend: "Put the values in: aws secretsmanager put-secret-value.",
        source: "https://docs.aws.amazon.com/secretsmanager/latest/userguide/manage_update-secret-value.html",
        find: secret_empty,
    },
];

fn changed_since_deployed(model: &Model<'_>, hits: &mut Hits) {
    for (origin, what) in model.changes {
        hits.add(origin, "", what.as_str());
    }
}

fn secret_empty(model: &Model<'_>, hits: &mut Hits) {
    for secret in model.secrets.iter().filter(|secret| secret.versions == Setting::Known(1)) {
        let text = secret.text.as_ref().known().map(|text| text.trim());
        let used = model
            .functions
            .iter()
            .any(|function| function.variable("SECRETS_ARN").known().as_ref() == Some(&secret.arn));
        if used && text.is_some_and(|text| text.is_empty() || text == "{}") {
            hits.add(&secret.origin, "SecretString", "is empty, and has never been changed");
        }
    }
}
