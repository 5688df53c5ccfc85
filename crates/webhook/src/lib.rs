//! Verification and creation of webhook signatures. A [`Scheme`] describes, as data, how a provider signs.
//!
//! Guarantees:
//! - Signatures are verified over the raw body, which is not parsed and need not be text.
//! - A signature passes if it matches any live [`Secret`], so that a rotation loses no request. Neither the result nor
//!   its timing reveals which secret matched or how close another was.
//! - An accepted id or timestamp is the signed one. A request that also has another value for it is refused, so that a
//!   replay cannot bypass deduplication under a second id.
//!
//! The crate has no network. A provider that publishes its keys, as SNS does, has a text as the secret, and
//! verification asks for the [`KeyUrl`] that it needs.
//!
//! The crate does not store requests. Schemes without a timestamp, such as GitHub's, accept replays forever:
//! deduplicate on the delivery id.
//!
//! Features: `catalog` has the known providers, `verify` verifies and signs; without both the crate only describes
//! schemes.
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

mod access_token;
#[cfg(feature = "verify")]
mod answer;
#[cfg(feature = "verify")]
mod body;
#[cfg(feature = "catalog")]
mod catalog;
#[cfg(feature = "verify")]
mod codec;
#[cfg(feature = "verify")]
mod crc32;
#[cfg(feature = "verify")]
mod der;
mod encoding;
#[cfg(feature = "verify")]
mod error;
mod handshake;
#[cfg(feature = "verify")]
mod jwk;
mod key_source;
mod message_signature;
#[cfg(feature = "verify")]
mod published;
#[cfg(feature = "verify")]
mod published_keys;
#[cfg(feature = "verify")]
mod request;
mod scheme;
#[cfg(feature = "verify")]
mod secret;
#[cfg(feature = "verify")]
mod sign;
mod signed_text;
#[cfg(feature = "verify")]
mod timestamp;
#[cfg(feature = "verify")]
mod token;
#[cfg(feature = "verify")]
mod unique_json;
#[cfg(feature = "verify")]
mod verify;

#[cfg(feature = "verify")]
pub use access_token::{AcceptedToken, DevelopmentKey};
pub use access_token::{AccessTokens, DISCOVERY_PATH, IssuerKeys, SKEW_S_DEFAULT, TokenAlgorithm};
#[cfg(feature = "verify")]
pub use answer::{HandshakeAnswer, HandshakeError};
#[cfg(feature = "verify")]
pub use body::{BodyError, values_at};
#[cfg(feature = "catalog")]
pub use catalog::{Provider, Source};
pub use encoding::{Encoding, decode_hex};
#[cfg(feature = "verify")]
pub use error::SignatureError;
pub use handshake::{AnswerTemplate, AnswerTemplateError, Handshake, When};
pub use key_source::{CertificateSource, KeyHost, KeySource};
pub use message_signature::MessageSignature;
#[cfg(feature = "verify")]
pub use published_keys::{KeyError, KeyUrl, PublishedKeys};
#[cfg(feature = "verify")]
pub use request::Request;
pub use scheme::{
    Algorithm, AlgorithmBy, Assurance, Claim, ClaimValues, KeyEncoding, Names, Scheme, SecretForm, Signature,
    SignedTexts, TimeUnit, Timestamp, is_header_name,
};
#[cfg(feature = "verify")]
pub use secret::{Secret, SecretError};
#[cfg(feature = "verify")]
pub use sign::{SignError, SignedRequest, SigningKey};
pub use signed_text::{FORM_MEDIA_TYPE, SignedText, SignedTextError};
#[cfg(feature = "verify")]
pub use unique_json::parse_unique;
#[cfg(feature = "verify")]
pub use verify::{SIGNATURES_MAX, Verified};
