//! Checks of queues that are bound to Kafka, and of MSK's settings that decide what a receipt is worth.

use sluicegate_contract::binding_variable;
use sluicegate_sam::{Setting, Source};

use super::{Check, Findings, Model, Severity};
use crate::model::Function;

const SERVERS: &str = "KAFKA_BOOTSTRAP_SERVERS";
const MECHANISM: &str = "KAFKA_SASL_MECHANISM";
const PROTOCOL: &str = "KAFKA_SECURITY_PROTOCOL";
const PARTIAL: &str = "KAFKA_PARTIAL_BATCH_RESPONSE";

/// The mechanism that logs in with the role of the function.
const MSK_IAM: &str = "AWS_MSK_IAM";

/// The actions of an idempotent producer.
/// <https://docs.aws.amazon.com/msk/latest/developerguide/kafka-actions.html>
const OF_PRODUCERS: [&str; 4] = [
    "kafka-cluster:Connect",
    "kafka-cluster:DescribeTopic",
    "kafka-cluster:WriteData",
    "kafka-cluster:WriteDataIdempotently",
];

const CONFIGURATION: &str = "https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "kafka-servers-missing",
        severity: Severity::Error,
        title: "a QUEUE_<NAME> names a topic of Kafka, and no KAFKA_BOOTSTRAP_SERVERS says where the cluster is",
        why: "The function refuses to start: every request is answered 500.",
        fix: "Add the variable, with HOST:PORT of some brokers and commas between them.",
        source: CONFIGURATION,
        find: servers_missing,
    },
    Check {
        id: "delay-on-kafka",
        severity: Severity::Error,
        title: "a route asks for a delay, and its queue is a topic of Kafka",
        why: "Kafka does not delay messages; the function refuses to start.",
        fix: "Bind the route's queue to SQS or RabbitMQ, or remove the delay.",
        source: CONFIGURATION,
        find: delay_on_kafka,
    },
    Check {
        id: "kafka-port",
        severity: Severity::Error,
        title: "a function logs in at Amazon MSK in another way than the port of KAFKA_BOOTSTRAP_SERVERS expects",
        why: "No connection succeeds: every request for the topic is answered 503.",
        fix: "Use the addresses that `aws kafka get-bootstrap-brokers` returns for this login, or change KAFKA_SASL_MECHANISM.",
        source: "https://docs.aws.amazon.com/msk/latest/developerguide/port-info.html",
        find: port,
    },
    Check {
        id: "kafka-permission",
        severity: Severity::Error,
        title: "a function logs in at Amazon MSK with its role, which lacks actions of a producer",
        why: "The cluster refuses the login or the record: every request for the topic is answered 503.",
        fix: "Allow kafka-cluster:Connect and kafka-cluster:WriteDataIdempotently on the cluster, and kafka-cluster:DescribeTopic and kafka-cluster:WriteData on the topic.",
        source: "https://docs.aws.amazon.com/msk/latest/developerguide/kafka-actions.html",
        find: permission,
    },
    Check {
        id: "kafka-min-insync-replicas",
        severity: Severity::Warning,
        title: "a configuration of Amazon MSK lets one replica confirm a record",
        why: "A 202 may mean one copy: if its broker fails before another has it, the message is lost.",
        fix: "Set min.insync.replicas=2 with a replication factor of 3.",
        source: "https://docs.aws.amazon.com/msk/latest/developerguide/bestpractices.html",
        find: min_insync_replicas,
    },
    Check {
        id: "kafka-partial-batch-response",
        severity: Severity::Error,
        title: "a consumer of Kafka names the records that failed, and its event source mapping does not read that",
        why: "Lambda takes the response for success and commits the offsets of the whole batch: the records that failed are lost.",
        fix: "Set FunctionResponseTypes: [ReportBatchItemFailures], which requires ProvisionedPollerConfig, or remove KAFKA_PARTIAL_BATCH_RESPONSE.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html",
        find: partial_batch_response,
    },
];

/// Returns the variables of a function that name a topic.
fn topics(function: &Function) -> impl Iterator<Item = &str> {
    let is_topic = |value: &str| value.trim().starts_with("kafka:");
    function.bindings().filter(move |(_, value)| value.as_str().is_some_and(is_topic)).map(|(variable, _)| variable)
}

fn servers_missing(model: &Model<'_>, findings: &mut Findings) {
    for function in model.functions.iter().filter(|function| function.variable(SERVERS).is_absent()) {
        for variable in topics(function) {
            findings.add_variable(function, variable, format!("names a topic, and there is no {SERVERS}"));
        }
    }
}

fn delay_on_kafka(model: &Model<'_>, findings: &mut Findings) {
    let Some(contract) = &model.project.contract else { return };
    for operation in contract.operations().iter().filter(|operation| operation.enqueue.delay_s_max() > 0) {
        for variable in operation.enqueue.queues().map(binding_variable) {
            for function in model.functions.iter().filter(|function| topics(function).any(|own| own == variable)) {
                findings.add_variable(function, &variable, format!("is for {}, which has a delay", operation.id));
            }
        }
    }
}

/// Returns how clients log in at a port of Amazon MSK: in the VPC, and from outside.
fn login_of(port: &str) -> Option<&'static str> {
    match port {
        "9092" => Some("PLAINTEXT"),
        "9094" | "9194" => Some("SSL"),
        "9096" | "9196" => Some("SASL/SCRAM"),
        "9098" | "9198" => Some(MSK_IAM),
        _ => None,
    }
}

fn port(model: &Model<'_>, findings: &mut Findings) {
    for function in &model.functions {
        let Some(login) = login(function) else { continue };
        let Some(servers) = function.variable(SERVERS).known() else { continue };
        let msk = servers.split(',').filter_map(|server| server.trim().rsplit_once(':'));
        let msk = msk.filter(|(host, _)| host.contains(".kafka.") && host.contains(".amazonaws.com"));
        let expected = msk.filter_map(|(_, port)| Some((port, login_of(port)?)));
        if let Some((port, expected)) = expected.into_iter().find(|(_, expected)| *expected != login) {
            findings.add_variable(
                function,
                SERVERS,
                format!("port {port} is for {expected}, and the login is {login}"),
            );
        }
    }
}

/// Returns how a function logs in, in the words of [`login_of`]; `None` if it is unknown.
fn login(function: &Function) -> Option<&'static str> {
    let is_role = function.variable(MECHANISM).or(String::new())? == MSK_IAM;
    let has_secret = match function.variable("KAFKA_SECRET_ARN") {
        Setting::Absent => false,
        Setting::Known(_) | Setting::Unknown(_) => true,
    };
    let default = if is_role || has_secret { "SASL_SSL" } else { "SSL" };
    match function.variable(PROTOCOL).or(default.to_owned())?.as_str() {
        "PLAINTEXT" => Some("PLAINTEXT"),
        "SSL" => Some("SSL"),
        "SASL_SSL" if is_role => Some(MSK_IAM),
        "SASL_SSL" => Some("SASL/SCRAM"),
        _ => None,
    }
}

fn permission(model: &Model<'_>, findings: &mut Findings) {
    for function in model.functions.iter().filter(|function| topics(function).next().is_some()) {
        let lacking = function.access.lacking(&OF_PRODUCERS, None);
        if let Some(actions) = lacking.filter(|_| function.variable(MECHANISM).is(MSK_IAM)) {
            findings.add_variable(function, MECHANISM, format!("may not {actions}"));
        }
    }
}

fn min_insync_replicas(model: &Model<'_>, findings: &mut Findings) {
    for configuration in model.inventory.of_kind("AWS::MSK::Configuration") {
        let Some(properties) = configuration.props().text("ServerProperties").known() else { continue };
        let is_one = |line: &str| {
            let setting = line.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
            setting == Some(("min.insync.replicas", "1"))
        };
        if properties.lines().any(is_one) {
            findings.add(&configuration.origin, "ServerProperties", "min.insync.replicas is 1");
        }
    }
}

fn partial_batch_response(model: &Model<'_>, findings: &mut Findings) {
    let of_kafka = model.mappings.iter().filter(|mapping| matches!(mapping.source, Source::Kafka(_)));
    for mapping in of_kafka.filter(|mapping| mapping.partial_batch.is(&false)) {
        let function = mapping.function.as_str().and_then(|name| model.function(name));
        if function.is_some_and(|function| function.variable(PARTIAL).is("true")) {
            let what = format!("has no ReportBatchItemFailures, and {PARTIAL} is true");
            findings.add(&mapping.origin, "FunctionResponseTypes", what);
        }
    }
}
