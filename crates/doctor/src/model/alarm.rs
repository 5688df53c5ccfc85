//! `AWS::CloudWatch::Alarm` with the metrics it watches, and `AWS::SNS::Topic`.

use std::collections::BTreeMap;

use serde_json::Value;
use sluicegate_sam::{Props, Setting};

use crate::inventory::{Inventory, Origin, Resource};

/// One alarm.
#[derive(Debug)]
pub(crate) struct Alarm {
    pub(crate) origin: Origin,
    pub(crate) metrics: Vec<Metric>,
    /// It has an action, or may have one.
    pub(crate) acts: bool,
    /// `AlarmActions`
    pub(crate) actions: Vec<Setting<String>>,
    /// `ActionsEnabled`
    pub(crate) enabled: Setting<bool>,
    pub(crate) threshold: Setting<f64>,
    pub(crate) comparison: Setting<String>,
}

/// `AWS::SNS::Topic`
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) origin: Origin,
    pub(crate) arn: String,
    /// The templates have, or may have, a subscription.
    pub(crate) subscribed: bool,
}

/// A metric that an alarm watches.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) namespace: Setting<String>,
    pub(crate) name: Setting<String>,
    pub(crate) dimensions: BTreeMap<String, Setting<String>>,
    /// Its dimensions are unknown.
    pub(crate) hidden: bool,
}

impl Metric {
    pub(crate) fn is(&self, namespace: &str, name: &str) -> bool {
        self.namespace.is(namespace) && self.name.is(name)
    }
}

pub(super) fn all(inventory: &Inventory) -> Vec<Alarm> {
    inventory.of_kind("AWS::CloudWatch::Alarm").map(alarm).collect()
}

fn alarm(resource: &Resource) -> Alarm {
    let props = resource.props();
    let mut metrics = Vec::new();
    if props.get("MetricName").is_written() {
        metrics.push(metric(props));
    }
    for data in props.items("Metrics").known().unwrap_or_default() {
        let stat = Props(data).object("MetricStat");
        if stat.members().next().is_some() {
            metrics.push(metric(stat.object("Metric")));
        }
    }
    let acts = props.items("AlarmActions").or(Vec::new()).is_none_or(|actions| !actions.is_empty());
    let actions = props.listed("AlarmActions");
    Alarm {
        origin: resource.origin.clone(),
        metrics,
        acts,
        actions,
        enabled: props.flag("ActionsEnabled"),
        threshold: props.decimal("Threshold"),
        comparison: props.text("ComparisonOperator"),
    }
}

pub(super) fn topics(inventory: &Inventory) -> Vec<Topic> {
    let subscriptions: Vec<_> =
        inventory.of_kind("AWS::SNS::Subscription").map(|each| each.props().text("TopicArn")).collect();
    let topic = |resource: &Resource| {
        let own = resource.props().items("Subscription").or(Vec::new()).is_none_or(|listed| !listed.is_empty());
        let named = |arn: &Setting<String>| arn.is_unknown() || arn.is(&resource.reference);
        Topic {
            origin: resource.origin.clone(),
            arn: resource.reference.clone(),
            subscribed: own || subscriptions.iter().any(named),
        }
    };
    inventory.of_kind("AWS::SNS::Topic").map(topic).collect()
}

fn metric(props: Props<'_>) -> Metric {
    let items = props.items("Dimensions");
    let hidden = items.is_unknown();
    let dimension = |item: &Value| {
        let props = Props(item);
        Some((props.text("Name").known()?, props.text("Value")))
    };
    Metric {
        namespace: props.text("Namespace"),
        name: props.text("MetricName"),
        dimensions: items.known().unwrap_or_default().into_iter().filter_map(dimension).collect(),
        hidden,
    }
}
