//! The comparison of a topology with a broker: missing, different and foreign objects.

mod compare;
mod show;

use serde::Serialize;
use serde::ser::{SerializeStruct as _, Serializer};

use crate::address::Address;
use crate::broker::amqp::{Declared, Mode, Session};
use crate::broker::management::{self, Listing};
use crate::change::{Change, ChangeState, ObjectKind};
use crate::error::Error;
use crate::topology::Topology;

/// A topology compared with a broker. Displayed as one object per line and a summary; serialised with the additional
/// member `met`, which is [`Plan::is_met`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The virtual host.
    pub vhost: String,
    /// The objects in the file, in the order of their creation; then those on the broker only.
    pub changes: Vec<Change>,
    /// Why the management API was not used. Without it, bindings, policies and objects that are not in the file were
    /// not compared.
    pub management_absent: Option<String>,
}

/// Compares a topology with what a broker has. Nothing is changed.
///
/// Without the management API each exchange and queue is checked by a passive declaration. Existing ones are then
/// declared as in the file, which changes nothing and fails if they differ.
///
/// # Errors
/// The broker cannot be reached, or refuses.
pub async fn plan(topology: &Topology, address: &Address) -> Result<Plan, Error> {
    match management::inventory(address).await? {
        Listing::Complete(inventory) => Ok(compare::compare(topology, address.vhost(), &inventory)),
        Listing::Unavailable(reason) => {
            let mut session = Session::open(address).await?;
            let changes = compare_over_amqp(topology, &mut session).await;
            session.close().await;
            let changes = changes?;
            Ok(Plan { vhost: address.vhost().to_owned(), changes, management_absent: Some(reason) })
        }
    }
}

impl Plan {
    /// Returns whether the broker has every object as in the file. Objects that could not be compared count as present;
    /// further objects on the broker do not matter.
    #[must_use]
    pub fn is_met(&self) -> bool {
        !self.changes.iter().any(|change| matches!(change.state, ChangeState::Missing | ChangeState::Differs { .. }))
    }

    /// Returns the exchanges and queues that differ; these cannot be changed in place.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Change> {
        self.changes.iter().filter(|change| change.is_conflict()).cloned().collect()
    }

    fn count(&self, counts: impl Fn(&Change) -> bool) -> usize {
        self.changes.iter().filter(|change| counts(change)).count()
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

async fn compare_over_amqp(topology: &Topology, session: &mut Session) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    for exchange in topology.exchange_declarations() {
        let mut answer = session.exchange(&exchange, Mode::Check).await?;
        if matches!(answer, Declared::Done) {
            answer = session.exchange(&exchange, Mode::Create).await?;
        }
        changes.push(Change { kind: ObjectKind::Exchange, name: exchange.name, state: answer.into() });
    }
    for queue in topology.queue_declarations() {
        let mut answer = session.queue(&queue, Mode::Check).await?;
        if matches!(answer, Declared::Done) {
            answer = session.queue(&queue, Mode::Create).await?;
        }
        changes.push(Change { kind: ObjectKind::Queue, name: queue.name, state: answer.into() });
    }
    let unseen = |kind, name| Change { kind, name, state: ChangeState::Unseen };
    changes.extend(topology.binding_declarations().iter().map(|each| unseen(ObjectKind::Binding, each.to_string())));
    changes.extend(topology.policies().iter().map(|each| unseen(ObjectKind::Policy, each.name.clone())));
    Ok(changes)
}

impl From<Declared> for ChangeState {
    fn from(declared: Declared) -> Self {
        match declared {
            Declared::Done => Self::Present,
            Declared::Absent => Self::Missing,
            Declared::Differs(difference) => Self::Differs { differences: vec![difference] },
        }
    }
}
