//! The declaration of a queue in the template: one nested stack, and one variable of the ingress function.

use sluicegate_contract::binding_variable;
use sluicegate_sam::TemplateDocument;
use sluicegate_yaml::{Dialect, Member, Node};

use super::{
    members::{self, Target, column, plain, refuse},
    names::pascal,
    project::QUEUE_TEMPLATE,
};
use crate::{
    CommandError,
    edit::{TextEdits, line_end, line_start},
    sync,
};

/// The declaration for a template without a queue to copy. It has the anchor that later queues refer to.
const DECLARATION: &str = "\
ThisQueue:
  Type: AWS::CloudFormation::Stack
  Properties:
    TemplateURL: infra/queue.yaml
    Parameters: &queue
      Name: this
      Stack: !Ref AWS::StackName
      IngressRole: !Ref IngressRole
      ConsumerRole: !Ref ConsumerRole
      ConsumerFunction: !Ref ConsumerFunction
      ConsumerAlias: !Ref ConsumerFunction.Alias
      VisibilityTimeout: !FindInMap [VisibilityTimeout, !Ref ConsumerTimeout, Seconds]
      Concurrency: !Ref ConsumerConcurrency
      AlarmTopicArn: !If [Monitors, !If [IsGivenAlarmTopic, !Ref AlarmTopicArn, !Ref AlarmTopic], '']
      Broker: !Ref Broker
      RabbitmqBroker: !If [UsesRabbitmq, !GetAtt RabbitmqStack.Outputs.BrokerArn, none]
      RabbitmqSecret: !If [UsesRabbitmq, !GetAtt RabbitmqStack.Outputs.SecretArn, none]
      RabbitmqVersion: !Ref RabbitmqEngineVersion
      KafkaCluster: !If [UsesMsk, !Select [1, !Split [':cluster/', !Ref KafkaClusterArn]], '']
      KafkaServers: !Ref KafkaBootstrapServers
      KafkaMechanism: !Ref KafkaSaslMechanism
      KafkaSecret: !Ref KafkaSecretArn
      KafkaSubnetIds: !Ref KafkaSubnetIds
      KafkaSecurityGroupId: !Ref KafkaSecurityGroupId
      KafkaPartitions: !Ref KafkaPartitions
";

/// The declaration for a template with a queue whose parameters have an anchor.
const MERGED: &str = "\
ThisQueue:
  Type: AWS::CloudFormation::Stack
  Properties:
    TemplateURL: infra/queue.yaml
    Parameters:
      <<: *anchor
      Name: this
";

/// A queue that the template declares.
struct Declared<'d> {
    name: &'d str,
    resource: &'d Member,
}

impl Declared<'_> {
    fn parameters(&self) -> Option<&Member> {
        self.resource.value.get("Properties")?.member("Parameters")
    }

    /// Returns a parameter of the declaration, without those of merge keys.
    fn own_parameter(&self, name: &str) -> Option<&Member> {
        members::own(&self.parameters()?.value).find(|member| member.key == name)
    }

    fn is_fifo(&self) -> bool {
        let fifo = self.parameters().and_then(|parameters| parameters.value.get("Fifo"));
        fifo.is_some_and(|fifo| text(fifo) == "true")
    }

    /// Returns the anchor of the parameters: `queue` in `Parameters: &queue`.
    fn anchor<'t>(&self, text: &'t str) -> Option<&'t str> {
        let parameters = self.parameters()?;
        let line = &text[parameters.key_range.end..line_end(text, parameters.key_range.end)];
        let anchor = line.trim_start_matches(':').trim().strip_prefix('&')?;
        anchor.split([' ', '#']).next().filter(|name| !name.is_empty())
    }
}

/// Whether, and how, the template has a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Neither declared nor bound.
    Absent,
    Declared {
        fifo: bool,
    },
    /// Bound, and declared in another way than by infra/queue.yaml.
    Foreign,
}

/// Returns whether, and how, the template has a queue.
pub(crate) fn state(file: &str, text: &str, name: &str) -> Result<State, CommandError> {
    let document = members::read_template(file, text)?;
    if let Some(declared) = declared(&document).iter().find(|declared| declared.name == name) {
        return Ok(State::Declared { fifo: declared.is_fifo() });
    }
    let function = sync::routed_function(file, text)?;
    let variables = document.root.follow(&format!("/Resources/{function}/Properties/Environment/Variables"));
    let is_bound = variables.is_ok_and(|variables| variables.get(&binding_variable(name)).is_some());
    Ok(if is_bound { State::Foreign } else { State::Absent })
}

/// Returns the template with the queue and its binding; existing parts stay.
pub(crate) fn add(file: &str, text: &str, name: &str, fifo: bool) -> Result<String, CommandError> {
    let text = declare(file, text, name, fifo)?;
    bind(file, &text, name)
}

fn declare(file: &str, text: &str, name: &str, fifo: bool) -> Result<String, CommandError> {
    let document = members::read_template(file, text)?;
    let queues = declared(&document);
    if let Some(queue) = queues.iter().find(|queue| queue.name == name) {
        if queue.is_fifo() == fifo {
            return Ok(text.to_owned());
        }
        let (is, wanted) = if fifo { ("a standard", "a FIFO") } else { ("a FIFO", "a standard") };
        let reason =
            format!("the queue {name} is {is} queue, and {wanted} queue is a new one: choose another name for it");
        return Err(refuse(file, &queue.resource.value, reason));
    }
    let logical_id = logical_id(name);
    let resources = document.root.get("Resources").ok_or_else(|| format!("{file}: has no Resources"))?;
    if let Some(taken) = resources.get(&logical_id) {
        let reason = format!("{logical_id} is another resource: choose another name for the queue, or rename this one");
        return Err(refuse(file, taken, reason));
    }
    let lines = match (queues.iter().find_map(|queue| Some((queue, queue.anchor(text)?))), queues.last()) {
        (Some((shared, anchor)), _) => {
            // The merged parameters include the Fifo of the anchor's queue.
            let differs = shared.is_fifo() != fifo;
            let fifo = if differs { format!("      Fifo: '{fifo}'\n") } else { String::new() };
            MERGED.replace("anchor", anchor) + &fifo
        }
        (None, Some(sibling)) => copy(text, sibling, name, fifo),
        (None, None) => DECLARATION.to_owned() + if fifo { "      Fifo: 'true'\n" } else { "" },
    };
    let lines = lines.replace("ThisQueue", &logical_id).replace("Name: this", &format!("Name: {}", plain(name)));
    let last = queues.last().map(|queue| queue.resource.key.as_str());
    let after = |key: &str| Some(key) == last;
    let target = Target { path: &["Resources"], is_apart: true, after: last.is_some().then_some(&after) };
    members::insert(file, text, Dialect::CloudFormation, &target, &lines)
}

/// Returns the lines of a queue with another name, not indented and without its comment lines.
fn copy(text: &str, sibling: &Declared<'_>, name: &str, fifo: bool) -> String {
    let (key, range) = (sibling.resource.key_range.clone(), sibling.resource.range());
    let start = line_start(text, range.start);
    let lines = &text[start..line_end(text, range.end)];
    let mut edits = TextEdits::default();
    let mut replace = |range: std::ops::Range<usize>, new: String| {
        edits.replace(range.start - start..range.end - start, new);
    };
    replace(key, logical_id(name));
    let parameter = |name: &str| sibling.own_parameter(name);
    let value = format!("'{fifo}'");
    if let Some(old) = parameter("Name") {
        let new = match parameter("Fifo") {
            None if fifo && old.value.is_flow() => format!("{}, Fifo: {value}", plain(name)),
            None if fifo => {
                let indent = column(text, old.key_range.start);
                format!("{}\n{:indent$}Fifo: {value}", plain(name), "")
            }
            _ => plain(name),
        };
        replace(old.value.range(), new);
    }
    if let Some(old) = parameter("Fifo") {
        replace(old.value.range(), value);
    }
    let copied = edits.apply(lines).replace("\r\n", "\n");
    let outer = column(text, sibling.resource.key_range.start);
    let lines = copied.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.map(|line| format!("{}\n", line.get(outer..).unwrap_or_default())).collect()
}

fn bind(file: &str, text: &str, name: &str) -> Result<String, CommandError> {
    let document = members::read_template(file, text)?;
    let function = sync::routed_function(file, text)?;
    let path = ["Resources", &function, "Properties", "Environment", "Variables"];
    let variable = binding_variable(name);
    let resource = declared(&document).into_iter().find(|queue| queue.name == name).map(|queue| &queue.resource.key);
    let logical_id = resource.cloned().unwrap_or_else(|| logical_id(name));
    let variables = document.root.follow(&path.map(|key| format!("/{key}")).concat());
    if variables.is_ok_and(|variables| variables.get(&variable).is_some()) {
        return Ok(text.to_owned());
    }
    let after = |key: &str| key.starts_with("QUEUE_");
    let target = Target { path: &path, is_apart: false, after: Some(&after) };
    let line = format!("{variable}: !GetAtt {logical_id}.Outputs.Target\n");
    members::insert(file, text, Dialect::CloudFormation, &target, &line)
}

/// Returns the template without the queue and its binding.
pub(crate) fn remove(file: &str, text: &str, name: &str) -> Result<String, CommandError> {
    let function = sync::routed_function(file, text)?;
    let variable = binding_variable(name);
    let path = ["Resources", &function, "Properties", "Environment", "Variables", &variable];
    let unbound = members::remove(file, text, Dialect::CloudFormation, &path, "Variables")?;
    let document = members::read_template(file, &unbound)?;
    let queues = declared(&document);
    let Some(queue) = queues.iter().find(|queue| queue.name == name) else { return Ok(unbound) };
    let others = || queues.iter().filter(|other| other.name != name).map(|other| &unbound[other.resource.range()]);
    if let Some(anchor) = queue.anchor(&unbound)
        && others().any(|other| other.contains(&format!("*{anchor}")))
    {
        let reason = format!(
            "{} holds the parameters that other queues share: move &{anchor} and those parameters to one of them first",
            queue.resource.key
        );
        return Err(refuse(file, &queue.resource.value, reason));
    }
    members::remove(file, &unbound, Dialect::CloudFormation, &["Resources", &queue.resource.key], "Resources")
}

/// Returns the queues of the template, in its order.
fn declared(document: &TemplateDocument) -> Vec<Declared<'_>> {
    let resources = document.root.get("Resources").map_or(&[][..], Node::members);
    let queue = |resource| {
        let resource: &Member = resource;
        let properties = resource.value.get("Properties")?;
        let is_stack = resource.value.get("Type").and_then(Node::text) == Some("AWS::CloudFormation::Stack");
        let is_queue = properties.get("TemplateURL").and_then(Node::text) == Some(QUEUE_TEMPLATE);
        let name = properties.get("Parameters")?.get("Name")?.text()?;
        (is_stack && is_queue).then_some(Declared { name, resource })
    };
    resources.iter().filter_map(queue).collect()
}

fn logical_id(name: &str) -> String {
    format!("{}Queue", pascal(name))
}

/// Returns a scalar as CloudFormation reads it: `true` and 'true' are one.
fn text(node: &Node) -> String {
    match node.data() {
        sluicegate_yaml::Data::Bool(value) => value.to_string(),
        _ => node.text().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::DECLARATION;
    use crate::add::members::indented;

    #[test]
    fn the_first_queue_of_a_template_is_declared_as_the_shipped_one_is() {
        let expected =
            indented(DECLARATION, 2).replace("ThisQueue", "WebhooksQueue").replace("Name: this", "Name: webhooks");
        assert!(include_str!("../new/repository/template.yaml").contains(&expected), "{expected}");
    }
}
