//! [`Sending`]: the messages that are sent together, by a client in one request.

use std::fmt;
use std::time::Duration;

use crate::dice::Dice;
use crate::message::{Message, Sender};

/// The most items of a batch: more than three calls of SQS take. The contract allows 100.
const ITEMS_MAX: usize = 30;

/// The most bytes of the paddings of a batch. The route accepts a body of 1 MiB.
const PADDINGS_BYTES_MAX: usize = 1_000_000;

/// One message, or the items of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Sending {
    pub(crate) at: Duration,
    /// The numbers of the messages, at least one.
    pub(crate) messages: Vec<u32>,
    pub(crate) is_batch: bool,
}

impl Sending {
    /// Divides the messages of a workload. If clients may send batches, they do in three quarters of the seeds, beside
    /// single messages.
    pub(crate) fn all(dice: &Dice, messages: &[Message], may_batch: bool) -> Vec<Self> {
        let mut rng = dice.about("sendings", 0);
        let items_max = if rng.u32(0..4) == 0 { None } else { Some(rng.usize(2..=ITEMS_MAX)) };
        let items_max = items_max.filter(|_| may_batch);
        let mut sendings = Vec::new();
        let mut rest = messages;
        while let Some(first) = rest.first() {
            let items_max = items_max.filter(|_| may_be_item(first) && rng.u32(0..4) > 0);
            let count = items_max.map_or(1, |items_max| fitting(rest, rng.usize(1..=items_max)));
            let (sent, later) = rest.split_at(count);
            sendings.push(Self {
                at: sent.last().map_or(first.at, |last| last.at),
                messages: sent.iter().map(|message| message.number).collect(),
                is_batch: items_max.is_some(),
            });
            rest = later;
        }
        sendings
    }

    /// Returns what is left of it with these messages alone; `None` if that is nothing.
    pub(crate) fn only(&self, is_sent: impl Fn(u32) -> bool) -> Option<Self> {
        let messages: Vec<u32> = self.messages.iter().copied().filter(|message| is_sent(*message)).collect();
        (!messages.is_empty()).then_some(Self { messages, ..*self })
    }
}

/// Returns how many of the first messages are items of a batch, at least one.
fn fitting(messages: &[Message], items_max: usize) -> usize {
    let mut bytes = 0;
    let fits = |message: &&Message| {
        bytes += message.padding_bytes;
        may_be_item(message) && bytes <= PADDINGS_BYTES_MAX
    };
    messages.iter().take(items_max).take_while(fits).count().max(1)
}

/// Returns whether a message may be an item of a batch, which does not go through S3.
fn may_be_item(message: &Message) -> bool {
    message.sender == Sender::Client && !message.is_in_s3
}

impl fmt::Display for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_batch, self.messages.as_slice()) {
            (false, [message]) => write!(f, "{message}"),
            (_, messages) => write!(f, "{messages:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Workload;

    #[test]
    fn each_message_is_sent_once_and_in_order() {
        for seed in 0..8 {
            let dice = Dice::new(seed);
            let workload = Workload {
                lasts: Duration::from_secs(60),
                idle: Duration::ZERO,
                burst: 4,
                is_large: true,
                is_raw: true,
                has_payloads: seed % 2 == 0,
                shares_keys: false,
            };
            let messages: Vec<_> = (0..200).map(|number| Message::new(&dice, number, 200, &workload)).collect();
            let sendings = Sending::all(&dice, &messages, true);
            let numbers: Vec<u32> = sendings.iter().flat_map(|sending| sending.messages.clone()).collect();
            assert_eq!(numbers, (0..200).collect::<Vec<_>>(), "seed {seed}");
            for sending in sendings.iter().filter(|sending| sending.messages.len() > 1) {
                let may_be_item = |number: &u32| may_be_item(&messages[*number as usize]);
                assert!(sending.is_batch && sending.messages.iter().all(may_be_item), "{sending}");
            }
        }
    }
}
