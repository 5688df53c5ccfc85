//! The root certificates of the system.
//!
//! They are read at every cold start, and the loader of rustls-native-certs decodes base64 in constant time, which is
//! for private keys: it takes four fifths of the init of a function. This reads the bundle of Amazon Linux, or that of
//! `SSL_CERT_FILE`, by itself and leaves every other case to the loader.

use std::env;
use std::path::PathBuf;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustls::pki_types::CertificateDer;

/// The bundle of Amazon Linux, on which Lambda runs functions.
const BUNDLE: &str = "/etc/pki/tls/certs/ca-bundle.crt";

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Returns the root certificates of the system. Without any, every TLS connection fails.
#[must_use]
pub fn trust_roots() -> Vec<CertificateDer<'static>> {
    let path = match (env::var_os("SSL_CERT_FILE"), env::var_os("SSL_CERT_DIR")) {
        (Some(file), None) => Some(PathBuf::from(file)),
        (None, None) => Some(PathBuf::from(BUNDLE)),
        _ => None,
    };
    let text = path.and_then(|path| std::fs::read_to_string(path).ok());
    let certificates = text.and_then(|text| certificates(&text)).filter(|found| !found.is_empty());
    certificates.unwrap_or_else(|| rustls_native_certs::load_native_certs().certs)
}

/// Returns the certificates of a PEM bundle; `None` if one cannot be read.
fn certificates(pem: &str) -> Option<Vec<CertificateDer<'static>>> {
    let mut found = Vec::with_capacity(pem.len() / 1_500);
    let (mut rest, mut base64) = (pem, Vec::new());
    while let Some((_, from)) = rest.split_once(BEGIN) {
        let (lines, after) = from.split_once(END)?;
        base64.clear();
        lines.lines().for_each(|line| base64.extend_from_slice(line.trim().as_bytes()));
        found.push(BASE64_STANDARD.decode(&base64).ok()?.into());
        rest = after;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_read_as_the_loader_reads_it() {
        let der = |byte: u8| vec![byte; 100];
        let lines = |byte| {
            let text = BASE64_STANDARD.encode(der(byte));
            text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>()
        };
        let pem = |end: &str| {
            let each = |byte| format!("# root {byte}{end}{BEGIN}{end}{}{end}{END}{end}", lines(byte).join(end));
            each(1) + &each(2)
        };
        for end in ["\n", "\r\n"] {
            let found = certificates(&pem(end)).unwrap();
            assert_eq!(found, [CertificateDer::from(der(1)), CertificateDer::from(der(2))]);
        }
        assert_eq!(certificates(""), Some(Vec::new()));
        for broken in [format!("{BEGIN}\nAAAA\n"), format!("{BEGIN}\n?\n{END}\n")] {
            assert_eq!(certificates(&broken), None, "{broken}");
        }
    }
}
