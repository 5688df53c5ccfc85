//! [`ClientCertificate`]: the certificate and key with which the function proves itself to a broker by mutual TLS.
//!
//! The secret is laid out as the one that Lambda's own mapping reads (`CLIENT_CERTIFICATE_TLS_AUTH`): `certificate` and
//! `privateKey` in PEM, the client's certificate first
//! (<https://docs.aws.amazon.com/lambda/latest/dg/kafka-cluster-auth.html>). It is read for the first connection, and
//! again when a broker refuses the certificate, as after a rotation.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use sluicegate_aws_client::http_client::{ClientConfig, TlsError, tls_config_with_certificate};
use sluicegate_aws_client::{AwsEnvironment, SecretsManagerError};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::login::secret_text;

/// A certificate with its key, and the roots of the system. Two are equal if their secrets are.
#[derive(Clone)]
pub(super) struct ClientCertificate {
    secret: Arc<str>,
    pub(super) tls: Arc<ClientConfig>,
}

impl PartialEq for ClientCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.secret == other.secret
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate")
    }
}

/// A certificate that cannot be used. The text is for operators and contains nothing of the secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateError {
    #[error("Secrets Manager: {0}")]
    Unread(#[from] SecretsManagerError),
    #[error(r#"the secret is not a JSON object with the strings "certificate" and "privateKey""#)]
    Malformed,
    #[error(r#""certificate" of the secret is not a certificate in PEM with its issuers after it"#)]
    Certificate,
    #[error(
        "the key is encrypted, which is not supported: store privateKey without a password, and no privateKeyPassword"
    )]
    EncryptedKey,
    #[error(r#""privateKey" of the secret is not a private key in PEM"#)]
    Key,
    #[error("the certificate cannot be used: {0}")]
    Tls(#[from] TlsError),
}

/// The certificate last read.
#[derive(Default)]
pub(super) struct CachedCertificate(Mutex<Option<ClientCertificate>>);

impl CachedCertificate {
    /// Returns the cached certificate, or reads it again if it is the `refused` one.
    pub(super) async fn get(
        &self,
        secret_arn: &str,
        environment: &AwsEnvironment,
        refused: Option<&ClientCertificate>,
    ) -> Result<ClientCertificate, CertificateError> {
        let cached = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(cached) = cached.filter(|cached| Some(cached) != refused) {
            return Ok(cached);
        }
        let read = ClientCertificate::parse(secret_text(secret_arn, environment).await?)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(read.clone());
        Ok(read)
    }
}

impl ClientCertificate {
    fn parse(secret: String) -> Result<Self, CertificateError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Secret {
            certificate: String,
            private_key: String,
            private_key_password: Option<String>,
        }
        // The error of serde_json can quote the text.
        let parsed: Secret = serde_json::from_str(&secret).map_err(|_| CertificateError::Malformed)?;
        let has_password = parsed.private_key_password.is_some_and(|password| !password.is_empty());
        // The first is PKCS #8, the second the older form of OpenSSL.
        let is_encrypted = |marker| parsed.private_key.contains(marker);
        if has_password
            || is_encrypted("-----BEGIN ENCRYPTED PRIVATE KEY-----")
            || is_encrypted("Proc-Type: 4,ENCRYPTED")
        {
            return Err(CertificateError::EncryptedKey);
        }
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(parsed.certificate.as_bytes()).collect();
        let certificates = certificates.ok().filter(|certificates| !certificates.is_empty());
        let certificates = certificates.ok_or(CertificateError::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(parsed.private_key.as_bytes()).map_err(|_| CertificateError::Key)?;
        Ok(Self { secret: secret.into(), tls: tls_config_with_certificate(certificates, key)? })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_that_has_no_usable_certificate_is_refused_and_never_quoted() {
        let pem = |label: &str| format!("-----BEGIN {label}-----\nc2VjcmV0\n-----END {label}-----\n");
        let (certificate, key) = (pem("CERTIFICATE"), pem("PRIVATE KEY"));
        let with = |certificate: &str, key: &str| json!({ "certificate": certificate, "privateKey": key });
        let mut with_password = with(&certificate, &key);
        with_password["privateKeyPassword"] = json!("c2VjcmV0");
        let older = key.replacen('\n', "\nProc-Type: 4,ENCRYPTED\n", 1);
        for (secret, expected) in [
            ("c2VjcmV0".to_owned(), "is not a JSON object"),
            (json!({ "certificate": certificate }).to_string(), "is not a JSON object"),
            (with("", &key).to_string(), "is not a certificate in PEM"),
            (with("c2VjcmV0", &key).to_string(), "is not a certificate in PEM"),
            (with(&certificate, "c2VjcmV0").to_string(), "is not a private key in PEM"),
            (with(&certificate, &pem("ENCRYPTED PRIVATE KEY")).to_string(), "store privateKey without a password"),
            (with(&certificate, &older).to_string(), "store privateKey without a password"),
            (with_password.to_string(), "no privateKeyPassword"),
            (with(&certificate, &key).to_string(), "the certificate cannot be used"),
        ] {
            let error = ClientCertificate::parse(secret.clone()).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("c2VjcmV0"), "{secret}: {error}");
        }
    }
}
