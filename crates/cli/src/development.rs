//! The development secrets of a contract: fixed, public values that `cargo local` gives the functions and `sluicegate
//! send` signs with.

use serde_json::{Map, Value, json};
use sluicegate_contract::{Contract, SecurityScheme};
use sluicegate_local::secrets;
use sluicegate_webhook::{Encoding, KeyEncoding, Scheme};

/// The length of an encoded key, which every provider takes.
const KEY_BYTES: usize = 32;

/// Returns the development secret of a provider; `None` for one that signs with a private key.
pub(crate) fn signing_secret(provider: &str, scheme: &Scheme) -> Option<String> {
    match provider {
        "github" => return Some(secrets::GITHUB.to_owned()),
        "standard-webhooks" => return Some(secrets::STANDARD_WEBHOOKS.to_owned()),
        _ if scheme.algorithm.has_public_key() => return None,
        _ => {}
    }
    let key: Vec<u8> = provider.bytes().cycle().take(KEY_BYTES).collect();
    Some(match scheme.secret.encoding {
        KeyEncoding::Text => {
            let length = scheme.secret.bytes_min.unwrap_or_default();
            format!("{:-<length$}", format!("dev-{provider}"))
        }
        KeyEncoding::Hex => Encoding::Hex.encode(&key),
        KeyEncoding::Base64 | KeyEncoding::Base64OrText | KeyEncoding::Spki | KeyEncoding::Jwk => {
            let prefix = scheme.secret.prefixes.last().map_or("", String::as_str);
            format!("{prefix}{}", Encoding::Base64.encode(&key))
        }
    })
}

/// Returns the lists of the contract's signing secrets, by their `x-secret`.
pub(crate) fn signing_secrets(contract: &Contract) -> Map<String, Value> {
    let requirements = contract.operations().iter().flat_map(|operation| operation.security.iter().flatten());
    let lists = requirements.filter_map(|requirement| match contract.scheme(&requirement.scheme)? {
        SecurityScheme::Signature { provider, scheme, secret, .. } => {
            Some((secret.clone(), json!([signing_secret(provider, scheme)?])))
        }
        SecurityScheme::ApiKey { .. } => None,
    });
    lists.collect()
}

#[cfg(test)]
mod tests {
    use sluicegate_webhook::Provider;

    use super::*;

    #[test]
    fn a_development_secret_has_the_form_of_its_provider() {
        for Provider { slug, scheme, .. } in Provider::all() {
            match signing_secret(slug, scheme) {
                Some(secret) => assert!(scheme.secret(&secret).is_ok(), "{slug}: {secret}"),
                None => assert!(scheme.algorithm.has_public_key(), "{slug}"),
            }
        }
    }
}
