//! The queues: their counts and charts, the mappings, and the faults of the broker.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{button, notice, page, segment};
use crate::{
    admin::Console,
    mappings::{ListedMapping, MappingState},
};

/// Figures of a chart: the name in the history, and the label.
type Figures = &'static [(&'static str, &'static str)];

/// The charts of a queue: title, unit, and figures.
const CHARTS: [(&str, &str, Figures); 4] = [
    ("Messages", "", &[("visible", "visible"), ("in_flight", "in flight"), ("delayed", "delayed")]),
    ("Throughput", "per second", &[("accepted", "accepted"), ("done", "done"), ("dead_lettered", "dead-lettered")]),
    ("Latency until done", "ms", &[("latency_p50_ms", "median"), ("latency_p95_ms", "95 of 100")]),
    ("Age of the oldest", "s", &[("oldest_s", "oldest")]),
];

/// The faults of SQS: name and what happens.
const SQS_FAULTS: [(&str, &str); 5] = [
    ("none", "no fault"),
    ("slow", "answers late"),
    ("unavailable", "answers 503"),
    ("disconnect", "closes the connection, without an effect"),
    ("lost-answer", "stores, and closes the connection without an answer"),
];

/// The delay that the form proposes: longer than an attempt of the functions' clients, 2.5 s.
const DELAY_MS_DEFAULT: u64 = 3_000;

pub(in crate::admin) fn queues(console: &Console, queues: &[Value]) -> Response {
    let actions = &console.admin.actions;
    let faults = actions.faults.describe();
    let main = html! {
        link rel="stylesheet" href="/assets/uplot.css";
        h1 { "Queues" }
        (notice())
        div #live hx-get="/queues" hx-trigger="every 1s" hx-target="#live" hx-select="#live" hx-swap="outerMorph" {
            @for (broker, fault) in faults.as_object().into_iter().flatten() {
                @if let Some(name) = fault["fault"].as_str() {
                    p.bad role="status" {
                        "Fault of " (broker) ": " (name)
                        @if let Some(count) = fault["affected"].as_u64() { ", " (count) " requests so far" }
                        " " (button(&format!("/faults/{broker}"), "End it", Some(&json!({ "fault": "none" })), None))
                    }
                }
            }
            (table(queues))
            h2 { "Mappings" }
            (mappings(&actions.mappings.list()))
        }
        @if actions.queues.is_emulated() { (sqs_faults()) }
        @if actions.faults.has_node() {
            section #faults-rabbitmq aria-label="Fault of RabbitMQ" {
                (button("/faults/rabbitmq", "Freeze RabbitMQ", Some(&json!({ "fault": "frozen" })), None))
            }
        }
        section #charts aria-labelledby="charts-title" {
            h2 #charts-title { "Last ten minutes" }
            @for queue in queues.iter().filter_map(|queue| queue["name"].as_str()) { (charts(queue)) }
        }
        script src="/assets/uplot.js" defer {}
        script src="/assets/charts.js" defer {}
    };
    page(console, "/queues", "Queues", &main)
}

fn table(queues: &[Value]) -> Markup {
    html! {
        table.list #queues {
            caption.hidden { "Queues" }
            thead {
                tr {
                    @for title in ["Queue", "Visible", "In flight", "Delayed", "Oldest", "Dead letters by code and reason"] {
                        th scope="col" { (title) }
                    }
                    th scope="col" { span.hidden { "Actions" } }
                }
            }
            tbody { @for queue in queues { (row(queue)) } }
        }
    }
}

fn row(queue: &Value) -> Markup {
    let name = queue["name"].as_str().unwrap_or_default();
    let path = segment(name);
    let question = format!("Delete every message of {name}?");
    let confirm = json!({ "confirm": name });
    html! {
        tr id={ "q-" (name) } {
            th scope="row" { a.open href={ "/messages?queue=" (path) } { (name) } }
            @if let Some(error) = queue["error"].as_str() {
                td.bad colspan="6" { (error) }
            } @else {
                @for (state, label) in [("visible", "visible"), ("in_flight", "in flight"), ("delayed", "delayed")] {
                    td.count-of { (queue[state].as_u64().unwrap_or_default()) span.unit { " " (label) } }
                }
                td.count-of { @if let Some(age) = queue["oldest_s"].as_u64() { (age) " s" } }
                td {
                    @for cause in queue["reasons"].as_array().into_iter().flatten() {
                        span.reason {
                            b { (cause["count"]) } " "
                            @if let Some(code) = cause["code"].as_str() {
                                a href={ "/messages?state=dead&code=" (segment(code)) } { code { (code) } } " "
                            }
                            (cause["reason"].as_str().unwrap_or_default())
                        }
                    }
                }
                td.actions {
                    @if queue["dead_letters"] == true {
                        (button(&format!("/queues/{path}/redrive"), "Redrive all", None, None))
                    }
                    @if queue["broker"] != "kafka" {
                        (button(&format!("/queues/{path}/purge"), "Purge", Some(&confirm), Some(&question)))
                    }
                }
            }
        }
    }
}

fn mappings(mappings: &[ListedMapping]) -> Markup {
    html! {
        @if mappings.is_empty() { p.empty { "No mapping is running." } }
        ul #mappings {
            @for ListedMapping { function, queue, state } in mappings {
                @let path = format!("/mappings/{}/{}", segment(function), segment(queue));
                li {
                    b { (queue) } " to " b { (function) } ": "
                    @match state {
                        MappingState::Enabled => { "runs " (button(&format!("{path}/pause"), "Pause", None, None)) }
                        MappingState::Disabling => "finishes its invocations",
                        MappingState::Disabled => {
                            span.unsure { "paused " } (button(&format!("{path}/resume"), "Resume", None, None))
                        }
                    }
                }
            }
        }
    }
}

fn sqs_faults() -> Markup {
    html! {
        form #faults-sqs hx-post="/faults/sqs" hx-target="#notice" hx-swap="innerHTML" {
            div {
                label for="fault" { "SQS" }
                select #fault name="fault" {
                    @for (name, effect) in SQS_FAULTS { option value=(name) { (effect) } }
                }
            }
            div {
                label for="delay" { "Delay in ms" }
                input #delay name="delay_ms" type="number" min="0" max=(crate::broker_faults::DELAY_MS_MAX)
                    value=(DELAY_MS_DEFAULT);
            }
            button type="submit" { "Set the fault" }
        }
    }
}

fn charts(queue: &str) -> Markup {
    html! {
        section.charts aria-label={ "Charts of " (queue) } {
            h3 { (queue) }
            @for (title, unit, figures) in CHARTS {
                figure data-queue=(queue) {
                    figcaption {
                        (title) @if !unit.is_empty() { " (" (unit) ")" } ": "
                        @for (name, label) in figures {
                            span.series data-name=(name) { (label) " " span.now {} } " "
                        }
                    }
                    div.chart {}
                }
            }
        }
    }
}
