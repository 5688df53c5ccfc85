//! RabbitMQ, on Amazon MQ or elsewhere. A receipt requires a publisher confirm without a `basic.return`.
//!
//! [`Broker`] publishes raw messages with that proof, over one connection with one channel in confirm mode that all
//! publishers share; [`RabbitmqProducer`] turns an envelope into a raw message.

mod broker;
mod config;
mod connection;
#[cfg(feature = "in-process")]
mod dialer;
pub mod header;
mod pending_confirms;
mod producer;
mod properties;
mod publisher;
pub mod republish;

pub use lapin::{BasicProperties, types};

pub use self::broker::{BODY_BYTES_MAX, Broker, Publication};
pub use self::config::{BrokerConfig, BrokerConfigError};
pub use self::connection::Connection;
#[cfg(feature = "in-process")]
pub use self::dialer::Dialer;
pub use self::producer::RabbitmqProducer;
pub use crate::broker_url::{HEARTBEAT_S, HEARTBEAT_S_MAX};
