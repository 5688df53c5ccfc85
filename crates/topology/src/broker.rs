//! Access to the broker: AMQP and the management API.

pub(crate) mod amqp;
pub(crate) mod management;
pub(crate) mod mismatch;
