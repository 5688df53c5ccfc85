//! The dashboard in infra/grafana.json: valid for Grafana, and every metric it queries exists.

use std::collections::BTreeSet;

use serde_json::Value;
use sluicegate_local::Metrics;

use crate::support::prometheus::Page;
use crate::support::root;

/// The functions and keywords of PromQL that the dashboard uses.
const WORDS: &[&str] = &["sum", "max", "by", "rate", "increase", "histogram_quantile", "vector", "or"];

/// The labels of each metric family.
const LABELS: &[(&str, &[&str])] = &[
    ("sluicegate_accepted_total", &["function"]),
    ("sluicegate_refused_total", &["function", "code"]),
    ("sluicegate_enqueue_seconds_bucket", &["function", "le"]),
    ("sluicegate_received_total", &["function", "queue"]),
    ("sluicegate_deliveries_total", &["function", "queue", "outcome"]),
    ("sluicegate_handler_seconds_bucket", &["function", "queue", "le"]),
    ("sluicegate_oldest_seconds", &["function", "queue"]),
    ("sluicegate_queue_messages", &["broker", "dead_letters", "queue", "state"]),
    ("sluicegate_function_environments", &["function"]),
    ("sluicegate_function_errors_total", &["function"]),
    ("sluicegate_function_throttles_total", &["function"]),
];

pub(crate) fn dashboard() -> Value {
    let text = std::fs::read_to_string(root().join("infra/grafana.json")).expect("the dashboard");
    serde_json::from_str(&text).expect("JSON")
}

fn list<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name].as_array().unwrap_or_else(|| panic!("{name}"))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value:#}"))
}

/// Returns every expression of the dashboard.
pub(crate) fn expressions(dashboard: &Value) -> Vec<String> {
    let targets = list(dashboard, "panels").iter().flat_map(|panel| list(panel, "targets"));
    targets.map(|target| text(target, "expr").to_owned()).collect()
}

/// Returns the words of an expression outside quotes.
fn words(expression: &str) -> Vec<String> {
    let unquoted: String = expression.split('"').step_by(2).collect::<Vec<_>>().join("\"");
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
    let words = unquoted.split(|c| !is_part(c)).filter(|word| word.starts_with(|c: char| !c.is_ascii_digit()));
    words.map(str::to_owned).collect()
}

#[test]
fn the_dashboard_is_valid_for_grafana() {
    let schema = include_str!("fixtures/grafana.schema.json");
    let schema = jsonschema::validator_for(&serde_json::from_str(schema).expect("JSON")).expect("a schema");
    let dashboard = dashboard();
    let faults: Vec<_> =
        schema.iter_errors(&dashboard).map(|fault| format!("{} {fault}", fault.instance_path())).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let ids: BTreeSet<_> = list(&dashboard, "panels").iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), list(&dashboard, "panels").len(), "each panel has its own id");
    let mut taken = BTreeSet::new();
    for panel in list(&dashboard, "panels") {
        let at = |name: &str| panel["gridPos"][name].as_u64().expect("a number");
        assert!(at("x") + at("w") <= 24, "the grid has 24 columns: {panel:#}");
        for cell in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "two panels in one place: {panel:#}");
        }
        let refs: BTreeSet<_> = list(panel, "targets").iter().map(|target| text(target, "refId")).collect();
        assert_eq!(refs.len(), list(panel, "targets").len(), "{panel:#}");
    }
}

#[test]
fn every_queried_metric_exists_and_every_metric_is_shown() {
    let page = Page::read(&Metrics::default().page(&[])).expect("a sound page");
    let dashboard = dashboard();
    let variables: BTreeSet<_> =
        list(&dashboard["templating"], "list").iter().map(|variable| format!("${}", text(variable, "name"))).collect();
    let mut asked = BTreeSet::new();
    for expression in expressions(&dashboard) {
        let metrics: Vec<_> = words(&expression).into_iter().filter(|word| word.starts_with("sluicegate_")).collect();
        assert!(!metrics.is_empty(), "{expression}");
        let mut labels = BTreeSet::<&str>::new();
        for metric in &metrics {
            let family = metric.trim_end_matches("_bucket");
            assert!(page.families.contains_key(family), "{metric} is not on the page: {expression}");
            let known = LABELS.iter().find(|(name, _)| name == metric);
            labels.extend(known.unwrap_or_else(|| panic!("{metric} has no labels here")).1);
        }
        for word in words(&expression) {
            let known = WORDS.contains(&word.as_str())
                || labels.contains(word.as_str())
                || metrics.contains(&word)
                || ["$__rate_interval", "$__range"].contains(&word.as_str());
            assert!(known, "{word:?} in {expression}");
        }
        for quoted in expression.split('"').skip(1).step_by(2).filter(|quoted| quoted.starts_with('$')) {
            assert!(variables.contains(quoted), "the dashboard has no variable {quoted}: {expression}");
        }
        assert_eq!(expression.matches('(').count(), expression.matches(')').count(), "{expression}");
        assert_eq!(expression.matches('{').count(), expression.matches('}').count(), "{expression}");
        asked.extend(metrics.into_iter().map(|metric| metric.trim_end_matches("_bucket").to_owned()));
    }
    let never: Vec<_> = page.families.keys().filter(|family| !asked.contains(*family)).collect();
    assert_eq!(never, ["sluicegate_function_invocations_total"], "metrics that the dashboard does not show");
}

#[test]
fn the_list_of_server_error_codes_is_complete() {
    let dashboard = dashboard();
    let variables = list(&dashboard["templating"], "list");
    let variable = variables.iter().find(|variable| variable["name"] == "server_codes").expect("the variable");
    let codes: BTreeSet<_> = text(variable, "query").split('|').collect();
    let source = std::fs::read_to_string(root().join("crates/ingress/src/rejection.rs")).expect("the codes");
    let rows = source.split("(S::").skip(1).filter_map(|row| row.split_once(", \""));
    let server_errors = rows.filter(|(status, _)| ["SERVICE_UNAVAILABLE", "INTERNAL_SERVER_ERROR"].contains(status));
    assert_eq!(codes, server_errors.filter_map(|(_, rest)| rest.split('"').next()).collect());
}
