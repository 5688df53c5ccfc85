//! The journal records each step once and the right state, for every order of the sources' reports.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sluicegate_lambda_emulator::{MappedMessage, MappingEvent};
use sqs_emulator::QueueEvent;

use serde_json::{Value, json};

use super::logs::{CONTENT_BYTES_MAX, CONTENTS_BYTES_MAX, MESSAGES_MAX, STEPS_MAX};
use super::{Filter, Journal};
use crate::rabbitmq::Published;
use crate::s3::S3;

const BODY: &str = r#"{"specversion":"1.0","id":"e-1","data":{}}"#;

/// A step of the message, as its source reports it.
enum Reported {
    Sent(&'static str),
    /// By the consumer, with a reason and a code.
    Rejected(Option<&'static str>, Option<&'static str>),
    Answered,
    AnsweredByRemote,
    Delivered(u32),
    Done,
    Returned,
    BatchFailed,
    VisibleIn(u32),
    /// A dead letter was shown.
    Shown,
    GivenUp,
    /// By SQS.
    Moved,
    /// By `sluicegate dlq` or the console.
    Redriven,
    RedrivenOnRabbitmq,
    /// To RabbitMQ, into this queue: by ingress to an exchange, or republished by the consumer.
    Published(&'static str),
    Copied(&'static str),
}

fn journal() -> (Journal, Arc<Mutex<Vec<String>>>) {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let observed = lines.clone();
    let observer = Arc::new(move |id: &str, step: &super::MessageStep| {
        observed.lock().unwrap().push(format!("{} {id} {step}", step.name()));
    });
    (Journal::new(["dlq".to_owned()], S3::default(), observer), lines)
}

/// Returns the message's log: `{"id", "state", "steps": [{"at", "step", …}]}`.
fn log_of(journal: &Journal, id: &str) -> Option<Value> {
    let message = journal.message(id)?;
    let steps: Vec<_> = message.steps.iter().map(|(at, step)| super::step_json(*at, step)).collect();
    Some(json!({ "id": message.row.id, "state": message.row.state, "steps": steps }))
}

fn mapped(receive_count: u32) -> MappedMessage {
    let function = "consumer".into();
    MappedMessage { queue: "q".into(), function, message_id: "m-1".into(), body: BODY.into(), receive_count }
}

fn report(journal: &Journal, reported: &Reported) {
    let (queue, message_id, body): (Arc<str>, Arc<str>, Arc<str>) = ("q".into(), "m-1".into(), BODY.into());
    let (target, receive_count): (Arc<str>, u32) = ("dlq".into(), 5);
    match reported {
        Reported::Sent(queue) => {
            journal.queue_event(&QueueEvent::Sent {
                queue: (*queue).into(),
                message_id,
                body,
                attributes: BTreeMap::new(),
            });
        }
        Reported::Rejected(reason, code) => {
            let attributes = [("sluicegate-reason", *reason), ("sluicegate-code", *code)].into_iter();
            let attributes = attributes.filter_map(|(name, text)| Some((name.to_owned(), text?.to_owned()))).collect();
            journal.queue_event(&QueueEvent::Sent { queue: target, message_id, body, attributes });
        }
        Reported::Answered => journal.answered("e-1", None),
        Reported::AnsweredByRemote => journal.answered("e-1", Some("http://there")),
        Reported::Delivered(count) => journal.mapping_event(&MappingEvent::Delivered(mapped(*count))),
        Reported::Done => journal.mapping_event(&MappingEvent::Done(mapped(1))),
        Reported::Returned => journal.mapping_event(&MappingEvent::Returned(mapped(1))),
        Reported::BatchFailed => {
            let reason = "timed out".to_owned();
            journal.mapping_event(&MappingEvent::BatchFailed { message: mapped(1), reason });
        }
        Reported::VisibleIn(timeout_s) => {
            let timeout_s = *timeout_s;
            journal.queue_event(&QueueEvent::VisibilityChanged { queue, message_id, body, receive_count, timeout_s });
        }
        Reported::Shown => {
            let (queue, timeout_s) = (target, 0);
            journal.queue_event(&QueueEvent::VisibilityChanged { queue, message_id, body, receive_count, timeout_s });
        }
        Reported::GivenUp => {
            journal.queue_event(&QueueEvent::DeadLettered { queue, message_id, body, receive_count, target });
        }
        Reported::Redriven => {
            let attributes = BTreeMap::from([("sluicegate-redrives".to_owned(), "1".to_owned())]);
            journal.queue_event(&QueueEvent::Sent { queue, message_id, body, attributes });
        }
        Reported::Published(_) | Reported::Copied(_) | Reported::RedrivenOnRabbitmq => {
            let queue = match reported {
                Reported::Published(queue) | Reported::Copied(queue) => queue,
                _ => "q",
            };
            let is_copy = matches!(reported, Reported::Copied(_));
            journal.published(&Published {
                exchange: if is_copy { "" } else { "orders" }.to_owned(),
                queues: vec![queue.to_owned()],
                message_id: "m-1".to_owned(),
                body: BODY.to_owned(),
                reason: queue.ends_with(".dlq").then(|| "card expired".to_owned()),
                code: queue.ends_with(".dlq").then(|| "card_expired".to_owned()),
                is_copy,
                is_redriven: matches!(reported, Reported::RedrivenOnRabbitmq),
            });
        }
        Reported::Moved => {
            let (queue, target) = ("dlq".into(), "q".into());
            journal.queue_event(&QueueEvent::Moved { queue, message_id, body, target, new_message_id: "m-2".into() });
        }
    }
}

#[test]
fn a_log_has_each_step_once_and_the_right_state() {
    use Reported::*;
    let check = |life: &[Reported], state: &str, expected: &[&str]| {
        let (journal, lines) = journal();
        life.iter().for_each(|reported| report(&journal, reported));
        assert_eq!(*lines.lock().unwrap(), expected);
        let log = log_of(&journal, "e-1").expect("a log");
        assert_eq!((&log["id"], &log["state"]), (&"e-1".into(), &state.into()), "{log:#}");
        let steps = log["steps"].as_array().expect("steps");
        let names = |steps: &[&str]| -> Vec<String> {
            steps.iter().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
        };
        let recorded: Vec<_> = steps.iter().map(|step| step["step"].as_str().expect("a name")).collect();
        assert_eq!(recorded, names(expected));
    };
    let (accepted, delivered) = ("accepted e-1 into q", "delivered e-1 from q to consumer, receive 1");
    check(&[Sent("q"), Answered, Delivered(1), Done], "done", &[accepted, delivered, "done e-1 "]);
    check(
        &[Sent("q"), Answered, GivenUp, Shown],
        "dead-lettered",
        &[accepted, "dead-lettered e-1 into dlq: receives exhausted (5)"],
    );
    check(
        &[Sent("q"), Answered, Delivered(1), Done, Answered],
        "done",
        &[accepted, delivered, "done e-1 ", "repeated e-1 is already on the queue"],
    );
    check(
        &[Sent("q"), Delivered(1), VisibleIn(7), Returned, Delivered(2), Returned],
        "returned",
        &[
            accepted,
            delivered,
            "retrying e-1 in 7 s",
            "delivered e-1 from q to consumer, receive 2",
            "returned e-1 to its queue: consumer listed it as failed",
        ],
    );
    check(
        &[Sent("q"), Delivered(1), BatchFailed, GivenUp, Moved],
        "redriven",
        &[
            accepted,
            delivered,
            "returned e-1 to its queue: timed out",
            "dead-lettered e-1 into dlq: receives exhausted (5)",
            "redriven e-1 from dlq into q",
        ],
    );
    for (reason, code, step) in [
        (Some("card expired"), None, "dead-lettered e-1 into dlq: card expired"),
        (Some("card expired"), Some("card_expired"), "dead-lettered e-1 into dlq: card_expired: card expired"),
        (None, None, "dead-lettered e-1 into dlq: sent there without a reason"),
    ] {
        let life = [Sent("q"), Delivered(1), Rejected(reason, code), Done];
        check(&life, "dead-lettered", &[accepted, delivered, step]);
    }
    // The answer to a later request with the same key is a repetition.
    check(
        &[Sent("q"), Answered, GivenUp, Redriven, Answered],
        "redriven",
        &[
            accepted,
            "dead-lettered e-1 into dlq: receives exhausted (5)",
            "redriven e-1 from dlq into q",
            "repeated e-1 is already on the queue",
        ],
    );
    let remote = "accepted e-1 into http://there";
    let life = [remote, delivered, "done e-1 "];
    check(&[AnsweredByRemote, Delivered(1), Done], "done", &life);
    let repeated = [life.as_slice(), &["repeated e-1 is already on the queue"]].concat();
    check(&[AnsweredByRemote, Delivered(1), Done, AnsweredByRemote], "done", &repeated);
}

#[test]
fn a_log_on_rabbitmq_has_publishes_and_their_outcomes() {
    use Reported::{AnsweredByRemote, BatchFailed, Copied, Delivered, Done, Published, RedrivenOnRabbitmq};
    let check = |life: &[Reported], expected: &[&str]| {
        let (journal, _) = journal();
        life.iter().for_each(|reported| report(&journal, reported));
        let log = log_of(&journal, "e-1").expect("a log");
        let steps = log["steps"].as_array().expect("steps");
        let names: Vec<_> = steps.iter().map(|step| step["step"].as_str().expect("a name")).collect();
        assert_eq!(names, expected, "{log:#}");
        assert_eq!(log["state"], *expected.last().expect("a state"));
    };
    check(&[Published("q"), AnsweredByRemote, Delivered(1), Done], &["accepted", "delivered", "done"]);
    // The delivery or the answer may be recorded before the trace.
    check(&[Delivered(1), Published("q"), AnsweredByRemote, Done], &["accepted", "delivered", "done"]);
    check(&[AnsweredByRemote, Delivered(1), Done], &["accepted", "delivered", "done"]);
    check(
        &[Published("q"), Delivered(1), Copied("q.retry.15s"), Done, Delivered(2), Copied("q.dlq"), Done],
        &["accepted", "delivered", "retrying", "delivered", "dead-lettered"],
    );
    check(
        &[Published("q"), Delivered(1), Copied("q.dlq"), RedrivenOnRabbitmq],
        &["accepted", "delivered", "dead-lettered", "redriven"],
    );
    check(&[Published("q"), Delivered(1), Copied("q"), Done], &["accepted", "delivered", "returned"]);
    check(
        &[Published("q"), Delivered(1), BatchFailed, Delivered(2), Done],
        &["accepted", "delivered", "returned", "delivered", "done"],
    );
    assert_eq!(super::rabbitmq::retry_delay_s("a.retry.b.retry.60s"), Some(60));
    for queue in ["a", "a.retry.s", "a.retry.5", "a.delay.5s"] {
        assert_eq!(super::rabbitmq::retry_delay_s(queue), None, "{queue}");
    }
}

#[test]
fn a_remote_endpoints_message_is_accepted_first_even_if_the_answer_is_seen_after_the_delivery() {
    use Reported::*;
    for life in [
        [AnsweredByRemote, Delivered(1), Done, AnsweredByRemote],
        [Delivered(1), AnsweredByRemote, Done, AnsweredByRemote],
        [Delivered(1), Done, AnsweredByRemote, AnsweredByRemote],
    ] {
        let (journal, _) = journal();
        life.iter().for_each(|reported| report(&journal, reported));
        let log = log_of(&journal, "e-1").expect("a log");
        assert_eq!(log["state"], "done");
        let steps = log["steps"].as_array().expect("steps");
        let names: Vec<_> = steps.iter().map(|step| step["step"].as_str().expect("a name")).collect();
        assert_eq!(names, ["accepted", "delivered", "done", "repeated"]);
        assert!(steps.is_sorted_by_key(|step| step["at"].as_str()), "{log:#}");
    }
}

/// A time without the last digit would sort after the next millisecond.
#[test]
fn the_times_of_steps_have_three_digits_of_the_second() {
    let at = |unix_ms: i128| {
        let at = time::OffsetDateTime::from_unix_timestamp_nanos(unix_ms * 1_000_000).expect("a time");
        super::step_json(at, &super::MessageStep::Done)["at"].as_str().expect("a text").to_owned()
    };
    assert_eq!(at(1_795_939_540_040), "2026-11-29T08:05:40.040Z");
    assert_eq!(at(1_795_939_540_000), "2026-11-29T08:05:40.000Z");
}

#[test]
fn a_raw_message_is_tracked_by_its_message_id() {
    let check = |body: &str, id: &str| {
        let (journal, _) = journal();
        let (queue, message_id) = ("q".into(), "m-1".into());
        journal.queue_event(&QueueEvent::Sent { queue, message_id, body: body.into(), attributes: BTreeMap::new() });
        assert!(log_of(&journal, id).is_some(), "{body} is identified by {id}");
    };
    check(BODY, "e-1");
    check("plain", "m-1");
    check(r#"{"id":"e-1"}"#, "m-1");
    check(r#"{"specversion":"1.0","id":""}"#, "m-1");
}

#[test]
fn the_journal_is_bounded() {
    let (journal, _) = journal();
    for index in 0..=MESSAGES_MAX {
        journal.answered(&format!("id-{index}"), Some("q"));
    }
    assert_eq!(log_of(&journal, "id-0"), None, "the oldest is dropped");
    assert_eq!(
        journal.select(&Filter { limit: Some(1), ..Filter::default() }).messages[0].id,
        format!("id-{MESSAGES_MAX}")
    );
    for count in 0..STEPS_MAX + 10 {
        report(&journal, &Reported::Delivered(u32::try_from(count).unwrap()));
    }
    let log = log_of(&journal, "e-1").expect("a log");
    let steps = log["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), STEPS_MAX);
    assert_eq!((&steps[0]["receive_count"], &steps[1]["receive_count"]), (&0.into(), &11.into()));
}

#[test]
fn the_requests_and_envelopes_of_the_oldest_messages_are_dropped() {
    let (journal, _) = journal();
    let send = |id: &str, body: String| {
        journal.queue_event(&QueueEvent::Sent {
            queue: "q".into(),
            message_id: id.into(),
            body: body.into(),
            attributes: BTreeMap::new(),
        });
    };
    let kept = |id: &str| {
        let content = journal.message(id).expect("the log stays").content;
        (content.envelope.is_some(), content.is_incomplete)
    };
    let count = CONTENTS_BYTES_MAX / CONTENT_BYTES_MAX;
    for number in 0..=count {
        send(&format!("m-{number}"), "x".repeat(CONTENT_BYTES_MAX));
    }
    assert_eq!((kept("m-0"), kept("m-1"), kept(&format!("m-{count}"))), ((false, true), (true, false), (true, false)));
    send("large", "x".repeat(CONTENT_BYTES_MAX + 1));
    assert_eq!((kept("large"), kept("m-1")), ((false, true), (true, false)));
    // An old message that is sent again has a newer envelope, and is again the oldest.
    send("m-0", "x".repeat(CONTENT_BYTES_MAX));
    send("last", String::new());
    assert_eq!((kept("m-0"), kept("m-1"), kept("last")), ((false, true), (true, false), (true, false)));
}

#[test]
fn a_correction_that_changes_the_id_leads_from_one_message_to_the_other() {
    let (journal, lines) = journal();
    for reported in [Reported::Sent("q"), Reported::GivenUp] {
        report(&journal, &reported);
    }
    let (queue, message_id, body) = ("q".into(), "m-2".into(), BODY.replace("e-1", "e-2").into());
    let attributes = BTreeMap::from([("sluicegate-redrives".to_owned(), "1".to_owned())]);
    journal.queue_event(&QueueEvent::Sent { queue, message_id, body, attributes });
    journal.corrected("e-1", "e-2");
    assert_eq!(
        lines.lock().unwrap()[2..],
        ["redriven e-2 into q", "replaced e-1 by e-2, which was redriven"].map(str::to_owned)
    );
    let message = journal.message("e-2").expect("a log");
    assert_eq!((message.row.state, message.corrects.as_deref()), ("redriven", Some("e-1")));
    assert_eq!(journal.message("e-1").expect("a log").row.state, "replaced");
}
