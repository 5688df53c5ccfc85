//! FIFO queues in memory, on paused time: despite failures, slow handlers and crashes, no message is dead-lettered
//! unhandled.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use tokio::time::Instant;

use sluicegate_envelope::EnvelopeBuildError;

use super::super::fifo::{FailingMessages, RECEIVE_COUNT_MAX_DEFAULT};
use super::super::*;
use crate::batch_run::BatchRun;
use crate::handlers::{Handlers, plain};
use crate::report::Report;
use crate::retry::RetryPolicies;
use crate::{Delivery, Outcome};

/// The time for the handlers of a batch.
const WORK_TIME: Duration = Duration::from_millis(7_500);

/// Messages in a batch of a FIFO queue.
const BATCH_MESSAGES: usize = 10;

/// What a handler does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    group: usize,
    /// Failures before it succeeds.
    failures: u32,
    handler_ms: u64,
}

#[derive(Clone, Debug)]
struct Stored {
    id: usize,
    receive_count: u32,
}

/// A FIFO queue, and the dispositions of its messages.
struct Queue {
    plans: Vec<Plan>,
    stored: Vec<Stored>,
    receive_count_max: u32,
    /// Messages that the queue itself dead-lettered, possibly unhandled.
    dropped: Vec<usize>,
    /// Messages that the runtime dead-lettered.
    dead: Vec<usize>,
    /// Handled messages, in order.
    done: Vec<usize>,
    /// Calls of the handler, by message.
    calls: BTreeMap<usize, u32>,
}

impl Queue {
    fn new(plans: &[Plan], receive_count_max: u32) -> Self {
        let stored = (0..plans.len()).map(|id| Stored { id, receive_count: 0 }).collect();
        let (dropped, dead, done, calls) = (Vec::new(), Vec::new(), Vec::new(), BTreeMap::new());
        Self { plans: plans.to_vec(), stored, receive_count_max, dropped, dead, done, calls }
    }

    /// Returns the first messages with their receive counts incremented. Dead-letters those over the limit, as SQS
    /// does.
    fn receive(&mut self) -> Vec<Stored> {
        let mut batch = Vec::new();
        while batch.len() < BATCH_MESSAGES
            && let Some(message) = self.stored.get_mut(batch.len())
        {
            message.receive_count += 1;
            if message.receive_count > self.receive_count_max {
                let message = self.stored.remove(batch.len());
                self.dropped.push(message.id);
            } else {
                batch.push(message.clone());
            }
        }
        batch
    }

    /// Runs one invocation.
    async fn invoke(&mut self, batch: &[Stored], failing: &FailingMessages) {
        let name = |message: &Stored| message.id.to_string();
        let received_message = batch.iter().map(|message| ReceivedMessage {
            id: name(message).into(),
            queue: "orders.fifo",
            receive_count: message.receive_count,
            group: Some(self.plans[message.id].group.to_string().into()),
            ordered: true,
            trace_header: None,
        });
        let received_message: Vec<_> = received_message.collect();
        let source = FifoQueue { batch, failing, receive_count_max: self.receive_count_max, dead: Mutex::default() };
        let calls = Arc::new(Mutex::new(std::mem::take(&mut self.calls)));
        let done = Arc::new(Mutex::new(std::mem::take(&mut self.done)));
        let handlers = handlers(&self.plans, &calls, &done);
        let work_until = Instant::now() + WORK_TIME;
        let (dead_letter_after, settle_after) = (Duration::from_millis(500), Duration::from_secs(1));
        let deadlines = Deadlines::at(work_until, work_until + dead_letter_after, work_until + settle_after);
        let report = Report { request_id: "r", xray: None, at: std::time::UNIX_EPOCH, emitter: None };
        let run = BatchRun {
            handlers: &handlers,
            retries: &RetryPolicies::default(),
            idempotency: None,
            statuses: None,
            concurrency: 10,
            deadlines,
            report,
            #[cfg(feature = "otlp")]
            trace: None,
        };
        let ended = run.settle(&source, &received_message).await;
        self.calls = std::mem::take(&mut calls.lock().unwrap());
        self.done = std::mem::take(&mut done.lock().unwrap());
        self.dead.extend(source.dead.into_inner().unwrap());
        for (message, ended) in batch.iter().zip(ended) {
            if !ended.disposition.is_returned() {
                self.stored.retain(|stored| stored.id != message.id);
            }
        }
    }
}

type Shared<T> = Arc<Mutex<T>>;

fn handlers(plans: &[Plan], calls: &Shared<BTreeMap<usize, u32>>, done: &Shared<Vec<usize>>) -> Handlers {
    let (plans, calls, done) = (plans.to_vec(), Arc::clone(calls), Arc::clone(done));
    let mut handlers = Handlers::default();
    handlers.otherwise(plain(move |delivery: Arc<Delivery>| {
        let id: usize = delivery.envelope().id().parse().unwrap();
        let plan = plans[id];
        let call = *calls.lock().unwrap().entry(id).and_modify(|calls| *calls += 1).or_insert(1);
        let done = Arc::clone(&done);
        async move {
            tokio::time::sleep(Duration::from_millis(plan.handler_ms)).await;
            if call <= plan.failures {
                return Outcome::Retry;
            }
            done.lock().unwrap().push(id);
            Outcome::Done
        }
    }));
    handlers
}

struct FifoQueue<'a> {
    batch: &'a [Stored],
    failing: &'a FailingMessages,
    receive_count_max: u32,
    dead: Mutex<Vec<usize>>,
}

impl Source for FifoQueue<'_> {
    type Undecodable = EnvelopeBuildError;
    type Unsettled = Infallible;

    /// The test passes the messages.
    fn messages(&self) -> Vec<ReceivedMessage<'_>> {
        Vec::new()
    }

    fn decode(&self, index: usize) -> Result<Envelope, EnvelopeBuildError> {
        Envelope::builder(self.batch[index].id.to_string(), "/", "order.placed").build()
    }

    fn sent_unix_ms(&self, _: usize, _: Option<&Envelope>) -> Option<u64> {
        None
    }

    async fn failed(&self, index: usize, head: bool) -> Tries {
        let Stored { id, receive_count } = &self.batch[index];
        self.failing.failed(&id.to_string(), *receive_count, head, Some(self.receive_count_max))
    }

    async fn dead_letter(&self, index: usize, _: &Rejection) -> Result<(), SendError> {
        self.dead.lock().unwrap().push(self.batch[index].id);
        Ok(())
    }

    async fn return_to_queue(&self, _: &[(usize, Option<Duration>)]) {}

    fn respond(&self, _: &[Settlement]) -> Result<BatchResponse, Infallible> {
        Ok(BatchResponse::of(std::iter::empty()))
    }
}

/// Runs until the queue is empty, each invocation in one of `environments`; `crashes` are invocations that end before
/// they settle anything.
fn run(plans: &[Plan], receive_count_max: u32, environments: usize, crashes: &[usize]) -> Queue {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let failing: Vec<_> = (0..environments).map(|_| FailingMessages::new(RECEIVE_COUNT_MAX_DEFAULT)).collect();
    let mut queue = Queue::new(plans, receive_count_max);
    for invocation in 0.. {
        assert!(invocation < 10_000, "the queue never ends: {:?}", queue.stored);
        let batch = queue.receive();
        if batch.is_empty() && queue.stored.is_empty() {
            break;
        }
        if !crashes.contains(&invocation) {
            // Not round robin, which would give each try another environment.
            runtime.block_on(queue.invoke(&batch, &failing[invocation * 7 % environments]));
        }
    }
    queue
}

fn always(group: usize) -> Plan {
    Plan { group, failures: u32::MAX, handler_ms: 1 }
}

fn good(group: usize) -> Plan {
    Plan { group, failures: 0, handler_ms: 1 }
}

/// Checks which messages the runtime (`dead`) and the queue itself (`dropped`) dead-letter.
#[track_caller]
fn check(plans: &[Plan], receive_count_max: u32, dead: &[usize], dropped: &[usize]) -> Queue {
    let queue = run(plans, receive_count_max, 1, &[]);
    assert_eq!((queue.dead.as_slice(), queue.dropped.as_slice()), (dead, dropped));
    queue
}

#[test]
fn a_failing_message_is_dead_lettered_alone_and_its_group_continues() {
    let mut plans = vec![good(0); 10];
    plans[1] = always(0);
    let queue = check(&plans, 100, &[1], &[]);
    assert_eq!(queue.done, [0, 2, 3, 4, 5, 6, 7, 8, 9], "in order");
    assert_eq!(queue.calls[&1], 6, "once behind another message, then five times at the head");
    assert!(queue.calls.iter().all(|(id, calls)| *id == 1 || *calls == 1), "the others once each: {:?}", queue.calls);
    // If the queue's limit equals the number of tries, one receive is reserved.
    check(&plans, 5, &[1], &[]);
}

#[test]
fn each_message_of_a_failing_group_gets_all_its_receives() {
    let queue = check(&[always(0); 10], 100, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[]);
    assert!(queue.calls.values().all(|calls| (5..=6).contains(calls)), "{:?}", queue.calls);
}

#[test]
fn a_slow_group_waits_without_losing_messages() {
    let slow = Plan { group: 0, failures: 0, handler_ms: 5_000 };
    let queue = check(&[slow; 10], 100, &[], &[]);
    assert_eq!(queue.done, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    // Without receives in reserve for waiting messages, the queue dead-letters unhandled messages.
    let queue = run(&[slow; 10], 5, 1, &[]);
    assert!(!queue.dropped.is_empty(), "the reserve is needed");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// With the template's `maxReceiveCount`: the queue itself dead-letters nothing, every message is handled, only
    /// messages whose own handler failed are dead-lettered, and a group stays in order.
    #[test]
    fn no_message_is_dead_lettered_unhandled(
        picks in prop::collection::vec((0..3usize, 0..8u32, 0..90u64), 1..30),
        environments in 1..6usize,
        crashes in prop::collection::vec(0..60usize, 0..12),
    ) {
        let failures = |pick: u32| if pick == 7 { u32::MAX } else { pick.saturating_sub(3) };
        let plans: Vec<_> = picks
            .iter()
            // One millisecond more, so that no duration equals the time limit.
            .map(|&(group, pick, tenths)| Plan { group, failures: failures(pick), handler_ms: tenths * 100 + 1 })
            .collect();
        let queue = run(&plans, 100, environments, &crashes);

        prop_assert!(queue.dropped.is_empty(), "dead-lettered by the queue: {:?}", queue.dropped);
        for (id, plan) in plans.iter().enumerate() {
            let calls = queue.calls.get(&id).copied().unwrap_or_default();
            prop_assert!(calls > 0, "message {id} was never handled");
            let fails = plan.failures == u32::MAX || u128::from(plan.handler_ms) >= WORK_TIME.as_millis();
            prop_assert_eq!(fails && queue.done.contains(&id), false);
            if queue.dead.contains(&id) && crashes.is_empty() {
                let own_failures = if fails { calls } else { plan.failures };
                prop_assert!(own_failures >= RECEIVE_COUNT_MAX_DEFAULT, "{plan:?} was dead-lettered after {calls} calls");
            }
            prop_assert!(queue.dead.contains(&id) != queue.done.contains(&id), "message {id} ended once");
        }
        for group in 0..3 {
            let of_group: Vec<_> = queue.done.iter().filter(|id| plans[**id].group == group).collect();
            prop_assert!(of_group.is_sorted(), "out of order: {of_group:?}");
        }
    }
}
