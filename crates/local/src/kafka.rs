//! Kafka in the local stack: a private broker or an existing one, its topics, and what is appended to them.
//!
//! Without the feature `kafka`, types without values take the places of the broker's.

#[cfg(not(feature = "kafka"))]
mod absent;
#[cfg(feature = "kafka")]
mod broker;
mod choice;
#[cfg(feature = "kafka")]
mod counts;
#[cfg(feature = "kafka")]
mod follower;
#[cfg(feature = "kafka")]
mod node;
#[cfg(feature = "kafka")]
mod topics;

#[cfg(not(feature = "kafka"))]
pub(crate) use absent::{PlannedKafka, RunningKafka, TopicCounts};
#[cfg(feature = "kafka")]
pub(crate) use broker::{KafkaBroker, PlannedKafka};
pub use choice::{KafkaChoice, KafkaError};
#[cfg(feature = "kafka")]
pub(crate) use counts::TopicCounts;
#[cfg(feature = "kafka")]
pub(crate) use follower::{Appended, Follower};
#[cfg(feature = "kafka")]
pub(crate) use node::KafkaNode;
#[cfg(feature = "kafka")]
pub(crate) use topics::{Topic, topics};
