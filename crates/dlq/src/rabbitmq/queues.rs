//! The dead-letter queues of a virtual host, and the check that messages can be taken from one safely.

use std::collections::BTreeSet;

use sluicegate_queue::queue_names::DEAD_LETTER_QUEUE_SUFFIX;
use sluicegate_queue::rabbitmq::Broker;
use sluicegate_topology::{Address, QueueFate, QueueType};

use super::connection::{TimedConnection, config};
use crate::{Error, ListedQueue};

/// The lowest delivery limit that counts as unreachable. Each take of a message counts as a delivery.
const DELIVERY_LIMIT_FAR: u64 = 1_000_000;

/// Returns every dead-letter queue of the virtual host by name, with its ready messages: queues that end in `.dlq`, and
/// queues that receive dead letters without a dead-letter target of their own, unlike retry queues.
///
/// # Errors
/// The broker or its management API cannot be reached or refuses.
pub async fn dead_letter_queues(address: &Address) -> Result<Vec<ListedQueue>, Error> {
    let queues = there(address).await?;
    let connection = TimedConnection::open(address, &Broker::new(config(address)?.0)).await?;
    let channel = connection.channel().await?;
    let mut found = Vec::new();
    for name in names(&queues) {
        let depth = connection.ready(&channel, &connection.name(name)?).await?.into();
        found.push(ListedQueue { name: name.to_owned(), depth: Some(depth), sources: Vec::new() });
    }
    Ok(found)
}

/// Checks that messages can be taken from `queue`.
///
/// # Errors
/// The queue does not exist, or messages that are taken could be lost.
pub(super) async fn check(address: &Address, queue: &str) -> Result<(), Error> {
    let queues = there(address).await?;
    let there = queues.iter().find(|there| there.name == queue);
    let there = there.ok_or_else(|| Error::Broker(format!("{address}: the queue {queue} does not exist")))?;
    fit(there).map_err(|reason| Error::Broker(format!("{address}: {reason}")))
}

async fn there(address: &Address) -> Result<Vec<QueueFate>, Error> {
    let queues = sluicegate_topology::queues(address).await;
    queues.map_err(|error| {
        Error::Broker(format!("the management API is needed, to check that the queue does not lose messages: {error}"))
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

/// Why messages cannot be taken from a queue.
#[derive(Debug, thiserror::Error)]
enum UnfitError {
    /// A stream keeps its messages.
    #[error("{name} is a stream, from which nothing can be taken")]
    Stream {
        /// The queue.
        name: String,
    },
    /// The broker drops or moves a message after this many deliveries.
    #[error(
        "{name} loses what comes back more than {limit} times (delivery-limit), and each look at a message counts. Set a \
         policy with \"delivery-limit\": {} on it; if the limit is among its arguments, which cannot be \
         changed, move its messages to a queue that has none",
        DELIVERY_LIMIT_FAR
    )]
    DeliveryLimit {
        /// The queue.
        name: String,
        /// Its delivery limit.
        limit: u64,
    },
}

/// Checks that messages can be taken and returned without being lost.
///
/// # Errors
/// They could be lost.
fn fit(queue: &QueueFate) -> Result<(), UnfitError> {
    let name = || queue.name.clone();
    match (queue.queue_type, queue.delivery_limit) {
        (QueueType::Stream, _) => Err(UnfitError::Stream { name: name() }),
        (_, Some(limit)) if limit < DELIVERY_LIMIT_FAR => Err(UnfitError::DeliveryLimit { name: name(), limit }),
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
    fn a_delivery_limit_that_reading_can_reach_is_refused() {
        for (queue_type, delivery_limit, wrong) in [
            (QueueType::Classic, None, None),
            (QueueType::Quorum, None, None),
            (QueueType::Quorum, Some(1_000_000_000), None),
            (QueueType::Quorum, Some(20), Some("more than 20 times")),
            (QueueType::Quorum, Some(0), Some("more than 0 times")),
            (QueueType::Stream, None, Some("a stream")),
        ] {
            let shown = fit(&QueueFate { queue_type, delivery_limit, ..queue("q.dlq", None) });
            match (shown, wrong) {
                (Ok(()), None) => {}
                (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{error}"),
                (shown, _) => panic!("{queue_type:?} {delivery_limit:?}: {shown:?}"),
            }
        }
    }
}
