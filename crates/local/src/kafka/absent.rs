//! Kafka in a build without its client: no broker can be chosen, so the other methods are never called.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use sluicegate_lambda_emulator::{Function, SqsClient};
use sluicegate_sam::StackPlan;

use super::choice::{KafkaChoice, KafkaError};
use crate::{journal::Journal, mappings::Mappings, stack::StackError, terminal::Terminal};

/// A type without values.
#[derive(Clone)]
pub(crate) enum Absent {}

pub(crate) type PlannedKafka = Absent;
pub(crate) type RunningKafka = Absent;
pub(crate) type TopicCounts = Absent;

impl Absent {
    pub(crate) fn choose(_: &KafkaChoice) -> Result<Self, KafkaError> {
        Err(KafkaError::NotBuilt)
    }

    pub(crate) fn servers(&self) -> &str {
        match *self {}
    }

    pub(crate) fn counts(&self, _: &StackPlan) -> TopicCounts {
        match *self {}
    }

    pub(crate) async fn run(
        self,
        _: &StackPlan,
        _: &Terminal,
        _: &Journal,
        _: Option<String>,
    ) -> Result<RunningKafka, KafkaError> {
        match self {}
    }

    pub(crate) async fn read(&self) -> Vec<Value> {
        match *self {}
    }

    pub(crate) fn map(
        &self,
        _: &StackPlan,
        _: &BTreeMap<String, Function>,
        _: &SqsClient,
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
