//! Log groups, secrets and brokers, with the few properties that matter to messages.

use sluicegate_sam::{Props, Setting};

use crate::inventory::{Inventory, Origin, Resource};

/// `AWS::Logs::LogGroup`
#[derive(Debug)]
pub(crate) struct LogGroup {
    pub(crate) origin: Origin,
    pub(crate) name: String,
    pub(crate) retention_days: Setting<u64>,
}

/// `AWS::SecretsManager::Secret`
#[derive(Debug)]
pub(crate) struct Secret {
    pub(crate) origin: Origin,
    pub(crate) arn: String,
    pub(crate) text: Setting<String>,
    /// The number of versions, for a deployed secret.
    pub(crate) versions: Setting<u64>,
    /// Days since the last change, for a deployed secret.
    pub(crate) days_unchanged: Setting<u64>,
}

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

/// The property under which an overlay stores the number of a secret's versions.
pub(crate) const VERSIONS: &str = "Sluicegate::Versions";
/// The same for the days since the last change.
pub(crate) const DAYS_UNCHANGED: &str = "Sluicegate::DaysUnchanged";

pub(super) fn log_groups(inventory: &Inventory) -> Vec<LogGroup> {
    let group = |resource: &Resource| LogGroup {
        origin: resource.origin.clone(),
        name: resource.reference.clone(),
        retention_days: resource.props().number("RetentionInDays"),
    };
    inventory.of_kind("AWS::Logs::LogGroup").map(group).collect()
}

pub(super) fn secrets(inventory: &Inventory) -> Vec<Secret> {
    let secret = |resource: &Resource| Secret {
        origin: resource.origin.clone(),
        arn: resource.reference.clone(),
        text: resource.props().text("SecretString"),
        versions: resource.props().number(VERSIONS),
        days_unchanged: resource.props().number(DAYS_UNCHANGED),
    };
    inventory.of_kind("AWS::SecretsManager::Secret").map(secret).collect()
}

pub(super) fn brokers(inventory: &Inventory) -> Vec<Broker> {
    let broker = |resource: &Resource| Broker {
        origin: resource.origin.clone(),
        rabbitmq: resource
            .props()
            .text("EngineType")
            .known()
            .is_some_and(|engine| engine.eq_ignore_ascii_case("rabbitmq")),
        deployment_mode: resource.props().text("DeploymentMode"),
        instance_type: resource.props().text("HostInstanceType"),
        engine_version: resource.props().text("EngineVersion"),
        public: resource.props().flag("PubliclyAccessible"),
        security_groups: resource.props().listed("SecurityGroups"),
        limits_are_defaults: resource.props().get("Configuration").is_absent(),
    };
    inventory.of_kind("AWS::AmazonMQ::Broker").map(broker).collect()
}

/// Returns whether some key's policy allows more than it does for the account as a whole, which leaves it to the
/// policies of roles.
/// <https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html>
pub(super) fn keys_opened(inventory: &Inventory) -> bool {
    let opens = |key: &Resource| match key.props().object("KeyPolicy").items("Statement") {
        Setting::Known(statements) => statements.into_iter().any(|statement| {
            let principal = Props(statement).object("Principal");
            let named = principal.listed("AWS");
            let root = |name: &Setting<String>| name.as_ref().known().is_some_and(|name| name.ends_with(":root"));
            !named.iter().all(root)
        }),
        Setting::Absent => false,
        Setting::Unknown(_) => true,
    };
    inventory.of_kind("AWS::KMS::Key").any(opens)
}
