//! Which queues are dead-letter queues, and which of them may be worked on.

use std::collections::BTreeSet;

use sluicegate_queue::queue_names::DEAD_LETTER_QUEUE_SUFFIX;
use sluicegate_topology::{Address, QueueFate, QueueType};

use super::broker;
use super::connection::Connection;
use crate::{Error, ListedQueue};

/// A delivery limit from here on is out of reach: each look at a message counts one.
const DELIVERY_LIMIT_FAR: u64 = 1_000_000;

/// Every dead-letter queue of the virtual host with the messages in it that nobody holds, by name: what ends in `.dlq`, and every
/// queue that takes another's dead letters and hands none on itself, as retry queues do.
///
/// # Errors
/// The management API cannot be reached or refuses, or the broker does.
pub async fn dead_letter_queues(address: &Address) -> Result<Vec<ListedQueue>, Error> {
    let queues = there(address).await?;
    let connection = Connection::open(address, &broker(address)?.0).await?;
    let channel = connection.channel().await?;
    let mut found = Vec::new();
    for name in names(&queues) {
        let depth = connection.ready(&channel, &connection.name(name)?).await?.into();
        found.push(ListedQueue { name: name.to_owned(), depth: Some(depth), sources: Vec::new() });
    }
    Ok(found)
}

/// # Errors
/// The queue is not there, or what is looked at in it may be lost.
pub(super) async fn check(address: &Address, queue: &str) -> Result<(), Error> {
    let queues = there(address).await?;
    let there = queues.iter().find(|there| there.name == queue);
    let there = there.ok_or_else(|| Error::Broker(format!("{address}: there is no queue {queue}")))?;
    fit(there).map_err(|reason| Error::Broker(format!("{address}: {reason}")))
}

async fn there(address: &Address) -> Result<Vec<QueueFate>, Error> {
    let queues = sluicegate_topology::queues(address).await;
    queues.map_err(|error| {
        Error::Broker(format!("the management API, which tells what becomes of a queue's messages, is needed: {error}"))
    })
}

fn names(queues: &[QueueFate]) -> BTreeSet<&str> {
    let targets: BTreeSet<_> = queues.iter().filter_map(|queue| queue.dead_letter_queues.as_ref()).flatten().collect();
    let last = |queue: &&QueueFate| {
        queue.name.ends_with(DEAD_LETTER_QUEUE_SUFFIX)
            || (targets.contains(&queue.name) && queue.dead_letter_queues.is_none())
    };
    queues.iter().filter(last).map(|queue| queue.name.as_str()).collect()
}

/// # Errors
/// Why messages cannot be held and given back without the danger of losing them.
fn fit(queue: &QueueFate) -> Result<(), String> {
    let name = &queue.name;
    match (queue.queue_type, queue.delivery_limit) {
        (QueueType::Stream, _) => Err(format!("{name} is a stream, from which nothing can be taken")),
        (_, Some(limit)) if limit < DELIVERY_LIMIT_FAR => Err(format!(
            "{name} loses what comes back more than {limit} times (delivery-limit), and each look at a message counts. Set a \
             policy with \"delivery-limit\": {DELIVERY_LIMIT_FAR} on it; if the limit is among its arguments, which cannot be \
             changed, move its messages to a queue that has none"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: &str, letters: Option<&[&str]>) -> QueueFate {
        let dead_letter_queues = letters.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        QueueFate { name: name.into(), queue_type: QueueType::Quorum, delivery_limit: None, dead_letter_queues }
    }

    #[test]
    fn dead_letter_queues_are_where_messages_end() {
        let queues = [
            queue("q", Some(&["q.dlq"])),
            queue("q.dlq", None),
            queue("q.retry.1s", Some(&["q"])),
            queue("other", Some(&["wait", "letters", "gone"])),
            queue("wait", Some(&["other"])),
            queue("letters", None),
            queue("alone.dlq", Some(&["archive"])),
            queue("archive", None),
            queue("plain", None),
        ];
        assert_eq!(Vec::from_iter(names(&queues)), ["alone.dlq", "archive", "letters", "q.dlq"]);
    }

    #[test]
    fn a_limit_that_can_be_reached_is_refused() {
        for (queue_type, delivery_limit, wrong) in [
            (QueueType::Classic, None, None),
            (QueueType::Quorum, None, None),
            (QueueType::Quorum, Some(1_000_000_000), None),
            (QueueType::Quorum, Some(20), Some("more than 20 times")),
            (QueueType::Quorum, Some(0), Some("more than 0 times")),
            (QueueType::Stream, None, Some("a stream")),
        ] {
            let told = fit(&QueueFate { queue_type, delivery_limit, ..queue("q.dlq", None) });
            match (told, wrong) {
                (Ok(()), None) => {}
                (Err(told), Some(part)) => assert!(told.contains(part), "{told}"),
                (told, _) => panic!("{queue_type:?} {delivery_limit:?}: {told:?}"),
            }
        }
    }
}
