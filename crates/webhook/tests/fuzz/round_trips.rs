//! What is signed is valid, for each provider that a request can be signed for; a changed byte of the body is not.

use proptest::prelude::*;
use proptest::sample::Index;
use sluicegate_webhook::{Algorithm, Assurance, Encoding, KeyEncoding, Provider, Scheme, SignatureError};

use super::run::Target;
use super::valid::Parts;

/// Returns a secret in the form of a scheme.
fn secret(scheme: &Scheme, key: &[u8]) -> String {
    let prefix = scheme.secret.prefixes.last().map_or("", String::as_str);
    match scheme.secret.encoding {
        KeyEncoding::Hex => Encoding::Hex.encode(key),
        KeyEncoding::Text => Encoding::Base64url.encode(key).repeat(4)[..64].to_owned(),
        _ => format!("{prefix}{}", Encoding::Base64.encode(key)),
    }
}

pub(crate) fn round_trips() -> Target {
    let schemes: Vec<&Provider> = Provider::all().iter().filter(|provider| provider.scheme.can_sign()).collect();
    assert!(schemes.len() > 50, "{}", schemes.len());
    let body = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "[ -~é\u{1f600}]{0,80}".prop_map(String::into_bytes),
        "[a-c%+=&0-9]{0,40}".prop_map(String::into_bytes),
        "\\{\"id\":\"[a-z]{0,9}\",\"webhookTimestamp\":170000000[0-9]000\\}".prop_map(String::into_bytes),
    ];
    let url = "https?://[a-zA-Z0-9.]{1,12}(:[0-9]{1,4})?(/[a-z%0-9]{0,8}){0,3}(\\?[a-z=&%+0-9]{0,16})?";
    let strategy = (
        any::<Index>(),
        any::<[u8; 32]>(),
        "[!-~]{1,24}",
        0..4_000_000_000_i64,
        url,
        body,
        any::<(Index, u8)>(),
        any::<bool>(),
    );
    Target::new(strategy, move |(at, key, id, now_unix_s, url, body, (change, by), form)| {
        let Provider { slug, scheme, .. } = at.get(&schemes);
        let secret = scheme.secret(&secret(scheme, &key));
        let secret = secret.map_err(|error| TestCaseError::fail(format!("{slug}: {error}")))?;
        let content_type = if form { "application/x-www-form-urlencoded" } else { "application/json" };
        let mut parts = Parts {
            method: "POST".to_owned(),
            url,
            headers: vec![
                ("content-type".to_owned(), content_type.into()),
                (
                    "x-contentful-signed-headers".to_owned(),
                    b"x-contentful-signed-headers,x-contentful-timestamp".to_vec(),
                ),
            ],
            body,
        };
        let headers = parts.headers().unwrap();
        let Ok(signed) = scheme.sign(&secret, &id, now_unix_s, &parts.request(&headers)) else { return Ok(()) };
        parts.headers.extend(signed.into_iter().map(|(name, value)| (name, value.into_bytes())));
        let headers = parts.headers().ok_or_else(|| TestCaseError::fail(format!("{slug}: unfit headers")))?;
        let secrets = [secret];
        let verified = scheme.verify(&parts.request(&headers), &secrets, now_unix_s);
        let in_body = scheme.timestamp.as_ref().is_some_and(|timestamp| timestamp.body.is_some());
        match verified {
            Ok(_) => {}
            // What cannot be signed: a body that a handshake could sign, or one without its time.
            Err(SignatureError::Signable) => return Ok(()),
            Err(_) if in_body => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(format!("{slug}: {error}"))),
        }
        prop_assert!(scheme.verify(&parts.request(&headers), &[], now_unix_s).is_err(), "{slug}: without a secret");
        if let Some(timestamp) = &scheme.timestamp
            && let Some(past) = timestamp.past_seconds
        {
            let late = now_unix_s + i64::try_from(past).unwrap() + 1;
            prop_assert!(in_body || scheme.verify(&parts.request(&headers), &secrets, late).is_err(), "{slug}: late");
        }
        let is_form = serde_json::to_string(&scheme.signed).unwrap().contains("{form}");
        if scheme.assurance == Assurance::Signed
            && scheme.algorithm != Algorithm::Token
            && !parts.body.is_empty()
            && !is_form
        {
            let at = change.index(parts.body.len());
            parts.body[at] ^= if by == 0 { 1 } else { by };
            prop_assert!(scheme.verify(&parts.request(&headers), &secrets, now_unix_s).is_err(), "{slug}: byte {at}");
        }
        Ok(())
    })
}
