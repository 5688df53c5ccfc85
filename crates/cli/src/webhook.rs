//! `sluicegate webhook verify`: verifies a recorded webhook step by step, and tries the usual mistakes.
//!
//! It prints what was signed, never a secret.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Args, Subcommand};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use sluicegate_webhook::{KeyEncoding, Provider, PublishedKeys, Request, Scheme, Secret, SignatureError};

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
        let request = Request::new(&self.headers, body).at(self.method, self.url).with_keys(&self.keys);
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
    let request = Request::new(&recorded.headers, &body).at(recorded.method, recorded.url);
    match scheme.signed_texts(&request) {
        Ok(texts) => {
            for text in texts {
                // A message signature signs a line for each component.
                let lines = if scheme.signature.message.is_some() {
                    text.split(|b| *b == b'\n').collect()
                } else {
                    vec![&text[..]]
                };
                for line in lines {
                    say(format_args!("signed   {}", shown(line)));
                }
            }
        }
        Err(error) => {
            say(format_args!("signed   not known: {error}"));
        }
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
            let secret = scheme.secret(text).ok();
            let fits =
                |body: &[u8]| secret.as_ref().is_some_and(|secret| recorded.result(scheme, secret, body).is_ok());
            for (what, changed) in bodies(body) {
                if fits(&changed) {
                    causes.push(format!("the body of the request was another one: {what}"));
                }
            }
            for (what, encoding) in [
                ("the text itself is the key, it is not decoded", KeyEncoding::Text),
                ("the key is base64, after the prefix of the secret", KeyEncoding::Base64),
                ("the key is in hexadecimal digits", KeyEncoding::Hex),
            ] {
                let mut other = scheme.clone();
                (other.secret.encoding, other.secret.bytes_min, other.secret.bytes_max) = (encoding, None, None);
                if other.secret.prefixes.is_empty() {
                    other.secret.prefixes = vec!["whsec_".to_owned()];
                }
                if encoding != scheme.secret.encoding
                    && let Ok(secret) = other.secret(text)
                    && recorded.result(&other, &secret, body).is_ok()
                {
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

/// Returns the bodies that the sender may have signed, with the mistake that made the recorded one of each.
fn bodies(body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut bodies = Vec::new();
    if let Some(without) = body.strip_suffix(b"\n") {
        bodies.push(("it has no line feed at the end", without.to_vec()));
        if let Some(without) = without.strip_suffix(b"\r") {
            bodies.push(("it has no carriage return and line feed at the end", without.to_vec()));
        }
    } else {
        bodies.push(("it ends with a line feed", [body, b"\n"].concat()));
        bodies.push(("it ends with a carriage return and a line feed", [body, b"\r\n"].concat()));
    }
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        if let Ok(compact) = serde_json::to_vec(&value) {
            bodies.push(("it is the same JSON without white space: something wrote it anew", compact));
        }
        if let Ok(pretty) = serde_json::to_vec_pretty(&value) {
            bodies.push(("it is the same JSON with indentation: something wrote it anew", pretty));
        }
    }
    bodies.retain(|(_, other)| other != body);
    bodies
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
    use super::*;

    const BODY: &str = r#"{"id": "evt_1", "type": "a"}"#;

    /// Returns the causes found for a body, signed with one secret and verified with another.
    fn found(signed: &[u8], received: &[u8], signing_scheme: &Scheme, secret: &str) -> Vec<String> {
        let scheme = &Provider::named("stripe").unwrap().scheme;
        let unsigned = HeaderMap::new();
        let key = signing_scheme.secret(secret).unwrap();
        let signature = signing_scheme.sign(&key, "", 7, &Request::new(&unsigned, signed)).unwrap();
        let headers = signature
            .into_iter()
            .map(|(name, value)| (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap()));
        let recorded = Recorded { headers: headers.collect(), method: "POST", url: "", at_unix_s: 7, keys: Vec::new() };
        let error = recorded.result(scheme, &scheme.secret(secret).unwrap(), received).unwrap_err();
        causes(scheme, &recorded, secret, received, &error)
    }

    #[test]
    fn the_usual_mistakes_are_found() {
        let stripe = &Provider::named("stripe").unwrap().scheme;
        let check = |signed: &str, received: &str, part: &str| {
            let found = found(signed.as_bytes(), received.as_bytes(), stripe, "whsec_AAAA");
            assert!(found.len() == 1 && found[0].contains(part), "{found:?}");
        };
        check(BODY, &format!("{BODY}\n"), "no line feed");
        check(BODY, &format!("{BODY}\r\n"), "no carriage return");
        check(&format!("{BODY}\n"), BODY, "ends with a line feed");
        check(r#"{"id":"evt_1","type":"a"}"#, BODY, "without white space");
        check(BODY, "{}", "none of the usual ones");

        let mut decoded = stripe.clone();
        (decoded.secret.encoding, decoded.secret.prefixes) = (KeyEncoding::Base64, vec!["whsec_".to_owned()]);
        let found = found(BODY.as_bytes(), BODY.as_bytes(), &decoded, "whsec_AAAA");
        assert!(found.len() == 1 && found[0].contains("base64, after the prefix"), "{found:?}");
    }

    #[test]
    fn a_signed_text_is_shown_with_its_control_characters() {
        assert_eq!(shown(b"1.{\"'\\\"}\r\n"), r#"1.{"'\\"}\r\n"#);
        assert_eq!(shown(&[b'a'; 301]), format!("{}… (301 bytes)", "a".repeat(300)));
    }
}
