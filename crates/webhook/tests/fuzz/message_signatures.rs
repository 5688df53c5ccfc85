//! HTTP Message Signatures with a base written here, against an independent verdict.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use sluicegate_webhook::{Encoding, Provider};

use super::run::Target;
use super::tokens::mac;
use super::valid::Parts;

const NOW_UNIX_S: i64 = 1_700_000_000;
/// The scheme has the key in base64; the MAC here takes it as text.
const KEY: &str = "0123456789abcdef0123456789abcdef";
const BODY: &[u8] = b"{\"order\":1}";
const DIGEST: &str = "sha-256=:p4FnngEwjP75CYOkwTUDGafjmTw6P1qMhDl4GjJtfI0=:";

/// Components as they are written, with their values and whether they are supported.
const COMPONENTS: &[(&str, &str, bool)] = &[
    ("\"@method\"", "POST", true),
    ("\"@authority\"", "api.example.com", true),
    ("\"@path\"", "/orders", true),
    ("\"@query\"", "?a=1&b=c%20d", true),
    ("\"idempotency-key\"", "k-1", true),
    ("\"content-digest\"", DIGEST, true),
    ("\"@scheme\"", "https", true),
    ("\"@target-uri\"", "https://api.example.com/orders?a=1&b=c%20d", true),
    ("\"@query-param\";name=\"b\"", "c%20d", true),
    ("\"@query-param\";name=\"a\"", "1", true),
    ("\"x-list\"", "a, b", true),
    ("\"x-empty\"", "", true),
    ("\"@query-param\";name=\"c\"", "", false),
    ("\"@query-param\"", "1", false),
    ("\"@request-target\"", "/orders?a=1&b=c%20d", false),
    ("\"@status\"", "200", false),
    ("\"X-Empty\"", "", false),
    ("\"x-absent\"", "", false),
    ("\"x-list\";bs", ":YQ==:, :Yg==:", false),
    ("\"x-list\";sf", "a, b", false),
    ("\"@method\";req", "POST", false),
];

/// The components that the catalog requires.
const REQUIRED: usize = 6;

/// Parameters as they are written, and whether a signature may have them.
const PARAMETERS: &[(&str, bool)] = &[
    (";keyid=\"a\"", true),
    (";alg=\"hmac-sha256\"", true),
    (";nonce=\"a\\\"b\"", true),
    (";expires=1700000000", true),
    (";tag=\"t\"", true),
    (";alg=\"ed25519\"", false),
    (";alg=hmac-sha256", false),
    (";expires=1699999999", false),
    (";expires=\"1700000001\"", false),
    (";x=1", false),
    (";keyid=1", false),
    (";created=\"1700000000\"", false),
    (";tag", false),
];

fn key_of(parameter: &str) -> &str {
    parameter.split(['=', ';']).nth(1).unwrap()
}

pub(crate) fn message_signatures() -> Target {
    let scheme = &Provider::named("http-message-signatures").unwrap().scheme;
    let secrets = [scheme.secret(&Encoding::Base64.encode(KEY.as_bytes())).unwrap()];
    let required = Just((0..REQUIRED).collect::<Vec<usize>>());
    let components = prop_oneof![
        3 => (required, proptest::collection::vec(0..COMPONENTS.len(), 0..3)).prop_map(|(all, more)| [all, more].concat()),
        1 => proptest::collection::vec(0..COMPONENTS.len(), 0..10),
    ]
    .prop_shuffle();
    let parameters = proptest::collection::vec(select(PARAMETERS), 0..3);
    let created = prop_oneof![4 => (-400..200_i64).prop_map(Some), 1 => Just(None)];
    let damage = proptest::option::weighted(0.3, (0..3_usize, any::<Index>(), any::<u8>(), any::<bool>()));
    let space = select(vec!["", " ", "   "]);
    Target::new(
        (components, parameters, created, damage, space),
        move |(covered, parameters, created, damage, space)| {
            let names: Vec<&str> = covered.iter().map(|at| COMPONENTS[*at].0).collect();
            let created = created.map(|off| format!(";created={}", NOW_UNIX_S + off));
            let written = format!(
                "{}{}",
                created.as_deref().unwrap_or_default(),
                parameters.iter().map(|(text, _)| *text).collect::<String>()
            );
            let mut base = String::new();
            for at in &covered {
                base.push_str(&format!("{}: {}\n", COMPONENTS[*at].0, COMPONENTS[*at].1));
            }
            base.push_str(&format!("\"@signature-params\": ({}){written}", names.join(" ")));
            // White space in the list is not signed.
            let input = format!("sig1=({space}{}{space}){written}", names.join(&format!(" {space}")));
            let signature = format!("sig1=:{}:", mac(KEY, "base64", base.as_bytes()));
            let mut headers = vec![
                ("signature-input".to_owned(), input.into_bytes()),
                ("signature".to_owned(), signature.into_bytes()),
                ("content-digest".to_owned(), DIGEST.as_bytes().to_vec()),
                ("idempotency-key".to_owned(), b"k-1".to_vec()),
                ("x-list".to_owned(), b" a".to_vec()),
                ("x-list".to_owned(), b"b\t".to_vec()),
                ("x-empty".to_owned(), Vec::new()),
            ];
            if let Some((which, at, byte, insert)) = damage {
                let value = &mut headers[which].1;
                let at = at.index(value.len());
                if insert { value.insert(at, byte) } else { value[at] = byte }
            }
            let url = "https://api.example.com/orders?a=1&b=c%20d".to_owned();
            let parts = Parts { method: "POST".to_owned(), url, headers, body: BODY.to_vec() };
            let Some(headers) = parts.headers() else { return Ok(()) };
            let request = parts.request(&headers);
            let verified = scheme.verify(&request, &secrets, NOW_UNIX_S);
            let known = covered.iter().all(|at| COMPONENTS[*at].2);
            let unique = covered.iter().enumerate().all(|(at, one)| !covered[..at].contains(one));
            let complete = (0..REQUIRED).all(|at| covered.contains(&at));
            let in_time = created.as_ref().is_some_and(|text| {
                let at: i64 = text.trim_start_matches(";created=").parse().unwrap();
                (NOW_UNIX_S - 300..=NOW_UNIX_S + 60).contains(&at)
            });
            let allowed = parameters.iter().all(|(_, allowed)| *allowed);
            let expected = known && unique && complete && in_time && allowed;
            let keys: Vec<&str> = created
                .iter()
                .map(String::as_str)
                .chain(parameters.iter().map(|(text, _)| *text))
                .map(key_of)
                .collect();
            let repeated = keys.iter().enumerate().any(|(at, key)| keys[..at].contains(key));
            match damage {
                // Of a parameter that is there twice the last one counts, so the text above is not the signed one.
                _ if repeated => prop_assert!(verified.is_err() || scheme.signed_texts(&request).is_ok()),
                None => prop_assert_eq!(verified.is_ok(), expected, "{:?}", verified),
                Some(_) => {
                    if verified.is_ok() {
                        prop_assert!(expected);
                        prop_assert_eq!(scheme.signed_texts(&request).unwrap(), vec![base.into_bytes()]);
                    }
                }
            }
            Ok(())
        },
    )
}
