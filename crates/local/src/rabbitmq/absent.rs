//! RabbitMQ in a build without its client: no broker can be chosen, so the other methods are never called.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use sluicegate_lambda_emulator::Function;
use sluicegate_sam::StackPlan;
use sluicegate_topology::Topology;

use super::choice::{BrokerChoice, BrokerError};
use crate::{broker_faults::BrokerFaults, journal::Journal, mappings::Mappings, stack::StackError, terminal::Terminal};

/// A type without values.
#[derive(Clone)]
pub(crate) enum Absent {}

pub(crate) type PlannedBroker = Absent;
pub(crate) type QueueCounts = Absent;
pub(crate) type Running = Absent;

impl PlannedBroker {
    pub(crate) fn choose(_: &BrokerChoice) -> Result<Self, BrokerError> {
        Err(BrokerError::NotBuilt)
    }

    pub(crate) fn url(&self) -> String {
        match *self {}
    }

    pub(crate) fn public_url(&self) -> String {
        match *self {}
    }

    pub(crate) fn management_url(&self) -> Option<String> {
        match *self {}
    }

    pub(crate) fn counts(&self, _: Option<&Topology>, _: &StackPlan) -> QueueCounts {
        match *self {}
    }

    pub(crate) async fn run(
        self,
        _: Option<&Topology>,
        _: &Terminal,
        _: &Journal,
        _: &BrokerFaults,
    ) -> Result<Running, BrokerError> {
        match self {}
    }
}

impl QueueCounts {
    pub(crate) async fn read(&self) -> Vec<Value> {
        match *self {}
    }
}

impl Running {
    pub(crate) fn map(
        &self,
        _: &StackPlan,
        _: &BTreeMap<String, Function>,
        _: &Terminal,
        _: &Mappings,
    ) -> Result<(), StackError> {
        match *self {}
    }

    pub(crate) fn answers(&self) -> Arc<dyn Fn(&str) + Send + Sync> {
        match *self {}
    }

    pub(crate) async fn stop(self) {
        match self {}
    }
}
