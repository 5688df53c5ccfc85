//! Lines in CloudWatch's embedded metric format, from the functions or a library in a handler.
//!
//! The format:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// A metric of a line and its values.
#[derive(Debug, PartialEq)]
pub(super) struct Point {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) unit: Option<String>,
    pub(super) dimensions: BTreeMap<String, String>,
    pub(super) values: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    cloud_watch_metrics: Vec<Directive>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: String,
    dimensions: Vec<Vec<String>>,
    metrics: Vec<Definition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: String,
    unit: Option<String>,
}

/// Returns the metrics of a line; `None` if it is not in the format. A metric without a value is left out, as in
/// CloudWatch. Each metric is counted once, under all dimensions of its sets: Prometheus computes the sums.
pub(super) fn points(line: &str) -> Option<Vec<Point>> {
    // Most lines are plain text and need no parser.
    if !line.starts_with('{') || !line.contains("\"_aws\"") {
        return None;
    }
    let mut members: Map<String, Value> = serde_json::from_str(line).ok()?;
    let metadata: Metadata = serde_json::from_value(members.remove("_aws")?).ok()?;
    let mut points = Vec::new();
    for directive in metadata.cloud_watch_metrics {
        let names = directive.dimensions.into_iter().flatten();
        let dimensions: BTreeMap<_, _> =
            names.filter_map(|name| Some((name.clone(), members.get(&name)?.as_str()?.to_owned()))).collect();
        points.extend(directive.metrics.into_iter().filter_map(|Definition { name, unit }| {
            let values = match members.get(&name)? {
                Value::Number(number) => vec![number.as_f64()?],
                Value::Array(values) => values.iter().filter_map(Value::as_f64).collect(),
                _ => return None,
            };
            Some(Point { namespace: directive.namespace.clone(), name, unit, dimensions: dimensions.clone(), values })
        }));
    }
    Some(points)
}
