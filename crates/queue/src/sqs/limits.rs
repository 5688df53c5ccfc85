//! The limits of SQS on a message, checked before sending.

use std::time::Duration;

use sha2::{Digest, Sha256};
use sluicegate_aws_client::push_hex;

/// Largest message, in bytes: body and message attributes. A queue may have a lower limit, which SQS enforces.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
pub const MESSAGE_BYTES_MAX: usize = 1_048_576;

/// Largest number of message attributes of one message.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>
pub const ATTRIBUTES_MAX: usize = 10;

/// Longest delay of one message, in seconds.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
pub const DELAY_S_MAX: u16 = 900;

/// Longest `MessageGroupId` and `MessageDeduplicationId`, in characters (letters, digits and punctuation of ASCII).
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
pub const TOKEN_CHARS_MAX: usize = 128;

/// Returns a group or deduplication id in the characters that SQS allows. Allowed text is unchanged; other text becomes
/// `sha256-` and the 64 hexadecimal digits of its SHA-256, so equal texts stay equal and different ones stay different.
pub(super) fn token(text: &str) -> String {
    let legal = (1..=TOKEN_CHARS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if legal { text.to_owned() } else { format!("sha256-{}", hex(&Sha256::digest(text.as_bytes()))) }
}

/// Returns whether SQS accepts every character of a body; it answers others with `InvalidMessageContents`.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
#[must_use]
pub fn is_sendable(text: &str) -> bool {
    // Control characters are single bytes, which no part of a longer character is.
    let is_allowed = |byte: &u8| *byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r');
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let has_control = words.iter().any(|word| has_byte_below_space(*word) && !word.iter().all(is_allowed));
    !has_control && rest.iter().all(is_allowed) && (text.is_ascii() || !text.contains(['\u{FFFE}', '\u{FFFF}']))
}

/// Returns whether a byte is less than 0x20, for all eight at once.
///
/// <https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord>
fn has_byte_below_space(bytes: [u8; 8]) -> bool {
    const SPACES: u64 = u64::from_ne_bytes([b' '; 8]);
    const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);
    let word = u64::from_ne_bytes(bytes);
    word.wrapping_sub(SPACES) & !word & HIGH_BITS != 0
}

/// Returns whole seconds, rounded up so that a message is not delivered early; `None` beyond [`DELAY_S_MAX`].
pub(super) fn delay_s(delay: Duration) -> Option<u16> {
    let seconds = delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() > 0));
    u16::try_from(seconds).ok().filter(|seconds| *seconds <= DELAY_S_MAX)
}

/// Returns lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    push_hex(&mut text, bytes);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_groups_stay_and_others_become_their_hash() {
        for legal in ["a", "c-1", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", &"x".repeat(128)] {
            assert_eq!(token(legal), legal);
        }
        for illegal in ["", "two words", "größe", "nul\0", "line\n", &"x".repeat(129)] {
            let token = token(illegal);
            assert!(token.starts_with("sha256-") && token.len() == 71, "{illegal:?} became {token}");
        }
        assert_ne!(token("two words"), token("two  words"));
    }

    #[test]
    fn sendable_characters_are_those_of_the_api() {
        for (text, expected) in [
            ("", true),
            ("\t\n\r ~\u{7f}\u{85}\u{D7FF}\u{E000}\u{FFFD}\u{10000}\u{10FFFF}", true),
            ("\0", false),
            ("a\u{b}", false),
            ("\u{1f}", false),
            ("\u{FFFE}", false),
            ("\u{FFFF}", false),
        ] {
            assert_eq!(is_sendable(text), expected, "{text:?}");
            for (before, after) in (0..20).flat_map(|before| (0..20).map(move |after| (before, after))) {
                let long = format!("{}{text}{}", " ".repeat(before), "~".repeat(after));
                assert_eq!(is_sendable(&long), expected, "{long:?}");
            }
        }
    }

    #[test]
    fn delays_are_whole_seconds_up_to_fifteen_minutes() {
        for (delay, expected) in [
            (Duration::ZERO, Some(0)),
            (Duration::from_nanos(1), Some(1)),
            (Duration::from_secs(900), Some(900)),
            (Duration::from_millis(900_001), None),
            (Duration::MAX, None),
        ] {
            assert_eq!(delay_s(delay), expected, "{delay:?}");
        }
    }
}
