//! [`Change`]: one object of a topology compared with the broker.

use serde::Serialize;
use serde_json::Value;

/// One object, and whether file and broker agree about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name; of a binding `exchange -> queue (routing key)`.
    pub name: String,
    /// How file and broker agree.
    #[serde(flatten)]
    pub state: ChangeState,
}

/// The kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    /// An exchange.
    Exchange,
    /// A queue.
    Queue,
    /// A binding of an exchange to a queue.
    Binding,
    /// A policy.
    Policy,
}

/// How file and broker agree about an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum ChangeState {
    /// In the file, not on the broker: `apply` creates it.
    Missing,
    /// On the broker as the file says.
    Present,
    /// On the broker, but not as the file says. `apply` changes policies; exchanges and queues cannot be changed.
    Differs {
        /// The differences; never empty. Without the management API, RabbitMQ names the first only.
        differences: Vec<Difference>,
    },
    /// On the broker, not in the file. Never touched.
    Foreign,
    /// In the file. Without the management API it is unknown whether it is on the broker.
    Unseen,
}

/// One argument or property that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its name.
    pub argument: String,
    /// The value in the file; `None` if it has none.
    pub wanted: Option<Value>,
    /// The value on the broker; `None` if it has none.
    pub there: Option<Value>,
}

impl Change {
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self.state, ChangeState::Differs { .. }) && self.kind != ObjectKind::Policy
    }
}
