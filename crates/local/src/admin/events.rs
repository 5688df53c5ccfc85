//! `GET /events`: the changes of messages as server-sent events, for the pages and for scripts.
//!
//! An event `messages` has the rows of the messages that changed, in one event at most every [`INTERVAL`], whatever
//! their number. Its id is the version of the journal, so that a client that connects again misses nothing.
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::{RawQuery, State},
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream;
use http::HeaderMap;
use serde_json::json;

use super::Console;
use crate::journal::Journal;

/// Shortest time between two events: ten updates per second look continuous.
const INTERVAL: Duration = Duration::from_millis(100);
/// The most rows of one event: as many as a page shows.
const ROWS_MAX: usize = 100;

pub(super) async fn events(State(console): State<Console>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let query = query.unwrap_or_default();
    let since = || form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "since")?.1.parse().ok();
    let journal = console.admin.journal;
    let version: u64 = seen.or_else(since).unwrap_or_else(|| journal.changed_since(u64::MAX, 0).2);
    let changes = stream::unfold((journal, version), async |(journal, version)| {
        let (event, version) = next(&journal, version).await;
        Some((Ok::<_, Infallible>(event), (journal, version)))
    });
    Sse::new(changes).keep_alive(KeepAlive::default()).into_response()
}

/// Waits for a change after `version`. Returns its event and the version now.
async fn next(journal: &Journal, mut version: u64) -> (Event, u64) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let (messages, more, now) = journal.changed_since(version, ROWS_MAX);
        version = now;
        if !messages.is_empty() {
            let data = json!({ "messages": messages, "more": more });
            return (Event::default().event("messages").id(now.to_string()).data(data.to_string()), now);
        }
    }
}
