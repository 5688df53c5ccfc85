//! The permissions of a function's role, as far as the template defines them.
//!
//! An answer is yes, no, or unknown: managed policies of others, unresolved resources and conditions may allow
//! anything. Only a certain no is a finding.

use serde_json::Value;
use sluicegate_sam::{Props, Setting, text};

use crate::inventory::{Inventory, Resource};

/// The statements of one role.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    statements: Vec<Statement>,
    /// Some statements cannot be read, so everything may be allowed.
    open: bool,
}

#[derive(Clone, Debug)]
struct Statement {
    /// `Effect: Deny`, which overrides statements that allow.
    denies: bool,
    actions: Vec<String>,
    /// Patterns of ARNs. An unknown one matches every resource.
    resources: Vec<Setting<String>>,
    /// A condition: it is unknown whether the statement applies.
    conditional: bool,
}

impl Access {
    /// Returns whether the role certainly may not call this action on the resource; without one, on any resource.
    pub(crate) fn lacks(&self, action: &str, resource: Option<&str>) -> bool {
        let fits = |statement: &&Statement| {
            statement.actions.iter().any(|pattern| matches(&pattern.to_lowercase(), &action.to_lowercase()))
                && statement.resources.iter().any(|pattern| match (pattern, resource) {
                    (Setting::Known(pattern), Some(resource)) => matches(pattern, resource),
                    _ => true,
                })
        };
        let denied = |statement: &Statement| {
            let sure = statement.resources.iter().all(|resource| !resource.is_unknown());
            statement.denies && !statement.conditional && sure && resource.is_some()
        };
        let fitting: Vec<&Statement> = self.statements.iter().filter(fits).collect();
        let allowed = self.open || fitting.iter().any(|statement| !statement.denies);
        !allowed || fitting.iter().any(|statement| denied(statement))
    }

    /// Returns a list of those of the actions that the role certainly lacks; `None` if there are none.
    pub(crate) fn lacking(&self, actions: &[&str], resource: Option<&str>) -> Option<String> {
        let lacking: Vec<&str> = actions.iter().copied().filter(|action| self.lacks(action, resource)).collect();
        (!lacking.is_empty()).then(|| lacking.join(", "))
    }

    /// Returns the resources that statements name, as far as they are known.
    pub(crate) fn resources(&self) -> impl Iterator<Item = &str> {
        let all = self.statements.iter().flat_map(|statement| &statement.resources);
        all.filter_map(Setting::as_str)
    }

    fn extend(&mut self, other: Self) {
        self.statements.extend(other.statements);
        self.open |= other.open;
    }

    /// Adds the policies of a list, which may be absent or unknown.
    fn extend_each(&mut self, policies: Setting<Vec<&Value>>, read: impl Fn(&Value) -> Self) {
        match policies {
            Setting::Known(policies) => policies.into_iter().map(read).for_each(|access| self.extend(access)),
            Setting::Absent => {}
            Setting::Unknown(_) => self.open = true,
        }
    }

    fn unreadable() -> Self {
        Self { statements: Vec::new(), open: true }
    }

    fn allow(actions: &[&str], resource: Setting<String>) -> Self {
        let actions = actions.iter().map(|action| (*action).to_owned()).collect();
        let statement = Statement { denies: false, actions, resources: vec![resource], conditional: false };
        Self { statements: vec![statement], open: false }
    }

    fn of_document(document: Props<'_>) -> Self {
        let mut access = Self::default();
        access.extend_each(document.items("Statement"), |statement| {
            let statement = statement_of(Props(statement));
            statement.map_or_else(Self::unreadable, |known| Self { statements: vec![known], open: false })
        });
        access
    }
}

fn statement_of(props: Props<'_>) -> Option<Statement> {
    // Such a statement applies to everything that it does not list.
    if props.get("NotAction").is_written() || props.get("NotResource").is_written() {
        return None;
    }
    let actions = props.texts("Action").known()?.into_iter().map(Setting::known).collect::<Option<_>>()?;
    Some(Statement {
        denies: props.text("Effect").known()? == "Deny",
        actions,
        resources: props.listed("Resource"),
        conditional: props.get("Condition").is_written(),
    })
}

/// Matches a pattern in which `*` is any text and `?` any character.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html>
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut here, mut retry) = (0, 0, None);
    while here < text.len() {
        match pattern.get(at) {
            Some('*') => {
                retry = Some((at, here));
                at += 1;
            }
            Some(one) if *one == '?' || *one == text[here] => (at, here) = (at + 1, here + 1),
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    (at, here) = (star + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|one| *one == '*')
}

/// Common managed policies of functions, with the actions they allow on every resource.
/// <https://docs.aws.amazon.com/lambda/latest/dg/permissions-managed-policies.html>
const MANAGED: &[(&str, &[&[&str]])] = &[
    ("AWSLambdaBasicExecutionRole", &[LOGS]),
    ("AWSLambdaSQSQueueExecutionRole", &[RECEIVING, LOGS]),
    ("AWSLambdaVPCAccessExecutionRole", &[INTERFACES, LOGS]),
    ("AWSXRayDaemonWriteAccess", &[XRAY]),
    ("AWSXrayWriteOnlyAccess", &[XRAY]),
    ("AmazonSQSFullAccess", &[&["sqs:*"]]),
    ("AdministratorAccess", &[&["*"]]),
];
const LOGS: &[&str] = &["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"];
const RECEIVING: &[&str] = &["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];
const INTERFACES: &[&str] = &[
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
];
const XRAY: &[&str] = &["xray:PutTraceSegments", "xray:PutTelemetryRecords"];

/// The permissions of every role of the inventory.
pub(crate) struct Policies {
    /// By the role's ARN.
    roles: Vec<(String, Access)>,
}

impl Policies {
    pub(super) fn of(inventory: &Inventory) -> Self {
        let mut roles: Vec<(String, Access)> = Vec::new();
        for role in inventory.of_kind("AWS::IAM::Role") {
            let mut access = Access::default();
            access.extend_each(role.props().items("ManagedPolicyArns"), |policy| managed(inventory, policy));
            let inline = |policy: &Value| Access::of_document(Props(policy).object("PolicyDocument"));
            access.extend_each(role.props().items("Policies"), inline);
            for kind in ["AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy"] {
                for policy in inventory.of_kind(kind) {
                    let props = policy.props();
                    let mut names = props.listed("Roles");
                    names.extend(Some(props.text("RoleName")).filter(Setting::is_written));
                    if names.iter().any(|name| name.is(&role.reference) || name.is_unknown()) {
                        access.extend(Access::of_document(props.object("PolicyDocument")));
                    }
                }
            }
            roles.push((role.arn.clone(), access));
        }
        Self { roles }
    }

    /// Returns what the role with this ARN may do.
    pub(super) fn of_role(&self, arn: &str) -> Access {
        let role = self.roles.iter().find(|(known, _)| known == arn);
        role.map_or_else(Access::unreadable, |(_, access)| access.clone())
    }

    /// Returns what the role of a function may do.
    pub(super) fn of_function(&self, resource: &Resource, sam: bool) -> Access {
        let props = resource.props();
        match props.text("Role") {
            Setting::Known(arn) => self.of_role(&arn),
            Setting::Absent if sam => generated(props),
            _ => Access::unreadable(),
        }
    }
}

/// Returns a managed policy, by its ARN or its name.
fn managed(inventory: &Inventory, policy: &Value) -> Access {
    let Some(policy) = text(policy) else { return Access::unreadable() };
    if let Some(own) = inventory.of_kind("AWS::IAM::ManagedPolicy").find(|own| own.reference == policy) {
        return Access::of_document(own.props().object("PolicyDocument"));
    }
    managed_by_aws(&policy)
}

/// Returns a managed policy of AWS, by its ARN or its name.
fn managed_by_aws(policy: &str) -> Access {
    let name = policy.rsplit('/').next().unwrap_or_default();
    let known = MANAGED.iter().find(|(known, _)| *known == name);
    known.map_or_else(Access::unreadable, |(_, actions)| Access::allow(&actions.concat(), everything()))
}

fn everything() -> Setting<String> {
    Setting::Known("*".to_owned())
}

/// Returns the permissions of the role that SAM generates: those for logs, the network and the events, and `Policies`.
/// <https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-policy-template-list.html>
fn generated(props: Props<'_>) -> Access {
    let mut access = Access::allow(LOGS, everything());
    if props.get("VpcConfig").is_written() {
        access.extend(Access::allow(INTERFACES, everything()));
    }
    let events: Vec<_> = props.object("Events").members().map(|(_, event)| Props(event)).collect();
    let of_type = |kind: &str| events.iter().any(|event| event.text("Type").known().as_deref() == Some(kind));
    if of_type("SQS") {
        access.extend(Access::allow(RECEIVING, everything()));
    }
    if of_type("MQ") {
        access.extend(Access::allow(&["mq:DescribeBroker", "secretsmanager:GetSecretValue"], everything()));
    }
    access.extend_each(props.items("Policies"), of_sam);
    access
}

/// Reads one of a SAM function's `Policies`: a document, a template with its parameters, or the name of a managed
/// policy.
fn of_sam(policy: &Value) -> Access {
    let props = Props(policy);
    if let Some(name) = text(policy) {
        return managed_by_aws(&name);
    }
    if props.get("Statement").is_written() {
        return Access::of_document(props);
    }
    let Some((name, parameters)) = props.members().next() else { return Access::unreadable() };
    let resource = |parameter: &str, arn: &dyn Fn(String) -> String| match Props(parameters).text(parameter) {
        Setting::Known(value) => Setting::Known(arn(value)),
        _ => Setting::unknown(),
    };
    // The name of a queue is the last part of its ARN.
    let queue = || resource("QueueName", &|name| format!("arn:*:sqs:*:*:{name}"));
    let key = || resource("KeyId", &|id| format!("arn:*:kms:*:*:key/{id}"));
    match name {
        "SQSSendMessagePolicy" => Access::allow(&["sqs:SendMessage*"], queue()),
        "SQSPollerPolicy" => Access::allow(
            &["sqs:ChangeMessageVisibility*", "sqs:DeleteMessage*", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"],
            queue(),
        ),
        "AWSSecretsManagerGetSecretValuePolicy" => {
            Access::allow(&["secretsmanager:GetSecretValue"], resource("SecretArn", &|arn| arn))
        }
        "KMSDecryptPolicy" => Access::allow(&["kms:Decrypt"], key()),
        "KMSEncryptPolicy" => Access::allow(&["kms:Encrypt"], key()),
        "KMSEncryptPolicy_v2" => Access::allow(&["kms:Encrypt", "kms:GenerateDataKey*"], key()),
        "VPCAccessPolicy" => Access::allow(
            &["ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces"],
            everything(),
        ),
        // Other templates are for other services, or unknown.
        _ => Access::unreadable(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_policies() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("sqs:*", "sqs:sendmessage", true),
            ("sqs:sendmessage*", "sqs:sendmessage", true),
            ("arn:*:sqs:*:*:orders", "arn:aws:sqs:eu-west-1:1:orders", true),
            ("arn:*:sqs:*:*:orders", "arn:aws:sqs:eu-west-1:1:orders-dlq", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*b*d", "abcbd", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
