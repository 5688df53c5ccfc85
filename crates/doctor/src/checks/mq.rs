//! Checks of RabbitMQ on Amazon MQ: event source mappings and brokers.

use sluicegate_contract::binding_variable;
use sluicegate_sam::Source;
use sluicegate_topology::Address;

use super::{Check, Findings, Model, Severity};
use crate::model::{Function, Mapping};

/// 14 minutes: <https://docs.aws.amazon.com/lambda/latest/dg/with-mq.html>
const TIMEOUT_S_MAX: u64 = 840;
/// The `max_message_size` of Amazon MQ from RabbitMQ 4 on.
/// <https://docs.aws.amazon.com/amazon-mq/latest/developer-guide/rabbitmq-sizing-guidelines.html>
const MESSAGE_BYTES_DEFAULT: u64 = 524_288;
/// The actions of Lambda, with the function's role, to reach a broker in a private network: page [`GUIDE`].
const ACTIONS: [&str; 8] = [
    "mq:DescribeBroker",
    "secretsmanager:GetSecretValue",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
];
const GUIDE: &str = "https://docs.aws.amazon.com/lambda/latest/dg/with-mq.html";
const EVENT: &str =
    "https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-property-function-mq.html";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "mq-permissions",
        severity: Severity::Error,
        title: "a consumer's role lacks actions that Lambda needs to reach a RabbitMQ broker",
        why: "The event source mapping cannot log in, or cannot create its network interfaces, and polls nothing. SAM allows only mq:DescribeBroker and secretsmanager:GetSecretValue.",
        fix: "Allow the missing actions on the broker and the secret, and those of ec2 on *.",
        source: GUIDE,
        find: mq_permissions,
    },
    Check {
        id: "mq-login",
        severity: Severity::Error,
        title: "an MQ event source mapping does not have exactly one secret to log in with",
        why: "Lambda refuses the mapping.",
        fix: "Give SourceAccessConfigurations one entry of Type BASIC_AUTH with the secret's ARN.",
        source: EVENT,
        find: mq_login,
    },
    Check {
        id: "mq-one-queue",
        severity: Severity::Error,
        title: "an MQ event source mapping does not name exactly one queue",
        why: "Lambda refuses the mapping.",
        fix: "Make a mapping for each queue.",
        source: EVENT,
        find: mq_one_queue,
    },
    Check {
        id: "mq-policy-names",
        severity: Severity::Error,
        title: "a function has several MQ events, and SAM gives their policies one name",
        why: "One policy replaces the other, or the deployment fails: one of the mappings cannot log in.",
        fix: "Set DynamicPolicyName: true on each, or give the function a Role.",
        source: EVENT,
        find: mq_policy_names,
    },
    Check {
        id: "mq-virtual-host",
        severity: Severity::Error,
        title: "a consumer reads from one virtual host and republishes to another",
        why: "Retried and rejected messages go to the virtual host of RABBITMQ_URL. The mapping reads from its VIRTUAL_HOST, or from / without one.",
        fix: "Name the same one in the mapping's VIRTUAL_HOST and in RABBITMQ_URL. The mapping must be created anew.",
        source: GUIDE,
        find: mq_virtual_host,
    },
    Check {
        id: "mq-batching-window",
        severity: Severity::Warning,
        title: "an MQ event source mapping sets a batching window",
        why: "Each message waits for up to the whole window. It replaces the default of half a second, which only a new mapping has again.",
        fix: "Leave MaximumBatchingWindowInSeconds out.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/services-mq-params.html",
        find: mq_batching_window,
    },
    Check {
        id: "mq-timeout",
        severity: Severity::Error,
        title: "a function that consumes from a broker has a timeout above 14 minutes",
        why: "Lambda does not allow a longer one for Amazon MQ.",
        fix: "Set Timeout to 840 at most.",
        source: GUIDE,
        find: mq_timeout,
    },
    Check {
        id: "mq-message-size",
        severity: Severity::Error,
        title: "a route admits larger messages than the broker accepts",
        why: "RabbitMQ closes the channel on such a message: every request of that size is answered 503, and messages sent at the same time may fail too.",
        fix: "Give the broker a Configuration with max_message_size, or lower the route's payloadBytes.",
        source: "https://docs.aws.amazon.com/amazon-mq/latest/developer-guide/configure-resource-limits.html",
        find: mq_message_size,
    },
    Check {
        id: "broker-single",
        severity: Severity::Info,
        title: "the broker is a single node, or an mq.t3.micro",
        why: "A single node is unavailable during its weekly maintenance and each restart: requests are answered 503 meanwhile. An mq.t3.micro is too small for production.",
        fix: "For production use DeploymentMode: CLUSTER_MULTI_AZ and mq.m7g.large or more.",
        source: "https://docs.aws.amazon.com/amazon-mq/latest/developer-guide/rabbitmq-broker-architecture.html",
        find: broker_single,
    },
];

fn mq_permissions(model: &Model<'_>, findings: &mut Findings) {
    // A broker that is reached through the Internet needs no network interfaces.
    let public = model.brokers.iter().any(|broker| broker.public.is_written() && !broker.public.is(&false));
    let actions: Vec<&str> = ACTIONS.into_iter().filter(|action| !(public && action.starts_with("ec2:"))).collect();
    for (mapping, function) in model.fed_by_brokers() {
        if let Some(actions) = function.access.lacking(&actions, None) {
            findings.add(&mapping.origin, "", format!("{} may not {actions}", function.origin.id));
        }
    }
}

fn mq_login(model: &Model<'_>, findings: &mut Findings) {
    for mapping in &model.mappings {
        let Source::Mq { access, .. } = &mapping.source else { continue };
        let Some(access) = access.clone().or(Vec::new()) else { continue };
        let count = access.iter().filter(|one| one.kind.is("BASIC_AUTH")).count();
        if count != 1 {
            let what = format!("has {count} entries of Type BASIC_AUTH");
            findings.add(&mapping.origin, "SourceAccessConfigurations", what);
        }
    }
}

fn mq_one_queue(model: &Model<'_>, findings: &mut Findings) {
    for mapping in &model.mappings {
        let Source::Mq { queues, .. } = &mapping.source else { continue };
        if queues.len() != 1 {
            findings.add(&mapping.origin, "Queues", format!("names {} queues", queues.len()));
        }
    }
}

fn mq_policy_names(model: &Model<'_>, findings: &mut Findings) {
    for function in model.functions.iter().filter(|function| function.role_is_made) {
        let is_unnamed = |mapping: &&Mapping| match &mapping.source {
            Source::Mq { policy_named, .. } => mapping.is_event && policy_named.clone().or(false) == Some(false),
            Source::Sqs { .. } | Source::Kafka(_) => false,
        };
        let unnamed = model.mappings_of(function).filter(is_unnamed).count();
        if unnamed > 1 {
            findings.add(&function.origin, "Events", format!("{unnamed} MQ events have no DynamicPolicyName"));
        }
    }
}

fn mq_virtual_host(model: &Model<'_>, findings: &mut Findings) {
    for (mapping, function) in model.fed_by_brokers() {
        if let (Some(read), Some(written)) = (read_from(mapping), written_to(function))
            && read != written
        {
            let what =
                format!("reads from virtual host {read}, RABBITMQ_URL of {} names {written}", function.origin.id);
            findings.add(&mapping.origin, "SourceAccessConfigurations", what);
        }
    }
}

fn read_from(mapping: &Mapping) -> Option<String> {
    let Source::Mq { access, .. } = &mapping.source else { return None };
    let named = access.clone().or(Vec::new())?.into_iter().rfind(|one| one.kind.is("VIRTUAL_HOST"));
    named.map(|one| one.uri).unwrap_or_default().or("/".to_owned())
}

fn written_to(function: &Function) -> Option<String> {
    let url = function.variable("RABBITMQ_URL").known()?;
    Address::parse(&url).ok().map(|address| address.vhost().to_owned())
}

fn mq_batching_window(model: &Model<'_>, findings: &mut Findings) {
    for (mapping, _) in model.fed_by_brokers().filter(|(mapping, _)| mapping.window_s.is_written()) {
        findings.add(&mapping.origin, "MaximumBatchingWindowInSeconds", "is set");
    }
}

fn mq_timeout(model: &Model<'_>, findings: &mut Findings) {
    for function in &model.functions {
        let fed = model.fed_by_brokers().any(|(_, by)| by.name == function.name);
        if let Some(timeout_s) = function.timeout_s.copied().filter(|timeout_s| fed && *timeout_s > TIMEOUT_S_MAX) {
            findings.add(&function.origin, "Timeout", format!("is {timeout_s}"));
        }
    }
}

fn mq_message_size(model: &Model<'_>, findings: &mut Findings) {
    let Some(contract) = &model.project.contract else { return };
    if !model.rabbitmq_brokers().any(|broker| broker.limits_are_defaults && broker.is_version_4()) {
        return;
    }
    for operation in contract.operations() {
        let admitted = operation.enqueue.payload_bytes_max as u64;
        for variable in operation.enqueue.queues().map(binding_variable) {
            for function in &model.functions {
                let bound = function.variable(&variable).known().is_some_and(|value| value.starts_with("rabbitmq:"));
                // The envelope around the payload takes a few more bytes.
                if bound && admitted >= MESSAGE_BYTES_DEFAULT {
                    let what = format!(
                        "{} admits payloads of {admitted} bytes, the broker accepts messages of {MESSAGE_BYTES_DEFAULT}",
                        operation.id
                    );
                    findings.add_variable(function, &variable, what);
                }
            }
        }
    }
}

fn broker_single(model: &Model<'_>, findings: &mut Findings) {
    for broker in model.rabbitmq_brokers() {
        if broker.instance_type.is("mq.t3.micro") {
            findings.add(&broker.origin, "HostInstanceType", "is mq.t3.micro");
        } else if broker.deployment_mode.is("SINGLE_INSTANCE") {
            findings.add(&broker.origin, "DeploymentMode", "is a single node");
        }
    }
}
