//! The network around a private broker, as far as the templates define it.

use serde_json::Value;
use sluicegate_sam::{Props, Setting};

use crate::inventory::{Inventory, Origin, Resource};

/// The parts of a VPC that decide which connections are possible.
#[derive(Debug, Default)]
pub(crate) struct Network {
    /// The VPC, if the templates define one; otherwise the network is unknown.
    pub(crate) vpc: Option<Origin>,
    /// A NAT gateway or another route may lead out of the private subnets.
    pub(crate) leads_out: bool,
    /// The services of interface endpoints, such as `sts`.
    pub(crate) endpoints: Vec<Setting<String>>,
    pub(crate) groups: Vec<SecurityGroup>,
}

/// A security group.
#[derive(Debug)]
pub(crate) struct SecurityGroup {
    pub(crate) origin: Origin,
    pub(crate) id: String,
    /// The allowed outbound ports; `None` where all are allowed, or a rule cannot be read.
    pub(crate) egress: Option<Vec<(u64, u64)>>,
    /// The allowed inbound ports; by default none.
    pub(crate) ingress: Option<Vec<(u64, u64)>>,
}

impl SecurityGroup {
    pub(crate) fn lets_out(&self, port: u64) -> bool {
        covers(self.egress.as_deref(), port)
    }

    pub(crate) fn lets_in(&self, port: u64) -> bool {
        covers(self.ingress.as_deref(), port)
    }
}

fn covers(rules: Option<&[(u64, u64)]>, port: u64) -> bool {
    rules.is_none_or(|rules| rules.iter().any(|(from, to)| (*from..=*to).contains(&port)))
}

pub(super) fn network(inventory: &Inventory) -> Network {
    // A route to an Internet gateway does not lead out of a private subnet.
    let outward = ["NatGatewayId", "TransitGatewayId", "NetworkInterfaceId", "InstanceId", "VpcPeeringConnectionId"];
    let leads = |route: &Resource| outward.iter().any(|name| route.props().get(name).is_written());
    Network {
        vpc: inventory.of_kind("AWS::EC2::VPC").next().map(|vpc| vpc.origin.clone()),
        leads_out: inventory.of_kind("AWS::EC2::NatGateway").next().is_some()
            || inventory.of_kind("AWS::EC2::Route").any(leads),
        endpoints: inventory
            .of_kind("AWS::EC2::VPCEndpoint")
            .map(|endpoint| match endpoint.props().text("ServiceName") {
                Setting::Known(name) => Setting::Known(name.rsplit('.').next().unwrap_or_default().to_owned()),
                _ => Setting::unknown(),
            })
            .collect(),
        groups: inventory.of_kind("AWS::EC2::SecurityGroup").map(|resource| group(inventory, resource)).collect(),
    }
}

fn group(inventory: &Inventory, resource: &Resource) -> SecurityGroup {
    let id = resource.reference.clone();
    let rules = |property: &str, kind: &'static str| {
        let own = match resource.props().items(property) {
            Setting::Known(rules) => rules.into_iter().map(ports).collect::<Option<Vec<_>>>(),
            Setting::Absent => Some(Vec::new()),
            Setting::Unknown(_) => None,
        };
        let beside = inventory
            .of_kind(kind)
            .filter(|rule| rule.props().text("GroupId").or(id.clone()).is_none_or(|group| group == id))
            .map(|rule| ports(&rule.properties))
            .collect::<Option<Vec<_>>>();
        Some([own?, beside?].concat())
    };
    // A group without outbound rules has a default rule that allows everything.
    let restricts = resource.props().get("SecurityGroupEgress").is_written();
    let egress = if restricts { rules("SecurityGroupEgress", "AWS::EC2::SecurityGroupEgress") } else { None };
    let ingress = rules("SecurityGroupIngress", "AWS::EC2::SecurityGroupIngress");
    SecurityGroup { origin: resource.origin.clone(), id, egress, ingress }
}

/// Returns the range of TCP ports of a rule, empty for other protocols; `None` if it is unknown.
fn ports(rule: &Value) -> Option<(u64, u64)> {
    let rule = Props(rule);
    match rule.text("IpProtocol").known()?.as_str() {
        "-1" => Some((0, u64::from(u16::MAX))),
        "tcp" | "6" => Some((rule.number("FromPort").or(0)?, rule.number("ToPort").or(u64::from(u16::MAX))?)),
        // An empty range.
        _ => Some((1, 0)),
    }
}
