//! [`KeySource`]: where a provider publishes the keys it signs with, as data.
//!
//! A URL that a request names is used only if it is `https`, on a host of the scheme, without user, port, query,
//! percent-encoding or `..`, and with the path of the scheme. So a request chooses one of the provider's own files, and
//! nothing else on the network.

use serde::{Deserialize, Serialize};

use crate::scheme::{Algorithm, AlgorithmBy, KeyEncoding, SECRET, Scheme};
use crate::signed_text::SignedText;

/// The longest URL, in bytes. Ours: those of the providers have at most 120.
#[cfg(feature = "verify")]
const URL_BYTES_MAX: usize = 1_024;

/// The label of a host that a request chooses.
const REGION: &str = "{region}";

/// Where a provider publishes the keys it signs with. The secrets of such a scheme are not keys: each is a text that
/// the request must have, [`SecretForm::equals`](crate::SecretForm::equals) or `{secret}` in the signed text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeySource {
    /// A certificate in PEM, at a URL that the request names.
    Certificate(CertificateSource),
    /// A JSON Web Key Set (RFC 7517), at this URL.
    Jwks(String),
}

/// A certificate at a URL that the request names. Exactly one of `header` and `body` is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct CertificateSource {
    /// The header with the URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The JSON pointer of the URL in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The hosts of the URL. The first that fits counts.
    pub hosts: Vec<KeyHost>,
    /// The beginning of the path.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path_prefix: String,
    /// The end of the path.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path_suffix: String,
}

/// A host that has certificates, and their subjects.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyHost {
    /// The host in lower case; `{region}` is any text of letters, digits and hyphens: `sns.{region}.amazonaws.com`.
    pub host: String,
    /// The DNS names of which a certificate must have one; `{region}` is that of the host.
    pub subjects: Vec<String>,
}

impl Scheme {
    /// Notes the faults of the algorithm and of published keys.
    pub(crate) fn key_faults(&self, fault: &mut impl FnMut(&str, &str)) {
        if self.algorithm == Algorithm::RsaPkcs1Sha1 {
            fault("/algorithm", "SHA-1 has collisions: it is accepted only where `algorithmBy` names it");
        }
        if let Some(AlgorithmBy { header, body, values }) = &self.algorithm_by {
            if self.keys.is_none() || self.signature.is_token() {
                fault("/algorithmBy", "only a scheme with certificates has several algorithms");
            }
            if header.is_some() == body.is_some() {
                fault("/algorithmBy", "set either `header` or `body`");
            }
            if values.is_empty() || !values.iter().all(|(_, algorithm)| algorithm.has_public_key()) {
                fault("/algorithmBy/values", "name algorithms with a public key");
            }
        }
        let has_secret = |text: &SignedText| text.has_secret();
        let in_claim = self.signature.claims.iter().any(|claim| claim.values.iter().any(|value| value == SECRET));
        let Some(keys) = &self.keys else {
            if self.secret.equals.is_some() || in_claim || self.signed.0.iter().any(has_secret) {
                fault("/keys", "the secret is itself the key; set `keys` for a provider that publishes its keys");
            }
            return;
        };
        if !self.algorithm.has_public_key() {
            fault("/algorithm", "only an algorithm with a public key has published keys");
        }
        if self.secret.encoding != KeyEncoding::Text {
            fault("/secret/encoding", "the secret is a text, because the keys are published");
        }
        // Other customers of the provider get signatures of the same key.
        let is_tied = match self.signature.is_token() {
            true => in_claim,
            false => self.secret.equals.is_some() || self.signed.0.iter().all(has_secret),
        };
        if !is_tied {
            let reason = "nothing in the request must be the secret: set `equals`, add {secret} to `signed`, or give a \
                          claim of the token the value {secret}";
            fault("/secret", reason);
        }
        match keys {
            KeySource::Certificate(source) => {
                if self.signature.is_token() {
                    fault("/keys", "the keys of a token are a JSON Web Key Set; set `jwks`");
                }
                for (within, reason) in source.faults() {
                    fault(&format!("/keys/certificate{within}"), &reason);
                }
            }
            KeySource::Jwks(url) => {
                if !self.signature.is_token() {
                    fault("/keys", "only a token has its key in a JSON Web Key Set; set `certificate`");
                }
                if !url.starts_with("https://") {
                    fault("/keys/jwks", "is not an https URL");
                }
            }
        }
    }
}

impl CertificateSource {
    /// Returns the faults: the JSON pointer of each within the source, and the reason.
    pub(crate) fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if self.header.is_some() == self.body.is_some() {
            faults.push(("", "set either `header` or `body`".to_owned()));
        }
        if self.hosts.is_empty() {
            faults.push(("/hosts", "the list of hosts is empty".to_owned()));
        }
        for KeyHost { host, subjects } in &self.hosts {
            let plain = host.replacen(REGION, "r", 1);
            // A region in the registered domain would let a request choose the domain.
            let fixed = host.rsplit('.').take(2).all(|label| !label.contains(['{', '}']));
            if !is_host(&plain) || !fixed {
                let reason = "is not a host in lower case, with at most one {region} before its last two labels";
                faults.push(("/hosts", format!("`{host}` {reason}")));
            }
            if subjects.is_empty() || !subjects.iter().all(|subject| is_host(&subject.replacen(REGION, "r", 1))) {
                faults.push(("/hosts", format!("`{host}` needs the DNS names of its certificates in `subjects`")));
            }
        }
        if !self.path_prefix.is_empty() && !self.path_prefix.starts_with('/') {
            faults.push(("/pathPrefix", "a path begins with /".to_owned()));
        }
        faults
    }
}

/// Returns whether a text is a DNS name of at least two labels, in lower case.
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    text.contains('.') && text.split('.').all(is_label)
}

#[cfg(feature = "verify")]
mod url {
    use super::{CertificateSource, KeyHost, REGION, URL_BYTES_MAX, is_host};

    impl CertificateSource {
        /// Returns the DNS names of which the certificate at this URL must have one.
        ///
        /// # Errors
        /// The URL is not one of the provider's; the reason is for the log.
        pub(crate) fn subjects(&self, url: &str) -> Result<Vec<String>, &'static str> {
            let (host, path) = split(url)?;
            let subjects = self.host(host)?;
            let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~".contains(&b);
            if !path.bytes().all(is_plain) || path.contains("..") || path.contains("//") {
                return Err("has a path with other characters than those of a file's name");
            }
            // Together: `/a` must not be both the prefix and the suffix `a`.
            let middle =
                path.strip_prefix(self.path_prefix.as_str()).and_then(|rest| rest.strip_suffix(&*self.path_suffix));
            match middle {
                Some(middle) if !middle.is_empty() => Ok(subjects),
                _ => Err("has another path than the provider's"),
            }
        }

        /// Checks a URL that is visited: it is on a host of the scheme, and may have a query.
        pub(crate) fn check_visit(&self, url: &str) -> Result<(), &'static str> {
            let (host, path) = split(url)?;
            self.host(host)?;
            let is_plain = |b: u8| b.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&b);
            path.bytes().all(is_plain).then_some(()).ok_or("has characters that a URL does not have")
        }

        fn host(&self, host: &str) -> Result<Vec<String>, &'static str> {
            let subjects = self.hosts.iter().find_map(|known| known.subjects(host));
            subjects.ok_or("is not on a host of the provider")
        }
    }

    impl KeyHost {
        /// Returns the DNS names of the certificates of this host; `None` for another host.
        fn subjects(&self, host: &str) -> Option<Vec<String>> {
            let region = match self.host.split_once(REGION) {
                None => (self.host == host).then_some(""),
                Some((before, after)) => {
                    let region = host.strip_prefix(before)?.strip_suffix(after)?;
                    (!region.is_empty() && !region.contains('.')).then_some(region)
                }
            }?;
            Some(self.subjects.iter().map(|subject| subject.replace(REGION, region)).collect())
        }
    }

    /// Splits an `https` URL into its host, and the path with the query.
    fn split(url: &str) -> Result<(&str, &str), &'static str> {
        if url.len() > URL_BYTES_MAX {
            return Err("is too long");
        }
        let rest = url.strip_prefix("https://").ok_or("is not https")?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if !is_host(host) {
            return Err("has a host with a user, a port, or other characters than those of a DNS name in lower case");
        }
        if path.is_empty() { Err("has no path") } else { Ok((host, path)) }
    }
}

#[cfg(all(test, feature = "verify"))]
mod tests {
    use super::*;

    fn sns() -> CertificateSource {
        let host = |host: &str, subjects: &[&str]| KeyHost {
            host: host.to_owned(),
            subjects: subjects.iter().map(|subject| (*subject).to_owned()).collect(),
        };
        CertificateSource {
            body: Some("/SigningCertURL".to_owned()),
            hosts: vec![
                host("sns.us-gov-{region}.amazonaws.com", &["sns-us-gov-west-1.amazonaws.com"]),
                host("sns.{region}.amazonaws.com", &["sns.amazonaws.com", "sns-signing.{region}.amazonaws.com"]),
                host("sns.{region}.amazonaws.com.cn", &["sns-{region}.amazonaws.com.cn"]),
            ],
            path_prefix: "/".to_owned(),
            path_suffix: ".pem".to_owned(),
            ..CertificateSource::default()
        }
    }

    #[test]
    fn only_the_providers_own_files_are_named() {
        let sns = sns();
        assert_eq!(sns.faults(), []);
        for (url, subjects) in [
            (
                "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-7506a1e3.pem",
                &["sns.amazonaws.com", "sns-signing.us-west-2.amazonaws.com"][..],
            ),
            ("https://sns.us-gov-east-1.amazonaws.com/a.pem", &["sns-us-gov-west-1.amazonaws.com"]),
            ("https://sns.cn-north-1.amazonaws.com.cn/a.pem", &["sns-cn-north-1.amazonaws.com.cn"]),
        ] {
            assert_eq!(sns.subjects(url).unwrap(), subjects, "{url}");
        }
        for url in [
            "http://sns.us-east-1.amazonaws.com/a.pem",
            "HTTPS://sns.us-east-1.amazonaws.com/a.pem",
            "//sns.us-east-1.amazonaws.com/a.pem",
            "file:///etc/passwd.pem",
            "https://sns.us-east-1.amazonaws.com",
            "https://sns.us-east-1.amazonaws.com/.pem",
            "https://sns.us-east-1.amazonaws.com/a.pem.txt",
            "https://sns.us-east-1.amazonaws.com/a.PEM",
            "https://sns.us-east-1.amazonaws.com/a.pem?b",
            "https://sns.us-east-1.amazonaws.com/a.pem#b",
            "https://sns.us-east-1.amazonaws.com/a?b.pem",
            "https://sns.us-east-1.amazonaws.com/?Action=a&b=.pem",
            "https://sns.us-east-1.amazonaws.com/a%2f.pem",
            "https://sns.us-east-1.amazonaws.com/../a.pem",
            "https://sns.us-east-1.amazonaws.com//evil.com/a.pem",
            "https://sns.us-east-1.amazonaws.com/a\\b.pem",
            "https://sns.us-east-1.amazonaws.com/a\r\nHost: b.pem",
            "https://sns.us-east-1.amazonaws.com:443/a.pem",
            "https://sns.us-east-1.amazonaws.com@evil.com/a.pem",
            "https://user@sns.us-east-1.amazonaws.com/a.pem",
            "https://user:word@sns.us-east-1.amazonaws.com/a.pem",
            "https://evil.com/sns.us-east-1.amazonaws.com/a.pem",
            "https://sns.us-east-1.amazonaws.com.evil.com/a.pem",
            "https://sns.us-east-1.amazonaws.com.cn.evil/a.pem",
            "https://evil-sns.us-east-1.amazonaws.com/a.pem",
            "https://sns.evil.com/.amazonaws.com/a.pem",
            "https://sns.evil.com#.amazonaws.com/a.pem",
            "https://sns.evil.com?.amazonaws.com/a.pem",
            "https://sns.a.b.amazonaws.com/a.pem",
            "https://sns..amazonaws.com/a.pem",
            "https://sns.amazonaws.com/a.pem",
            "https://SNS.us-east-1.amazonaws.com/a.pem",
            "https://sns.us-east-1.amazonaws.com./a.pem",
            "https://sns.us%2deast-1.amazonaws.com/a.pem",
            "https://sns.\u{ff55}s-east-1.amazonaws.com/a.pem",
            "https://s3.us-east-1.amazonaws.com/a.pem",
            "https://127.0.0.1/a.pem",
            "https://[::1]/a.pem",
            " https://sns.us-east-1.amazonaws.com/a.pem",
            "",
            &format!("https://sns.us-east-1.amazonaws.com/{}.pem", "a".repeat(1_024)),
        ] {
            assert!(sns.subjects(url).is_err(), "{url}");
        }
    }

    #[test]
    fn only_the_providers_own_hosts_are_visited() {
        let (sns, host) = (sns(), "https://sns.us-east-1.amazonaws.com");
        assert_eq!(
            sns.check_visit(&format!("{host}/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:a&Token=0a")),
            Ok(())
        );
        for url in [
            "http://sns.us-east-1.amazonaws.com/?a",
            "https://sns.us-east-1.amazonaws.com@evil.com/?a",
            "https://sns.us-east-1.amazonaws.com?a",
            "https://sns.us-east-1.amazonaws.com/?a b",
            "https://sns.us-east-1.amazonaws.com/?a\nb",
            "https://sns.us-east-1.amazonaws.com/?a#b",
            "https://169.254.169.254/latest/meta-data",
        ] {
            assert!(sns.check_visit(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_source_cannot_leave_the_domain_open() {
        for host in
            ["sns.{region}", "{region}", "{region}.com", "a.{region}.com", "A.example.com", "a..com", "a.com:1", ""]
        {
            let mut source = sns();
            source.hosts[0].host = host.to_owned();
            assert!(!source.faults().is_empty(), "{host}");
        }
        let mut source = sns();
        source.hosts[0].subjects.clear();
        (source.path_prefix, source.header) = ("a".to_owned(), Some("x-url".to_owned()));
        assert_eq!(source.faults().len(), 3, "{:?}", source.faults());
    }
}
