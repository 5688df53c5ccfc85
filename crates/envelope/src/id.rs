//! Message ids: the same for the same idempotency key, or new.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Keeps these ids apart from any other use of SHA-256. Never change it: repeats of a request would get another id.
const DOMAIN: &str = "sluicegate message id";

/// The id of the message with this idempotency key, sent by this principal to this operation: a UUIDv8 from SHA-256. Each
/// part goes in with its length, so moving characters between parts gives another id.
pub fn deterministic_id(principal: &str, operation: &str, key: &str) -> String {
    let mut hash = Sha256::new();
    for part in [DOMAIN, principal, operation, key] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

/// A new id: UUIDv7, so ids sort by the time they were made.
pub fn fresh_id() -> String {
    Uuid::now_v7().to_string()
}
