//! Message ids: the same for the same request, or new.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Keeps these ids apart from any other use of SHA-256. Never change it: repeats of a request would get another id.
const DOMAIN: &str = "sluicegate message id";

/// Returns the id of the message that `parts` identify (who sent it, to what, its idempotency key, its payload): a UUIDv8 from
/// SHA-256. Each part goes in with its length, so moving characters between parts gives another id.
pub fn deterministic_id<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> String {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    };
    add(DOMAIN.as_bytes());
    parts.into_iter().for_each(|part| add(part.as_ref()));
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

/// A new id: UUIDv7, so ids sort by the time they were made.
pub fn fresh_id() -> String {
    Uuid::now_v7().to_string()
}
