//! [`KeyUrl`]: a published key that verification needs. [`PublishedKeys`]: what its URL has.
//!
//! This crate has no network: [`Scheme::verify`](crate::Scheme::verify) returns
//! [`SignatureError::KeyNeeded`](crate::SignatureError::KeyNeeded) with a `KeyUrl`, the caller fetches it, and adds
//! what [`KeyUrl::read`] returns to the request. Only the checks of a scheme make a `KeyUrl`.
//!
//! # What is known of a certificate
//!
//! 1. Its URL is `https`, on a host of the provider, and has the provider's path. So the file is the provider's, as
//!    far as the caller checks TLS and follows no redirect.
//! 2. It has one of the DNS names that the provider documents, exactly; a wildcard does not count.
//! 3. Now is within its validity. This is checked again at each request.
//! 4. It is not its own issuer.
//! 5. If the file has more certificates, they lead to a root that the caller trusts, for TLS servers, as the
//!    certificates of AWS and PayPal are issued.
//!
//! A file with the certificate alone, as that of SNS, says nothing about its issuer: the intermediate certificates are
//! elsewhere, and not fetched. Revocation is not checked.

use std::fmt;

use ring::signature::{UnparsedPublicKey, VerificationAlgorithm};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::der;
use crate::jwk;
use crate::scheme::Algorithm;

/// The most certificates in a file. Ours: a chain of TLS has three or four.
const CERTIFICATES_MAX: usize = 8;

/// The most characters of another issuer's name in an error.
const ISSUER_CHARS_SHOWN: usize = 128;

/// A URL of published keys, which the checks of its scheme have passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUrl {
    url: String,
    file: KeyFile,
}

/// What a URL is expected to have.
#[derive(Clone, Debug, PartialEq, Eq)]
enum KeyFile {
    /// A certificate with one of these DNS names.
    Certificate(Vec<String>),
    /// A JSON Web Key Set.
    KeySet,
    /// The configuration of this issuer, which names its key set.
    Configuration(String),
}

/// What a URL has: the key of a certificate, the keys of a set, or the URL of an issuer's set. `Debug` does not show
/// them.
pub struct PublishedKeys {
    url: String,
    keys: Vec<PublicKey>,
    /// The URL of the key set, in an issuer's configuration.
    key_set_url: Option<String>,
    /// The validity of the certificate, in seconds since 1970.
    validity_unix_s: Option<(i64, i64)>,
}

/// A public key, and what it is for.
pub(crate) struct PublicKey {
    /// The id in its set.
    pub(crate) id: Option<String>,
    /// The name of its only algorithm (RFC 7518), if it has one.
    pub(crate) algorithm: Option<String>,
    pub(crate) kind: KeyKind,
    pub(crate) bytes: Vec<u8>,
}

/// The kind of a public key. An algorithm works with one kind only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// A file that is not one of keys that may be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The file is not a certificate in PEM.
    #[error("the file is not a certificate in PEM: {reason}")]
    Certificate {
        /// What is wrong.
        reason: String,
    },
    /// The certificate is for another name.
    #[error("the certificate is not for {}", subjects.join(" or "))]
    Subject {
        /// The expected DNS names.
        subjects: Vec<String>,
    },
    /// Now is not within the validity of the certificate.
    #[error("the certificate is valid from {not_before_unix_s} to {not_after_unix_s}, seconds since 1970")]
    Validity {
        /// The beginning.
        not_before_unix_s: i64,
        /// The end.
        not_after_unix_s: i64,
    },
    /// The certificate is its own issuer.
    #[error("the certificate is its own issuer")]
    SelfSigned,
    /// The certificates do not lead to a trusted root.
    #[error("the certificates do not lead to a trusted root: {reason}")]
    Chain {
        /// What is wrong.
        reason: String,
    },
    /// The file is not a JSON Web Key Set with a key for signatures.
    #[error("the file is not a JSON Web Key Set: {reason}")]
    KeySet {
        /// What is wrong.
        reason: &'static str,
    },
    /// The file is not an issuer's configuration.
    #[error("the file is not an issuer's configuration: {reason}")]
    Configuration {
        /// What is wrong.
        reason: &'static str,
    },
    /// The configuration is that of another issuer.
    #[error(
        "the configuration is that of the issuer {found:?}, and the contract has {expected:?}: one of them is wrong"
    )]
    Issuer {
        /// The issuer in the file.
        found: String,
        /// The issuer of the contract.
        expected: String,
    },
}

impl KeyUrl {
    pub(crate) fn certificate(url: String, subjects: Vec<String>) -> Self {
        Self { url, file: KeyFile::Certificate(subjects) }
    }

    pub(crate) fn key_set(url: String) -> Self {
        Self { url, file: KeyFile::KeySet }
    }

    pub(crate) fn configuration(url: String, issuer: String) -> Self {
        Self { url, file: KeyFile::Configuration(issuer) }
    }

    /// Returns the URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Returns the host of the URL.
    #[must_use]
    pub fn host(&self) -> &str {
        let rest = self.url.strip_prefix("https://").unwrap_or_default();
        rest.split('/').next().unwrap_or_default()
    }

    /// Returns whether it is a key set, whose keys change while the URL stays.
    #[must_use]
    pub fn is_key_set(&self) -> bool {
        self.file == KeyFile::KeySet
    }

    /// Returns whether it is a certificate, which has a URL of its own.
    #[must_use]
    pub fn is_certificate(&self) -> bool {
        matches!(self.file, KeyFile::Certificate(_))
    }

    /// Reads the file of the URL. `roots` returns the trusted root certificates as DER; it is called only for a file
    /// with several certificates.
    ///
    /// # Errors
    /// [`KeyError`]: the module's list of checks.
    pub fn read(
        &self,
        file: &[u8],
        roots: impl FnOnce() -> Vec<Vec<u8>>,
        now_unix_s: i64,
    ) -> Result<PublishedKeys, KeyError> {
        let url = self.url.clone();
        match &self.file {
            KeyFile::KeySet => {
                Ok(PublishedKeys { url, keys: jwk::set(file)?, key_set_url: None, validity_unix_s: None })
            }
            KeyFile::Configuration(issuer) => {
                let key_set_url = Some(key_set_url(file, issuer)?);
                Ok(PublishedKeys { url, keys: Vec::new(), key_set_url, validity_unix_s: None })
            }
            KeyFile::Certificate(subjects) => {
                let (key, validity) = certificate(file, subjects, roots, now_unix_s)?;
                Ok(PublishedKeys { url, keys: vec![key], key_set_url: None, validity_unix_s: Some(validity) })
            }
        }
    }
}

impl PublishedKeys {
    /// Returns the URL of the keys.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns whether now is within the validity of the certificate; always for a key set.
    #[must_use]
    pub fn is_valid(&self, now_unix_s: i64) -> bool {
        self.validity_unix_s.is_none_or(|(from, to)| (from..=to).contains(&now_unix_s))
    }

    pub(crate) fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// Returns the URL of the key set, if this is an issuer's configuration.
    pub(crate) fn key_set_url(&self) -> Option<&str> {
        self.key_set_url.as_deref()
    }
}

impl fmt::Debug for PublishedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublishedKeys({})", self.url)
    }
}

impl PublicKey {
    /// Returns the key of an AlgorithmIdentifier and a BIT STRING; `None` for a kind that is not supported.
    fn of_info(content: &[u8]) -> Option<Self> {
        // RFC 3279, sections 2.3.1 and 2.3.5: rsaEncryption, and id-ecPublicKey with prime256v1. RFC 8410, section 3.
        const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
        const P256: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
        const ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";
        let (algorithm, key) = der::public_key_info(content)?;
        let kind = match algorithm {
            _ if algorithm.starts_with(RSA) => KeyKind::Rsa,
            P256 => KeyKind::P256,
            ED25519 => KeyKind::Ed25519,
            _ => return None,
        };
        Some(Self { id: None, algorithm: None, kind, bytes: key.to_vec() })
    }

    /// Returns whether `signature` is that of the text. The algorithm must be one of the key.
    pub(crate) fn fits(&self, algorithm: Algorithm, text: &[u8], signature: &[u8]) -> bool {
        let is_named = self.algorithm.as_deref().is_none_or(|name| algorithm.token_name() == Some(name));
        let Some((kind, verification)) = algorithm.verification() else { return false };
        is_named && kind == self.kind && self.verifies(verification, text, signature)
    }

    /// Returns whether `signature` is that of the text, with an algorithm of the key's kind.
    pub(crate) fn verifies(
        &self,
        algorithm: &'static dyn VerificationAlgorithm,
        text: &[u8],
        signature: &[u8],
    ) -> bool {
        UnparsedPublicKey::new(algorithm, &self.bytes).verify(text, signature).is_ok()
    }
}

/// Returns the URL of the key set in an issuer's configuration (OpenID Connect Discovery 1.0, section 4.3; RFC 8414,
/// section 3.3). The issuer must be exactly the expected one, or the keys would be those of another.
fn key_set_url(file: &[u8], issuer: &str) -> Result<String, KeyError> {
    #[derive(serde::Deserialize)]
    struct Configuration {
        issuer: String,
        jwks_uri: String,
    }
    let reason = "it is not JSON with the texts issuer and jwks_uri";
    let found: Configuration = serde_json::from_slice(file).map_err(|_| KeyError::Configuration { reason })?;
    if found.issuer != issuer {
        // It is for the log, whose lines stay short.
        let found = found.issuer.chars().take(ISSUER_CHARS_SHOWN).collect();
        return Err(KeyError::Issuer { found, expected: issuer.to_owned() });
    }
    if !found.jwks_uri.starts_with("https://") {
        return Err(KeyError::Configuration { reason: "its jwks_uri is not an https URL" });
    }
    Ok(found.jwks_uri)
}

/// Returns the key and the validity of the first certificate of a file.
fn certificate(
    pem: &[u8],
    subjects: &[String],
    roots: impl FnOnce() -> Vec<Vec<u8>>,
    now_unix_s: i64,
) -> Result<(PublicKey, (i64, i64)), KeyError> {
    let malformed = |reason: &str| KeyError::Certificate { reason: reason.to_owned() };
    let certificates = CertificateDer::pem_slice_iter(pem).take(CERTIFICATES_MAX + 1).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|_| malformed("its base64 or its lines are damaged"))?;
    let (first, others) = match certificates.split_first() {
        Some((first, others)) if others.len() < CERTIFICATES_MAX => (first, others),
        Some(_) => return Err(malformed("it has too many certificates")),
        None => return Err(malformed("it has no certificate")),
    };
    let leaf = EndEntityCert::try_from(first).map_err(|error| malformed(&error.to_string()))?;
    if !leaf.valid_dns_names().any(|name| subjects.iter().any(|subject| subject == name)) {
        return Err(KeyError::Subject { subjects: subjects.to_vec() });
    }
    let (from, to) = der::validity(first).ok_or_else(|| malformed("it has no validity"))?;
    if !(from..=to).contains(&now_unix_s) {
        return Err(KeyError::Validity { not_before_unix_s: from, not_after_unix_s: to });
    }
    if leaf.issuer() == leaf.subject() {
        return Err(KeyError::SelfSigned);
    }
    if !others.is_empty() {
        check_chain(&leaf, others, &roots(), now_unix_s)?;
    }
    let info = leaf.subject_public_key_info();
    let key = der::element(&info).and_then(|(_, content, _)| PublicKey::of_info(content));
    Ok((key.ok_or_else(|| malformed("its key is not RSA, P-256 or Ed25519"))?, (from, to)))
}

fn check_chain(
    leaf: &EndEntityCert<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &[Vec<u8>],
    now_unix_s: i64,
) -> Result<(), KeyError> {
    let roots: Vec<CertificateDer<'_>> = roots.iter().map(|root| CertificateDer::from_slice(root)).collect();
    // A root that webpki cannot read is none, as in TLS.
    let anchors: Vec<_> = roots.iter().filter_map(|root| anchor_from_trusted_cert(root).ok()).collect();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(now_unix_s).unwrap_or_default()));
    let usage = KeyUsage::server_auth();
    let path = leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, intermediates, now, usage, None, None);
    path.map(drop).map_err(|error| KeyError::Chain { reason: error.to_string() })
}
