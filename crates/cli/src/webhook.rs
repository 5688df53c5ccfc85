//! `sluicegate webhook verify`: verifies a recorded webhook step by step, and tries the usual mistakes.
//!
//! It prints what was signed, never a secret. The console of `cargo local` shows the same of a refused request.

mod mistakes;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Args, Subcommand};
use http::{HeaderMap, HeaderName, HeaderValue};
use sluicegate_local::{Finding, RefusedRequest};
use sluicegate_webhook::{Assurance, Provider, PublishedKeys, Request, Scheme, Secret, SignatureError};

use crate::{CommandError, fail, input, output::say, send::parse_header};

/// The bytes of a signed text that are printed.
const SHOWN_BYTES_MAX: usize = 300;

/// Find out why the signature of a webhook does not match
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Verify(VerifyArguments),
}

/// Verify a recorded webhook: prints what was signed, and which usual mistake explains a mismatch
#[derive(Args)]
#[command(after_help = "\
Example:
  sluicegate webhook verify --scheme stripe --secret-file secret.txt --header \"Stripe-Signature: $signature\" body.json")]
struct VerifyArguments {
    /// The body, byte for byte as it arrived; - reads the standard input
    file: PathBuf,
    /// The provider, as in the contract's x-signature
    #[arg(long, value_name = "PROVIDER")]
    scheme: String,
    /// The secret, or the provider's public key
    #[arg(long, value_name = "TEXT", required_unless_present = "secret_file")]
    secret: Option<String>,
    /// A file with the secret, so that it is not in the history of your shell
    #[arg(long, value_name = "FILE", conflicts_with = "secret")]
    secret_file: Option<PathBuf>,
    /// For a provider that publishes its key: the file at the URL that this command names
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// A header of the request; repeat for each
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The method of the request
    #[arg(long, default_value = "POST")]
    method: String,
    /// The URL that the provider called, for providers that sign it
    #[arg(long, default_value = "")]
    url: String,
    /// The time of arrival, in seconds since 1970 [default: now]
    #[arg(long, value_name = "SECONDS")]
    at: Option<i64>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let What::Verify(arguments) = &arguments.what;
    match verify(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => fail(reason),
    }
}

/// A recorded request.
struct Recorded<'a> {
    headers: HeaderMap,
    method: &'a str,
    url: &'a str,
    at_unix_s: i64,
    keys: Vec<Arc<PublishedKeys>>,
}

impl Recorded<'_> {
    fn result(&self, scheme: &Scheme, secret: &Secret, body: &[u8]) -> Result<(), SignatureError> {
        self.result_at(self.url, scheme, secret, body)
    }

    fn result_at(&self, url: &str, scheme: &Scheme, secret: &Secret, body: &[u8]) -> Result<(), SignatureError> {
        let request = Request::new(&self.headers, body).at(self.method, url).with_keys(&self.keys);
        scheme.verify(&request, std::slice::from_ref(secret), self.at_unix_s).map(drop)
    }
}

/// Prints the steps. Returns whether the signature is valid.
fn verify(arguments: &VerifyArguments) -> Result<bool, CommandError> {
    let Some(Provider { slug, name, docs, scheme, .. }) = Provider::named(&arguments.scheme) else {
        return Err(format!("{} is not a known provider: docs/schemes.md lists them", arguments.scheme).into());
    };
    let body = input::read(&arguments.file)?;
    let text = match (&arguments.secret, &arguments.secret_file) {
        (Some(secret), _) => secret.clone(),
        (None, Some(file)) => input::text(file)?.trim_end_matches(['\r', '\n']).to_owned(),
        (None, None) => return Err("pass --secret or --secret-file".into()),
    };
    let secret = scheme.secret(&text).map_err(|error| format!("{slug}: {error}"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut recorded = Recorded {
        headers: HeaderMap::from_iter(arguments.headers.iter().cloned()),
        method: &arguments.method.to_uppercase(),
        url: &arguments.url,
        at_unix_s: arguments.at.unwrap_or_else(|| i64::try_from(now).unwrap_or(i64::MAX)),
        keys: Vec::new(),
    };
    say(format_args!("scheme   {slug}: {name}, {docs}"));
    say(format_args!("body     {} bytes", body.len()));
    for line in signed(scheme, &recorded, &body) {
        say(format_args!("signed   {line}"));
    }
    if let (Err(SignatureError::KeyNeeded { url }), Some(file)) =
        (recorded.result(scheme, &secret, &body), &arguments.key)
    {
        say(format_args!("key      {}", url.as_str()));
        let keys = url.read(&input::read(file)?, roots, recorded.at_unix_s).map_err(|error| error.to_string())?;
        recorded.keys.push(Arc::new(keys));
    }
    let Err(error) = recorded.result(scheme, &secret, &body) else {
        say("result   the signature is valid");
        return Ok(true);
    };
    say(format_args!("result   {error}"));
    for cause in causes(scheme, &recorded, &text, &body, &error) {
        say(format_args!("cause    {cause}"));
    }
    Ok(false)
}

/// Returns the texts that the scheme signs, as lines to show.
fn signed(scheme: &Scheme, recorded: &Recorded<'_>, body: &[u8]) -> Vec<String> {
    let request = Request::new(&recorded.headers, body).at(recorded.method, recorded.url);
    let texts = match scheme.signed_texts(&request) {
        Ok(texts) => texts,
        Err(error) => return vec![format!("not known: {error}")],
    };
    // A message signature signs a line for each component.
    let is_lines = scheme.signature.message.is_some();
    texts.iter().flat_map(|text| text.split(|b| is_lines && *b == b'\n')).map(shown).collect()
}

/// Explains a request that was refused: what was signed, the result with this secret, and the causes. `url` is the one
/// that the provider called.
pub(crate) fn explain(scheme: &Scheme, secret: &str, request: &RefusedRequest, url: &str) -> Vec<Finding> {
    let finding = |name, text| Finding { name, text };
    let key = match scheme.secret(secret) {
        Ok(key) => key,
        Err(error) => return vec![finding("result", error.to_string())],
    };
    let recorded = Recorded {
        headers: request.headers.clone(),
        method: &request.method,
        url,
        at_unix_s: request.at_unix_s,
        keys: Vec::new(),
    };
    let body = &request.body;
    let mut findings = Vec::new();
    // A scheme that signs nothing sends the secret, which may be in the text.
    if scheme.assurance != Assurance::Token {
        findings.extend(signed(scheme, &recorded, body).into_iter().map(|line| finding("signed", line)));
    }
    match recorded.result(scheme, &key, body) {
        Ok(()) => findings.push(finding("result", "the signature is valid with the development secret".to_owned())),
        Err(error) => {
            findings.push(finding("result", error.to_string()));
            // The others are about the options of the command.
            if matches!(error, SignatureError::Mismatch | SignatureError::Digest) {
                let causes = causes(scheme, &recorded, secret, body, &error);
                findings.extend(causes.into_iter().map(|cause| finding("cause", cause)));
            }
        }
    }
    findings
}

/// Returns the mistakes without which the signature is valid, and what to check if there are none.
fn causes(scheme: &Scheme, recorded: &Recorded<'_>, text: &str, body: &[u8], error: &SignatureError) -> Vec<String> {
    let mut causes = Vec::new();
    match error {
        SignatureError::TimestampTooOld { .. } | SignatureError::TimestampTooNew { .. } => {
            causes.push("--at is the time of arrival; without it the present counts".to_owned());
        }
        SignatureError::MissingHeader { .. } => causes.push("pass each header of the request with --header".to_owned()),
        SignatureError::KeyNeeded { url } => {
            causes.push(format!("the provider publishes its key: fetch {} and pass the file with --key", url.as_str()));
        }
        SignatureError::NoText { .. } if recorded.url.is_empty() => {
            causes.push("the provider signs the URL: pass --url as you entered it at the provider".to_owned());
        }
        SignatureError::Mismatch | SignatureError::Digest => {
            if let Ok(secret) = scheme.secret(text) {
                for (what, changed) in mistakes::bodies(body) {
                    if recorded.result(scheme, &secret, &changed).is_ok() {
                        causes.push(format!("the body of the request was another one: {what}"));
                    }
                }
                for (what, url) in mistakes::urls(recorded.url).into_iter().filter(|_| scheme.signs_url()) {
                    if recorded.result_at(&url, scheme, &secret, body).is_ok() {
                        causes.push(format!("the provider calls another URL, and signs it: {what}"));
                    }
                }
            }
            for (what, other, secret) in mistakes::keys(scheme, text) {
                if recorded.result(&other, &secret, body).is_ok() {
                    causes.push(format!(
                        "the sender uses the secret in another form than its provider documents: {what}"
                    ));
                }
            }
            if causes.is_empty() {
                causes.push(
                    "none of the usual ones: the secret is probably that of another endpoint or environment, or the body \
                     was changed before it was recorded"
                        .to_owned(),
                );
            }
        }
        _ => {}
    }
    causes
}

/// Returns the root certificates of the system.
fn roots() -> Vec<Vec<u8>> {
    let found = rustls_native_certs::load_native_certs().certs;
    found.into_iter().map(|certificate| certificate.to_vec()).collect()
}

/// Returns a text with its control characters escaped, cut at [`SHOWN_BYTES_MAX`].
fn shown(text: &[u8]) -> String {
    let cut = &text[..text.len().min(SHOWN_BYTES_MAX)];
    let more = if cut.len() < text.len() { format!("… ({} bytes)", text.len()) } else { String::new() };
    let mut text = String::new();
    for c in String::from_utf8_lossy(cut).chars() {
        match c {
            '"' | '\'' => text.push(c),
            _ => text.extend(c.escape_debug()),
        }
    }
    text + &more
}

#[cfg(test)]
mod tests {
    use sluicegate_webhook::{KeyEncoding, SecretForm};

    use super::*;

    const BODY: &str = r#"{"type": "a", "id": "evt/1", "note": "Grüße"}"#;

    /// A request that was signed in one way and recorded in another.
    struct Case {
        slug: &'static str,
        secret: &'static str,
        /// The secret that the sender signs with, and how it reads it.
        signing_secret: &'static str,
        signing: Scheme,
        signed: &'static str,
        signed_url: &'static str,
        received: String,
        url: &'static str,
    }

    impl Case {
        fn new(slug: &'static str, secret: &'static str) -> Self {
            let signing = Provider::named(slug).unwrap().scheme.clone();
            let url = "https://a.example/hook";
            Self {
                slug,
                secret,
                signing_secret: secret,
                signing,
                signed: BODY,
                signed_url: url,
                received: BODY.to_owned(),
                url,
            }
        }

        fn received(self, received: impl Into<String>) -> Self {
            Self { received: received.into(), ..self }
        }

        fn signed(self, signed: &'static str) -> Self {
            Self { signed, ..self }
        }

        /// The sender reads the secret in this form.
        fn read_as(mut self, encoding: KeyEncoding, prefixes: &[&str]) -> Self {
            self.signing.secret = SecretForm { encoding, ..SecretForm::default() };
            self.signing.secret.prefixes = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
            self
        }

        fn causes(&self) -> Vec<String> {
            let scheme = &Provider::named(self.slug).unwrap().scheme;
            let unsigned = HeaderMap::new();
            let key = self.signing.secret(self.signing_secret).unwrap();
            let request = Request::new(&unsigned, self.signed.as_bytes()).at("POST", self.signed_url);
            let signature = self.signing.sign(&key, "msg_1", 7, &request).unwrap();
            let headers = signature
                .into_iter()
                .map(|(name, value)| (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap()));
            let recorded =
                Recorded { headers: headers.collect(), method: "POST", url: self.url, at_unix_s: 7, keys: Vec::new() };
            let received = self.received.as_bytes();
            let error = recorded.result(scheme, &scheme.secret(self.secret).unwrap(), received).unwrap_err();
            causes(scheme, &recorded, self.secret, received, &error)
        }
    }

    #[test]
    fn the_usual_mistakes_are_found() {
        let stripe = || Case::new("stripe", "whsec_AAAA");
        let standard = || Case::new("standard-webhooks", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let hex = "000102030405060708090a0b0c0d0e0f";
        let compact = r#"{"type":"a","id":"evt/1","note":"Grüße"}"#;
        let check = |case: Case, part: &str| {
            let found = case.causes();
            assert!(found.len() == 1 && found[0].contains(part), "{part}: {found:?}");
        };
        // The end of the body, and its lines.
        check(stripe().received(format!("{BODY}\n")), "no line feed");
        check(stripe().received(format!("{BODY}\r\n")), "no carriage return");
        check(stripe().signed("{}\n").received("{}"), "ends with a line feed");
        check(stripe().signed("{}\r\n").received("{}"), "ends with a carriage return");
        check(stripe().signed("{\r\n}").received("{\n}"), "lines end with a carriage return");
        check(stripe().signed("[\n1,\n2]").received("[\r\n1,\r\n2]"), "lines end with a line feed alone");
        check(stripe().received(format!("\u{feff}{BODY}")), "no byte order mark");
        check(stripe().received(sluicegate_webhook::Encoding::Base64.encode(BODY.as_bytes())), "is base64 of it");
        // JSON that something wrote anew.
        check(stripe().signed(compact), "JSON without white space:");
        check(stripe().received(compact), "with a space after each comma and colon:");
        check(
            stripe().signed("{\n  \"b\": [\n    1\n  ],\n  \"a\": {}\n}").received(r#"{"b":[1],"a":{}}"#),
            "indentation of 2",
        );
        check(stripe().received(BODY.replace("ü", "\\u00fc").replace("ß", "\\u00df")), "JSON, without \\u escapes");
        check(
            stripe().signed(r#"{"a":"Gr\u00fc\u00dfe"}"#).received(r#"{ "a": "Grüße" }"#),
            "white space, with \\u escapes",
        );
        check(stripe().received(BODY.replace('/', "\\/")), "JSON, without escaped slashes");
        check(stripe().signed(r#"{"a":"\/"}"#).received(r#"{"a":"/"}"#), "JSON, with escaped slashes");
        // The form of the secret.
        check(stripe().read_as(KeyEncoding::Base64, &["whsec_"]), "base64, after the prefix");
        check(Case { signing_secret: "AAAA", ..stripe() }, "after the prefix is the key, it is not decoded");
        check(standard().read_as(KeyEncoding::Text, &[]), "the text itself is the key");
        check(Case::new("adyen-platform", hex).read_as(KeyEncoding::Text, &[]), "the text itself is the key");
        check(Case::new("github", hex).read_as(KeyEncoding::Hex, &[]), "hexadecimal digits");
        // The URL.
        check(Case { url: "https://a.example/hook/", ..Case::new("square", "s") }, "no slash at the end");
        check(Case { url: "http://a.example/hook", ..Case::new("square", "s") }, "it is https");
        check(Case { url: "https://a.example/hook?a=1", ..Case::new("square", "s") }, "no query");

        check(stripe().received("{}"), "none of the usual ones");
    }

    #[test]
    fn a_signed_text_is_shown_with_its_control_characters() {
        assert_eq!(shown(b"1.{\"'\\\"}\r\n"), r#"1.{"'\\"}\r\n"#);
        assert_eq!(shown(&[b'a'; 301]), format!("{}… (301 bytes)", "a".repeat(300)));
    }
}
