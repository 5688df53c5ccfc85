//! `sluicegate secrets put`: adds a value to a list, generated or given.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::Value;
use sluicegate_contract::secret_entry::SigningSecret;
use sluicegate_webhook::Secret;

use super::{Where, document, generate, names::Kind};
use crate::CommandError;
use crate::output::say;

/// Largest file with a key or a secret, in bytes.
const VALUE_BYTES_MAX: usize = 4_096;
/// Shorter keys can be guessed from their digests.
const KEY_CHARS_MIN: usize = 16;
const KEY_CHARS_MAX: usize = 512;

/// Add a live value: generate an API key or a webhook secret and print it once, or store an existing one
///
/// Existing values stay live, so a rotation refuses no request. The value is printed on stdout, everything else on
/// stderr.
#[derive(Args)]
#[command(verbatim_doc_comment)]
#[command(after_help = "\
Examples:
  sluicegate secrets put api-keys --principal acme --scopes orders.write --stack sluicegate-dev
  sluicegate secrets put github --stack sluicegate-dev
  sluicegate secrets put standard-webhooks --value-file - --stack sluicegate-dev <secret.txt")]
pub(super) struct Arguments {
    /// The name of the list, an x-secret of the contract
    name: String,
    /// An API key's principal: the identity of its owner in events, to which idempotency keys belong
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,
    /// An API key's scopes; `*` is every scope [default: none]
    #[arg(long, value_name = "SCOPE,…", value_delimiter = ',', requires = "principal")]
    scopes: Vec<String>,
    /// The name that an HTTP Message Signature gives the secret with its `keyid`
    #[arg(long, value_name = "NAME", conflicts_with = "principal")]
    keyid: Option<String>,
    /// Store the key or secret in this file, `-` for stdin, in place of a generated one
    #[arg(long, value_name = "FILE")]
    value_file: Option<PathBuf>,
    /// Remove the other values of the list; of an API key those of its principal, of a named secret those of its keyid
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    place: Where,
}

/// A value and the entry that stores it.
struct NewValue {
    value: String,
    entry: Value,
    is_generated: bool,
}

pub(super) async fn put(arguments: &Arguments) -> Result<(), CommandError> {
    let Arguments { name, replace, .. } = arguments;
    let kind = arguments.place.names()?.kind(name, arguments.principal.is_some())?;
    let NewValue { value, entry, is_generated } = arguments.value(&kind)?;
    let store = arguments.place.open().await?;
    let change = store.update(|document| document.add(name, entry.clone(), *replace)).await?;
    if is_generated && !say(&value) {
        return Err(format!(
            "the new value is stored but could not be printed: sluicegate secrets remove {name} --fingerprint {}",
            document::fingerprint_of(&value)
        )
        .into());
    }
    let done = match (change.is_new, change.removed) {
        (false, _) => "was live already".to_owned(),
        (true, 0) => "is live within 30 seconds".to_owned(),
        (true, removed) => format!("is live within 30 seconds; {removed} removed, refused within 5 minutes"),
    };
    eprintln!("{name} {} {done}; {} in the list of {}", document::fingerprint_of(&value), change.live, store.id());
    if is_generated {
        eprintln!("Keep the value: it is not shown again.");
    }
    Ok(())
}

impl Arguments {
    fn value(&self, kind: &Kind) -> Result<NewValue, CommandError> {
        let name = &self.name;
        let given = self.value_file.as_deref().map(read).transpose()?;
        let is_generated = given.is_none();
        let (value, entry) = match kind {
            Kind::ApiKey { scopes: known } => {
                if self.keyid.is_some() {
                    return Err(format!("{name} are API keys, which have no keyid: leave out --keyid").into());
                }
                let Some(principal) = &self.principal else {
                    return Err(format!(
                        "{name} are API keys: pass --principal NAME, and --scopes if its routes need some"
                    )
                    .into());
                };
                self.warn_of_unknown_scopes(known.as_ref());
                let key = match given {
                    Some(key) => checked(key)?,
                    None => generate::api_key()?,
                };
                let entry = document::api_key(&key, principal, &self.scopes)?;
                (key, entry)
            }
            Kind::VerifyToken => {
                let token = given.map_or_else(generate::verify_token, Ok)?;
                Secret::verify_token(&token).map_err(|error| format!("{name}: {error}"))?;
                (token.clone(), Value::String(token))
            }
            Kind::Signature { provider, scheme } => {
                if self.principal.is_some() {
                    return Err(format!(
                        "{name} are signing secrets of {provider}, which have no principal: leave out --principal"
                    )
                    .into());
                }
                let secret = given.map_or_else(|| generate::signing_secret(provider), Ok)?;
                let keyid = self.keyid.as_deref();
                scheme.secret_of(keyid, &secret).map_err(|error| format!("{name}: {error}"))?;
                let entry = SigningSecret { keyid, text: &secret }.entry();
                (secret, entry)
            }
        };
        Ok(NewValue { value, entry, is_generated })
    }

    fn warn_of_unknown_scopes(&self, known: Option<&std::collections::BTreeSet<String>>) {
        let Some(known) = known else { return };
        for scope in self.scopes.iter().filter(|scope| *scope != "*" && !known.contains(*scope)) {
            let known: Vec<_> = known.iter().map(String::as_str).collect();
            eprintln!("warning: no route of the contract needs the scope {scope:?} ({})", known.join(", "));
        }
    }
}

/// Reads a value without the line break at its end. Errors do not quote it.
fn read(file: &Path) -> Result<String, String> {
    let failed = |reason: &dyn std::fmt::Display| format!("cannot read {}: {reason}", file.display());
    let mut bytes = Vec::new();
    let limit = VALUE_BYTES_MAX as u64 + 1;
    let read = match file.to_str() {
        Some("-") => std::io::stdin().take(limit).read_to_end(&mut bytes),
        _ => std::fs::File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes)),
    };
    read.map_err(|error| failed(&error))?;
    if bytes.len() > VALUE_BYTES_MAX {
        return Err(failed(&format_args!("it has more than {VALUE_BYTES_MAX} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| failed(&"it is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// Checks that a header can carry the key, and that its digest hides it.
fn checked(key: String) -> Result<String, String> {
    if !key.chars().all(|c| c.is_ascii_graphic()) {
        return Err(
            "the key has a character that is not visible ASCII, which a header cannot carry as it is".to_owned()
        );
    }
    if !(KEY_CHARS_MIN..=KEY_CHARS_MAX).contains(&key.len()) {
        return Err(format!("the key has {} characters, not {KEY_CHARS_MIN} to {KEY_CHARS_MAX}", key.len()));
    }
    Ok(key)
}
