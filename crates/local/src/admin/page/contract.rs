//! The contract: its routes, what is wrong with it and the template, and a sample request for each route.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{button, notice, page};
use crate::admin::Console;

/// The facts of a route, with their labels.
const FACTS: [(&str, &str); 5] =
    [("queue", "Queue"), ("type", "Type"), ("security", "Security"), ("media_types", "Body"), ("idempotency", "Key")];

/// `contract` is what [`Project::describe`](crate::Project::describe) returns.
pub(in crate::admin) fn contract(console: &Console, contract: &Value) -> Response {
    let list = |name: &str| contract[name].as_array().map(Vec::as_slice).unwrap_or_default().to_vec();
    let (faults, warnings, findings) = (list("faults"), list("warnings"), list("findings"));
    let main = html! {
        h1 { "Contract" }
        (notice())
        div #live hx-get="/contract" hx-trigger="every 2s" hx-target="#live" hx-select="#live" hx-swap="outerMorph" {
            @if faults.is_empty() && warnings.is_empty() && findings.is_empty() {
                p.good { "sluicegate check and sluicegate doctor find nothing." }
            }
            (texts("faults", "Faults of sluicegate check", "bad", &faults))
            (texts("warnings", "Warnings of sluicegate check", "unsure", &warnings))
            @if !findings.is_empty() {
                section #findings aria-labelledby="findings-title" {
                    h2 #findings-title { "Findings of sluicegate doctor" }
                    @for finding in &findings { (self::finding(finding)) }
                }
            }
            section #routes aria-labelledby="routes-title" {
                h2 #routes-title { "Routes" }
                @for route in list("routes") { (self::route(&route)) }
            }
        }
    };
    page(console, "/contract", "Contract", &main)
}

fn texts(id: &str, title: &str, kind: &str, texts: &[Value]) -> Markup {
    html! {
        @if !texts.is_empty() {
            section id=(id) aria-label=(title) {
                h2 { (title) }
                @for text in texts.iter().filter_map(Value::as_str) { pre.content.(kind) tabindex="0" { (text) } }
            }
        }
    }
}

fn finding(finding: &Value) -> Markup {
    let text = |name: &str| finding[name].as_str().unwrap_or_default();
    let kind = match text("severity") {
        "error" => "bad",
        "warning" => "unsure",
        _ => "quiet",
    };
    html! {
        div.finding {
            b.(kind) { (text("severity")) } " " b { (text("resource")) } " " (text("what")) ". " (text("why")) " "
            (text("fix"))
            @if let Some(file) = finding["file"].as_str() {
                " " code { (file) @if let Some(line) = finding["line"].as_u64() { ":" (line) } }
            }
        }
    }
}

fn route(route: &Value) -> Markup {
    let text = |name: &str| route[name].as_str().unwrap_or_default();
    let name = text("route");
    html! {
        section.route aria-label=(name) {
            h3 { (name) }
            @if let Some(summary) = route["summary"].as_str() { p { (summary) } }
            dl.facts {
                @for (name, label) in FACTS {
                    @if !text(name).is_empty() { dt { (label) } dd { code { (text(name)) } } }
                }
            }
            p { (button("/samples", "Send a sample", Some(&json!({ "route": name })), None)) }
            @for (name, label) in [("sample", "Sample"), ("schema", "Schema")] {
                @if !text(name).is_empty() {
                    details {
                        summary { (label) }
                        pre.content tabindex="0" aria-label=(label) { (text(name)) }
                    }
                }
            }
        }
    }
}
