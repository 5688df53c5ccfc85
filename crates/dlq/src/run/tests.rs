//! Runs on a queue in memory with scripted failures.

use std::{cell::RefCell, collections::VecDeque, time::Duration};

use proptest::prelude::*;

use super::*;

/// The result of a redrive, a delete or a take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Fine,
    /// Nothing happens, and the error is `NotSent`.
    NotSent,
    /// The copy is stored, and the original is not removed.
    Stored,
    /// Nothing happens, and the error is `Unknown`.
    NotStored,
    /// The broker cannot be reached.
    Broken,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    number: usize,
    group: Option<String>,
    redrives: u32,
    taken: Option<u64>,
}

#[derive(Default)]
struct Memory {
    keeps_order: bool,
    /// Whether redriven messages fail again at once.
    returns: bool,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    queue: Vec<Message>,
    destination: Vec<Message>,
    fates: VecDeque<Fate>,
    handles: u64,
    at_once: usize,
    at_once_max: usize,
}

impl Memory {
    fn new(groups: &[Option<&str>], keeps_order: bool) -> Self {
        let message = |(number, group): (usize, &Option<&str>)| Message {
            number,
            group: group.map(str::to_owned),
            redrives: 0,
            taken: None,
        };
        let queue = groups.iter().enumerate().map(message).collect();
        Self { keeps_order, state: RefCell::new(State { queue, ..State::default() }), ..Self::default() }
    }

    fn fate(&self) -> Fate {
        self.state.borrow_mut().fates.pop_front().unwrap_or(Fate::Fine)
    }

    fn numbers(messages: &[Message]) -> Vec<usize> {
        messages.iter().map(|message| message.number).collect()
    }

    fn left(&self) -> Vec<usize> {
        Self::numbers(&self.state.borrow().queue)
    }

    fn arrived(&self) -> Vec<usize> {
        Self::numbers(&self.state.borrow().destination)
    }

    fn position(&self, letter: &DeadLetter) -> usize {
        let state = self.state.borrow();
        state.queue.iter().position(|message| message.taken == Some(letter.handle)).expect("it is held")
    }
}

fn not_sent(letter: &DeadLetter) -> Error {
    Error::NotSent { id: letter.id.clone(), reason: "planned".into() }
}

fn unknown(letter: &DeadLetter) -> Error {
    Error::Unknown { id: letter.id.clone(), reason: "planned".into() }
}

fn broken() -> Error {
    Error::Broker("planned".into())
}

impl DeadLetterQueue for Memory {
    async fn take(&self, max: usize) -> Result<Vec<DeadLetter>, Error> {
        tokio::task::yield_now().await;
        if self.state.borrow().handles > 0 && self.fate() == Fate::Broken {
            return Err(broken());
        }
        let state = &mut *self.state.borrow_mut();
        let locked: Vec<_> = state.queue.iter().filter(|message| message.taken.is_some()).cloned().collect();
        let is_locked = |message: &Message| {
            self.keeps_order && message.group.is_some() && locked.iter().any(|each| each.group == message.group)
        };
        let mut taken = Vec::new();
        for message in &mut state.queue {
            if taken.len() < max && message.taken.is_none() && !is_locked(message) {
                state.handles += 1;
                message.taken = Some(state.handles);
                taken.push(DeadLetter {
                    handle: state.handles,
                    id: message.number.to_string(),
                    event_type: Some(if message.number % 3 == 0 { "third" } else { "other" }.into()),
                    redrives: message.redrives,
                    group: message.group.clone(),
                    ..DeadLetter::default()
                });
            }
        }
        Ok(taken)
    }

    fn keeps_order(&self) -> bool {
        self.keeps_order
    }

    async fn destination(&self, letter: &DeadLetter, to: Option<&str>) -> Result<String, Error> {
        if self.fate() == Fate::NotSent { Err(not_sent(letter)) } else { Ok(to.unwrap_or("source").into()) }
    }

    async fn redrive(&self, letter: &DeadLetter, _: Option<&str>, _: Option<&[u8]>) -> Result<(), Error> {
        let fate = self.fate();
        {
            let mut state = self.state.borrow_mut();
            state.at_once += 1;
            state.at_once_max = state.at_once_max.max(state.at_once);
        }
        tokio::task::yield_now().await;
        let at = self.position(letter);
        let mut state = self.state.borrow_mut();
        state.at_once -= 1;
        let copy = Message { redrives: letter.redrives + 1, taken: None, ..state.queue[at].clone() };
        match fate {
            Fate::Fine => {
                state.queue.remove(at);
                if self.returns {
                    state.queue.push(copy.clone());
                }
                state.destination.push(copy);
                Ok(())
            }
            Fate::Stored => {
                state.destination.push(copy);
                Err(unknown(letter))
            }
            Fate::NotStored => Err(unknown(letter)),
            Fate::NotSent => Err(not_sent(letter)),
            Fate::Broken => Err(broken()),
        }
    }

    async fn delete(&self, letter: &DeadLetter) -> Result<(), Error> {
        let fate = self.fate();
        let at = self.position(letter);
        match fate {
            Fate::Fine | Fate::Stored => {
                self.state.borrow_mut().queue.remove(at);
                if fate == Fate::Fine { Ok(()) } else { Err(unknown(letter)) }
            }
            Fate::NotSent | Fate::NotStored => Err(unknown(letter)),
            Fate::Broken => Err(broken()),
        }
    }

    async fn release(&self) -> Result<(), Error> {
        self.state.borrow_mut().queue.iter_mut().for_each(|message| message.taken = None);
        Ok(())
    }

    async fn depth(&self) -> Result<u64, Error> {
        Ok(self.state.borrow().queue.len() as u64)
    }
}

fn all() -> Filter {
    Filter::default()
}

fn thirds() -> Filter {
    Filter { types: vec!["third".parse().expect("a glob")], ..Filter::default() }
}

fn order(filter: &Filter) -> Redrive<'_> {
    Redrive { filter, to: None, rate: None, limit: None, dry_run: false }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
        .block_on(work)
}

fn quiet(_: RunStep<'_>) {}

#[test]
fn a_redrive_sends_each_message_once_even_if_it_returns() {
    let memory = Memory { returns: true, ..Memory::new(&[None; 37], false) };
    let report = block_on(redrive(&memory, &order(&all()), &CancellationToken::default(), &quiet));
    assert_eq!((report.done, report.returned, report.unreached), (37, 37, Some(0)), "{report:?}");
    assert_eq!(memory.arrived().len(), 37);
    assert!(report.is_clean());
    assert!(memory.state.borrow().at_once_max > 1, "several at once");
    // The next run takes them again.
    block_on(memory.release()).expect("released");
    let memory = Memory { returns: false, ..memory };
    let report = block_on(redrive(&memory, &order(&all()), &CancellationToken::default(), &quiet));
    assert_eq!((report.done, memory.left().len()), (37, 0));
}

#[test]
fn a_group_is_redriven_in_order_and_stops_at_a_failure() {
    let (a, b) = (Some("a"), Some("b"));
    let memory = Memory::new(&[a, b, a, b, a, b], true);
    // The first two groups take their results in turn: a fails at once.
    memory.state.borrow_mut().fates = [Fate::NotSent].into();
    let report = block_on(redrive(&memory, &order(&all()), &CancellationToken::default(), &quiet));
    assert_eq!(memory.arrived(), [1, 3, 5]);
    assert_eq!(memory.left(), [0, 2, 4]);
    assert_eq!((report.done, report.not_sent, report.behind, report.groups_held), (3, 1, 2, 1), "{report:?}");
    assert!(!report.is_clean());
}

#[test]
fn a_report_counts_the_messages_behind_a_blocked_group() {
    let memory = Memory::new(&[Some("a"); 25], true);
    let report = block_on(redrive(&memory, &order(&thirds()), &CancellationToken::default(), &quiet));
    // Ten are received, and six of those stay in flight: their group is blocked.
    assert_eq!((report.seen, report.done, report.groups_held, report.unreached), (10, 4, 1, Some(15)), "{report:?}");
    let memory = Memory::new(&[None; 25], false);
    let report = block_on(redrive(&memory, &order(&thirds()), &CancellationToken::default(), &quiet));
    assert_eq!((report.seen, report.done, report.unreached), (25, 9, Some(0)), "{report:?}");
}

/// <https://github.com/mercury2269/sqsmover/issues/145>
#[test]
fn a_dry_run_moves_nothing_and_reports_what_would_stay() {
    let memory = Memory::new(&[None; 12], false);
    memory.state.borrow_mut().fates = [Fate::NotSent].into();
    let planned = RefCell::new(0);
    let tell = |step: RunStep<'_>| {
        if let RunStep::Planned { destination, .. } = step {
            assert_eq!(destination, "source");
            *planned.borrow_mut() += 1;
        }
    };
    let dry = all();
    let report =
        block_on(redrive(&memory, &Redrive { dry_run: true, ..order(&dry) }, &CancellationToken::default(), &tell));
    assert_eq!((report.done, report.not_sent, *planned.borrow()), (11, 1, 11));
    assert_eq!((memory.left().len(), memory.arrived().len()), (12, 0));
}

#[test]
fn a_limit_and_a_rate_are_kept() {
    let memory = Memory::new(&[None; 40], false);
    let filter = all();
    let limited = Redrive { limit: Some(21), rate: Some("10/s".parse().expect("a rate")), ..order(&filter) };
    let elapsed = block_on(async {
        let begun = tokio::time::Instant::now();
        let report = redrive(&memory, &limited, &CancellationToken::default(), &quiet).await;
        assert_eq!((report.done, report.unreached), (21, None));
        begun.elapsed()
    });
    assert!(elapsed.abs_diff(Duration::from_secs(2)) < Duration::from_millis(20), "{elapsed:?}");
    assert_eq!(memory.left().len(), 19);
}

#[test]
fn a_cancelled_run_leaves_the_rest() {
    let memory = Memory::new(&[None; 40], false);
    let stop = CancellationToken::default();
    let filter = all();
    let slow = Redrive { rate: Some("1/s".parse().expect("a rate")), ..order(&filter) };
    let report = block_on(async {
        let run = redrive(&memory, &slow, &stop, &quiet);
        let end = async {
            tokio::time::sleep(Duration::from_millis(3_500)).await;
            stop.cancel();
        };
        tokio::join!(run, end).0
    });
    assert!(report.interrupted && report.unreached.is_none() && !report.is_clean());
    assert_eq!((report.done, memory.arrived().len(), memory.left().len()), (4, 4, 36));
}

#[test]
fn many_failures_in_a_row_end_the_run() {
    let memory = Memory::new(&[None; 40], false);
    memory.state.borrow_mut().fates = [Fate::NotStored; 40].into();
    let report = block_on(redrive(&memory, &order(&all()), &CancellationToken::default(), &quiet));
    assert!(report.broke.is_some() && report.seen == 10 && report.unknown == 10, "{report:?}");
}

#[test]
fn a_purge_deletes_the_found_messages_and_other_matches() {
    let memory = Memory::new(&[None; 25], false);
    let (report, found) = block_on(async {
        let mut found = Vec::new();
        let each = |letter: DeadLetter| {
            if thirds().matches(&letter) {
                found.push(letter);
            }
            ControlFlow::Continue(())
        };
        let scanned = scan(&memory, &CancellationToken::default(), each).await;
        assert_eq!((scanned.seen, scanned.unreached), (25, Some(0)));
        let count = found.len();
        (purge(&memory, &thirds(), found, &CancellationToken::default(), &quiet).await, count)
    });
    assert_eq!((report.done, found, memory.left().len()), (9, 9, 16), "{report:?}");
    assert!(memory.left().iter().all(|number| number % 3 != 0));
    block_on(memory.release()).expect("released");
    let report = block_on(purge(&memory, &all(), Vec::new(), &CancellationToken::default(), &quiet));
    assert_eq!((report.done, memory.left().len()), (16, 0));
}

proptest! {
    /// After any failure at any step, every message is in one queue, or after an unknown failure in both, and never in
    /// none; groups keep their order; the counts are right.
    #[test]
    fn every_message_is_in_a_queue_after_any_failure(
        groups in prop::collection::vec(prop::option::of(0..3_u8), 0..40),
        fates in prop::collection::vec(
            prop::sample::select(vec![Fate::Fine, Fate::Fine, Fate::Fine, Fate::NotSent, Fate::Stored, Fate::NotStored, Fate::Broken]),
            0..60,
        ),
        keeps_order: bool,
        returns: bool,
        only_thirds: bool,
    ) {
        let names: Vec<Option<String>> = groups.iter().map(|group| group.map(|group| group.to_string())).collect();
        let memory = Memory { returns, ..Memory::new(&names.iter().map(Option::as_deref).collect::<Vec<_>>(), keeps_order) };
        memory.state.borrow_mut().fates = fates.into();
        let filter = if only_thirds { thirds() } else { all() };
        let report = block_on(async {
            let report = redrive(&memory, &order(&filter), &CancellationToken::default(), &quiet).await;
            memory.release().await.expect("released");
            report
        });
        let (left, arrived) = (memory.left(), memory.arrived());
        let mut both = 0;
        for number in 0..groups.len() {
            let (here, there) = (left.contains(&number), arrived.contains(&number));
            prop_assert!(here || there, "{number} is nowhere: {report:?}");
            both += u64::from(here && there);
            prop_assert!(arrived.iter().filter(|each| **each == number).count() <= 1, "{number} was sent twice");
            prop_assert!(!only_thirds || !there || number % 3 == 0, "{number} does not match the filter");
        }
        let moved_back = if returns { report.done } else { 0 };
        prop_assert!(both <= report.unknown + moved_back, "{both} in both places: {report:?}");
        prop_assert_eq!(arrived.len() as u64 - report.done, both.saturating_sub(moved_back));
        prop_assert!(report.done + report.not_sent + report.unknown + report.behind + report.returned <= report.matched);
        if keeps_order && !only_thirds {
            for group in names.iter().flatten().collect::<HashSet<_>>() {
                let of_group: Vec<_> = arrived.iter().filter(|number| names[**number].as_ref() == Some(group)).collect();
                prop_assert!(of_group.is_sorted(), "group {group} arrived as {of_group:?}");
            }
        }
        prop_assert!(memory.state.borrow().queue.iter().all(|message| message.taken.is_none()), "a message is still in flight");
    }
}
