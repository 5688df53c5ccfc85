//! Brokers, the state of secrets, and the policies of keys.

use sluicegate_sam::{Props, Setting};

use crate::inventory::{Inventory, Origin, Resource};

/// `AWS::AmazonMQ::Broker`
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) origin: Origin,
    pub(crate) rabbitmq: bool,
    pub(crate) deployment_mode: Setting<String>,
    pub(crate) instance_type: Setting<String>,
    pub(crate) engine_version: Setting<String>,
    /// `PubliclyAccessible`
    pub(crate) public: Setting<bool>,
    pub(crate) security_groups: Vec<Setting<String>>,
    /// It has no `Configuration`, so its limits are the defaults.
    pub(crate) limits_are_defaults: bool,
}

impl Broker {
    pub(crate) fn is_version_4(&self) -> bool {
        self.engine_version.as_str().is_some_and(|version| version.starts_with("4.") || version == "4")
    }
}

/// The property of a deployed secret with the number of its versions; one that was never changed has one.
pub(crate) const VERSIONS: &str = "Sluicegate::Versions";
/// The property of a deployed secret with the days since its last change.
pub(crate) const DAYS_UNCHANGED: &str = "Sluicegate::DaysUnchanged";

pub(super) fn brokers(inventory: &Inventory) -> Vec<Broker> {
    let broker = |resource: &Resource| Broker {
        origin: resource.origin.clone(),
        rabbitmq: resource.props().text("EngineType").as_str().is_some_and(|it| it.eq_ignore_ascii_case("rabbitmq")),
        deployment_mode: resource.props().text("DeploymentMode"),
        instance_type: resource.props().text("HostInstanceType"),
        engine_version: resource.props().text("EngineVersion"),
        public: resource.props().flag("PubliclyAccessible"),
        security_groups: resource.props().listed("SecurityGroups"),
        limits_are_defaults: resource.props().get("Configuration").is_absent(),
    };
    inventory.of_kind("AWS::AmazonMQ::Broker").map(broker).collect()
}

/// Returns whether the policy of some key names principals besides the account. The account's own statement leaves the
/// decision to the policies of roles.
/// <https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html>
pub(super) fn keys_opened(inventory: &Inventory) -> bool {
    let opens = |key: &Resource| match key.props().object("KeyPolicy").items("Statement") {
        Setting::Known(statements) => statements.into_iter().any(|statement| {
            let principal = Props(statement).object("Principal");
            let is_account = |name: &Setting<String>| name.as_str().is_some_and(|name| name.ends_with(":root"));
            !principal.listed("AWS").iter().all(is_account)
        }),
        Setting::Absent => false,
        Setting::Unknown(_) => true,
    };
    inventory.of_kind("AWS::KMS::Key").any(opens)
}
