//! [`Filter`]: the messages that a list asks for, and the [`Row`] of each.

use serde::Serialize;

use super::{
    Journal,
    logs::{Content, MessageLog},
    step::{MessageStep, time_text},
};
use crate::gateway::KeptEvent;

/// Largest number of messages in a list, unless the request says another.
const LIMIT_DEFAULT: usize = 100;
/// Largest number of messages in a list.
const LIMIT_MAX: usize = 1_000;
/// Messages that are looked at in one go. Others can be recorded in between.
const CHUNK: usize = 500;

/// The states of messages that are on their way, as one state of a filter.
const OPEN: (&str, [&str; 5]) = ("open", ["accepted", "delivered", "retrying", "returned", "redriven"]);
/// The short name of the state of a dead letter.
const DEAD: (&str, &str) = ("dead", "dead-lettered");

/// The states that a filter can name.
pub(crate) const STATES: [&str; 15] = [
    OPEN.0,
    DEAD.0,
    "refused",
    "accepted",
    "delivered",
    "done",
    "retrying",
    "returned",
    "redriven",
    "replaced",
    "dead-lettered",
    "filtered-out",
    "dropped",
    "expired",
    "purged",
];

/// The query of a list of messages: every part that is given must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub state: Option<String>,
    /// The event's type.
    pub event_type: Option<String>,
    /// A queue of any step.
    pub queue: Option<String>,
    pub principal: Option<String>,
    /// The code of a refusal or of a dead letter.
    pub code: Option<String>,
    /// A text in the id, the type, the path, the code or the payload.
    pub text: Option<String>,
    /// Only messages before the one with this number.
    pub before: Option<usize>,
    pub limit: Option<usize>,
}

impl Filter {
    /// Reads a query. Empty and unknown parameters are ignored.
    ///
    /// # Errors
    /// A sentence about the first parameter that has no meaning.
    pub(crate) fn parse(query: &str) -> Result<Self, String> {
        let mut filter = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty()) {
            let number = || value.parse().map_err(|_| format!("{name} is a number, not {value}."));
            match &*name {
                "state" if !STATES.contains(&&*value) => {
                    return Err(format!("state is one of {}, not {value}.", STATES.join(", ")));
                }
                "state" => filter.state = Some(value.into_owned()),
                "type" => filter.event_type = Some(value.into_owned()),
                "queue" => filter.queue = Some(value.into_owned()),
                "code" => filter.code = Some(value.into_owned()),
                "principal" => filter.principal = Some(value.into_owned()),
                "text" => filter.text = Some(value.into_owned()),
                "before" => filter.before = Some(number()?),
                "limit" => filter.limit = Some(number()?),
                _ => {}
            }
        }
        Ok(filter)
    }

    /// Returns the query of the same list without an end, or before the message with this number.
    pub(crate) fn query(&self, before: Option<usize>) -> String {
        let (before, limit) = (before.map(|number| number.to_string()), self.limit.map(|limit| limit.to_string()));
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("state", &self.state),
            ("type", &self.event_type),
            ("queue", &self.queue),
            ("principal", &self.principal),
            ("code", &self.code),
            ("text", &self.text),
            ("before", &before),
            ("limit", &limit),
        ] {
            query.extend_pairs(value.as_ref().map(|value| (name, value)));
        }
        query.finish()
    }

    /// Returns whether it asks for some messages only.
    pub(crate) fn is_narrow(&self) -> bool {
        *self != Self { before: self.before, limit: self.limit, ..Self::default() }
    }

    fn matches(&self, log: &MessageLog) -> bool {
        let same =
            |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|wanted| found == Some(wanted));
        let is_in = |wanted: &str, state| match wanted {
            _ if wanted == OPEN.0 => OPEN.1.contains(&state),
            _ if wanted == DEAD.0 => state == DEAD.1,
            _ => state == wanted,
        };
        let has_queue = |wanted: &str| log.steps.iter().any(|(_, step)| step.queue() == Some(wanted));
        self.state.as_deref().is_none_or(|wanted| is_in(wanted, log.state()))
            && same(&self.event_type, log.event_type.as_deref())
            && same(&self.principal, log.principal.as_deref())
            && same(&self.code, log.code())
            && self.queue.as_deref().is_none_or(has_queue)
    }

    fn matches_text(&self, row: &Row, content: &Content) -> bool {
        let Some(wanted) = self.text.as_deref() else { return true };
        let shown = [Some(&*row.id), row.event_type.as_deref(), row.route.as_deref(), row.code.as_deref()];
        if shown.into_iter().flatten().any(|shown| shown.contains(wanted)) {
            return true;
        }
        match (&content.envelope, &content.exchange) {
            (Some(envelope), _) => envelope.contains(wanted),
            (None, Some(exchange)) => {
                let event = exchange.event.as_deref().and_then(KeptEvent::parse);
                event.is_some_and(|event| String::from_utf8_lossy(&event.payload()).contains(wanted))
            }
            (None, None) => false,
        }
    }
}

/// A message in a list.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub id: String,
    pub state: &'static str,
    /// The number that `before` takes.
    pub number: usize,
    /// The time of its first step, and of its last.
    pub at: String,
    pub changed_at: String,
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// The queue that it is or was on.
    pub queue: Option<String>,
    pub principal: Option<String>,
    pub receive_count: Option<u32>,
    /// Method and path of its request.
    pub route: Option<String>,
    /// The place of a refused item in the batch.
    pub pointer: Option<String>,
    /// The status of a refusal.
    pub status: Option<u16>,
    /// The code of a refusal, or of a dead letter.
    pub code: Option<String>,
}

impl Row {
    pub(super) fn of(log: &MessageLog) -> Self {
        let exchange = log.content.exchange.as_ref();
        let at = |step: Option<&(time::OffsetDateTime, MessageStep)>| step.map(|(at, _)| time_text(*at));
        let (mut status, mut receive_count) = (None, None);
        for (_, step) in &log.steps {
            match step {
                MessageStep::Refused { status: of, .. } => status = Some(*of),
                MessageStep::Delivered { receive_count: count, .. } => receive_count = Some(*count),
                _ => {}
            }
        }
        Self {
            id: log.id.to_string(),
            state: log.state(),
            number: log.number,
            at: exchange.map(|exchange| time_text(exchange.at)).or_else(|| at(log.steps.first())).unwrap_or_default(),
            changed_at: at(log.steps.last()).unwrap_or_default(),
            event_type: log.event_type.as_deref().map(str::to_owned),
            queue: log.steps.iter().rev().find_map(|(_, step)| step.queue()).map(str::to_owned),
            principal: log.principal.as_deref().map(str::to_owned),
            receive_count,
            route: exchange.map(|exchange| format!("{} {}", exchange.method, exchange.path)),
            pointer: log.item.map(|index| format!("/{index}")),
            status,
            code: log.code().map(str::to_owned),
        }
    }
}

/// A part of the list of messages.
#[derive(Debug, Serialize)]
pub(crate) struct Selection {
    /// Newest first.
    pub messages: Vec<Row>,
    /// `before` of the next older part, if there is one.
    pub older: Option<usize>,
    /// The messages in memory, and those that were dropped because they are older.
    pub kept: usize,
    pub dropped: usize,
    /// The version of the list, for `/events?since=`.
    pub version: u64,
}

impl Journal {
    /// Returns the messages that a filter asks for, newest first.
    pub(crate) fn select(&self, filter: &Filter) -> Selection {
        let limit = filter.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
        let (kept, dropped, version) = self.state().counts();
        let mut selection = Selection { messages: Vec::new(), older: None, kept, dropped, version };
        let mut before = filter.before.unwrap_or(usize::MAX);
        loop {
            let mut looked_at = 0;
            let candidates: Vec<_> = {
                let logs = self.state();
                let logs = logs
                    .newest_first(before)
                    .take(CHUNK)
                    .inspect(|log| (looked_at, before) = (looked_at + 1, log.number));
                logs.filter(|log| filter.matches(log)).map(|log| (Row::of(log), log.content.clone())).collect()
            };
            for (row, content) in candidates {
                if filter.matches_text(&row, &content) {
                    if selection.messages.len() == limit {
                        selection.older = selection.messages.last().map(|last| last.number);
                        return selection;
                    }
                    selection.messages.push(row);
                }
            }
            if looked_at < CHUNK {
                return selection;
            }
        }
    }

    /// Returns the messages that changed after `version`, at most `max` of the newest; whether there are more; and the
    /// version now.
    pub(crate) fn changed_since(&self, version: u64, max: usize) -> (Vec<Row>, bool, u64) {
        let logs = self.state();
        let (_, _, now) = logs.counts();
        if now == version {
            return (Vec::new(), false, now);
        }
        let mut changed = logs.newest_first(usize::MAX).filter(|log| log.changed > version);
        let rows = changed.by_ref().take(max).map(Row::of).collect();
        (rows, changed.next().is_some(), now)
    }
}
