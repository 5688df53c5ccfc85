//! [`Change`]: one object of a topology compared with the broker.

use serde::Serialize;
use serde_json::Value;

/// One object of the file or the broker, and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name; of a binding `exchange -> queue (routing key)`.
    pub name: String,
    /// The state on the broker.
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

/// The state of an object on the broker compared with the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum ChangeState {
    /// In the file, not on the broker: `apply` creates it.
    Missing,
    /// On the broker, as in the file.
    Present,
    /// On the broker, but different from the file. `apply` changes policies; exchanges and queues cannot be changed.
    Differs {
        /// The differences; never empty. Without the management API, RabbitMQ names the first only.
        differences: Vec<Difference>,
    },
    /// On the broker, not in the file. Never touched.
    Foreign,
    /// In the file. It was not checked on the broker, because there is no management API.
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
    pub actual: Option<Value>,
}

impl Change {
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self.state, ChangeState::Differs { .. }) && self.kind != ObjectKind::Policy
    }
}
