//! RabbitMQ topology as code: exchanges, queues, retry ladders and dead-letter queues from one file, made to be on a broker.
//!
//! - [`Topology::parse`] reads the file, or tells everything that is wrong with it;
//! - [`Topology::exchange_declarations`] and its siblings say what that means on a broker, retry ladders and all;
//! - [`plan`] compares it with what a broker has;
//! - [`apply`] makes what is missing, and may be repeated at will;
//! - [`queues`] tells what becomes of the messages of the queues that are there;
//! - [`Management`] asks the management API whatever else one wants to know.
//!
//! Nothing is ever deleted, and nothing that the file does not name is touched. Nothing is printed here, and no password is in
//! any text that comes from here.

mod address;
mod apply;
mod broker;
mod declaration;
mod error;
mod file;
mod management;
mod plan;
mod queues;
mod topology;

pub use address::{Address, AddressError};
pub use apply::{Applied, apply};
pub use declaration::{BindingDeclaration, ExchangeDeclaration, QueueDeclaration};
pub use error::Error;
pub use management::{Management, ManagementError};
pub use plan::{Change, Difference, Kind, Plan, State, plan};
pub use queues::{QueueThere, QueueType, queues};
pub use sluicegate_yaml::{Fault, Faults};
pub use topology::{Binding, Exchange, ExchangeType, Policy, PolicyTarget, Queue, Topology};
