//! What a broker lacks of a topology, has otherwise, and has besides.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use serde::ser::{SerializeStruct as _, Serializer};
use serde_json::Value;

use crate::address::Address;
use crate::broker::amqp::{Declared, Mode, Session};
use crate::broker::management::{self, Inventory, Looked};
use crate::declaration::{BindingDeclaration, ExchangeDeclaration, QueueDeclaration};
use crate::error::Error;
use crate::topology::{Policy, Topology};

/// A topology compared with a broker. Displayed one thing a line, with a summary; serialised with `met` besides, which is
/// [`Plan::is_met`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The virtual host.
    pub vhost: String,
    /// Everything in the file, in the order it is made; then what is on the broker and not in the file.
    pub changes: Vec<Change>,
    /// Why the management API was not asked. Then bindings and policies were not looked at, nor what is not in the file.
    pub management_absent: Option<String>,
}

/// One thing, and how file and broker agree about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it is.
    pub kind: Kind,
    /// Its name; of a binding `exchange -> queue (routing key)`.
    pub name: String,
    /// How file and broker agree.
    #[serde(flatten)]
    pub state: State,
}

/// What kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An exchange.
    Exchange,
    /// A queue.
    Queue,
    /// A binding of an exchange to a queue.
    Binding,
    /// A policy.
    Policy,
}

/// How file and broker agree about a thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum State {
    /// In the file, not on the broker: `apply` makes it.
    Missing,
    /// On the broker as the file says.
    Present,
    /// On the broker, but not as the file says. `apply` changes policies; nobody can change exchanges and queues.
    Differs {
        /// In what; never empty. Without the management API, RabbitMQ names the first only.
        differences: Vec<Difference>,
    },
    /// On the broker, not in the file. Never touched.
    Foreign,
    /// In the file. Without the management API nobody can see whether it is on the broker.
    Unseen,
}

/// One argument or property that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its name.
    pub argument: String,
    /// What the file wants; `None` if it wants none.
    pub wanted: Option<Value>,
    /// What is on the broker; `None` if there is none.
    pub there: Option<Value>,
}

/// Compares a topology with what a broker has. Nothing is changed.
///
/// Without the management API each exchange and queue is asked for by a passive declaration. Those that are there are then
/// declared once more as the file has them, which changes nothing and tells whether they differ.
///
/// # Errors
/// The broker cannot be asked.
pub async fn plan(topology: &Topology, address: &Address) -> Result<Plan, Error> {
    match management::inventory(address).await? {
        Looked::At(inventory) => Ok(compare(topology, address.vhost(), &inventory)),
        Looked::Nowhere(reason) => {
            let mut session = Session::open(address).await?;
            let changes = ask(topology, &mut session).await;
            session.close().await;
            let changes = changes?;
            Ok(Plan { vhost: address.vhost().to_owned(), changes, management_absent: Some(reason) })
        }
    }
}

impl Plan {
    /// Whether the broker has everything as the file says. What could not be looked at is taken to be there; what is on the
    /// broker besides does not matter.
    #[must_use]
    pub fn is_met(&self) -> bool {
        !self.changes.iter().any(|change| matches!(change.state, State::Missing | State::Differs { .. }))
    }

    /// Exchanges and queues that differ: these cannot be changed in place.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Change> {
        self.changes.iter().filter(|change| change.is_conflict()).cloned().collect()
    }

    fn count(&self, counts: impl Fn(&Change) -> bool) -> usize {
        self.changes.iter().filter(|change| counts(change)).count()
    }
}

impl Change {
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self.state, State::Differs { .. }) && self.kind != Kind::Policy
    }
}

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Plan", 4)?;
        fields.serialize_field("vhost", &self.vhost)?;
        fields.serialize_field("met", &self.is_met())?;
        fields.serialize_field("managementAbsent", &self.management_absent)?;
        fields.serialize_field("changes", &self.changes)?;
        fields.end()
    }
}

async fn ask(topology: &Topology, session: &mut Session) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    for exchange in topology.exchange_declarations() {
        let mut answer = session.exchange(&exchange, Mode::Ask).await?;
        if matches!(answer, Declared::Done) {
            answer = session.exchange(&exchange, Mode::Make).await?;
        }
        changes.push(Change { kind: Kind::Exchange, name: exchange.name, state: answer.into() });
    }
    for queue in topology.queue_declarations() {
        let mut answer = session.queue(&queue, Mode::Ask).await?;
        if matches!(answer, Declared::Done) {
            answer = session.queue(&queue, Mode::Make).await?;
        }
        changes.push(Change { kind: Kind::Queue, name: queue.name, state: answer.into() });
    }
    let unseen = |kind, name| Change { kind, name, state: State::Unseen };
    changes.extend(topology.binding_declarations().iter().map(|each| unseen(Kind::Binding, each.to_string())));
    changes.extend(topology.policies().iter().map(|each| unseen(Kind::Policy, each.name.clone())));
    Ok(changes)
}

impl From<Declared> for State {
    fn from(declared: Declared) -> Self {
        match declared {
            Declared::Done => Self::Present,
            Declared::Absent => Self::Missing,
            Declared::Differs(difference) => Self::Differs { differences: vec![difference] },
        }
    }
}

fn compare(topology: &Topology, vhost: &str, there: &Inventory) -> Plan {
    let (exchanges, queues) = (topology.exchange_declarations(), topology.queue_declarations());
    let bindings = topology.binding_declarations();
    let mut changes = Vec::new();
    let found = |kind, name: &str, differences: Option<Vec<Difference>>| Change {
        kind,
        name: name.to_owned(),
        state: match differences {
            None => State::Missing,
            Some(differences) if differences.is_empty() => State::Present,
            Some(differences) => State::Differs { differences },
        },
    };
    for exchange in &exchanges {
        changes.push(found(Kind::Exchange, &exchange.name, exchange_differences(exchange, there)));
    }
    for queue in &queues {
        changes.push(found(Kind::Queue, &queue.name, queue_differences(queue, there)));
    }
    let bound: BTreeSet<BindingDeclaration> = there
        .bindings
        .iter()
        .filter(|each| each.destination_type == "queue")
        .map(|each| BindingDeclaration::new(&each.source, &each.destination, &each.routing_key, &each.arguments.0))
        .collect();
    for binding in &bindings {
        changes.push(found(Kind::Binding, &binding.to_string(), bound.contains(binding).then(Vec::new)));
    }
    for policy in topology.policies() {
        changes.push(found(Kind::Policy, &policy.name, policy_differences(policy, there)));
    }
    changes.extend(foreign(topology, &exchanges, &queues, &bindings, there));
    Plan { vhost: vhost.to_owned(), changes, management_absent: None }
}

/// What is on the broker and not in the file. Of bindings only those that touch what is in the file.
fn foreign(
    topology: &Topology,
    exchanges: &[ExchangeDeclaration],
    queues: &[QueueDeclaration],
    bindings: &[BindingDeclaration],
    there: &Inventory,
) -> Vec<Change> {
    let exchanges: BTreeSet<_> = exchanges.iter().map(|each| each.name.as_str()).collect();
    let queues: BTreeSet<_> = queues.iter().map(|each| each.name.as_str()).collect();
    let policies: BTreeSet<_> = topology.policies().iter().map(|each| each.name.as_str()).collect();
    let change = |kind, name: &str| Change { kind, name: name.to_owned(), state: State::Foreign };
    let mut changes = Vec::new();
    // The default exchange has no name, and `amq.` is RabbitMQ's own.
    let others = there.exchanges.iter().filter(|each| !each.name.is_empty() && !each.name.starts_with("amq."));
    let others = others.filter(|each| !exchanges.contains(each.name.as_str()));
    changes.extend(others.map(|each| change(Kind::Exchange, &each.name)));
    let others = there.queues.iter().filter(|each| !queues.contains(each.name.as_str()));
    changes.extend(others.map(|each| change(Kind::Queue, &each.name)));
    for each in there.bindings.iter().filter(|each| !each.source.is_empty()) {
        let to_queue = each.destination_type == "queue";
        let of_ours = if to_queue { &queues } else { &exchanges }.contains(each.destination.as_str());
        let declared = BindingDeclaration::new(&each.source, &each.destination, &each.routing_key, &each.arguments.0);
        if (of_ours || exchanges.contains(each.source.as_str())) && !(to_queue && bindings.contains(&declared)) {
            changes.push(change(Kind::Binding, &declared.to_string()));
        }
    }
    let others = there.policies.iter().filter(|each| !policies.contains(each.name.as_str()));
    changes.extend(others.map(|each| change(Kind::Policy, &each.name)));
    changes
}

fn exchange_differences(wanted: &ExchangeDeclaration, there: &Inventory) -> Option<Vec<Difference>> {
    let found = there.exchanges.iter().find(|each| each.name == wanted.name)?;
    let mut differences = Vec::new();
    differ(&mut differences, "type", wanted.exchange_type.name(), found.exchange_type.as_str());
    differ(&mut differences, "durable", true, found.durable);
    differ(&mut differences, "auto-delete", false, found.auto_delete);
    differ(&mut differences, "internal", false, found.internal);
    differ_in(&mut differences, "", &wanted.arguments, &found.arguments.0);
    Some(differences)
}

fn queue_differences(wanted: &QueueDeclaration, there: &Inventory) -> Option<Vec<Difference>> {
    let found = there.queues.iter().find(|each| each.name == wanted.name)?;
    let mut differences = Vec::new();
    differ(&mut differences, "durable", true, found.durable);
    differ(&mut differences, "auto-delete", false, found.auto_delete);
    differ(&mut differences, "exclusive", false, found.exclusive);
    differ_in(&mut differences, "", &wanted.arguments, &found.arguments.0);
    Some(differences)
}

fn policy_differences(wanted: &Policy, there: &Inventory) -> Option<Vec<Difference>> {
    let found = there.policies.iter().find(|each| each.name == wanted.name)?;
    let mut differences = Vec::new();
    differ(&mut differences, "pattern", wanted.pattern.as_str(), found.pattern.as_str());
    differ(&mut differences, "apply-to", wanted.apply_to.name(), found.apply_to.as_str());
    differ(&mut differences, "priority", i64::from(wanted.priority), found.priority);
    differ_in(&mut differences, "definition ", &wanted.definition, &found.definition.0);
    Some(differences)
}

fn differ<T: Into<Value> + PartialEq>(differences: &mut Vec<Difference>, name: &str, wanted: T, there: T) {
    if wanted != there {
        differences.push(Difference { argument: name.into(), wanted: Some(wanted.into()), there: Some(there.into()) });
    }
}

fn differ_in(
    differences: &mut Vec<Difference>,
    prefix: &str,
    wanted: &BTreeMap<String, Value>,
    there: &BTreeMap<String, Value>,
) {
    let names: BTreeSet<_> = wanted.keys().chain(there.keys()).collect();
    for name in names {
        let (wanted, there) = (wanted.get(name).cloned(), there.get(name).cloned());
        if wanted != there {
            differences.push(Difference { argument: format!("{prefix}{name}"), wanted, there });
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            writeln!(f, "{change}")?;
        }
        if let Some(reason) = &self.management_absent {
            let unseen = "Bindings, policies and what is not in the file were not looked at";
            writeln!(f, "{unseen}: no management API ({reason})")?;
        }
        let missing = self.count(|change| change.state == State::Missing);
        let present = self.count(|change| change.state == State::Present);
        let conflicts = self.count(Change::is_conflict);
        let differing = self.count(|change| matches!(change.state, State::Differs { .. })) - conflicts;
        let foreign = self.count(|change| change.state == State::Foreign);
        let unseen = self.count(|change| change.state == State::Unseen);
        write!(f, "virtual host {}: {missing} to make, {differing} to change, {present} there already", self.vhost)?;
        for (count, words) in [
            (conflicts, "there otherwise and not to be changed in place"),
            (unseen, "not looked at"),
            (foreign, "not in the file and not touched"),
        ] {
            if count > 0 {
                write!(f, ", {count} {words}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.state {
            State::Missing => '+',
            State::Present => '=',
            State::Differs { .. } if self.is_conflict() => '!',
            State::Differs { .. } => '~',
            State::Foreign => '.',
            State::Unseen => '?',
        };
        write!(f, "{sign} {} {}", self.kind, self.name)?;
        match &self.state {
            State::Missing | State::Present => Ok(()),
            State::Foreign => f.write_str(" (not in the file)"),
            State::Unseen => f.write_str(" (not looked at)"),
            State::Differs { differences } => {
                for (index, difference) in differences.iter().enumerate() {
                    write!(f, "{}{difference}", if index == 0 { ": " } else { "; " })?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exchange => "exchange",
            Self::Queue => "queue",
            Self::Binding => "binding",
            Self::Policy => "policy",
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<Value>| match value {
            None => "none".to_owned(),
            Some(Value::String(text)) if text.is_empty() => "\"\"".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        f.write_str(&self.argument)?;
        // A text of the broker that nobody understood says it all itself.
        if self.wanted.is_none() && self.there.is_none() {
            return Ok(());
        }
        write!(f, " wanted {}, there {}", shown(&self.wanted), shown(&self.there))
    }
}
