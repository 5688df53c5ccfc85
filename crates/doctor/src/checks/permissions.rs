//! Checks of permissions that functions need. A role that is not wholly in the template has no findings.

use super::{Check, Findings, Model, Severity};
use crate::model::{Function, Queue};

/// The actions of Lambda on a queue, with the function's role.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>
const OF_CONSUMERS: [&str; 3] = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];
/// The variables with the ARN of a secret.
const SECRETS: [&str; 4] =
    ["SECRET_ARN", "RABBITMQ_SECRET_ARN", "KAFKA_SECRET_ARN", "KAFKA_CLIENT_CERTIFICATE_SECRET_ARN"];
const OF_SENDERS: [&str; 2] = ["kms:GenerateDataKey", "kms:Decrypt"];
const KEYS: &str = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html";
const ACTIONS: &str =
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "consumer-permissions",
        severity: Severity::Error,
        title: "a consumer's role may not receive from, delete from or describe its queue",
        why: "Lambda refuses the event source mapping, or stops polling.",
        fix: "Allow sqs:ReceiveMessage, sqs:DeleteMessage and sqs:GetQueueAttributes on the queue.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html",
        find: consumer_permissions,
    },
    Check {
        id: "retry-permission",
        severity: Severity::Warning,
        title: "a consumer's role may not change the visibility of messages",
        why: "A retry cannot set its delay: each waits for the whole visibility timeout. The role that SAM generates for SQS events does not allow it.",
        fix: "Allow sqs:ChangeMessageVisibility on the queue (SQSPollerPolicy does).",
        source: ACTIONS,
        find: retry_permission,
    },
    Check {
        id: "reject-permission",
        severity: Severity::Warning,
        title: "a consumer's role may not send to the dead-letter queue",
        why: "A message that the consumer rejects is not dead-lettered at once with its reason; it uses up all its receives first.",
        fix: "Allow sqs:SendMessage on the dead-letter queue.",
        source: ACTIONS,
        find: reject_permission,
    },
    Check {
        id: "send-permission",
        severity: Severity::Error,
        title: "a function's role may not send to a queue it is bound to",
        why: "Every request for that queue is answered 503.",
        fix: "Allow sqs:SendMessage on the queue.",
        source: ACTIONS,
        find: send_permission,
    },
    Check {
        id: "queue-policy-denies",
        severity: Severity::Error,
        title: "a queue's policy denies what a function does with it",
        why: "A denial overrides what the role allows: messages are refused, or cannot be received.",
        fix: "Remove the statement, or exempt the function's role by a Condition or a Principal.",
        source: "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html",
        find: queue_policy_denies,
    },
    Check {
        id: "logs-permission",
        severity: Severity::Warning,
        title: "a function's role may not write log lines",
        why: "The function runs without logs. Its metrics are log lines too, so alarms on them never fire.",
        fix: "Allow logs:CreateLogStream and logs:PutLogEvents on the function's log group.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html",
        find: logs_permission,
    },
    Check {
        id: "deployment-permission",
        severity: Severity::Error,
        title: "the role of a deployment may not move the alias",
        why: "CodeDeploy cannot shift traffic, so the deployment fails and is rolled back.",
        fix: "Allow lambda:GetAlias and lambda:UpdateAlias on the functions and their aliases, or leave Role out.",
        source: "https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSCodeDeployRoleForLambdaLimited.html",
        find: deployment_permission,
    },
    Check {
        id: "key-of-sender",
        severity: Severity::Error,
        title: "a function sends to a queue whose key its role may not use",
        why: "SQS refuses every message. Neither KMSEncryptPolicy nor KMSEncryptPolicy_v2 alone allows both actions.",
        fix: "Allow kms:GenerateDataKey and kms:Decrypt on the queue's key.",
        source: KEYS,
        find: key_of_sender,
    },
    Check {
        id: "key-of-consumer",
        severity: Severity::Error,
        title: "a function consumes a queue whose key its role may not use",
        why: "No message can be received, and all stay until their retention ends.",
        fix: "Allow kms:Decrypt on the queue's key.",
        source: KEYS,
        find: key_of_consumer,
    },
    Check {
        id: "secret-permission",
        severity: Severity::Error,
        title: "a function's role may not read a secret it refers to",
        why: "The function cannot authenticate requests, or cannot log in to the broker.",
        fix: "Allow secretsmanager:GetSecretValue on the secret.",
        source: "https://docs.aws.amazon.com/secretsmanager/latest/userguide/auth-and-access_iam-policies.html",
        find: secret_permission,
    },
    Check {
        id: "policy-queue-url",
        severity: Severity::Error,
        title: "a policy template is given a queue's URL or ARN as its name",
        why: "!Ref of a queue is its URL. The policy then names an ARN that no queue has, and calls are refused at run time.",
        fix: "Use QueueName: !GetAtt Queue.QueueName.",
        source: "https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-policy-template-list.html",
        find: policy_queue_url,
    },
];

/// Returns the actions on a queue that a function lacks; `None` where a queue policy may allow them.
fn lacking(function: &Function, actions: &[&str], queue: &Queue) -> Option<String> {
    if queue.opened { None } else { function.access.lacking(actions, Some(&queue.arn)) }
}

/// Adds a finding for each consumer that lacks actions on its queue.
fn find_lacking(model: &Model<'_>, findings: &mut Findings, actions: &[&str]) {
    for (queue, mapping, function) in model.consumed() {
        if let Some(actions) = lacking(function, actions, queue) {
            let what = format!("{} may not {actions} {}", function.origin.id, queue.origin.id);
            findings.add(&mapping.origin, "", what);
        }
    }
}

fn consumer_permissions(model: &Model<'_>, findings: &mut Findings) {
    find_lacking(model, findings, &OF_CONSUMERS);
}

fn retry_permission(model: &Model<'_>, findings: &mut Findings) {
    find_lacking(model, findings, &["sqs:ChangeMessageVisibility"]);
}

fn reject_permission(model: &Model<'_>, findings: &mut Findings) {
    for (queue, mapping, function) in model.consumed() {
        for (_, _, target) in model.redriven().filter(|(source, ..)| source.arn == queue.arn) {
            if let Some(actions) = lacking(function, &["sqs:SendMessage"], target) {
                let what = format!("{} may not {actions} {}", function.origin.id, target.origin.id);
                findings.add(&mapping.origin, "", what);
            }
        }
    }
}

fn send_permission(model: &Model<'_>, findings: &mut Findings) {
    // A function bound to a dead-letter queue is binding-dead-letter.
    for (function, variable, queue) in model.senders().filter(|(.., queue)| !model.keeps_dead_letters(queue)) {
        if let Some(actions) = lacking(function, &["sqs:SendMessage"], queue) {
            findings.add_variable(function, variable, format!("may not {actions} {}", queue.origin.id));
        }
    }
}

fn queue_policy_denies(model: &Model<'_>, findings: &mut Findings) {
    let senders = model.senders().map(|(function, _, queue)| (function, queue, &["sqs:SendMessage"][..]));
    let consumers = model.consumed().map(|(queue, _, function)| (function, queue, &OF_CONSUMERS[..]));
    for (function, queue, actions) in senders.chain(consumers) {
        let denies = |action: &&str| queue.denials.iter().any(|denial| denial.denies(action, function.role.as_str()));
        let denied: Vec<&str> = actions.iter().copied().filter(denies).collect();
        if !denied.is_empty() {
            findings.add(&queue.origin, "", format!("its policy denies {} {}", function.origin.id, denied.join(", ")));
        }
    }
}

fn logs_permission(model: &Model<'_>, findings: &mut Findings) {
    for function in &model.functions {
        if let Some(actions) = function.access.lacking(&["logs:CreateLogStream", "logs:PutLogEvents"], None) {
            findings.add(&function.origin, "Role", format!("may not {actions}"));
        }
    }
}

fn deployment_permission(model: &Model<'_>, findings: &mut Findings) {
    for (origin, property, access) in &model.deployments {
        if let Some(actions) = access.lacking(&["lambda:GetAlias", "lambda:UpdateAlias"], None) {
            findings.add(origin, property, format!("may not {actions}"));
        }
    }
}

/// Returns the actions on the queue's key that a function lacks; `None` where a key policy may allow them.
fn lacking_on_key(model: &Model<'_>, function: &Function, queue: &Queue, actions: &[&str]) -> Option<String> {
    let is_customer_managed = queue.kms_key.as_str().is_some_and(|key| !key.ends_with("alias/aws/sqs"));
    if is_customer_managed && !model.keys_opened { function.access.lacking(actions, None) } else { None }
}

fn key_of_sender(model: &Model<'_>, findings: &mut Findings) {
    for (function, variable, queue) in model.senders() {
        if let Some(actions) = lacking_on_key(model, function, queue, &OF_SENDERS) {
            findings.add_variable(function, variable, format!("may not {actions} with the key of {}", queue.origin.id));
        }
    }
}

fn key_of_consumer(model: &Model<'_>, findings: &mut Findings) {
    for (queue, mapping, function) in model.consumed() {
        if let Some(actions) = lacking_on_key(model, function, queue, &["kms:Decrypt"]) {
            let what = format!("{} may not {actions} with the key of {}", function.origin.id, queue.origin.id);
            findings.add(&mapping.origin, "", what);
        }
    }
}

fn secret_permission(model: &Model<'_>, findings: &mut Findings) {
    for function in &model.functions {
        for variable in SECRETS {
            let Some(arn) = function.variable(variable).known().filter(|arn| arn.starts_with("arn:")) else { continue };
            if function.access.lacks("secretsmanager:GetSecretValue", Some(&arn)) {
                findings.add_variable(function, variable, "may not secretsmanager:GetSecretValue it");
            }
        }
    }
}

fn policy_queue_url(model: &Model<'_>, findings: &mut Findings) {
    for function in &model.functions {
        // The policy template puts the URL, or another ARN, in the place of the name in an ARN.
        let wrong = |arn: &&str| arn.contains(":sqs:") && (arn.contains("://") || arn.matches("arn:").count() > 1);
        for arn in function.access.resources().filter(wrong) {
            findings.add(&function.origin, "Policies", format!("allows something on {arn}"));
        }
    }
}
