//! [`Message`]: one message of the workload: who sends it, what it is, and what its handler does.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

use crate::dice::Dice;
use crate::scenario::BURST_MAX;

/// Starts the number of a message in its body, with a `#` after it.
const MARK: &str = "sim";

/// Digits of the number of a message.
const DIGITS: usize = 8;

/// The ordering groups. Their sizes are skewed: the first has about a third of all messages.
const GROUPS: u32 = 24;

/// A padding that is larger than most, in bytes.
const LARGE_BYTES: usize = 900_000;

/// The largest payload, `payloadBytes` in the contract.
const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

/// Room for the envelope and the message attributes, whose size counts towards the 1 MiB of a message of SQS too.
const ENVELOPE_BYTES_MAX: usize = 1_024;

/// If the queue accepts [`MESSAGE_BYTES_MAX`](crate::scenario::MESSAGE_BYTES_MAX): the padding of a payload that goes
/// through S3, and the most of one that does not, in bytes.
const IN_S3_BYTES: Range<usize> = 2_000..4_000;
const ON_QUEUE_BYTES_MAX: usize = 200;

/// Payloads about the limits, in bytes: two that are stored, one that the queue has no room for, and one that exceeds
/// the contract.
const LARGEST_BYTES: [usize; 4] = [LARGE_BYTES, LARGEST_STORED_BYTES, PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MAX + 1];

/// The largest payload that is stored.
const LARGEST_STORED_BYTES: usize = PAYLOAD_BYTES_MAX - ENVELOPE_BYTES_MAX;

/// A message of the workload.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) number: u32,
    pub(crate) at: Duration,
    pub(crate) group: u32,
    pub(crate) sender: Sender,
    pub(crate) behaviour: Behaviour,
    /// The message whose idempotency key the request has: its own, or another one's with another payload.
    pub(crate) key_of: u32,
    /// When the client sends the same request again, after it was accepted.
    pub(crate) repeated_after: Option<Duration>,
    pub(crate) padding_bytes: usize,
    /// Whether the payload goes through S3.
    pub(crate) is_in_s3: bool,
}

/// When the messages of a workload are sent, and how large they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    /// How long they are sent, without the pause.
    pub(crate) lasts: Duration,
    /// The pause in the middle.
    pub(crate) idle: Duration,
    /// How many of them are sent at the same time.
    pub(crate) burst: u32,
    /// Whether there are large ones among them.
    pub(crate) is_large: bool,
    /// Whether a quarter of them are texts of another program, otherwise one of a hundred.
    pub(crate) is_raw: bool,
    /// Whether half of those of clients are larger than the queue accepts.
    pub(crate) has_payloads: bool,
    /// Whether half have the idempotency key of another that is sent about the same time.
    pub(crate) shares_keys: bool,
}

/// Where a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// A client, by the ingress.
    Client,
    /// Another program, as an event of a type without a handler.
    OtherType,
    /// Another program, as a text.
    Raw,
    /// Another program, as an event that is not valid.
    Undecodable,
}

/// What the handler of a message does when it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Succeeds after milliseconds.
    Succeeds { after_ms: u64 },
    /// Fails some times, and then succeeds.
    FailsFirst { times: u32 },
    /// Fails always.
    Poison,
    /// Rejects.
    Rejects,
    /// Panics some times, and then succeeds.
    Panics { times: u32 },
    /// Asks once for a retry after seconds.
    Waits { delay_s: u64 },
    /// Does not return before it is cancelled, once.
    Hangs,
}

impl Message {
    /// Returns a message of a workload of `count`.
    pub(crate) fn new(dice: &Dice, number: u32, count: u32, workload: &Workload) -> Self {
        let Workload { lasts, idle, burst, is_large, is_raw, has_payloads, shares_keys } = *workload;
        let mut rng = dice.about("message", u64::from(number));
        let sender = match rng.u32(0..100) {
            0 => Sender::OtherType,
            1 => Sender::Raw,
            2 => Sender::Undecodable,
            3..27 if is_raw => Sender::Raw,
            _ => Sender::Client,
        };
        let mut message = Self {
            number,
            at: lasts.mul_f64(f64::from(number - number % burst.max(1)) / f64::from(count.max(1)))
                + if number > count / 2 { idle } else { Duration::ZERO },
            group: (0..GROUPS).find(|_| rng.u32(0..3) == 0).unwrap_or(GROUPS),
            sender,
            behaviour: Behaviour::new(&mut rng),
            key_of: if number > 0 && rng.u32(0..50) == 0 { rng.u32(0..number) } else { number },
            repeated_after: (rng.u32(0..20) == 0).then(|| Duration::from_millis(rng.u64(0..20_000))),
            padding_bytes: match rng.u32(0..100) {
                0 if is_large => LARGE_BYTES,
                1..10 if is_large => rng.usize(1_000..50_000),
                1..3 => rng.usize(200..10_000),
                _ => rng.usize(0..200),
            },
            is_in_s3: false,
        };
        if message.padding_bytes == LARGE_BYTES && sender == Sender::Client {
            message.padding_bytes = 0;
            let largest = dice.about("size", u64::from(number)).choice(LARGEST_BYTES).unwrap_or(LARGE_BYTES);
            message.padding_bytes = largest - message.payload().len();
        }
        if has_payloads {
            let mut rng = dice.about("payload", u64::from(number));
            let is_in_s3 = sender == Sender::Client && rng.bool();
            message.padding_bytes = rng.usize(if is_in_s3 { IN_S3_BYTES } else { 0..ON_QUEUE_BYTES_MAX });
            message.is_in_s3 = is_in_s3;
        }
        let mut rng = dice.about("key", u64::from(number));
        if shares_keys && number > 0 && rng.bool() {
            message.key_of = number - rng.u32(1..=number.min(BURST_MAX / 4));
        }
        message
    }

    /// Returns whether the payload is larger than what is stored.
    pub(crate) fn is_too_large(&self) -> bool {
        self.padding_bytes > LARGE_BYTES && self.payload().len() > LARGEST_STORED_BYTES
    }

    /// Returns the payload.
    pub(crate) fn payload(&self) -> String {
        let Self { number, group, .. } = self;
        let (key, padding) = (self.key(), "x".repeat(self.padding_bytes));
        format!(r#"{{"n":"{MARK}#{number:0DIGITS$}","group":"g{group}","key":"{key}","padding":"{padding}"}}"#)
    }

    /// Returns the idempotency key.
    pub(crate) fn key(&self) -> String {
        format!("key-{}", self.key_of)
    }

    /// Returns the body of a message that is not an event.
    pub(crate) fn raw(&self) -> String {
        format!("raw {}", self.payload())
    }

    /// Returns whether each call of the handler succeeds, and the message reaches one.
    pub(crate) fn is_healthy(&self, accepts_raw: bool) -> bool {
        let reaches_a_handler = self.sender == Sender::Client || (self.sender == Sender::Raw && accepts_raw);
        reaches_a_handler && matches!(self.behaviour, Behaviour::Succeeds { .. })
    }
}

impl Behaviour {
    fn new(rng: &mut Rng) -> Self {
        match rng.u32(0..100) {
            0..2 => Self::FailsFirst { times: rng.u32(1..4) },
            2..4 => Self::Poison,
            4..6 => Self::Rejects,
            6..8 => Self::Panics { times: rng.u32(1..8) },
            8..10 => Self::Waits { delay_s: rng.u64(0..120) },
            10 => Self::Hangs,
            11..14 => Self::Succeeds { after_ms: rng.u64(1_000..8_000) },
            14..40 => Self::Succeeds { after_ms: rng.u64(1..50) },
            _ => Self::Succeeds { after_ms: 0 },
        }
    }
}

/// Returns the number of the message that a text has, or is about.
pub(crate) fn number_in(text: &str) -> Option<u32> {
    numbers_in(text).next()
}

/// Returns the numbers of the messages that a text has.
pub(crate) fn numbers_in(text: &str) -> impl Iterator<Item = u32> {
    // A byte is found more quickly than a text.
    let marks = text.match_indices('#').filter(|(at, _)| text[..*at].ends_with(MARK));
    marks.filter_map(|(at, _)| text.get(at + 1..at + 1 + DIGITS)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: Workload = Workload {
        lasts: Duration::from_secs(60),
        idle: Duration::ZERO,
        burst: 1,
        is_large: true,
        is_raw: false,
        has_payloads: false,
        shares_keys: false,
    };

    #[test]
    fn large_payloads_are_about_the_limits() {
        let dice = Dice::new(7);
        let new = |number| Message::new(&dice, number, 100, &LARGE);
        let large = (0..20_000).map(new).filter(|message| message.sender == Sender::Client);
        let mut sizes: Vec<_> = large
            .map(|message| (message.payload().len(), message.is_too_large()))
            .filter(|(bytes, _)| *bytes > 60_000)
            .collect();
        sizes.sort_unstable();
        sizes.dedup();
        let stored = [LARGE_BYTES, LARGEST_STORED_BYTES].map(|bytes| (bytes, false));
        let refused = [PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MAX + 1].map(|bytes| (bytes, true));
        assert_eq!(sizes, [stored, refused].concat());
    }

    #[test]
    fn the_number_of_a_message_is_found_in_its_payload() {
        let message = Message::new(&Dice::new(7), 42, 100, &LARGE);
        assert_eq!(number_in(&message.payload()), Some(42));
        assert_eq!(number_in("sim#1"), None);
        assert_eq!(numbers_in("sim#00000001, sim#00000002").collect::<Vec<_>>(), [1, 2]);
    }
}
