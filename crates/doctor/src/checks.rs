//! The checks, one file for each theme. Each is a pure function of the model and reports nothing where a value is
//! unknown.

mod alarms;
mod api;
mod archive;
mod binding;
mod concurrency;
mod deployed;
mod function;
mod kafka;
mod mapping;
mod mq;
mod network;
mod permissions;
mod queue;
mod redrive;
mod template;
mod topology;
mod visibility;

use crate::{
    finding::{Check, Findings, Severity},
    model::Model,
};

/// Returns every check.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    [
        visibility::CHECKS,
        redrive::CHECKS,
        mapping::CHECKS,
        concurrency::CHECKS,
        queue::CHECKS,
        permissions::CHECKS,
        binding::CHECKS,
        function::CHECKS,
        api::CHECKS,
        alarms::CHECKS,
        mq::CHECKS,
        kafka::CHECKS,
        archive::CHECKS,
        network::CHECKS,
        topology::CHECKS,
        deployed::CHECKS,
        template::CHECKS,
    ]
    .into_iter()
    .flatten()
}
