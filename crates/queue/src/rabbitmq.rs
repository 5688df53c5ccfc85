//! RabbitMQ, Amazon MQ's or any other. A receipt is given only when the broker confirmed the message and did not return it.
//!
//! [`Broker`] is one connection with one channel in confirm mode, shared by everything that publishes; [`RabbitmqProducer`]
//! turns an envelope into a message on it.

mod broker;
mod config;
mod connection;
mod pending_confirms;
mod producer;
mod properties;
mod publisher;
pub mod republish;
mod secret;

pub use lapin::{BasicProperties, types};

pub use self::broker::{BODY_BYTES_MAX, Broker, Publication};
pub use self::config::{Config, ConfigError, HEARTBEAT_S, HEARTBEAT_S_MAX};
pub use self::producer::RabbitmqProducer;
