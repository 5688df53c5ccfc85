//! Creates the objects of a topology that a broker does not have. Never deletes, never changes an exchange or a queue,
//! and can be repeated.

use std::fmt;

use crate::address::Address;
use crate::broker::amqp::{Declared, Mode, Session};
use crate::broker::management;
use crate::change::{Change, ChangeState, ObjectKind};
use crate::error::Error;
use crate::plan::{Plan, plan};
use crate::topology::{Policy, Topology};

/// The result of [`apply`]. Displayed one change a line, with a summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The comparison before any change.
    pub before: Plan,
}

impl Applied {
    /// Exchanges, queues and bindings that were created, and policies that were created or changed, in that order.
    pub fn made(&self) -> impl Iterator<Item = &Change> {
        self.before
            .changes
            .iter()
            .filter(|change| matches!(change.state, ChangeState::Missing | ChangeState::Differs { .. }))
    }
}

/// Creates the objects of the topology that the broker lacks: exchanges, queues and bindings over AMQP, policies
/// through the management API.
///
/// Without the management API policies are left out; see [`Plan::management_absent`].
///
/// # Errors
/// [`Error::Conflict`] if exchanges or queues exist with other arguments: then nothing was created. Otherwise the
/// broker is unreachable or refuses; objects created before stay, and `apply` may be repeated.
pub async fn apply(topology: &Topology, address: &Address) -> Result<Applied, Error> {
    let before = plan(topology, address).await?;
    let conflicts = before.conflicts();
    if !conflicts.is_empty() {
        return Err(Error::Conflict(conflicts));
    }
    let wanted = |kind, name: &str| {
        before.changes.iter().any(|change| change.kind == kind && change.name == name && is_to_be_made(change))
    };
    if before.changes.iter().any(|change| change.kind != ObjectKind::Policy && is_to_be_made(change)) {
        let mut session = Session::open(address).await?;
        let declared = declare(topology, &mut session, wanted).await;
        session.close().await;
        declared?;
    }
    let policies = topology.policies().iter();
    let policies: Vec<Policy> = policies.filter(|policy| wanted(ObjectKind::Policy, &policy.name)).cloned().collect();
    if before.management_absent.is_none() {
        management::put_policies(address, &policies).await?;
    }
    Ok(Applied { before })
}

fn is_to_be_made(change: &Change) -> bool {
    matches!(change.state, ChangeState::Missing | ChangeState::Differs { .. } | ChangeState::Unseen)
}

/// Declares exchanges before queues, and both before bindings, so that nothing refers to an object that does not exist
/// yet.
async fn declare(
    topology: &Topology,
    session: &mut Session,
    wanted: impl Fn(ObjectKind, &str) -> bool,
) -> Result<(), Error> {
    for exchange in topology.exchange_declarations().iter().filter(|each| wanted(ObjectKind::Exchange, &each.name)) {
        unless_differs(ObjectKind::Exchange, &exchange.name, session.exchange(exchange, Mode::Create).await?)?;
    }
    for queue in topology.queue_declarations().iter().filter(|each| wanted(ObjectKind::Queue, &each.name)) {
        unless_differs(ObjectKind::Queue, &queue.name, session.queue(queue, Mode::Create).await?)?;
    }
    for binding in topology.binding_declarations().iter().filter(|each| wanted(ObjectKind::Binding, &each.to_string()))
    {
        session.bind(binding).await?;
    }
    Ok(())
}

/// Refuses a resource that was created with other arguments since the plan.
fn unless_differs(kind: ObjectKind, name: &str, declared: Declared) -> Result<(), Error> {
    let state = ChangeState::from(declared);
    match state {
        ChangeState::Differs { .. } => Err(Error::Conflict(vec![Change { kind, name: name.to_owned(), state }])),
        _ => Ok(()),
    }
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in self.made() {
            let done = if change.state == ChangeState::Missing { "created" } else { "changed" };
            writeln!(f, "{done} {} {}", change.kind, change.name)?;
        }
        if let Some(reason) = &self.before.management_absent {
            writeln!(f, "All bindings exist; policies were not checked: no management API ({reason})")?;
        }
        match self.made().count() {
            0 => write!(f, "virtual host {}: nothing was changed, every object exists", self.before.vhost),
            count => write!(f, "virtual host {}: {count} created or changed", self.before.vhost),
        }
    }
}
