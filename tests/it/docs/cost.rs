//! The figures of docs/cost.md, computed from its inputs.
//!
//! After a change of the inputs: `UPDATE=1 cargo test -p sluicegate-tests docs::cost`.

use std::collections::BTreeMap;
use std::fs;

use super::page::Page;
use crate::support::root;

const PAGE: &str = "docs/cost.md";
/// SQS charges a request for each started 64 KB.
const SQS_CHUNK_KB: f64 = 64.0;
const HOURS_PER_MONTH: f64 = 730.0;
/// The receive calls of an idle mapping: five pollers with the longest long poll of SQS.
const POLLS_PER_MONTH_MILLIONS: f64 = 5.0 * HOURS_PER_MONTH * 3600.0 / 20.0 / 1e6;

/// Prices and loads by name.
struct Inputs(BTreeMap<String, f64>);

impl Inputs {
    /// Reads the tables of inputs: a name in code, a number and a text, twice in each row.
    fn read(page: &Page) -> Self {
        let input =
            |cells: &[&str]| Some((cells[0].strip_prefix('`')?.strip_suffix('`')?.to_owned(), cells[1].parse().ok()?));
        let inputs = |line: &str| {
            let cells: Vec<&str> = line.split('|').skip(1).map(str::trim).collect();
            cells.chunks_exact(3).filter_map(input).collect::<Vec<_>>()
        };
        Self(page.text.lines().flat_map(inputs).collect())
    }

    fn get(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("{PAGE} has no input {name}"))
    }

    /// Returns the price of a million invocations whose duration is the input `name_ms`.
    fn computing(&self, name_ms: &str) -> f64 {
        self.get("lambda_gb_s") * self.get("memory_mb") / 1024.0 * self.get(name_ms) / 1000.0 * 1e6
    }

    fn ingress(&self) -> f64 {
        self.get("lambda_request") + self.computing("ingress_ms")
    }

    fn consumer(&self) -> f64 {
        (self.get("lambda_request") + self.computing("consumer_ms")) / self.get("batch")
    }

    /// Returns the price of sending, receiving and deleting.
    fn queue(&self, price: f64) -> [f64; 3] {
        let (batch, message_kb) = (self.get("batch"), self.get("message_kb"));
        let chunks = |kb: f64| (kb / SQS_CHUNK_KB).ceil();
        [price * chunks(message_kb), price * chunks(batch * message_kb) / batch, price / batch]
    }

    /// Returns the price of the logs of a million messages. One GB for all is one KB for each.
    fn logs(&self) -> f64 {
        self.get("log_gb") * (self.get("ingress_log_kb") + self.get("consumer_log_kb") / self.get("batch"))
    }

    /// Returns the price of the traces of a million messages, with `traced` traces for each recorded message.
    fn traces(&self, traced: f64) -> f64 {
        let (rate, first) = (self.get("rate"), self.get("sampled_first"));
        let recorded = (first + self.get("sampled") * (rate - first)) / rate;
        self.get("trace") * recorded.min(1.0) * traced
    }

    /// Returns the rows of both tables by first cell, in column order; `None` for an empty cell.
    fn rows(&self) -> Vec<(&'static str, Vec<Option<f64>>)> {
        let (standard, fifo) = (self.get("sqs_standard"), self.get("sqs_fifo"));
        let ([send, receive, delete], [fifo_send, fifo_receive, fifo_delete]) =
            (self.queue(standard), self.queue(fifo));
        let same = |value: f64| vec![Some(value); 3];
        let month = |price: &str, count: f64| Some(self.get(price) * count);
        let broker = HOURS_PER_MONTH * self.get("broker_hour") + self.get("broker_gb") * self.get("broker_gb_month");
        let million = vec![
            ("gateway", same(self.get("api_request"))),
            ("ingress", same(self.ingress())),
            ("queue: send", vec![Some(send), Some(fifo_send), None]),
            ("queue: receive", vec![Some(receive), Some(fifo_receive), None]),
            ("queue: delete", vec![Some(delete), Some(fifo_delete), None]),
            ("consumer", same(self.consumer())),
            ("logs", same(self.logs())),
            ("traces", {
                let both = Some(self.traces(1.0 + 1.0 / self.get("batch")));
                vec![both, both, Some(self.traces(1.0))]
            }),
        ];
        let idle = vec![
            ("polling", vec![Some(POLLS_PER_MONTH_MILLIONS * (standard + fifo)), None]),
            ("secrets", vec![month("secret_month", 1.0), month("secret_month", 2.0)]),
            ("alarms", {
                let of = |count| month("alarm_month", self.get(count));
                vec![of("alarms"), of("alarms_rabbitmq")]
            }),
            ("dashboard", vec![month("dashboard_month", 1.0); 2]),
            ("metrics", vec![month("metric_month", self.get("metrics")); 2]),
            ("broker", vec![None, Some(broker * self.get("broker_nodes"))]),
            ("endpoints", vec![None, Some(HOURS_PER_MONTH * self.get("endpoint_hour") * 3.0 * 2.0)]),
        ];
        let mut rows = million.clone();
        rows.push(("**together**", together(&million)));
        rows.extend(idle.clone());
        rows.push(("**together**", together(&idle)));
        rows
    }
}

/// Returns the sum of each column.
fn together(rows: &[(&str, Vec<Option<f64>>)]) -> Vec<Option<f64>> {
    let sum = |column: usize| rows.iter().filter_map(|(_, cells)| cells[column]).sum();
    (0..rows[0].1.len()).map(|column| Some(sum(column))).collect()
}

/// Returns the page with every result computed.
fn computed(page: &Page) -> String {
    let inputs = Inputs::read(page);
    let mut rows = inputs.rows().into_iter().peekable();
    let mut text = String::new();
    for line in page.text.lines() {
        let row = rows.next_if(|(name, _)| line.starts_with(&format!("| {name} |")));
        match row {
            Some((name, cells)) => {
                let formula = line.split('|').nth(2).unwrap_or_default().trim();
                let mark = if name.starts_with("**") { "**" } else { "" };
                let cell = |cell: &Option<f64>| match cell {
                    Some(value) => format!(" {mark}${value:.2}{mark} |"),
                    None => " |".to_owned(),
                };
                let formula = if formula.is_empty() { " |".to_owned() } else { format!(" {formula} |") };
                text.push_str(&format!("| {name} |{formula}{}\n", cells.iter().map(cell).collect::<String>()));
            }
            None => text.push_str(&format!("{line}\n")),
        }
    }
    assert!(rows.peek().is_none(), "{PAGE} has no row {:?}", rows.peek());
    let (api, standard) = (inputs.get("api_request"), inputs.queue(inputs.get("sqs_standard")));
    let consumer = standard[1] + standard[2] + inputs.consumer();
    let direct = inputs.get("rest_request") + standard[0] + consumer;
    let ours = api + inputs.ingress() + standard[0] + consumer;
    let text = with_amounts(&text, "and the same consumer, $", &[direct, ours]);
    let sums: Vec<_> = inputs.rows().into_iter().filter(|(name, _)| name.starts_with("**")).collect();
    let [(_, million), (_, month)] = sums.as_slice() else { panic!("{sums:?} are not two sums") };
    let amounts: Option<Vec<f64>> = [million[0], million[2], month[0], month[1]].into_iter().collect();
    with_amounts(&text, "A million accepted messages cost $", &amounts.expect("every sum has an amount"))
}

/// Replaces the amounts that follow `start`, in order.
fn with_amounts(text: &str, start: &str, amounts: &[f64]) -> String {
    let (before, mut rest) = text.split_once(start).unwrap_or_else(|| panic!("{PAGE} does not say {start:?}"));
    let mut out = format!("{before}{start}");
    for (number, amount) in amounts.iter().enumerate() {
        if number > 0 {
            let (between, after) = rest.split_once('$').expect("another amount");
            out.push_str(&format!("{between}$"));
            rest = after;
        }
        out.push_str(&format!("{amount:.2}"));
        rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    }
    out + rest
}

#[test]
fn every_figure_is_computed_from_the_inputs() {
    let page = Page::read(PAGE);
    let computed = computed(&page);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(root().join(PAGE), &computed).expect("written");
    }
    assert_eq!(Page::read(PAGE).text, computed, "UPDATE=1 cargo test -p sluicegate-tests docs::cost updates it");
}

#[test]
fn the_memory_is_that_of_the_template() {
    let memory = Inputs::read(&Page::read(PAGE)).get("memory_mb");
    let template = fs::read_to_string(root().join("template.yaml")).expect("the template");
    for parameter in ["IngressMemory", "ConsumerMemory"] {
        let default = format!("  {parameter}:\n    Type: Number\n    Default: {memory}\n");
        assert!(template.contains(&default), "the template does not say {default}");
    }
}

/// Returns the number of metrics that the default alarms of a template use, by the conditions of the template.
fn watched(file: &str, exists: &[&str]) -> usize {
    let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let alarms = text.split("\n\n").filter(|block| block.contains("Type: AWS::CloudWatch::Alarm"));
    let condition = |block: &str| Some(block.split_once("    Condition: ")?.1.lines().next()?.to_owned());
    let existing = alarms.filter(|block| condition(block).is_none_or(|name| exists.contains(&name.as_str())));
    existing.map(|block| block.matches("MetricStat:").count().max(1)).sum()
}

#[test]
fn the_alarms_are_those_of_the_templates() {
    let inputs = Inputs::read(&Page::read(PAGE));
    // The page has its own number of queues, so that a queue more in the template does not change its figures.
    let of_queues = |exists: &str| inputs.get("queues") * watched("infra/queue.yaml", &["HasAlarms", exists]) as f64;
    // Alarms on deployments need a canary, alarms on single queues of a broker need RabbitMQ 3.13.
    let stack = (watched("infra/monitoring.yaml", &[]) + watched("template.yaml", &[])) as f64;
    let sqs = stack + of_queues("HasAlarmsOnSqs");
    let rabbitmq = stack + watched("infra/broker.yaml", &[]) as f64 + of_queues("HasAlarmsOnBroker");
    assert_eq!((inputs.get("alarms"), inputs.get("alarms_rabbitmq")), (sqs, rabbitmq));
}

#[test]
fn the_broker_is_the_default_of_the_template_and_metrics_by_route_are_off() {
    let template = fs::read_to_string(root().join("template.yaml")).expect("the template");
    let size = template.split_once("  RabbitmqInstanceType:\n    Type: String\n    Default: ").expect("the size").1;
    let size = size.lines().next().unwrap_or_default();
    let page = Page::read(PAGE).text;
    let row = page.lines().find(|line| line.starts_with("| `broker_hour` |")).expect("the price of a broker");
    assert!(row.contains(&format!("node of {size}, the default size")), "{row} is not of {size}");
    assert!(!template.contains("DetailedMetricsEnabled: true"), "each route's metrics have a price");
}
