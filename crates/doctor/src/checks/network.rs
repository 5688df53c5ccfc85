//! Checks of RabbitMQ in a private network: whether functions and event source mappings reach what they call.

use sluicegate_sam::{Setting, Source};

use super::{Check, Findings, Model, Severity};
use crate::model::{Function, SecurityGroup};

const AMQPS: u64 = 5671;
const HTTPS: u64 = 443;
/// The services that the event source mapping calls from inside the broker's network.
/// <https://docs.aws.amazon.com/lambda/latest/dg/process-mq-messages-with-lambda.html>
const CALLED: [&str; 3] = ["lambda", "secretsmanager", "sts"];
const GUIDE: &str = "https://docs.aws.amazon.com/lambda/latest/dg/process-mq-messages-with-lambda.html";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "mq-endpoints",
        severity: Severity::Error,
        title: "the event source mapping cannot reach the services it calls from a private broker's network",
        why: "From inside the network, the mapping assumes the function's role, reads the broker's password and invokes the function. Without a route to these services it polls nothing.",
        fix: "Add interface endpoints of lambda, sts and secretsmanager in the broker's subnets, or a NAT gateway.",
        source: GUIDE,
        find: mq_endpoints,
    },
    Check {
        id: "mq-security-group",
        severity: Severity::Error,
        title: "a security group blocks connections to the broker",
        why: "Functions and the event source mapping cannot connect: requests are answered 503, and nothing is consumed.",
        fix: "Let TCP port 5671 (AMQPS) out of the functions' group and into the broker's, and 443 out of both.",
        source: GUIDE,
        find: mq_security_group,
    },
    Check {
        id: "mq-outside-network",
        severity: Severity::Error,
        title: "a function that connects to a private broker is outside its network",
        why: "The broker's name resolves to private addresses, so every connection times out.",
        fix: "Give the function a VpcConfig with subnets that reach the broker.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html",
        find: mq_outside_network,
    },
    Check {
        id: "forward-without-nat",
        severity: Severity::Error,
        title: "a function in a private network forwards to the Internet without a route to it",
        why: "A function in a VPC has no public address. Every POST to FORWARD_URL times out, and the message is retried until it is a dead letter.",
        fix: "Add a NAT gateway (here: RabbitmqNatGateway=yes), or forward to an address inside the network.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc-internet.html",
        find: forward_without_nat,
    },
];

/// Returns whether the templates have a RabbitMQ broker and each of theirs is private.
fn is_private(model: &Model<'_>) -> bool {
    let mut brokers = model.rabbitmq_brokers().peekable();
    brokers.peek().is_some() && brokers.all(|broker| broker.public.clone().or(false) == Some(false))
}

fn mq_endpoints(model: &Model<'_>, findings: &mut Findings) {
    let Some(vpc) = model.network.vpc.as_ref().filter(|_| is_private(model) && !model.inventory.hidden) else { return };
    let mapped = model.mappings.iter().any(|mapping| matches!(mapping.source, Source::Mq { .. }));
    if !mapped || model.network.leads_out || model.network.endpoints.iter().any(Setting::is_unknown) {
        return;
    }
    let has = |service: &str| model.network.endpoints.iter().any(|endpoint| endpoint.is(service));
    let lacking: Vec<_> = CALLED.into_iter().filter(|service| !has(service)).collect();
    if !lacking.is_empty() {
        findings.add(vpc, "", format!("has neither a NAT gateway nor an endpoint of {}", lacking.join(", ")));
    }
}

/// Returns the groups with these ids; `None` if one of them is not in the templates.
fn groups<'m>(model: &'m Model<'_>, ids: &[Setting<String>]) -> Option<Vec<&'m SecurityGroup>> {
    ids.iter().map(|id| model.network.groups.iter().find(|group| id.is(&group.id))).collect()
}

fn mq_security_group(model: &Model<'_>, findings: &mut Findings) {
    if model.inventory.hidden {
        return;
    }
    // The security groups of each broker and of each function that connects to it. The event source mapping uses the
    // broker's.
    let mut connected = Vec::new();
    for broker in model.rabbitmq_brokers().filter(|broker| !broker.security_groups.is_empty()) {
        let Some(own) = groups(model, &broker.security_groups) else { continue };
        if let [first, ..] = own.as_slice()
            && !own.iter().any(|group| group.lets_in(AMQPS))
        {
            findings.add(&first.origin, "SecurityGroupIngress", format!("lets nothing in on port {AMQPS}"));
        }
        connected.push(own);
    }
    for function in clients(model).filter(|function| !function.security_groups.is_empty()) {
        connected.extend(groups(model, &function.security_groups));
    }
    let mut reported: Vec<(&str, u64)> = Vec::new();
    for own in connected {
        let [first, ..] = own.as_slice() else { continue };
        for port in [AMQPS, HTTPS].into_iter().filter(|port| !own.iter().any(|group| group.lets_out(*port))) {
            if !reported.contains(&(first.id.as_str(), port)) {
                reported.push((first.id.as_str(), port));
                findings.add(&first.origin, "SecurityGroupEgress", format!("lets nothing out on port {port}"));
            }
        }
    }
}

/// Returns the functions that connect to the broker.
fn clients<'m>(model: &'m Model<'_>) -> impl Iterator<Item = &'m Function> {
    model.functions.iter().filter(|function| function.variable("RABBITMQ_URL").is_written())
}

fn mq_outside_network(model: &Model<'_>, findings: &mut Findings) {
    for function in clients(model).filter(|function| function.in_network.is(&false) && is_private(model)) {
        findings.add_variable(function, "RABBITMQ_URL", "names a private broker, and the function has no VpcConfig");
    }
}

fn forward_without_nat(model: &Model<'_>, findings: &mut Findings) {
    if model.network.vpc.is_none() || model.network.leads_out || model.inventory.hidden {
        return;
    }
    for function in model.functions.iter().filter(|function| function.in_network.is(&true)) {
        let url = function.variable("FORWARD_URL");
        if url.as_str().and_then(host).is_some_and(is_public) {
            findings.add_variable(function, "FORWARD_URL", "leads out of the network, and there is no NAT gateway");
        }
    }
}

fn host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next()?;
    match authority.strip_prefix('[') {
        Some(address) => address.split(']').next(),
        None => authority.split(':').next(),
    }
}

/// Returns whether a name or an address is certainly on the Internet. A name of AWS may be that of an endpoint.
fn is_public(host: &str) -> bool {
    match host.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(address)) => {
            !address.is_private() && !address.is_loopback() && !address.is_link_local()
        }
        // A private network may have public IPv6 addresses.
        Ok(std::net::IpAddr::V6(_)) => false,
        Err(_) => {
            let host = host.to_ascii_lowercase();
            let private = [".internal", ".local", ".localhost", ".amazonaws.com"];
            host.contains('.') && !private.iter().any(|end| host.ends_with(end))
        }
    }
}
