//! New keys and signing secrets: 256 random bits of the operating system, in the format of their scheme.

use base64::{Engine as _, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};

/// The length of a new value: the length of a SHA-256 digest, the minimum that RFC 2104, section 3, recommends for
/// keys.
const RANDOM_BYTES: usize = 32;

/// Returns a new API key of 43 characters.
///
/// # Errors
/// The operating system has no random numbers.
pub(super) fn api_key() -> Result<String, String> {
    Ok(BASE64_URL_SAFE_NO_PAD.encode(random()?))
}

/// Returns a new signing secret, for the providers whose receiver chooses it.
///
/// # Errors
/// The sender chooses the secret, or the operating system has no random numbers.
pub(super) fn signing_secret(provider: &str) -> Result<String, String> {
    match provider {
        "github" => Ok(random()?.iter().map(|byte| format!("{byte:02x}")).collect()),
        "standard-webhooks" => Ok(format!("whsec_{}", BASE64_STANDARD.encode(random()?))),
        "http-message-signatures" => Ok(BASE64_STANDARD.encode(random()?)),
        name => {
            Err(format!("the sender makes the secrets of {name}: copy the one it shows, and pass --value-file FILE"))
        }
    }
}

/// Returns a new verify token.
///
/// # Errors
/// The operating system has no random numbers.
pub(super) fn verify_token() -> Result<String, String> {
    Ok(random()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn random() -> Result<[u8; RANDOM_BYTES], String> {
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random numbers: {error}"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_values_have_the_form_of_their_scheme_and_differ() {
        for name in ["github", "standard-webhooks", "http-message-signatures"] {
            let scheme = &sluicegate_webhook::Provider::named(name).unwrap().scheme;
            let (one, two) = (signing_secret(name).unwrap(), signing_secret(name).unwrap());
            assert!(scheme.secret(&one).is_ok(), "{name}");
            assert_ne!(one, two, "{name}");
        }
        let (one, two) = (api_key().unwrap(), api_key().unwrap());
        assert_eq!((one.len(), one == two), (43, false));
        assert!(http::HeaderValue::from_str(&one).is_ok());
    }
}
