//! The events of `--json`: one object for each line, documented in `docs/local.md`.

use std::path::Path;

use serde::Serialize;
use time::OffsetDateTime;

use crate::{cargo_build::BuildProgress, journal, journal::MessageStep, stack::Addresses};

/// The names of the events.
pub const EVENTS: [&str; 10] =
    ["starting", "build", "started", "request", "step", "log", "notice", "warning", "error", "stopped"];

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Event<'a> {
    Starting(&'a Addresses),
    Build(Build<'a>),
    Started {
        #[serde(flatten)]
        addresses: &'a Addresses,
        routes: &'a [String],
        took_ms: u128,
    },
    Request {
        method: &'a str,
        path: &'a str,
        status: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<&'a str>,
        took_ms: u128,
    },
    Step {
        id: &'a str,
        #[serde(flatten)]
        step: &'a MessageStep,
    },
    Log {
        function: &'a str,
        line: &'a str,
    },
    Notice {
        text: &'a str,
    },
    Warning {
        text: &'a str,
    },
    Error {
        text: &'a str,
    },
    Stopped {
        success: bool,
    },
}

#[derive(Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub(super) enum Build<'a> {
    Started { binaries: &'a [String], folder: &'a Path },
    Running(&'a BuildProgress),
    Finished,
    Failed,
}

impl Event<'_> {
    /// Returns the event with its time, in one line.
    pub(super) fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Timed<'a> {
            at: String,
            #[serde(flatten)]
            event: &'a Event<'a>,
        }
        let timed = Timed { at: journal::time_text(OffsetDateTime::now_utc()), event: self };
        // Only a path that is not UTF-8 cannot be written.
        serde_json::to_string(&timed).unwrap_or_else(|error| Event::Error { text: &error.to_string() }.to_json())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_event_is_one_object_with_its_name_and_time() {
        let check = |event: Event<'_>, expected: Value| {
            let text = event.to_json();
            assert!(!text.contains('\n'), "{text}");
            let mut value: Value = serde_json::from_str(&text).unwrap();
            let at = value.as_object_mut().unwrap().remove("at").unwrap();
            assert_eq!(at.as_str().unwrap().len(), "2026-01-01T00:00:00.000Z".len(), "{at}");
            assert!(EVENTS.contains(&value["event"].as_str().unwrap()), "{value}");
            assert_eq!(value, expected);
        };
        let addresses = Addresses {
            gateway: "http://g".to_owned(),
            admin: "http://a".to_owned(),
            aws: "http://s".to_owned(),
            rabbitmq: None,
            rabbitmq_management: None,
            kafka: None,
        };
        check(
            Event::Starting(&addresses),
            json!({ "event": "starting", "gateway": "http://g", "admin": "http://a", "aws": "http://s" }),
        );
        check(Event::Build(Build::Failed), json!({ "event": "build", "state": "failed" }));
        let (binaries, folder) = (["ingress".to_owned()], Path::new("functions/ingress"));
        check(
            Event::Build(Build::Started { binaries: &binaries, folder }),
            json!({ "event": "build", "state": "started", "binaries": ["ingress"], "folder": "functions/ingress" }),
        );
        let step = MessageStep::DeadLettered { queue: "q".to_owned(), reason: "two\nlines".to_owned(), code: None };
        check(
            Event::Step { id: "1", step: &step },
            json!({ "event": "step", "id": "1", "step": "dead-lettered", "queue": "q", "reason": "two\nlines" }),
        );
        let request = Event::Request { method: "GET", path: "/", status: 200, code: None, took_ms: 3 };
        check(request, json!({ "event": "request", "method": "GET", "path": "/", "status": 200, "took_ms": 3 }));
        check(Event::Stopped { success: true }, json!({ "event": "stopped", "success": true }));
    }

    #[cfg(unix)]
    #[test]
    fn what_json_cannot_hold_is_an_error_event() {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = Path::new(std::ffi::OsStr::from_bytes(b"\xff"));
        let text = Event::Build(Build::Started { binaries: &[], folder }).to_json();
        assert!(text.contains(r#""event":"error""#), "{text}");
    }
}
