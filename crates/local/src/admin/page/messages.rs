//! The list of messages.

use axum::response::Response;
use maud::{Markup, html};

use super::{page, segment, state, time};
use crate::{
    admin::Console,
    journal::{Filter, Row, STATES, Selection},
};

pub(in crate::admin) fn messages(console: &Console, filter: &Filter, selection: &Selection) -> Response {
    let main = html! {
        h1 { "Messages" }
        (filters(filter))
        div #live data-live="messages" data-version=(selection.version) {
            @if selection.messages.is_empty() {
                p.empty {
                    @if filter.is_narrow() { "No message matches." } @else { "No message yet: send a request to the API." }
                }
            } @else {
                (table(&selection.messages))
            }
            nav.pager aria-label="Parts of the list" {
                @if filter.before.is_some() { a href=(address(filter, None)) { "Newest" } }
                @if let Some(older) = selection.older { a href=(address(filter, Some(older))) rel="next" { "Older" } }
            }
            p.count {
                (selection.kept) " messages are kept"
                @if selection.dropped > 0 { ", and the oldest " (selection.dropped) " were dropped" }
                "."
            }
        }
    };
    page(console, "/messages", "Messages", &main)
}

fn address(filter: &Filter, before: Option<usize>) -> String {
    format!("/messages?{}", filter.query(before))
}

/// The form works without the script, which sends it as it is filled in.
fn filters(filter: &Filter) -> Markup {
    let text = |name: &str, label: &str, value: &Option<String>| {
        let id = format!("filter-{name}");
        html! {
            div {
                label for=(id) { (label) }
                input id=(id) name=(name) type="search" autocomplete="off" spellcheck="false" value=[value.as_ref()];
            }
        }
    };
    html! {
        form #filters action="/messages" role="search"
            hx-get="/messages" hx-trigger="input delay:200ms, submit" hx-target="#live" hx-select="#live"
            hx-swap="outerMorph" hx-replace-url="true" {
            (text("text", "Search", &filter.text))
            div {
                label for="filter-state" { "State" }
                select #filter-state name="state" {
                    option value="" { "any" }
                    @for each in STATES {
                        option value=(each) selected[filter.state.as_deref() == Some(each)] { (each) }
                    }
                }
            }
            (text("type", "Type", &filter.event_type))
            (text("queue", "Queue", &filter.queue))
            (text("principal", "Principal", &filter.principal))
            (text("code", "Code", &filter.code))
            button type="submit" { "Filter" }
        }
    }
}

fn table(rows: &[Row]) -> Markup {
    html! {
        table.list {
            caption.hidden { "Messages, newest first" }
            thead {
                tr {
                    th scope="col" { "State" }
                    th scope="col" { "Age" }
                    th scope="col" { "Type" }
                    th scope="col" { "Queue" }
                    th scope="col" { "Principal" }
                    th scope="col" { "Receives" }
                    th scope="col" { "Id" }
                }
            }
            tbody {
                @for row in rows { (line(row)) }
            }
        }
    }
}

fn line(row: &Row) -> Markup {
    let name = row.event_type.as_deref().or(row.route.as_deref()).unwrap_or("(unknown)");
    html! {
        tr id={ "m-" (row.number) } {
            td { (state(row.state)) }
            td.age { (time(&row.at)) }
            td.type {
                a.open href={ "/messages/" (segment(&row.id)) } { (name) }
                @if let Some(pointer) = &row.pointer { " " code { (pointer) } }
                @if row.status.is_some() || row.code.is_some() {
                    " " span.code { @if let Some(status) = row.status { (status) " " } (row.code.as_deref().unwrap_or_default()) }
                }
            }
            td { (row.queue.as_deref().unwrap_or_default()) }
            td { (row.principal.as_deref().unwrap_or_default()) }
            td.number { @if let Some(count) = row.receive_count { (count) } }
            td.id { code { (row.id) } }
        }
    }
}
