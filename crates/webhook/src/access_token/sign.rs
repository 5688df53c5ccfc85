//! Signing of access tokens, for development and tests: the ingress itself never signs one.

use std::fmt;

use ring::error::Unspecified;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use serde_json::{Value, json};

use super::TokenAlgorithm;
use crate::encoding::Encoding;
use crate::secret::decoded;

/// A private key that signs access tokens. `Debug` does not show it.
pub struct DevelopmentKey {
    algorithm: TokenAlgorithm,
    id: String,
    pair: Pair,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair, &'static dyn signature::RsaEncoding),
}

impl DevelopmentKey {
    /// Reads a private key (PKCS#8, in PEM or base64 of its DER) of this algorithm. `id` is its `kid`.
    #[must_use]
    pub fn read(algorithm: TokenAlgorithm, id: &str, private_key: &str) -> Option<Self> {
        use TokenAlgorithm as A;
        let der = decoded(private_key)?;
        let ecdsa = |signing| EcdsaKeyPair::from_pkcs8(signing, &der, &SystemRandom::new()).ok().map(Pair::Ecdsa);
        let rsa = |encoding| RsaKeyPair::from_pkcs8(&der).ok().map(|pair| Pair::Rsa(pair, encoding));
        let pair = match algorithm {
            A::RS256 => rsa(&signature::RSA_PKCS1_SHA256),
            A::RS384 => rsa(&signature::RSA_PKCS1_SHA384),
            A::RS512 => rsa(&signature::RSA_PKCS1_SHA512),
            A::PS256 => rsa(&signature::RSA_PSS_SHA256),
            A::PS384 => rsa(&signature::RSA_PSS_SHA384),
            A::PS512 => rsa(&signature::RSA_PSS_SHA512),
            A::ES256 => ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            A::ES384 => ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            A::EdDSA => Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).ok().map(Pair::Ed25519),
        };
        Some(Self { algorithm, id: id.to_owned(), pair: pair? })
    }

    /// Returns a token with these claims.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn token(&self, claims: &Value) -> Result<String, Unspecified> {
        self.token_with(&json!({ "alg": self.algorithm.name(), "typ": "at+jwt", "kid": self.id }), claims)
    }

    /// Returns a token with this header, which may be any.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn token_with(&self, header: &Value, claims: &Value) -> Result<String, Unspecified> {
        let segment = |json: &Value| Encoding::Base64url.encode(json.to_string().as_bytes());
        let text = format!("{}.{}", segment(header), segment(claims));
        let tag = match &self.pair {
            Pair::Ed25519(pair) => pair.sign(text.as_bytes()).as_ref().to_vec(),
            Pair::Ecdsa(pair) => pair.sign(&SystemRandom::new(), text.as_bytes())?.as_ref().to_vec(),
            Pair::Rsa(pair, encoding) => {
                let mut tag = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &SystemRandom::new(), text.as_bytes(), &mut tag)?;
                tag
            }
        };
        Ok(format!("{text}.{}", Encoding::Base64url.encode(&tag)))
    }

    /// Returns the public key as a JSON Web Key.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let number = |bytes: &[u8]| Encoding::Base64url.encode(bytes);
        let mut key = match &self.pair {
            Pair::Ed25519(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": number(pair.public_key().as_ref()) }),
            Pair::Ecdsa(pair) => {
                // An uncompressed point: 4, x and y.
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({ "kty": "EC", "crv": curve, "x": number(x), "y": number(y) })
            }
            Pair::Rsa(pair, _) => {
                let public = signature::RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "n": number(&public.n), "e": number(&public.e) })
            }
        };
        key["kid"] = self.id.clone().into();
        key["use"] = "sig".into();
        key["alg"] = self.algorithm.name().into();
        key
    }
}

impl fmt::Debug for DevelopmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevelopmentKey").field("algorithm", &self.algorithm).field("id", &self.id).finish()
    }
}
