//! The root certificates of the system.
//!
//! They are read at every cold start, and the loader of rustls-native-certs decodes base64 in constant time, which is
//! for private keys: it takes four fifths of the init of a function. This reads the bundle of Amazon Linux, or that of
//! `SSL_CERT_FILE`, with the vector instructions of the processor, and leaves every other case to the loader.

use std::env;
use std::path::PathBuf;

use base64::{
    Engine as _,
    engine::{Simd, general_purpose::PAD},
};
use memchr::{memchr_iter, memmem::Finder};
use rustls::pki_types::CertificateDer;

/// The bundle of Amazon Linux, on which Lambda runs functions.
const BUNDLE: &str = "/etc/pki/tls/certs/ca-bundle.crt";

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";

/// Returns the root certificates of the system. Without any, every TLS connection fails.
#[must_use]
pub fn trust_roots() -> Vec<CertificateDer<'static>> {
    let path = match (env::var_os("SSL_CERT_FILE"), env::var_os("SSL_CERT_DIR")) {
        (Some(file), None) => Some(PathBuf::from(file)),
        (None, None) => Some(PathBuf::from(BUNDLE)),
        _ => None,
    };
    let pem = path.and_then(|path| std::fs::read(path).ok());
    let certificates = pem.and_then(|pem| certificates(&pem)).filter(|found| !found.is_empty());
    certificates.unwrap_or_else(|| rustls_native_certs::load_native_certs().certs)
}

/// Returns the certificates of a PEM bundle; `None` if one cannot be read.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let (engine, begins, ends) = (Simd::standard(PAD), Finder::new(BEGIN), Finder::new(END));
    let mut found = Vec::with_capacity(pem.len() / 1_500);
    let (mut rest, mut base64) = (pem, Vec::new());
    while let Some(begin) = begins.find(rest) {
        let from = rest.get(begin + BEGIN.len()..)?;
        let (lines, after) = from.split_at(ends.find(from)?);
        base64.clear();
        let mut start = 0;
        for end in memchr_iter(b'\n', lines).chain([lines.len()]) {
            base64.extend_from_slice(lines.get(start..end)?.trim_ascii());
            start = end;
        }
        found.push(engine.decode(&base64).ok()?.into());
        rest = after;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    #[test]
    fn a_bundle_is_read_as_the_loader_reads_it() {
        let der = |byte: u8| vec![byte; 100];
        let lines = |byte| {
            let text = BASE64_STANDARD.encode(der(byte));
            text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>()
        };
        let [begin, end] = [BEGIN, END].map(|line| str::from_utf8(line).unwrap());
        let pem = |eol: &str| {
            let each = |byte| format!("# root {byte}{eol}{begin}{eol}{}{eol}{end}{eol}", lines(byte).join(eol));
            each(1) + &each(2)
        };
        for eol in ["\n", "\r\n"] {
            let found = certificates(pem(eol).as_bytes()).unwrap();
            assert_eq!(found, [CertificateDer::from(der(1)), CertificateDer::from(der(2))]);
        }
        assert_eq!(certificates(b""), Some(Vec::new()));
        for broken in [format!("{begin}\nAAAA\n"), format!("{begin}\n?\n{end}\n")] {
            assert_eq!(certificates(broken.as_bytes()), None, "{broken}");
        }
    }
}
