//! Nothing is lost when connections break: at worst a message is in the dead-letter queue and at its destination.

use std::collections::BTreeMap;

use sluicegate_dlq::rabbitmq::RabbitmqDeadLetterQueue;
use sluicegate_dlq::{DeadLetter, DeadLetterQueue, Error};
use sluicegate_topology::Address;

use super::{park, vhost};
use crate::support::proxy::{Cut, Proxy};
use crate::support::rabbitmq::{PATIENCE, Vhost, until};

/// Each is about a second.
const ROUNDS: usize = 12;
const MESSAGES: usize = 12;
const STEPS: usize = 30;

async fn open(vhost: &Vhost, proxy: &Proxy) -> RabbitmqDeadLetterQueue {
    let address = Address::parse(&vhost.url_at(proxy.port())).expect("an address");
    RabbitmqDeadLetterQueue::open(&address, "q.dlq").await.expect("open")
}

/// Ids that are in a queue, with how often, once its messages are no longer held.
async fn ids(vhost: &Vhost, queue: &str) -> BTreeMap<String, usize> {
    until("the broker has seen the end of the connections", PATIENCE, async || {
        vhost.connections("sluicegate").await.is_empty().then_some(())
    })
    .await;
    let mut ids = BTreeMap::new();
    for message in vhost.drain(queue).await {
        *ids.entry(message.message_id.expect("it was sent with one")).or_default() += 1;
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_cut_before_the_acknowledgement_leaves_the_message_in_both() {
    for place in [Cut::BeforeAnswer, Cut::BeforeAck] {
        let vhost = vhost("quorum").await;
        park(&vhost, 3).await;
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
        let (there, here) = (ids(&vhost, "q").await, ids(&vhost, "q.dlq").await);
        assert_eq!(here.into_keys().collect::<Vec<_>>(), ["0", "1", "2"], "{place:?}");
        assert_eq!(there.keys().collect::<Vec<_>>(), ["0"], "{place:?}");
        vhost.delete().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn nothing_is_lost_whatever_is_done_in_whatever_order_and_wherever_it_is_cut() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut seen = Seen::default();
    for round in 0..ROUNDS {
        let vhost = vhost(if round % 2 == 0 { "quorum" } else { "classic" }).await;
        park(&vhost, MESSAGES).await;
        work(&vhost, &mut random, &mut seen).await;
        vhost.delete().await;
    }
    println!("{seen:?}");
    assert!(
        [seen.redriven, seen.deleted, seen.unknown, seen.cuts, seen.twice].iter().all(|count| *count > 0),
        "it shows nothing: {seen:?}"
    );
}

/// What happened, so that a test in which nothing happens is seen.
#[derive(Debug, Default)]
struct Seen {
    redriven: usize,
    deleted: usize,
    unknown: usize,
    cuts: usize,
    twice: usize,
}

/// What was told of one message.
#[derive(Debug, Default)]
struct Told {
    redriven: bool,
    perhaps_redriven: bool,
    deleted: bool,
    perhaps_deleted: bool,
}

impl Told {
    fn check(&self, there: usize, here: usize) {
        let told = format!("{there} there, {here} here, {self:?}");
        assert!(here <= 1, "the dead-letter queue gets no copies: {told}");
        assert!(there + here > 0 || self.deleted || self.perhaps_deleted, "lost: {told}");
        assert!(there == 0 || self.redriven || self.perhaps_redriven, "nobody sent it: {told}");
        assert!(here == 0 || !(self.redriven || self.deleted), "it was removed: {told}");
        assert!(there == 1 || self.perhaps_redriven || !self.redriven, "once: {told}");
    }
}

async fn work(vhost: &Vhost, random: &mut fastrand::Rng, seen: &mut Seen) {
    let proxy = Proxy::start(vhost.port()).await;
    let mut queue = open(vhost, &proxy).await;
    let mut held: Vec<DeadLetter> = Vec::new();
    let mut told: BTreeMap<String, Told> = (0..MESSAGES).map(|number| (number.to_string(), Told::default())).collect();
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
                let told = told.get_mut(&letter.id).expect("it was letter");
                note(result, &mut told.redriven, &mut told.perhaps_redriven)
            }
            (8..10, Some(index)) => {
                let letter = held.swap_remove(index);
                let cut = Some(Cut::BeforeAck).filter(|_| random.bool());
                let result = with_cut(&proxy, cut, seen, queue.delete(&letter)).await;
                let told = told.get_mut(&letter.id).expect("it was letter");
                note(result, &mut told.deleted, &mut told.perhaps_deleted)
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
    let (there, here) = (ids(vhost, "q").await, ids(vhost, "q.dlq").await);
    for (id, told) in &told {
        let count = |queue: &BTreeMap<String, usize>| queue.get(id).copied().unwrap_or_default();
        let (there, here) = (count(&there), count(&here));
        told.check(there, here);
        seen.redriven += usize::from(told.redriven);
        seen.deleted += usize::from(told.deleted);
        seen.unknown += usize::from(told.perhaps_redriven || told.perhaps_deleted);
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

/// Notes what was told; whether the connection is gone.
fn note(result: Result<(), Error>, done: &mut bool, perhaps: &mut bool) -> bool {
    match result {
        Ok(()) => *done = true,
        Err(Error::Unknown { .. }) => *perhaps = true,
        Err(Error::Broker(_)) => {}
        Err(error @ Error::NotSent { .. }) => panic!("no message is at fault: {error}"),
    }
    !*done
}
