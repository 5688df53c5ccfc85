//! Message ids, deterministic or new.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Separates these ids from other uses of SHA-256. A change would give repeats of a request another id.
const DOMAIN: &str = "sluicegate message id";

/// Returns the id of the message that `parts` identify (sender, operation, idempotency key, payload): a UUIDv8 from
/// SHA-256. The length of each part is hashed too, so moving characters between parts changes the id.
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

/// Returns a new id, a UUIDv7, so ids sort by time of creation.
pub fn fresh_id() -> String {
    Uuid::now_v7().to_string()
}
