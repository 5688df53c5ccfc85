//! Batches of an in-memory source, on paused time.

mod idempotency;

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{LazyLock, Mutex};

use proptest::prelude::*;
use sluicegate_envelope::DecodeError;

use super::*;
use crate::handlers::{json, plain};
use crate::{BatchResponse, BreakerLimits, CircuitBreaker, RetryPolicy};

/// Records the calls; sending to the dead-letter queue can be made to fail.
#[derive(Default)]
struct Memory {
    bodies: Vec<String>,
    dead_letters: Mutex<Vec<(usize, Rejection)>>,
    delays: Mutex<Vec<(usize, Duration)>>,
    broken: bool,
    /// A send to the dead-letter queue never completes.
    silent: bool,
    /// Each receive is the last that the queue allows.
    last: bool,
    /// Failures of handlers.
    failures: AtomicUsize,
}

impl Source for Memory {
    type Undecodable = DecodeError;
    type Unsettled = Infallible;

    /// The tests pass the messages.
    fn messages(&self) -> Vec<ReceivedMessage<'_>> {
        Vec::new()
    }

    fn decode(&self, index: usize) -> Result<Envelope, DecodeError> {
        Envelope::decode(&self.bodies[index])
    }

    fn sent_unix_ms(&self, index: usize, _: Option<&Envelope>) -> Option<u64> {
        u64::try_from(index).ok()
    }

    /// Counts as a broker does that dead-letters by itself, unless each failure is the last.
    async fn failed(&self, _: usize, _: bool) -> Tries {
        self.failures.fetch_add(1, Relaxed);
        Tries { count: 1, last: self.last }
    }

    async fn is_last_receive(&self, _: usize) -> bool {
        self.last
    }

    async fn dead_letter(&self, index: usize, rejection: &Rejection) -> Result<(), SendError> {
        tokio::task::yield_now().await;
        if self.silent {
            std::future::pending::<()>().await;
        }
        if self.broken {
            return Err(SendError::NotSent { reason: "no dead-letter queue".to_owned() });
        }
        self.dead_letters.lock().unwrap().push((index, rejection.clone()));
        Ok(())
    }

    async fn return_to_queue(&self, returned: &[(usize, Option<Duration>)]) {
        let delays = returned.iter().filter_map(|&(index, delay)| Some((index, delay?)));
        self.delays.lock().unwrap().extend(delays);
    }

    fn respond(&self, _: &[Settlement]) -> Result<BatchResponse, Infallible> {
        Ok(BatchResponse::of(std::iter::empty()))
    }
}

/// What a disposition means for the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Observed {
    Done,
    DeadLettered,
    Returned(Option<Duration>),
}

impl From<Disposition> for Observed {
    fn from(disposition: Disposition) -> Self {
        match disposition {
            Disposition::Duplicate => Self::Done,
            Disposition::Done => Self::Done,
            Disposition::Rejected | Disposition::Undecodable => Self::DeadLettered,
            Disposition::Retry(delay) | Disposition::RejectFailed(delay) => Self::Returned(Some(delay)),
            Disposition::Returned(delay) => Self::Returned(delay),
        }
    }
}

static RETRIES: LazyLock<RetryPolicies> = LazyLock::new(|| {
    let otherwise = RetryPolicy { cap: Duration::from_secs(60), ..RetryPolicy::default() };
    RetryPolicies { otherwise, ..RetryPolicies::default() }
});

/// Returns ten seconds for the handlers, and one more for settling.
fn deadlines() -> Deadlines {
    let after = |ms| Instant::now() + Duration::from_millis(ms);
    Deadlines::at(after(10_000), after(10_700), after(11_000))
}

fn rules(handlers: &Handlers, concurrency: usize, deadlines: Deadlines) -> BatchRun<'_> {
    let report = Report { request_id: "r", xray: None, at: std::time::UNIX_EPOCH, emitter: None };
    BatchRun {
        handlers,
        retries: &RETRIES,
        idempotency: None,
        statuses: None,
        concurrency,
        deadlines,
        report,
        #[cfg(feature = "otlp")]
        trace: None,
    }
}

/// Handlers that act by the event's type and record the ids of their events.
fn handlers(started: &Arc<Mutex<Vec<String>>>) -> Handlers {
    let mut handlers = Handlers::default();
    let started = Arc::clone(started);
    handlers.otherwise(plain(move |delivery: Arc<Delivery>| {
        started.lock().unwrap().push(delivery.envelope().id().to_owned());
        assert_ne!(delivery.envelope().event_type(), "panic.early", "a panic before there is a future");
        async move {
            tokio::task::yield_now().await;
            match delivery.envelope().event_type() {
                "done" => Outcome::Done,
                "retry" => Outcome::Retry,
                "after" => Outcome::RetryAfter(Duration::from_secs(77)),
                "reject" => Outcome::reject("refused", "said so"),
                "failed" => Outcome::Failed("the warehouse is closed".to_owned()),
                "hang" => std::future::pending().await,
                "slow" => {
                    tokio::time::sleep(Duration::from_secs(4)).await;
                    Outcome::Done
                }
                other => panic!("{other}"),
            }
        }
    }));
    handlers
}

struct Ran {
    ended: Vec<Settlement>,
    settled: Vec<Observed>,
    memory: Memory,
    started: Vec<String>,
}

/// Settles messages `(type, group)`, on a FIFO queue if they have a group; the type `garbage` is not an event. The
/// handlers have ten seconds, and settling one more.
async fn run(messages: &[(&str, Option<&str>)], concurrency: usize, broken: bool) -> Ran {
    run_with(messages, concurrency, Memory { broken, ..Memory::default() }).await
}

async fn run_with(messages: &[(&str, Option<&str>)], concurrency: usize, memory: Memory) -> Ran {
    let started = Arc::default();
    let ran = run_handlers(&handlers(&started), messages, concurrency, memory).await;
    let started = std::mem::take(&mut *started.lock().unwrap());
    Ran { started, ..ran }
}

async fn run_handlers(
    handlers: &Handlers,
    messages: &[(&str, Option<&str>)],
    concurrency: usize,
    memory: Memory,
) -> Ran {
    let body = |index: usize, event_type: &str| match event_type {
        "garbage" => "Order ID: 12345".to_owned(),
        event_type => Envelope::builder(index.to_string(), "/", event_type).build().unwrap().encode(),
    };
    let received_message = messages.iter().enumerate().map(|(index, (_, group))| ReceivedMessage {
        id: format!("m-{index}").into(),
        queue: "queue",
        receive_count: 1,
        group: group.map(Cow::Borrowed),
        ordered: group.is_some(),
        trace_header: None,
    });
    let received_message: Vec<_> = received_message.collect();
    let bodies = messages.iter().enumerate().map(|(index, (event_type, _))| body(index, event_type)).collect();
    let memory = Memory { bodies, ..memory };
    let ended = rules(handlers, concurrency, deadlines()).settle(&memory, &received_message).await;
    let settled = ended.iter().map(|ended| ended.disposition.into()).collect();
    Ran { ended, settled, memory, started: Vec::new() }
}

fn shown(settled: &[Observed]) -> String {
    let letter = |how: &Observed| match how {
        Observed::Done => 'd',
        Observed::DeadLettered => 'x',
        Observed::Returned(Some(_)) => 'r',
        Observed::Returned(None) => 'u',
    };
    settled.iter().map(letter).collect()
}

/// `d`one, dead-lettered (`x`), `r`eturned with a delay, returned `u`ntouched.
async fn check(messages: &[(&str, Option<&str>)], expected: &str) -> Ran {
    let ran = run(messages, 10, false).await;
    assert_eq!(shown(&ran.settled), expected, "{messages:?}");
    ran
}

#[tokio::test(start_paused = true)]
async fn a_failing_message_does_not_affect_the_others() {
    let types = ["done", "panic", "garbage", "panic.early", "reject", "hang", "retry", "after", "done", "failed"];
    let ran = check(&types.map(|event_type| (event_type, None)), "drxrxrrrdr").await;
    let dead: Vec<_> = ran.memory.dead_letters.into_inner().unwrap();
    assert_eq!(dead.len(), 2);
    let is_undecodable = |rejection: &Rejection| {
        rejection.code() == "undecodable" && rejection.detail().starts_with("undecodable: not JSON")
    };
    assert!(dead.iter().any(|(index, rejection)| *index == 2 && is_undecodable(rejection)));
    assert!(dead.contains(&(4, Rejection::new("refused", "said so"))));
    let delays = ran.memory.delays.into_inner().unwrap();
    assert_eq!(delays.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 3, 5, 6, 7, 9]);
    assert!(delays.contains(&(7, Duration::from_secs(77))), "a delay that the handler chose is used exactly");
    assert!(delays.iter().all(|(index, delay)| *index == 7 || *delay <= Duration::from_secs(2)));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_away_is_left_alone_and_all_its_messages_are_done_once_it_is_back() {
    // Open for so long that the wall clock, which the test does not set, does not matter.
    const LIMITS: BreakerLimits =
        BreakerLimits { open_initial: Duration::from_secs(60), ..CircuitBreaker::LIMITS_DEFAULT };
    static WAREHOUSE: CircuitBreaker = CircuitBreaker::with_limits("warehouse", LIMITS);
    let (calls, is_away) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
    let mut handlers = Handlers::default();
    handlers.on("other", plain(async |_| ()));
    let service = (Arc::clone(&calls), Arc::clone(&is_away));
    handlers.on(
        "order",
        plain(move |_| {
            let (calls, is_away) = service.clone();
            async move {
                let call = async {
                    calls.fetch_add(1, Relaxed);
                    if is_away.load(Relaxed) { Err("no answer") } else { Ok(()) }
                };
                WAREHOUSE.call(call).await??;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
            }
        }),
    );
    let messages = ["order", "order", "other", "order", "order", "order", "other"].map(|event_type| (event_type, None));
    let run = async || {
        let before = calls.load(Relaxed);
        let ran = run_handlers(&handlers, &messages, 1, Memory::default()).await;
        let delays: Vec<_> = ran.memory.delays.into_inner().unwrap().into_iter().map(|(_, delay)| delay).collect();
        (shown(&ran.settled), calls.load(Relaxed) - before, delays)
    };
    // As SQS rounds it.
    let whole_s = |delay: Duration| Duration::from_secs(delay.as_secs() + 1);
    let are_between = |delays: &[Duration], least_s, most_s| {
        let (least, most) = (Duration::from_secs(least_s), Duration::from_secs(most_s));
        assert!(delays.iter().all(|delay| least <= *delay && *delay <= most), "{least_s} to {most_s} s: {delays:?}");
    };

    let (settled, called, delays) = run().await;
    assert_eq!((settled.as_str(), called), ("rrdrrrd", 3), "the third failure opens the breaker");
    are_between(&delays[3..], 20, 60);

    let (settled, called, delays) = run().await;
    assert_eq!((settled.as_str(), called), ("rrdrrrd", 0), "it is open");
    are_between(&delays, 20, 60);

    tokio::time::advance(whole_s(delays[0])).await;
    let (settled, called, delays) = run().await;
    assert_eq!((settled.as_str(), called), ("rrdrrrd", 1), "the probe fails");
    are_between(&delays[1..], 50, 120);

    is_away.store(false, Relaxed);
    tokio::time::advance(whole_s(delays[1])).await;
    let (settled, called, _) = run().await;
    assert_eq!((settled.as_str(), called), ("ddddddd", 5));
}

#[tokio::test(start_paused = true)]
async fn the_last_receive_of_a_message_has_the_code_of_its_end() {
    for (event_type, code, cause) in [
        ("retry", "receives_exhausted", "the handler returned a retry"),
        ("after", "receives_exhausted", "the handler returned a retry"),
        ("failed", "receives_exhausted", "the warehouse is closed"),
        ("panic", "handler_panicked", "the handler panicked"),
        ("hang", "handler_cancelled", "the handler was cancelled at the deadline"),
        ("reject", "refused", ""),
    ] {
        let ran = run_with(&[(event_type, None)], 1, Memory { last: true, ..Memory::default() }).await;
        let detail = match cause {
            "" => "said so".to_owned(),
            cause => format!("receives exhausted after 1: {cause}"),
        };
        let expected = [(0, Rejection::new(code, detail))];
        assert_eq!(*ran.memory.dead_letters.lock().unwrap(), expected, "{event_type}");
    }
}

/// <https://github.com/aws-powertools/powertools-lambda-python/issues/1927>
/// <https://github.com/aws-powertools/powertools-lambda-python/issues/2981>
#[tokio::test(start_paused = true)]
async fn a_failure_returns_later_messages_of_its_group_only() {
    let (a, b) = (Some("a"), Some("b"));
    let ran = check(&[("done", a), ("after", a), ("done", b), ("done", a), ("reject", b), ("done", b)], "drdrxd").await;
    assert!(!ran.started.contains(&"3".to_owned()), "not even started");
    let delays = ran.memory.delays.into_inner().unwrap();
    assert_eq!(
        delays,
        [(1, Duration::from_secs(77)), (3, Duration::from_secs(77))],
        "the same wait for the whole group"
    );
}

#[tokio::test(start_paused = true)]
async fn a_group_is_handled_in_order_and_one_at_a_time() {
    let group = Some("a");
    // Each takes four of the ten seconds: the third is cancelled, the fourth never starts.
    let ran = check(&[("slow", group), ("slow", group), ("slow", group), ("done", group)], "ddrr").await;
    assert_eq!(ran.started, ["0", "1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn messages_not_started_before_the_deadline_are_returned_untouched() {
    let ran = run(&[("slow", None); 8], 2, false).await;
    assert_eq!(shown(&ran.settled), "ddddrruu");
    assert_eq!(ran.started.len(), 6, "two at a time");
    assert_eq!(ran.memory.delays.into_inner().unwrap().len(), 2);
}

/// The queue would dead-letter them without a reason.
#[tokio::test(start_paused = true)]
async fn messages_not_started_in_their_last_receive_are_dead_lettered_with_the_reason() {
    let last = || Memory { last: true, ..Memory::default() };
    let ran = run_with(&[("slow", None), ("slow", None), ("slow", None), ("done", None)], 1, last()).await;
    assert_eq!((shown(&ran.settled).as_str(), ran.started.len()), ("ddxx", 3));
    let dead_letters = ran.memory.dead_letters.into_inner().unwrap();
    let detail = "receives exhausted after 1: not started before the deadline";
    assert_eq!(dead_letters[1], (3, Rejection::new("not_started", detail)));
    // Behind a message of the group whose dead letter is not stored.
    let group = Some("a");
    let ran = run_with(&[("reject", group), ("done", group)], 1, Memory { broken: true, ..last() }).await;
    assert_eq!((shown(&ran.settled).as_str(), ran.started.len()), ("rr", 1));
}

#[tokio::test(start_paused = true)]
async fn a_reject_that_cannot_be_stored_is_returned() {
    let (a, b) = (Some("a"), Some("b"));
    let ran = run(&[("reject", a), ("done", a), ("garbage", b), ("done", None)], 10, true).await;
    assert_eq!(shown(&ran.settled), "rrrd");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_queue_that_does_not_answer_leaves_time_to_return_the_others() {
    let ran = run_with(&[("reject", None), ("after", None)], 10, Memory { silent: true, ..Memory::default() }).await;
    assert_eq!(shown(&ran.settled), "rr");
    let delays = ran.memory.delays.into_inner().unwrap();
    assert_eq!(delays.iter().find(|(index, _)| *index == 1), Some(&(1, Duration::from_secs(77))));
}

/// A message that was not started in time used up a receive, so it starts first in the next batch.
#[test]
fn messages_with_the_most_receives_start_first() {
    let message = |receive_count| ReceivedMessage {
        id: "m".into(),
        queue: "queue",
        receive_count,
        group: None,
        ordered: false,
        trace_header: None,
    };
    let started = |receive_counts: &[u32]| {
        let messages: Vec<_> = receive_counts.iter().map(|&count| message(count)).collect();
        groups(&messages).concat()
    };
    assert_eq!(started(&[1, 3, 2, 3]), [1, 3, 2, 0]);
    assert_eq!(started(&[1, 1, 1]), [0, 1, 2], "in the order of arrival otherwise");
}

#[tokio::test(start_paused = true)]
async fn a_message_without_a_handler_is_rejected_without_a_time_of_one() {
    let mut handlers = Handlers::default();
    handlers.on("done", plain(async |_| ()));
    let ran = run_handlers(&handlers, &[("done", None), ("other", None)], 10, Memory::default()).await;
    assert_eq!(shown(&ran.settled), "dx");
    assert_eq!(ran.ended.iter().map(|ended| ended.handler.is_some()).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test(start_paused = true)]
async fn handlers_are_found_by_type() {
    let mut handlers = Handlers::default();
    let name = |name: &'static str| plain(move |_| async move { Outcome::reject("handled", name) });
    for pattern in ["github.*", "github.issues.*", "github.push"] {
        handlers.on(pattern, name(pattern));
    }
    handlers
        .on("order", json(|order: Vec<u8>, _| async move { Outcome::reject("handled", format!("order {order:?}")) }));
    for (event_type, payload, code, expected) in [
        ("github.push", "", "handled", "github.push"),
        ("github.pushed", "", "handled", "github.*"),
        ("github.issues.opened", "", "handled", "github.issues.*"),
        ("github", "", "no_handler", "no handler for type github"),
        ("order", "[1,2]", "handled", "order [1, 2]"),
        ("order", "[1,\"secret\"]", "payload_invalid", "payload does not fit at [1] (line 1, column 11)"),
        ("order", "[1", "payload_invalid", "payload is not JSON (line 1, column 2)"),
        ("order", "[1] x", "payload_invalid", "payload has more text after its JSON value"),
    ] {
        let envelope = Envelope::builder("1", "/", event_type).payload(Some("text/plain"), payload).build().unwrap();
        let outcome = match handlers.of(event_type) {
            Ok(handler) => handler(crate::testing::delivery(envelope).build()).await,
            Err(rejection) => rejection,
        };
        assert_eq!(outcome, Outcome::reject(code, expected), "{event_type} {payload}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// For any outcomes of the handlers: one settlement for each message, one copy for each that is dead-lettered, a
    /// delay for each that is returned after a start, and within a group nothing is handled after a failure.
    #[test]
    fn every_delivery_is_settled_exactly_once(
        picks in prop::collection::vec((0..9usize, 0..4usize), 0..25),
        concurrency in 0..12usize,
        broken: bool,
    ) {
        let types = ["done", "retry", "after", "reject", "panic", "panic.early", "garbage", "hang", "slow"];
        let groups = [None, Some("a"), Some("b"), Some("c")];
        let messages: Vec<_> = picks.iter().map(|&(kind, group)| (types[kind], groups[group])).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let Ran { ended, settled, memory, started } = runtime.block_on(run(&messages, concurrency, broken));

        prop_assert_eq!(settled.len(), messages.len());
        let mut once = started.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), started.len(), "no handler runs twice");
        let indexes = |wanted: fn(&Observed) -> bool| -> Vec<usize> {
            settled.iter().enumerate().filter(|(_, how)| wanted(how)).map(|(index, _)| index).collect()
        };
        let mut dead: Vec<_> = memory.dead_letters.into_inner().unwrap().into_iter().map(|(index, _)| index).collect();
        dead.sort_unstable();
        prop_assert_eq!(dead, indexes(|how| *how == Observed::DeadLettered));
        let delayed: Vec<_> = memory.delays.into_inner().unwrap().into_iter().map(|(index, _)| index).collect();
        prop_assert_eq!(delayed, indexes(|how| matches!(how, Observed::Returned(Some(_)))));
        for group in groups.into_iter().flatten() {
            let of_group = || settled.iter().zip(&messages).filter(|(_, message)| message.1 == Some(group));
            let handled = of_group().take_while(|(how, _)| !matches!(how, Observed::Returned(_))).count();
            let returned = of_group().skip(handled).all(|(how, _)| matches!(how, Observed::Returned(_)));
            prop_assert!(returned, "after a failure, the rest of group {group} is returned: {settled:?}");
        }
        for (ended, settled) in ended.iter().zip(&settled) {
            let fits = match ended.disposition {
                Disposition::Duplicate => false,
                Disposition::Done => *settled == Observed::Done,
                Disposition::Rejected | Disposition::Undecodable => *settled == Observed::DeadLettered,
                Disposition::Retry(_) | Disposition::RejectFailed(_) => matches!(settled, Observed::Returned(Some(_))),
                Disposition::Returned(_) => matches!(settled, Observed::Returned(_)) && ended.handler.is_none(),
            };
            prop_assert!(fits, "{ended:?}");
        }
        prop_assert_eq!(ended.iter().filter(|ended| ended.handler.is_some()).count(), started.len());
        for (how, (kind, group)) in settled.iter().zip(&messages) {
            prop_assert!(*kind != "done" || group.is_some() || matches!(how, Observed::Done | Observed::Returned(None)));
        }
    }
}

#[test]
fn a_handler_gets_the_group_of_the_envelope() {
    let token = "sha256-5f9b1b4c";
    for (named, of_the_broker, shown) in [
        (Some("two words"), Some(token), Some("two words")),
        (Some("c-1"), Some("c-1"), Some("c-1")),
        (Some("c-1"), None, Some("c-1")),
        (None, Some("c-1"), Some("c-1")),
        (None, None, None),
    ] {
        let envelope = Envelope::builder("e-1", "/", "done").group(named.unwrap_or_default()).build().unwrap();
        let memory = Memory { bodies: vec![envelope.encode()], ..Memory::default() };
        let message = ReceivedMessage {
            id: "m-1".into(),
            queue: "queue.fifo",
            receive_count: 1,
            group: of_the_broker.map(Cow::Borrowed),
            ordered: true,
            trace_header: None,
        };
        let (handlers, now) = (handlers(&Arc::default()), Instant::now());
        let deadlines = Deadlines::at(now, now, now);
        let run = rules(&handlers, 1, deadlines);
        let batch = RunningBatch { run: &run, source: &memory, messages: &[] };
        assert_eq!(batch.decode(0, &message).unwrap().group(), shown, "{named:?} {of_the_broker:?}");
    }
}
