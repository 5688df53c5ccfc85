//! Cut connections during a redrive lose no message. At worst it is both in the dead-letter queue and at its
//! destination.

use std::collections::BTreeMap;

use sluicegate_dlq::rabbitmq::RabbitmqDeadLetterQueue;
use sluicegate_dlq::{DeadLetter, DeadLetterQueue, Error};
use sluicegate_topology::Address;

use super::{dead_letter, vhost};
use crate::support::proxy::{Cut, Proxy};
use crate::support::rabbitmq::{PATIENCE, Vhost, until};

/// Rounds of the random test. A round takes about a second.
const ROUNDS: usize = 12;
const MESSAGES: usize = 12;
const STEPS: usize = 30;

async fn open(vhost: &Vhost, proxy: &Proxy) -> RabbitmqDeadLetterQueue {
    let address = Address::parse(&vhost.url_at(proxy.port())).expect("an address");
    RabbitmqDeadLetterQueue::open(&address, "q.dlq").await.expect("open")
}

/// The ids of messages and how often each occurs.
type Ids = BTreeMap<String, usize>;

/// Returns the ids at the destination and in the dead-letter queue, once `are_complete`: the broker returns the
/// messages of a connection a moment after its end, and lists a connection only a moment after its start.
async fn ids(vhost: &Vhost, are_complete: impl Fn(&Ids, &Ids) -> bool) -> (Ids, Ids) {
    until("the broker has seen the end of the connections", PATIENCE, async || {
        vhost.connections("sluicegate").await.is_empty().then_some(())
    })
    .await;
    let (mut there, mut here) = (Ids::new(), Ids::new());
    until("every message that was not deleted is in a queue", PATIENCE, async || {
        for (queue, ids) in [("q", &mut there), ("q.dlq", &mut here)] {
            for message in vhost.drain(queue).await {
                *ids.entry(message.message_id.expect("every message was sent with an id")).or_default() += 1;
            }
        }
        are_complete(&there, &here).then_some(())
    })
    .await;
    (there, here)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_cut_before_the_acknowledgement_leaves_the_message_in_both_queues() {
    for place in [Cut::BeforeAnswer, Cut::BeforeAck] {
        let vhost = vhost("quorum").await;
        dead_letter(&vhost, 3).await;
        let proxy = Proxy::start(vhost.port()).await;
        let queue = open(&vhost, &proxy).await;
        let seen = queue.take(3).await.expect("taken");
        let ((), result) = tokio::join!(biased; proxy.cut(place), queue.redrive(&seen[0], None, None));
        let error = result.unwrap_err();
        assert!(matches!(&error, Error::Unknown { id, .. } if id == "0"), "{place:?}: {error:?}");
        until("the client sees the cut", PATIENCE, async || queue.take(1).await.is_err().then_some(())).await;
        for held in &seen[1..] {
            let error = queue.redrive(held, None, None).await.unwrap_err();
            assert!(matches!(&error, Error::Broker(reason) if reason.contains("the connection was lost")), "{error:?}");
        }
        assert!(matches!(queue.release().await.unwrap_err(), Error::Broker(_)));
        drop(queue);
        let (there, here) = ids(&vhost, |_, here| here.len() == 3).await;
        assert_eq!(here.into_keys().collect::<Vec<_>>(), ["0", "1", "2"], "{place:?}");
        assert_eq!(there.keys().collect::<Vec<_>>(), ["0"], "{place:?}");
        vhost.delete().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn random_operations_with_random_cuts_lose_no_message() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut seen = Seen::default();
    for round in 0..ROUNDS {
        let vhost = vhost(if round % 2 == 0 { "quorum" } else { "classic" }).await;
        dead_letter(&vhost, MESSAGES).await;
        work(&vhost, &mut random, &mut seen).await;
        vhost.delete().await;
    }
    println!("{seen:?}");
    assert!(
        [seen.redriven, seen.deleted, seen.unknown, seen.cuts, seen.twice].iter().all(|count| *count > 0),
        "the run did not exercise every kind of event: {seen:?}"
    );
}

/// Counts of the events of a run; the test fails if a kind of event did not occur.
#[derive(Debug, Default)]
struct Seen {
    redriven: usize,
    deleted: usize,
    unknown: usize,
    cuts: usize,
    twice: usize,
}

/// The reported results of operations on one message.
#[derive(Debug, Default)]
struct RunReport {
    redriven: bool,
    perhaps_redriven: bool,
    deleted: bool,
    perhaps_deleted: bool,
}

impl RunReport {
    fn check(&self, there: usize, here: usize) {
        let state = format!("{there} there, {here} here, {self:?}");
        assert!(here <= 1, "the dead-letter queue gets no copies: {state}");
        assert!(there == 0 || self.redriven || self.perhaps_redriven, "at the destination without a redrive: {state}");
        assert!(
            here == 0 || !(self.redriven || self.deleted),
            "still in the dead-letter queue after its removal: {state}"
        );
        assert!(
            there == 1 || self.perhaps_redriven || !self.redriven,
            "duplicated or lost after a confirmed redrive: {state}"
        );
    }
}

async fn work(vhost: &Vhost, random: &mut fastrand::Rng, seen: &mut Seen) {
    let proxy = Proxy::start(vhost.port()).await;
    let mut queue = open(vhost, &proxy).await;
    let mut held: Vec<DeadLetter> = Vec::new();
    let mut reports: BTreeMap<String, RunReport> =
        (0..MESSAGES).map(|number| (number.to_string(), RunReport::default())).collect();
    for _ in 0..STEPS {
        let chosen = (!held.is_empty()).then(|| random.usize(..held.len()));
        let is_over = match (random.u8(..12), chosen) {
            (0..4, _) => match queue.take(random.usize(1..=4)).await {
                Ok(taken) => {
                    held = taken;
                    false
                }
                Err(_) => true,
            },
            (4..8, Some(index)) => {
                let letter = held.swap_remove(index);
                let cut = random.choice([Cut::BeforeAnswer, Cut::BeforeAck, Cut::InWrite]).filter(|_| random.bool());
                let result = with_cut(&proxy, cut, seen, queue.redrive(&letter, None, None)).await;
                let report = reports.get_mut(&letter.id).expect("a parked message");
                note(result, &mut report.redriven, &mut report.perhaps_redriven)
            }
            (8..10, Some(index)) => {
                let letter = held.swap_remove(index);
                let cut = Some(Cut::BeforeAck).filter(|_| random.bool());
                let result = with_cut(&proxy, cut, seen, queue.delete(&letter)).await;
                let report = reports.get_mut(&letter.id).expect("a parked message");
                note(result, &mut report.deleted, &mut report.perhaps_deleted)
            }
            (10, _) => {
                queue.release().await.expect("released");
                true
            }
            (11, _) => {
                seen.cuts += 1;
                proxy.cut(Cut::Now).await;
                true
            }
            _ => false,
        };
        if is_over {
            held.clear();
            queue = open(vhost, &proxy).await;
        }
    }
    drop(queue);
    let (there, here) = ids(vhost, |there, here| {
        let is_found = |id| there.contains_key(id) || here.contains_key(id);
        reports.iter().all(|(id, report)| is_found(id) || report.deleted || report.perhaps_deleted)
    })
    .await;
    for (id, report) in &reports {
        let count = |queue: &Ids| queue.get(id).copied().unwrap_or_default();
        let (there, here) = (count(&there), count(&here));
        report.check(there, here);
        seen.redriven += usize::from(report.redriven);
        seen.deleted += usize::from(report.deleted);
        seen.unknown += usize::from(report.perhaps_redriven || report.perhaps_deleted);
        seen.twice += usize::from(there + here > 1);
    }
}

async fn with_cut<T>(proxy: &Proxy, cut: Option<Cut>, seen: &mut Seen, work: impl Future<Output = T>) -> T {
    match cut {
        Some(place) => {
            seen.cuts += 1;
            tokio::join!(biased; proxy.cut(place), work).1
        }
        None => work.await,
    }
}

/// Records the result of an operation. Returns whether the connection is lost.
fn note(result: Result<(), Error>, done: &mut bool, perhaps: &mut bool) -> bool {
    match result {
        Ok(()) => *done = true,
        Err(Error::Unknown { .. }) => *perhaps = true,
        Err(Error::Broker(_)) => {}
        Err(error @ Error::NotSent { .. }) => panic!("no message is at fault: {error}"),
    }
    !*done
}
