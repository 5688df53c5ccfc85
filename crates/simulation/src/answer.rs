//! [`HttpAnswer`]: what a client reads of an answer of the API.

use std::time::Duration;

use serde::Deserialize;

use crate::api::QUEUE;
use crate::ledger::{Admission, Conclusion, Queue};
use crate::sending::Sending;

/// The part of the function's answer that clients get.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HttpAnswer {
    status_code: u16,
    pub(crate) headers: Headers,
    body: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Headers {
    retry_after: Option<String>,
    pub(crate) idempotency_replayed: Option<String>,
    pub(crate) location: Option<String>,
}

impl Headers {
    /// Returns how long a client should wait before it repeats the request.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.retry_after.as_ref()?.parse().ok().map(Duration::from_secs)
    }
}

/// The part of the body that clients read.
#[derive(Deserialize)]
struct Document {
    id: Option<String>,
    code: Option<String>,
    destinations: Option<Vec<Destination>>,
    items: Option<Vec<Item>>,
}

/// The result of a message.
#[derive(Clone, Deserialize)]
pub(crate) struct Item {
    pub(crate) status: u16,
    pub(crate) id: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) destinations: Option<Vec<Destination>>,
}

/// What is known of a message on one queue.
#[derive(Clone, Deserialize)]
pub(crate) struct Destination {
    queue: String,
    stored: String,
}

impl HttpAnswer {
    /// Returns what it says of the limit of the route.
    pub(crate) fn admission(&self) -> Admission {
        match self.status_code {
            202 => Admission::Accepted,
            429 => Admission::Refused { wait: self.headers.wait().unwrap_or_default() },
            _ => Admission::Unknown,
        }
    }

    /// Returns the result of each message of a request, and how many of them are answers by themselves: one, if a batch
    /// was refused as a whole.
    pub(crate) fn results(&self, sending: &Sending) -> serde_json::Result<(Vec<Item>, usize)> {
        let Document { id, code, destinations, items } = serde_json::from_str(&self.body)?;
        if let Some(items) = items.filter(|_| sending.is_batch) {
            let count = items.len();
            return Ok((items, count));
        }
        let whole = Item { status: self.status_code, id, code, destinations };
        Ok((vec![whole; sending.messages.len()], 1))
    }
}

/// Returns the statuses and codes of the first `count` results.
pub(crate) fn codes(results: &[Item], count: usize) -> impl Iterator<Item = (u16, Option<&str>)> {
    results.iter().take(count).map(|Item { status, code, .. }| (*status, code.as_deref()))
}

/// Returns what an answer says that lists the queues.
pub(crate) fn concluded(destinations: &[Destination]) -> Conclusion {
    let listed = |stored: &str| {
        let listed = destinations.iter().filter(|destination| destination.stored == stored);
        listed.map(|destination| if destination.queue == QUEUE { Queue::Work } else { Queue::Copies }).collect()
    };
    Conclusion::Unknown { stored: listed("yes"), not_stored: listed("no") }
}
