//! Checks of RabbitMQ in a private network: whether functions and event source mappings reach what they call.

use sluicegate_sam::{Setting, Source};

use super::permissions::at;
use crate::{
    finding::{Check, Findings, Severity},
    model::{Function, Model, SecurityGroup},
};

const AMQPS: u64 = 5671;
const HTTPS: u64 = 443;
/// What the event source mapping calls from inside the broker's network.
/// <https://docs.aws.amazon.com/lambda/latest/dg/process-mq-messages-with-lambda.html>
const CALLED: [&str; 3] = ["lambda", "secretsmanager", "sts"];
const GUIDE: &str = "https://docs.aws.amazon.com/lambda/latest/dg/process-mq-messages-with-lambda.html";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "mq-endpoints",
        severity: Severity::Error,
        title: "a private broker's network has no way to the services that its event source mapping calls",
        why: "The mapping takes on the function's role, reads the broker's password and invokes the function from inside the network. Without a way there it polls nothing.",
        fix: "Add interface endpoints of lambda, sts and secretsmanager in the broker's subnets, or a NAT gateway.",
        source: GUIDE,
        find: mq_endpoints,
    },
    Check {
        id: "mq-security-group",
        severity: Severity::Error,
        title: "a security group lets no one through to the broker",
        why: "Functions and the event source mapping get no connection: requests are answered 503, and nothing is consumed.",
        fix: "Let TCP port 5671 (AMQPS) out of the functions' group and into the broker's, and 443 out of both.",
        source: GUIDE,
        find: mq_security_group,
    },
    Check {
        id: "mq-outside-network",
        severity: Severity::Error,
        title: "a function that talks to a private broker is outside of its network",
        why: "The broker's name leads to private addresses: every connection times out.",
        fix: "Give the function a VpcConfig with subnets that reach the broker.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html",
        find: mq_outside_network,
    },
    Check {
        id: "forward-without-nat",
        severity: Severity::Error,
        title: "a function in a private network forwards to the Internet, and no route leads there",
        why: "A function in a VPC has no public address. Every POST to FORWARD_URL times out, and the message is retried until it is a dead letter.",
        fix: "Add a NAT gateway (here: RabbitmqNatGateway=yes), or forward to an address inside the network.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc-internet.html",
        find: forward_without_nat,
    },
];

/// Returns whether every RabbitMQ broker of the templates, of which there is one, is private.
fn is_private(model: &Model<'_>) -> bool {
    let mut brokers = model.brokers.iter().filter(|broker| broker.rabbitmq).peekable();
    brokers.peek().is_some() && brokers.all(|broker| broker.public.clone().or(false) == Some(false))
}

fn mq_endpoints(model: &Model<'_>, findings: &mut Findings) {
    let Some(vpc) = model.network.vpc.as_ref().filter(|_| is_private(model) && !model.hidden) else { return };
    let mapped = model.mappings.iter().any(|mapping| matches!(mapping.source, Source::Mq { .. }));
    if !mapped || model.network.leads_out || model.network.endpoints.iter().any(Setting::is_unknown) {
        return;
    }
    let has = |service: &str| model.network.endpoints.contains(&Setting::Known(service.to_owned()));
    let lacking: Vec<_> = CALLED.into_iter().filter(|service| !has(service)).collect();
    if !lacking.is_empty() {
        findings.add(vpc, "", format!("has neither a NAT gateway nor an endpoint of {}", lacking.join(", ")));
    }
}

/// Returns the groups with these ids; `None` if one of them is not in the templates.
fn groups<'m>(model: &'m Model<'_>, ids: &[Setting<String>]) -> Option<Vec<&'m SecurityGroup>> {
    ids.iter().map(|id| model.network.groups.iter().find(|group| Setting::Known(group.id.clone()) == *id)).collect()
}

fn mq_security_group(model: &Model<'_>, findings: &mut Findings) {
    if model.hidden {
        return;
    }
    let mut sides = Vec::new();
    for broker in model.brokers.iter().filter(|broker| broker.rabbitmq && !broker.security_groups.is_empty()) {
        let Some(own) = groups(model, &broker.security_groups) else { continue };
        // The event source mapping stands in the broker's groups, and calls it and the services from there.
        sides.push((own.clone(), [AMQPS, HTTPS]));
        if let [first, ..] = own.as_slice()
            && !own.iter().any(|group| group.lets_in(AMQPS))
        {
            findings.add(&first.origin, "SecurityGroupIngress", format!("lets nothing in on port {AMQPS}"));
        }
    }
    for function in talkers(model).filter(|function| !function.security_groups.is_empty()) {
        sides.extend(groups(model, &function.security_groups).map(|own| (own, [AMQPS, HTTPS])));
    }
    let mut said: Vec<(&str, u64)> = Vec::new();
    for (own, ports) in sides {
        let [first, ..] = own.as_slice() else { continue };
        for port in ports.into_iter().filter(|port| !own.iter().any(|group| group.lets_out(*port))) {
            if !said.contains(&(first.id.as_str(), port)) {
                said.push((first.id.as_str(), port));
                findings.add(&first.origin, "SecurityGroupEgress", format!("lets nothing out on port {port}"));
            }
        }
    }
}

/// Returns the functions that hold a connection to the broker.
fn talkers<'m>(model: &'m Model<'_>) -> impl Iterator<Item = &'m Function> {
    model.functions.iter().filter(|function| function.variable("RABBITMQ_URL").is_written())
}

fn mq_outside_network(model: &Model<'_>, findings: &mut Findings) {
    if !is_private(model) {
        return;
    }
    for function in talkers(model).filter(|function| function.in_network == Setting::Known(false)) {
        findings.add(
            &function.origin,
            &at("RABBITMQ_URL"),
            "names a private broker, and the function has no VpcConfig",
        );
    }
}

fn forward_without_nat(model: &Model<'_>, findings: &mut Findings) {
    if model.network.vpc.is_none() || model.network.leads_out || model.hidden {
        return;
    }
    for function in model.functions.iter().filter(|function| function.in_network == Setting::Known(true)) {
        let url = function.variable("FORWARD_URL").known();
        if url.as_deref().and_then(host).is_some_and(is_public) {
            findings.add(&function.origin, &at("FORWARD_URL"), "leads out of the network, and there is no NAT gateway");
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

/// Returns whether a name or an address is surely of the Internet. AWS's own names may be of an endpoint.
fn is_public(host: &str) -> bool {
    match host.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(address)) => {
            !address.is_private() && !address.is_loopback() && !address.is_link_local()
        }
        // A private network may well have public IPv6 addresses.
        Ok(std::net::IpAddr::V6(_)) => false,
        Err(_) => {
            let host = host.to_ascii_lowercase();
            let private = [".internal", ".local", ".localhost", ".amazonaws.com"];
            host.contains('.') && !private.iter().any(|end| host.ends_with(end))
        }
    }
}
