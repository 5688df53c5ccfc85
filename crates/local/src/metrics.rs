//! Metrics for Prometheus: `GET /metrics` of the admin port.
//!
//! Every line that a function prints in CloudWatch's embedded metric format is collected here instead of going to the
//! terminal, so a metric added to a handler appears without further work. The stack adds the counts of the queues and
//! of each function's invocations and failures.
//!
//! A metric `name` of the namespace `Sluicegate` becomes
//!
//! | unit | on the page |
//! |---|---|
//! | Count | the counter `sluicegate_name_total` |
//! | Milliseconds and other units of time | the histogram `sluicegate_name_seconds`, without `_ms` |
//! | any other | the summary `sluicegate_name`: sum and count |
//!
//! with its dimensions as labels. There are two exceptions: the outcomes of deliveries are one counter with the label
//! `outcome`, `sluicegate_deliveries_total`, and `oldest_ms` is a gauge of the latest batch. Counters start at zero
//! with the stack and continue when a function's process is replaced.

mod emf;
mod page;
mod store;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use self::page::{Kind, Page};
use self::store::Store;
use sluicegate_lambda_emulator::FunctionCounts;

/// The media type of the page.
/// <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The collected metrics. Clones share them.
#[derive(Clone, Default)]
pub struct Metrics {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    store: Store,
    functions: BTreeMap<String, FunctionCounts>,
}

impl Metrics {
    /// Collects a line of a function's output if it holds metrics; returns whether it does.
    #[must_use]
    pub fn take(&self, line: &str) -> bool {
        let Some(points) = emf::points(line) else { return false };
        let mut inner = self.inner();
        points.iter().for_each(|point| inner.store.add(point));
        true
    }

    /// Adds a running function.
    pub fn function(&self, name: &str, counts: FunctionCounts) {
        self.inner().functions.insert(name.to_owned(), counts);
    }

    /// Returns the page; `queues` as `GET /queues` lists them.
    #[must_use]
    pub fn page(&self, queues: &[Value]) -> String {
        let inner = self.inner();
        let mut page = Page::default();
        inner.store.write_to(&mut page);
        queues_to(&mut page, queues);
        functions_to(&mut page, &inner.functions);
        page.into_text()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the counts of the queues. A queue that does not answer has no samples.
fn queues_to(page: &mut Page, queues: &[Value]) {
    let help =
        "Messages of a queue: visible ones can be received, those in flight are with a consumer, delayed ones wait.";
    page.family("sluicegate_queue_messages", Kind::Gauge, help);
    for queue in queues {
        let name = queue["name"].as_str().unwrap_or_default();
        let broker = queue["broker"].as_str().unwrap_or("sqs");
        let dead_letters = queue["dead_letters"].as_bool().unwrap_or_default().to_string();
        for state in ["visible", "in_flight", "delayed"] {
            if let Some(count) = queue[state].as_f64() {
                let labels = [("broker", broker), ("dead_letters", &*dead_letters), ("queue", name), ("state", state)];
                page.sample("sluicegate_queue_messages", &labels, count);
            }
        }
    }
}

fn functions_to(page: &mut Page, functions: &BTreeMap<String, FunctionCounts>) {
    type Read = fn(&FunctionCounts) -> u64;
    let families: [(_, _, _, Read); 4] = [
        (
            "sluicegate_function_environments",
            Kind::Gauge,
            "Execution environments of a function that are running.",
            FunctionCounts::environments,
        ),
        (
            "sluicegate_function_invocations_total",
            Kind::Counter,
            "Invocations of a function that were started.",
            FunctionCounts::invocations,
        ),
        (
            "sluicegate_function_errors_total",
            Kind::Counter,
            "Invocations that ended in an error or ran out of time.",
            FunctionCounts::errors,
        ),
        (
            "sluicegate_function_throttles_total",
            Kind::Counter,
            "Invocations that were not started because all environments were busy.",
            FunctionCounts::throttles,
        ),
    ];
    for (name, kind, help, read) in families {
        page.family(name, kind, help);
        for (function, counts) in functions {
            page.sample(name, &[("function", function.as_str())], read(counts) as f64);
        }
    }
}

#[cfg(test)]
mod tests;
