//! The functions: their state, environments, builds and last log lines.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;

use super::{button, notice, page, segment, time};
use crate::admin::Console;

/// The numbers of a function, with their labels.
const FACTS: [(&str, &str); 6] = [
    ("environments", "Environments"),
    ("busy", "Busy"),
    ("invocations", "Invocations"),
    ("errors", "Errors"),
    ("throttles", "Throttled"),
    ("restarts", "Restarts"),
];

/// `functions` are shown with their logs.
pub(in crate::admin) fn functions(console: &Console, functions: &[Value]) -> Response {
    let main = html! {
        h1 { "Functions" }
        (notice())
        div #live hx-get="/functions" hx-trigger="every 1s" hx-target="#live" hx-select="#live" hx-swap="outerMorph" {
            @for function in functions { (self::function(function)) }
        }
    };
    page(console, "/functions", "Functions", &main)
}

fn function(function: &Value) -> Markup {
    let text = |name: &str| function[name].as_str().unwrap_or_default();
    let name = text("name");
    let is_ready = text("state") == "ready";
    let is_frozen = function["frozen_when_idle"].as_bool();
    let path = format!("/functions/{}", segment(name));
    html! {
        section.function id={ "f-" (name) } aria-label=(name) {
            h2 {
                (name) " "
                span.state.(if is_ready { "good" } else { "bad" }) { (text("state")) }
            }
            @if !is_ready { p.bad { (text("reason")) } }
            @if let Some(error) = function["build_error"].as_str() {
                p.bad { "The last build failed; the code before it runs." }
                pre.content tabindex="0" aria-label="Output of the build" { (error) }
            }
            dl.facts {
                @for (name, label) in FACTS {
                    @if let Some(count) = function[name].as_u64() { dt { (label) } dd { (count) } }
                }
            }
            @match is_frozen {
                Some(true) => p {
                    "Its processes are stopped between invocations, as in Lambda. "
                    (button(&format!("{path}/thaw"), "Let them run", None, None))
                },
                Some(false) => p { (button(&format!("{path}/freeze"), "Freeze between invocations", None, None)) },
                None => {},
            }
            details {
                summary { "Log" }
                @let lines = function["log"].as_array().map(Vec::as_slice).unwrap_or_default();
                @if lines.is_empty() { p.empty { "No line yet." } }
                div.content role="group" aria-label={ "Log of " (name) } tabindex="0" {
                    @for line in lines.iter().rev() {
                        div.line {
                            (time(line["at"].as_str().unwrap_or_default())) " "
                            code { (line["line"].as_str().unwrap_or_default()) }
                        }
                    }
                }
            }
        }
    }
}
