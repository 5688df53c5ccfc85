//! Verification and creation of webhook signatures. A [`Scheme`] describes, as data, how a provider signs.
//!
//! Guarantees:
//! - Signatures are verified over the raw body, which is not parsed and need not be text.
//! - A signature passes if it matches any live [`Secret`], so that a rotation loses no request. Neither the result nor
//!   its timing reveals which secret matched or how close another was.
//! - An accepted id or timestamp is the signed one. A request that also has another value for it is refused, so that a
//!   replay cannot bypass deduplication under a second id.
//!
//! The crate does not store requests. Schemes without a timestamp, such as GitHub's, accept replays forever:
//! deduplicate on the delivery id.
//!
//! ```
//! use sluicegate_webhook::{Provider, Request};
//!
//! let github = &Provider::named("github").ok_or("unknown")?.scheme;
//! let live = [github.secret("the next one")?, github.secret("It's a Secret to Everybody")?];
//! let mut headers = http::HeaderMap::new();
//! let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
//! headers.insert("x-hub-signature-256", signature.parse()?);
//! assert!(github.verify(&Request::new(&headers, b"Hello, World!"), &live, 1_795_222_923).is_ok());
//! assert!(github.verify(&Request::new(&headers, b"Hello, World?"), &live, 1_795_222_923).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "catalog")]
mod catalog;
mod codec;
mod error;
mod handshake;
mod request;
mod scheme;
mod secret;
mod sign;
mod signed_text;
mod timestamp;
mod token;
mod verify;

#[cfg(feature = "catalog")]
pub use catalog::{Provider, Source};
pub use codec::{Encoding, decode_hex};
pub use error::SignatureError;
pub use handshake::{AnswerTemplate, AnswerTemplateError, Handshake, HandshakeAnswer, HandshakeError, When};
pub use request::Request;
pub use scheme::{
    Algorithm, Assurance, Claim, KeyEncoding, Names, Scheme, SecretForm, Signature, SignedTexts, TimeUnit, Timestamp,
};
pub use secret::{Secret, SecretError};
pub use sign::SignError;
pub use signed_text::{SignedText, SignedTextError};
pub use verify::{SIGNATURES_MAX, Verified};
