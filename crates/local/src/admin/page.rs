//! The pages of the console: their common parts. A page shows the answer of the API at the same address.
//!
//! A page works without scripts. `console.js` adds updates and keys: on an event of `/events` it loads the page again
//! and takes over the part with the id `live`, if that part names the event in `data-live`. To add a page, add a line
//! to [`PAGES`], a module with a function that calls [`page`], and a route.

mod contract;
mod functions;
mod message;
mod messages;
mod queues;

use axum::response::{Html, IntoResponse as _, Redirect, Response};
use http::{HeaderValue, header};
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;

use super::{Console, security::TOKEN_HEADER};
pub(super) use contract::contract;
pub(super) use functions::functions;
pub(super) use message::message;
pub(super) use messages::messages;
pub(super) use queues::queues;

/// The pages, in the order of the navigation: address and title.
const PAGES: [(&str, &str); 4] =
    [("/messages", "Messages"), ("/queues", "Queues"), ("/functions", "Functions"), ("/contract", "Contract")];

/// The settings of htmx, with which it needs no inline styles. What would need `eval` is not used.
/// <https://four.htmx.org/reference/config>
const HTMX_CONFIG: &str = r#"{"includeIndicatorCSS": false, "morphIgnore": ["data-htmx-powered", "open"]}"#;

/// Shows the messages first.
pub(super) async fn home() -> Redirect {
    Redirect::to(PAGES[0].0)
}

/// Returns a page: `at` is its address in [`PAGES`], and `main` its content.
fn page(console: &Console, at: &str, title: &str, main: &Markup) -> Response {
    let reasons = console.admin.health.reasons();
    let token = format!(r#"{{"{TOKEN_HEADER}": "{}"}}"#, console.token.as_str());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="htmx-config" content=(HTMX_CONFIG);
                title { (title) " · Sluicegate" }
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/assets/console.css";
                script src="/assets/htmx.js" defer {}
                script src="/assets/console.js" defer {}
            }
            body hx-headers:inherited=(token) {
                a.skip href="#main" { "Skip to the content" }
                header {
                    a.brand href="/" { "Sluicegate" }
                    nav aria-label="Pages" {
                        @for (address, name) in PAGES {
                            a href=(address) aria-current=[(address == at).then_some("page")] { (name) }
                        }
                    }
                    p #health role="status" {
                        @if reasons.is_empty() { "Ready" } @else {
                            "Not ready: "
                            @for (index, (part, reason)) in reasons.iter().enumerate() {
                                @if index > 0 { ", " } (part) " (" (reason) ")"
                            }
                        }
                    }
                    p #connection role="status" {}
                }
                main #main tabindex="-1" { (main) }
                footer {
                    p {
                        kbd { "j" } " " kbd { "k" } " next and previous, " kbd { "Enter" } " open, "
                        kbd { "/" } " search, " kbd { "Esc" } " back · "
                        a href="/openapi.yaml" { "API" } " · " a href="/metrics" { "Metrics" }
                    }
                }
            }
        }
    };
    ([(header::VARY, HeaderValue::from_static("accept"))], Html(page.into_string())).into_response()
}

/// Shows a state, with a colour that says whether it is good.
fn state(state: &str) -> Markup {
    let kind = match state {
        "done" => "good",
        "refused" | "dead-lettered" | "dropped" | "expired" | "purged" => "bad",
        "retrying" | "returned" | "filtered-out" => "unsure",
        _ => "open",
    };
    html! { span.state.(kind) { (state) } }
}

/// Shows a time; the script shows its age.
fn time(at: &str) -> Markup {
    html! { time datetime=(at) title=(at) { (at.get(11..23).unwrap_or(at)) } }
}

/// Where a page shows why an action was not done.
fn notice() -> Markup {
    html! { div #notice role="status" {} }
}

/// Shows a button that calls an action, with a question first if there is one.
fn button(path: &str, label: &str, vals: Option<&Value>, question: Option<&str>) -> Markup {
    html! {
        button type="button" hx-post=(path) hx-target="#notice" hx-swap="innerHTML"
            hx-vals=[vals] hx-confirm=[question] { (label) }
    }
}

/// Returns a text as a segment of a path.
pub(super) fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
