//! JSON Web Tokens with hostile headers and claims, under a valid MAC, against an independent verdict.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use sluicegate_webhook::{Encoding, Provider, Request, Scheme};

use super::run::Target;
use super::valid::Parts;

const NOW_UNIX_S: i64 = 1_700_000_000;
const SECRET: &str = "a secret of thirty-two characters";
const BODY: &[u8] = br#"{"id":"1"}"#;

/// Returns the HMAC-SHA256 of a text: the signature of a scheme that signs the body alone.
pub(crate) fn mac(secret: &str, encoding: &str, text: &[u8]) -> String {
    let scheme: Scheme =
        serde_json::from_value(json!({ "signature": { "header": "mac", "encoding": encoding } })).unwrap();
    let headers = http::HeaderMap::new();
    let signed = scheme.sign(&scheme.secret(secret).unwrap(), "", 0, &Request::new(&headers, text)).unwrap();
    signed[0].1.clone()
}

pub(crate) fn tokens() -> Target {
    let odd = select(vec![json!("1"), json!(null), json!([]), json!(-1), json!(1e300), json!(u64::MAX)]);
    let number = (0..4_u8, -200..200_i64, 0.0..1.0_f64, odd).prop_map(|(kind, off, part, odd)| match kind {
        0 => None,
        1 => Some(json!(NOW_UNIX_S + off)),
        #[allow(clippy::cast_precision_loss, reason = "the number is below 2^53")]
        2 => Some(json!((NOW_UNIX_S + off) as f64 + part)),
        _ => Some(odd),
    });
    let algorithm = select(vec![
        json!("HS256"),
        json!("none"),
        json!("hs256"),
        json!("HS512"),
        json!("RS256"),
        json!(null),
        json!(1),
        json!(["HS256"]),
    ]);
    let algorithm = prop_oneof![3 => Just(json!("HS256")), 1 => algorithm];
    let body = prop_oneof![3 => Just(BODY.to_vec()), 1 => proptest::collection::vec(any::<u8>(), 0..20)];
    let damage = prop_oneof![4 => Just(None), 1 => (any::<proptest::sample::Index>(), any::<u8>()).prop_map(Some)];
    let slug = select(vec!["netlify", "livekit"]);
    let strategy = (slug, algorithm, any::<bool>(), number.clone(), number, body, any::<bool>(), damage, "[ -~]{0,6}");
    Target::new(strategy, move |(slug, alg, crit, exp, nbf, body, right_mac, damage, extra)| {
        let Some(Provider { scheme, .. }) = Provider::named(slug) else { return Ok(()) };
        let claim = scheme.signature.claim.as_ref().unwrap();
        let mut head = json!({ "typ": "JWT", "alg": alg, "kid": extra });
        if crit {
            head["crit"] = json!(["exp"]);
        }
        let hash = sha256(&body);
        let mut claims = json!({ "iss": extra, claim.name.as_str(): claim.encoding.encode(&hash) });
        for (name, value) in [("exp", &exp), ("nbf", &nbf)] {
            if let Some(value) = value {
                claims[name] = value.clone();
            }
        }
        let segment = |json: &Value| Encoding::Base64url.encode(json.to_string().as_bytes());
        let text = format!("{}.{}", segment(&head), segment(&claims));
        let signature =
            mac(if right_mac { SECRET } else { "another secret of 32 characters!" }, "base64url", text.as_bytes());
        let mut token = format!("{}{text}.{signature}", scheme.signature.prefix).into_bytes();
        let untouched = token.clone();
        if let Some((at, byte)) = damage {
            let at = at.index(token.len());
            token[at] = byte;
        }
        let header = scheme.signature.header.first().to_owned();
        let parts = Parts {
            method: "POST".to_owned(),
            url: String::new(),
            headers: vec![(header, token.clone())],
            body: BODY.to_vec(),
        };
        let Some(headers) = parts.headers() else { return Ok(()) };
        let verified = scheme.verify(&parts.request(&headers), &[scheme.secret(SECRET).unwrap()], NOW_UNIX_S).is_ok();
        let is_in_time = is_in_time(exp.as_ref(), nbf.as_ref());
        let expected = right_mac && alg == "HS256" && !crit && body == BODY && is_in_time;
        if token == untouched {
            prop_assert_eq!(verified, expected, "{}", String::from_utf8_lossy(&token));
        } else {
            // The last digit of base64 has bits that are not part of a byte, so another text can have the same bytes.
            prop_assert!(!verified || expected, "{}", String::from_utf8_lossy(&token));
        }
        Ok(())
    })
}

/// Members of the two segments as bytes, each on a line, under a valid MAC.
pub(crate) fn token_segments() -> Target {
    let scheme = &Provider::named("netlify").unwrap().scheme;
    let claim = scheme.signature.claim.as_ref().unwrap();
    let hash = claim.encoding.encode(&sha256(BODY));
    let secrets = [scheme.secret(SECRET).unwrap()];
    let part = select(vec![
        ",",
        ":",
        "\"",
        "\"alg\"",
        "\"HS256\"",
        "\"crit\"",
        "\"exp\"",
        "\"nbf\"",
        "\"sha256\"",
        "1700000000",
        "-1",
        "[",
        "]",
        "{",
        "}",
        "\n",
        "null",
        "1e9",
    ]);
    let strategy = proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat().into_bytes());
    Target::of_bytes(strategy, move |bytes| {
        let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
        let (head, claims) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let head = [br#"{"alg":"HS256""#, head, b"}"].concat();
        let claims = [format!("{{\"{}\":\"{hash}\",\"iss\":\"netlify\"", claim.name).as_bytes(), claims, b"}"].concat();
        let text = format!("{}.{}", Encoding::Base64url.encode(&head), Encoding::Base64url.encode(&claims));
        let token = format!("{}{text}.{}", scheme.signature.prefix, mac(SECRET, "base64url", text.as_bytes()));
        let headers = vec![(scheme.signature.header.first().to_owned(), token.into_bytes())];
        let parts = Parts { method: "POST".to_owned(), url: String::new(), headers, body: BODY.to_vec() };
        let headers = parts.headers().unwrap();
        let verified = scheme.verify(&parts.request(&headers), &secrets, NOW_UNIX_S).is_ok();
        let json = |text: &[u8]| serde_json::from_slice::<Value>(text);
        let expected = json(&head).is_ok_and(|head| head["alg"] == "HS256" && head.get("crit").is_none())
            && json(&claims)
                .is_ok_and(|claims| claims[&claim.name] == hash && is_in_time(claims.get("exp"), claims.get("nbf")));
        prop_assert_eq!(verified, expected);
        Ok(())
    })
}

/// Returns whether now is between two times, with a minute of leeway.
fn is_in_time(exp: Option<&Value>, nbf: Option<&Value>) -> bool {
    #[allow(clippy::cast_precision_loss, reason = "the time is far below 2^53")]
    let now = NOW_UNIX_S as f64;
    exp.is_none_or(|exp| exp.as_f64().is_some_and(|exp| now < exp + 60.0))
        && nbf.is_none_or(|nbf| nbf.as_f64().is_some_and(|nbf| now > nbf - 60.0))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().try_into().unwrap()
}
