//! The sums of the functions' metrics.

use std::collections::BTreeMap;

use super::emf::Point;
use super::page::{Kind, Page, label_name, metric_name};

/// Upper bounds of the histograms, in seconds: from a trivial handler to a function's timeout.
const BOUNDS_S: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Largest number of series, so that a dimension with unbounded values cannot fill the memory.
const SERIES_MAX: usize = 10_000;

/// The namespace of the metrics of `sluicegate-telemetry`.
const NAMESPACE: &str = "Sluicegate";

/// Metrics of [`NAMESPACE`] that become one counter with the label `outcome`, whose values are those of the log field.
const OUTCOMES: [(&str, &str); 6] = [
    ("done", "done"),
    ("duplicate", "duplicate"),
    ("retried", "retry"),
    ("rejected", "rejected"),
    ("undecodable", "undecodable"),
    ("returned", "returned"),
];

/// The families of [`NAMESPACE`], listed on the page before they have samples.
const KNOWN: [(&str, Kind, &str); 7] = [
    ("sluicegate_accepted_total", Kind::Counter, "Requests that were answered with 202: their messages are stored."),
    ("sluicegate_deliveries_total", Kind::Counter, "Messages that functions received, by outcome."),
    ("sluicegate_enqueue_seconds", Kind::Histogram, "From the send of a message to the broker's answer."),
    ("sluicegate_handler_seconds", Kind::Histogram, "Duration of handler calls."),
    ("sluicegate_oldest_seconds", Kind::Gauge, "Age of the oldest message of a queue's latest batch."),
    ("sluicegate_received_total", Kind::Counter, "Messages that functions received."),
    ("sluicegate_refused_total", Kind::Counter, "Requests that were refused, by the code of the answer."),
];

type Labels = BTreeMap<String, String>;

pub(super) struct Store {
    families: BTreeMap<String, Family>,
    series: usize,
}

struct Family {
    kind: Kind,
    help: String,
    series: BTreeMap<Labels, Series>,
}

/// The sums of one series; `buckets` counts the values up to each of [`BOUNDS_S`].
#[derive(Default)]
struct Series {
    latest: f64,
    sum: f64,
    count: u64,
    buckets: [u64; BOUNDS_S.len()],
}

impl Default for Store {
    fn default() -> Self {
        let family = |kind, help: &str| Family { kind, help: help.to_owned(), series: BTreeMap::new() };
        let families = KNOWN.into_iter().map(|(name, kind, help)| (name.to_owned(), family(kind, help)));
        Self { families: families.collect(), series: 0 }
    }
}

impl Store {
    /// Adds the values. A metric that changes its kind, and a series beyond the limit, are left out.
    pub(super) fn add(&mut self, point: &Point) {
        let (name, kind, scale) = place(point);
        let mut labels: Labels =
            point.dimensions.iter().map(|(name, value)| (label_name(name), value.clone())).collect();
        labels.extend(outcome(point).map(|outcome| ("outcome".to_owned(), outcome.to_owned())));
        let help = || format!("{} of the namespace {}.", point.name, point.namespace);
        let family = self.families.entry(name);
        let family = family.or_insert_with(|| Family { kind, help: help(), series: BTreeMap::new() });
        if family.kind != kind || (self.series >= SERIES_MAX && !family.series.contains_key(&labels)) {
            return;
        }
        let series = family.series.entry(labels).or_insert_with(|| {
            self.series += 1;
            Series::default()
        });
        for value in &point.values {
            series.add(value * scale, kind);
        }
    }

    pub(super) fn write_to(&self, page: &mut Page) {
        for (name, family) in &self.families {
            page.family(name, family.kind, &family.help);
            for (labels, series) in &family.series {
                let labels: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                series.write_to(page, name, family.kind, &labels);
            }
        }
    }
}

impl Series {
    fn add(&mut self, value: f64, kind: Kind) {
        // A counter never decreases.
        if kind == Kind::Counter && value < 0.0 {
            return;
        }
        self.latest = value;
        self.sum += value;
        self.count += 1;
        for (bound_s, bucket) in BOUNDS_S.iter().zip(&mut self.buckets) {
            *bucket += u64::from(value <= *bound_s);
        }
    }

    fn write_to(&self, page: &mut Page, name: &str, kind: Kind, labels: &[(&str, &str)]) {
        match kind {
            Kind::Counter => page.sample(name, labels, self.sum),
            Kind::Gauge => page.sample(name, labels, self.latest),
            Kind::Histogram => {
                let bounds = BOUNDS_S.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
                for (bound, count) in bounds.zip(self.buckets.iter().chain([&self.count])) {
                    let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
                    page.sample(&format!("{name}_bucket"), &labels, *count as f64);
                }
                self.sum_and_count(page, name, labels);
            }
            Kind::Summary => self.sum_and_count(page, name, labels),
        }
    }

    fn sum_and_count(&self, page: &mut Page, name: &str, labels: &[(&str, &str)]) {
        page.sample(&format!("{name}_sum"), labels, self.sum);
        page.sample(&format!("{name}_count"), labels, self.count as f64);
    }
}

/// Returns the family of a metric, and the factor that converts its values to base units.
fn place(point: &Point) -> (String, Kind, f64) {
    let scale = match point.unit.as_deref() {
        Some("Count") => None,
        Some("Seconds") => Some(1.0),
        Some("Milliseconds") => Some(1e-3),
        Some("Microseconds") => Some(1e-6),
        _ => {
            return (
                metric_name(&format!("{}_{}", point.namespace.to_ascii_lowercase(), point.name)),
                Kind::Summary,
                1.0,
            );
        }
    };
    let name = if outcome(point).is_some() { "deliveries" } else { &point.name };
    let stem = ["_ms", "_us", "_s"].iter().find_map(|end| name.strip_suffix(end)).filter(|_| scale.is_some());
    let kind = match scale {
        None => Kind::Counter,
        Some(_) if point.namespace == NAMESPACE && name == "oldest_ms" => Kind::Gauge,
        Some(_) => Kind::Histogram,
    };
    let end = if kind == Kind::Counter { "total" } else { "seconds" };
    let name = format!("{}_{}_{end}", point.namespace.to_ascii_lowercase(), stem.unwrap_or(name));
    (metric_name(&name), kind, scale.unwrap_or(1.0))
}

fn outcome(point: &Point) -> Option<&'static str> {
    let found = OUTCOMES.iter().find(|(name, _)| point.namespace == NAMESPACE && *name == point.name);
    found.map(|(_, outcome)| *outcome)
}
