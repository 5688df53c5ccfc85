//! Login by SASL: PLAIN (RFC 4616) and SCRAM (RFC 5802, RFC 7677) without channel binding, which Kafka does not offer.

use std::num::NonZeroU32;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{digest, hmac, pbkdf2};

use crate::broker_url::Credentials;

/// The most rounds of PBKDF2 that a broker may ask for. Kafka's default is 4,096
/// (<https://kafka.apache.org/documentation/#security_sasl_scram>); a million take a second.
const ITERATIONS_MAX: u32 = 1_000_000;

/// The fewest rounds (RFC 7677, section 4).
const ITERATIONS_MIN: u32 = 4_096;

/// A mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

impl Mechanism {
    const ALL: [Self; 3] = [Self::Plain, Self::ScramSha256, Self::ScramSha512];

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// Returns the only message of PLAIN.
pub(super) fn plain(credentials: &Credentials) -> Vec<u8> {
    format!("\0{}\0{}", credentials.username, credentials.password).into_bytes()
}

/// What is wrong with a message of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ScramError {
    #[error("the broker's SCRAM message is malformed")]
    Malformed,
    #[error("the broker asks for a number of SCRAM iterations that is not within 4,096 to 1,000,000")]
    Iterations,
    #[error("the broker does not know the password: its SCRAM signature is wrong")]
    Signature,
    #[error("the system has no random numbers")]
    Random,
}

/// The client of one SCRAM exchange: after its first message it waits for the broker's first.
pub(super) struct Scram<'a> {
    credentials: &'a Credentials,
    hmac: hmac::Algorithm,
    digest: &'static digest::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
    nonce: String,
}

/// After its last message the client waits for the broker's signature.
pub(super) struct ScramProof {
    pub(super) message: String,
    signature: hmac::Tag,
}

impl<'a> Scram<'a> {
    /// Starts an exchange by SCRAM-SHA-512, or by SCRAM-SHA-256.
    pub(super) fn new(credentials: &'a Credentials, is_512: bool) -> Result<Self, ScramError> {
        let mut nonce = [0; 24];
        SystemRandom::new().fill(&mut nonce).map_err(|_| ScramError::Random)?;
        Ok(Self::with_nonce(credentials, is_512, BASE64_STANDARD.encode(nonce)))
    }

    fn with_nonce(credentials: &'a Credentials, is_512: bool, nonce: String) -> Self {
        let (hmac, digest, pbkdf2) = if is_512 {
            (hmac::HMAC_SHA512, &digest::SHA512, pbkdf2::PBKDF2_HMAC_SHA512)
        } else {
            (hmac::HMAC_SHA256, &digest::SHA256, pbkdf2::PBKDF2_HMAC_SHA256)
        };
        Self { credentials, hmac, digest, pbkdf2, nonce }
    }

    /// Returns the client's first message.
    pub(super) fn first_message(&self) -> String {
        format!("n,,{}", self.first_bare())
    }

    fn first_bare(&self) -> String {
        let username = self.credentials.username.replace('=', "=3D").replace(',', "=2C");
        format!("n={username},r={}", self.nonce)
    }

    /// Returns the client's proof that it has the password, for the broker's first message.
    pub(super) fn prove(&self, server_first: &[u8]) -> Result<ScramProof, ScramError> {
        let server_first = str::from_utf8(server_first).map_err(|_| ScramError::Malformed)?;
        let mut parts = server_first.split(',');
        let mut part = |name: &str| parts.next().and_then(|part| part.strip_prefix(name)).ok_or(ScramError::Malformed);
        let (nonce, salt, iterations) = (part("r=")?, part("s=")?, part("i=")?);
        let salt = BASE64_STANDARD.decode(salt).map_err(|_| ScramError::Malformed)?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(ScramError::Malformed);
        }
        let iterations = iterations.parse().map_err(|_| ScramError::Malformed)?;
        let iterations = NonZeroU32::new(iterations)
            .filter(|iterations| (ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations.get()))
            .ok_or(ScramError::Iterations)?;

        let mut salted = vec![0; self.digest.output_len()];
        pbkdf2::derive(self.pbkdf2, iterations, &salt, self.credentials.password.as_bytes(), &mut salted);
        let salted = hmac::Key::new(self.hmac, &salted);
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key = digest::digest(self.digest, client_key.as_ref());
        // "biws" is "n,," in base64: without channel binding.
        let without_proof = format!("c=biws,r={nonce}");
        let exchange = format!("{},{server_first},{without_proof}", self.first_bare());
        let client_signature = hmac::sign(&hmac::Key::new(self.hmac, stored_key.as_ref()), exchange.as_bytes());
        let pairs = client_key.as_ref().iter().zip(client_signature.as_ref());
        let proof: Vec<u8> = pairs.map(|(key, signature)| key ^ signature).collect();
        let server_key = hmac::Key::new(self.hmac, hmac::sign(&salted, b"Server Key").as_ref());
        Ok(ScramProof {
            message: format!("{without_proof},p={}", BASE64_STANDARD.encode(proof)),
            signature: hmac::sign(&server_key, exchange.as_bytes()),
        })
    }
}

impl ScramProof {
    /// Checks the broker's last message, which proves that the broker has the password too.
    pub(super) fn check(&self, server_final: &[u8]) -> Result<(), ScramError> {
        let signature = server_final.strip_prefix(b"v=").ok_or(ScramError::Malformed)?;
        let signature = BASE64_STANDARD.decode(signature).map_err(|_| ScramError::Malformed)?;
        if signature == self.signature.as_ref() { Ok(()) } else { Err(ScramError::Signature) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(username: &str) -> Credentials {
        Credentials { username: username.to_owned(), password: "pencil".to_owned() }
    }

    #[test]
    fn the_exchange_is_that_of_rfc_7677() {
        let user = credentials("user");
        let scram = Scram::with_nonce(&user, false, "rOprNGfwEbeRWgbNEkqO".to_owned());
        assert_eq!(scram.first_message(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let proof = scram.prove(format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096").as_bytes()).unwrap();
        let expected = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        assert_eq!(proof.message, expected);
        assert_eq!(proof.check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
        assert_eq!(proof.check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="), Err(ScramError::Malformed));
        assert_eq!(proof.check(b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Err(ScramError::Signature));
        assert_eq!(proof.check(b"e=invalid-proof"), Err(ScramError::Malformed));
    }

    #[test]
    fn a_hostile_broker_is_refused() {
        let user = credentials("a=b,c");
        let scram = Scram::with_nonce(&user, true, "n".to_owned());
        assert_eq!(scram.first_message(), "n,,n=a=3Db=2Cc,r=n");
        for (message, error) in [
            (&b""[..], ScramError::Malformed),
            (b"r=n1", ScramError::Malformed),
            (b"r=n,s=c2FsdA==,i=4096", ScramError::Malformed),
            (b"r=other,s=c2FsdA==,i=4096", ScramError::Malformed),
            (b"r=n1,s=*,i=4096", ScramError::Malformed),
            (b"r=n1,s=c2FsdA==,i=-1", ScramError::Malformed),
            (b"r=n1,s=c2FsdA==,i=0", ScramError::Iterations),
            (b"r=n1,s=c2FsdA==,i=1", ScramError::Iterations),
            (b"r=n1,s=c2FsdA==,i=4000000000", ScramError::Iterations),
            (b"\xff", ScramError::Malformed),
        ] {
            assert_eq!(scram.prove(message).map(|_| ()), Err(error), "{message:?}");
        }
        assert!(scram.prove(b"r=n1,s=c2FsdA==,i=4096").is_ok());
    }
}
