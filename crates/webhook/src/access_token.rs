//! [`AccessTokens`]: the JSON Web Tokens (RFC 7519, RFC 9068) that an issuer signs for clients, as data.
//!
//! Verification trusts nothing of a token before its signature. The algorithm is one that the contract lists and the
//! key is of that algorithm's kind, whatever the token's header says; a key or a URL in the header is ignored. A token
//! without `exp` is refused, and so is one with a member twice.

use serde::{Deserialize, Serialize};

#[cfg(feature = "verify")]
mod sign;
#[cfg(feature = "verify")]
mod verify;

#[cfg(feature = "verify")]
pub use sign::DevelopmentKey;
#[cfg(feature = "verify")]
pub use verify::AcceptedToken;

/// The path that discovery appends to an issuer (OpenID Connect Discovery 1.0, section 4).
pub const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

/// The default difference between clocks that the times of a token allow, in seconds (RFC 7519, section 4.1.4: "a few
/// minutes").
pub const SKEW_S_DEFAULT: u32 = 60;

/// The tokens that a route accepts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct AccessTokens {
    /// The issuer, exactly as in the claim `iss`.
    pub issuer: String,
    /// The audiences, of which a token must have one.
    pub audiences: Vec<String>,
    /// The claim with the audience: `aud`, or `client_id` for the access tokens of Amazon Cognito, which have no `aud`.
    pub audience_claim: String,
    /// The accepted algorithms.
    pub algorithms: Vec<TokenAlgorithm>,
    /// Where the issuer publishes its keys.
    pub keys: IssuerKeys,
    /// The difference between clocks that `exp`, `nbf` and `iat` allow, in seconds.
    pub skew_s: u32,
    /// The JSON pointer of the principal in the claims.
    pub principal: String,
    /// The JSON pointers of the scopes in the claims: a text with spaces between them, or a list.
    pub scopes: Vec<String>,
}

/// Where an issuer publishes its keys.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IssuerKeys {
    /// A JSON Web Key Set (RFC 7517) at this URL.
    Jwks(String),
    /// The key set that the configuration at this URL names (OpenID Connect Discovery 1.0, RFC 8414).
    Discovery(String),
}

/// A signature algorithm with a public key, by its name in a token (RFC 7518, section 3.1; RFC 8037, section 3.1).
///
/// `HS256` and its relatives are left out: a key that verifies could sign, too. `ES512` is left out because `ring` has
/// no P-521.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub enum TokenAlgorithm {
    /// RSA PKCS#1 1.5 with SHA-256.
    RS256,
    /// RSA PKCS#1 1.5 with SHA-384.
    RS384,
    /// RSA PKCS#1 1.5 with SHA-512.
    RS512,
    /// RSA-PSS with SHA-256.
    PS256,
    /// RSA-PSS with SHA-384.
    PS384,
    /// RSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

impl TokenAlgorithm {
    /// The names of every algorithm. `EdDSA` is also named by its curve (RFC 9864).
    pub const NAMES: [(&'static str, Self); 10] = [
        ("RS256", Self::RS256),
        ("RS384", Self::RS384),
        ("RS512", Self::RS512),
        ("PS256", Self::PS256),
        ("PS384", Self::PS384),
        ("PS512", Self::PS512),
        ("ES256", Self::ES256),
        ("ES384", Self::ES384),
        ("EdDSA", Self::EdDSA),
        ("Ed25519", Self::EdDSA),
    ];

    /// Returns the algorithm of this name, which is case-sensitive.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, algorithm)| algorithm)
    }

    /// Returns the name, the first of several.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.into_iter().find(|(_, algorithm)| *algorithm == self).map_or("", |(name, _)| name)
    }
}

impl AccessTokens {
    /// Returns the URL of an issuer's configuration: without the final `/` of its path (OpenID Connect Discovery 1.0,
    /// section 4.1).
    #[must_use]
    pub fn discovery_url(issuer: &str) -> String {
        format!("{}{DISCOVERY_PATH}", issuer.strip_suffix('/').unwrap_or(issuer))
    }
}
