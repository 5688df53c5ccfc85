//! Webhook signatures, verified and made. A provider's way of signing is a [`Scheme`], which is data.
//!
//! The caller may rely on this:
//! - What is verified is the raw body. It is not parsed and need not be text.
//! - A signature passes if it fits any live [`Secret`], so that rotation drops nothing; which one it fits, and how closely
//!   another missed, shows neither in the answer nor in its timing.
//! - An id or a timestamp that passed is the one the sender signed: if it occurs again with another value the request is
//!   refused, so that a replay cannot slip past deduplication under a second id.
//!
//! Absent on purpose: memory of what was seen. Schemes without a timestamp, such as GitHub's, accept a replay for ever;
//! deduplicate on the delivery id.
//!
//! ```
//! use sluicegate_webhook::Scheme;
//!
//! let github = Scheme::named("github").ok_or("unknown")?;
//! let live = [github.secret("the next one")?, github.secret("It's a Secret to Everybody")?];
//! let mut headers = http::HeaderMap::new();
//! let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
//! headers.insert("x-hub-signature-256", signature.parse()?);
//! assert!(github.verify(&headers, b"Hello, World!", &live, 1_795_222_923).is_ok());
//! assert!(github.verify(&headers, b"Hello, World?", &live, 1_795_222_923).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod codec;
mod scheme;
mod secret;
mod sign;
mod verify;

pub use scheme::{Part, Scheme};
pub use secret::{SECRET_BYTES_MAX, SECRET_BYTES_MIN, Secret, SecretError};
pub use verify::{SIGNATURES_MAX, SignatureError};
