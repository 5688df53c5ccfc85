//! RabbitMQ topology as code: exchanges, queues, retry delays and dead-letter queues from one file.
//!
//! - [`Topology::parse`] reads the file, or returns every fault in it;
//! - [`Topology::exchange_declarations`] and its siblings list the objects it declares on a broker, retry queues
//!   included;
//! - [`plan()`] compares it with a broker;
//! - [`apply()`] creates the objects that the broker lacks, and can be repeated;
//! - [`queues()`] returns the fate of messages in a broker's queues;
//! - [`Management`] is a client of the management API.
//!
//! Without the feature `broker` (default) there are only the file and [`Address`], and no client of a broker.
//!
//! Nothing is ever deleted, and nothing that the file does not name is changed. Nothing is printed, and no text
//! contains a password.
//!
//! ```
//! let text = "queues: { orders: { retry: [1, 5] } }";
//! let topology = sluicegate_topology::Topology::parse("topology.yaml", text)?;
//! let names: Vec<_> = topology.queue_declarations().into_iter().map(|queue| queue.name).collect();
//! assert_eq!(names, ["orders.dlq", "orders", "orders.retry.1s", "orders.retry.5s"]);
//! # Ok::<(), sluicegate_topology::Faults>(())
//! ```

mod address;
#[cfg(feature = "broker")]
mod apply;
#[cfg(feature = "broker")]
mod broker;
#[cfg(feature = "broker")]
mod change;
mod declaration;
#[cfg(feature = "broker")]
mod error;
mod file;
#[cfg(feature = "broker")]
mod management;
#[cfg(feature = "broker")]
mod plan;
#[cfg(feature = "broker")]
mod queues;
mod topology;

pub use address::{Address, AddressError};
#[cfg(feature = "broker")]
pub use apply::{Applied, apply};
#[cfg(feature = "broker")]
pub use change::{Change, ChangeState, Difference, ObjectKind};
pub use declaration::{BindingDeclaration, ExchangeDeclaration, QueueDeclaration};
#[cfg(feature = "broker")]
pub use error::Error;
#[cfg(feature = "broker")]
pub use management::{Management, ManagementError};
#[cfg(feature = "broker")]
pub use plan::{Plan, plan};
#[cfg(feature = "broker")]
pub use queues::{QueueFate, QueueType, queues};
/// The header with the number of receives before a message was published to its queue.
pub use sluicegate_queue::dead_letter::RECEIVE_COUNT;
pub use sluicegate_yaml::{Fault, Faults};
pub use topology::{Exchange, ExchangeBinding, ExchangeType, Policy, PolicyTarget, Queue, QueueKind, Topology};
