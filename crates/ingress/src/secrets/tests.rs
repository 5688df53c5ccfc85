//! Tests of parsing: usable entries and faults.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use sluicegate_contract::Contract;

use super::{Keyring, ListError, Moment};

const DIGEST: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Returns a contract with a list of each kind.
fn contract() -> Contract {
    let scheme =
        |header: &str, list: &str| json!({ "type": "apiKey", "in": "header", "name": header, "x-secret": list });
    let signed = |header: &str, list: &str| {
        let mut scheme = scheme(header, list);
        scheme["x-signature"] = list.into();
        scheme
    };
    let document = json!({
        "openapi": "3.1.1",
        "info": { "title": "t", "version": "1" },
        "paths": { "/take": { "post": {
            "operationId": "take",
            "security": [{ "apiKey": [] }, { "github": [] }, { "standardWebhooks": [] }],
            "x-sluicegate": { "queue": "q", "type": "t" },
        } } },
        "components": { "securitySchemes": {
            "apiKey": scheme("x-api-key", "api-keys"),
            "github": signed("x-hub-signature-256", "github"),
            "standardWebhooks": signed("webhook-signature", "standard-webhooks"),
        } },
    });
    Contract::parse("openapi.yaml", &document.to_string()).unwrap()
}

fn key(sha256: &str, principal: &str) -> Value {
    json!({ "sha256": sha256, "principal": principal, "scopes": ["*"] })
}

/// Parses the document. Returns the keyring and the faults as `list/position: reason`. Lists that the document omits
/// have valid values.
fn read(document: &Value, before: Option<&Keyring>) -> (Keyring, Vec<String>) {
    let mut whole = json!({ "api-keys": [key(DIGEST, "acme")], "github": ["first"], "standard-webhooks": [WHSEC] });
    for (name, list) in document.as_object().unwrap() {
        match list {
            Value::Null => whole.as_object_mut().unwrap().remove(name),
            list => whole.as_object_mut().unwrap().insert(name.clone(), list.clone()),
        };
    }
    let (keyring, faults) = Keyring::parse(&contract(), &whole.to_string(), Moment::now(UNIX_EPOCH), before).unwrap();
    let shown = faults.iter().map(|fault| {
        let position = fault.position.map(|position| format!("/{position}")).unwrap_or_default();
        format!("{}{position}: {}", fault.list, fault.reason)
    });
    (keyring, shown.collect())
}

fn check(document: &Value, faults: &[&str]) {
    let (_, found) = read(document, None);
    assert_eq!(found, faults, "{document}");
    let text = found.join(" ");
    assert!(!text.contains("hush") && !text.contains("7571"), "a fault quotes the secret: {text}");
}

#[test]
fn an_unusable_entry_is_reported_with_its_position_and_reason() {
    let digest = "api-keys/1: sha256 is not 64 hexadecimal digits";
    let principal = "api-keys/1: principal is not a string, or is empty";
    let good = key("00".repeat(32).as_str(), "good");
    for (entry, fault) in [
        (json!("hush"), "api-keys/1: it is not an object with sha256, principal and scopes"),
        (json!({}), digest),
        (json!({ "sha256": 7, "principal": "acme" }), digest),
        (key("+1".repeat(32).as_str(), "acme"), digest),
        (key("-1".repeat(32).as_str(), "acme"), digest),
        (key(" 1".repeat(32).as_str(), "acme"), digest),
        (key("0x".repeat(32).as_str(), "acme"), digest),
        (key("é".repeat(32).as_str(), "acme"), digest),
        (key(&DIGEST[2..], "acme"), digest),
        (key(&DIGEST[1..], "acme"), digest),
        (key(&format!("{DIGEST}00"), "acme"), digest),
        (key(&format!("{DIGEST}\n"), "acme"), digest),
        (json!({ "sha256": DIGEST }), principal),
        (json!({ "sha256": DIGEST, "principal": 7 }), principal),
        (key(DIGEST, ""), principal),
        (
            key(DIGEST, "a\u{7}b"),
            "api-keys/1: attribute principal contains a character that CloudEvents does not allow",
        ),
        (key(DIGEST, "acme\n"), "api-keys/1: attribute principal contains a character that CloudEvents does not allow"),
        (
            key(DIGEST, "\u{FDD0}"),
            "api-keys/1: attribute principal contains a character that CloudEvents does not allow",
        ),
        (
            key(DIGEST, "\u{1FFFE}"),
            "api-keys/1: attribute principal contains a character that CloudEvents does not allow",
        ),
        (key(DIGEST, &"x".repeat(2_049)), "api-keys/1: attribute principal has 2049 bytes, more than 2048"),
        (json!({ "sha256": DIGEST, "principal": "a", "scopes": "*" }), "api-keys/1: scopes is not a list of strings"),
        (json!({ "sha256": DIGEST, "principal": "a", "scopes": [7] }), "api-keys/1: scopes is not a list of strings"),
        (key("00".repeat(32).as_str(), "other"), "api-keys/1: another entry has the same key with another principal"),
    ] {
        check(&json!({ "api-keys": [good, entry, key(DIGEST, "acme")] }), &[fault]);
    }
    for (list, entry, fault) in [
        ("github", json!(7), "github/1: it is neither a string nor an object with keyid and secret"),
        ("github", json!(""), "github/1: the secret is empty"),
        (
            "github",
            json!("hush\n"),
            "github/1: the secret begins or ends with white space: remove the white space here and at the provider",
        ),
        (
            "standard-webhooks",
            json!("whpk_hush"),
            "standard-webhooks/1: the secret is not base64, with or without the prefix whsec_: paste it as the provider shows it",
        ),
        ("standard-webhooks", json!("whsec_aaaa"), "standard-webhooks/1: the secret has 3 bytes, not 24 to 64"),
    ] {
        check(&json!({ list: [WHSEC, entry] }), &[fault]);
    }
}

#[test]
fn usable_entries_have_no_faults() {
    for document in [
        json!({}),
        json!({ "api-keys": [] }),
        json!({ "api-keys": [key(&DIGEST.to_uppercase(), "acme"), key(DIGEST, "acme")] }),
        json!({ "api-keys": [{ "sha256": DIGEST, "principal": "é".repeat(1_024), "note": "mine" }] }),
        json!({ "standard-webhooks": [format!(" v1,{WHSEC}\n")] }),
        json!({ "a-list-of-another-contract": 7 }),
    ] {
        check(&document, &[]);
    }
}

#[test]
fn a_missing_list_comes_with_the_command_that_adds_it() {
    let (keyring, faults) = Keyring::parse(&contract(), "{}", Moment::now(UNIX_EPOCH), None).unwrap();
    let commands = faults.iter().map(|fault| fault.command.as_deref());
    let expected = ["api-keys --principal NAME --scopes SCOPE", "github", "standard-webhooks"];
    let expected = expected.map(|arguments| format!("sluicegate secrets put {arguments}"));
    assert!(commands.eq(expected.iter().map(|command| Some(command.as_str()))), "{faults:?}");
    let missing = |name: &str| ListError::Missing { name: name.to_owned() };
    assert_eq!(keyring.api_keys("api-keys", Moment::now(UNIX_EPOCH)).unwrap_err(), missing("api-keys"));
    assert_eq!(keyring.signing("github", Moment::now(UNIX_EPOCH)).unwrap_err(), missing("github"));
    let (keyring, faults) = Keyring::parse(&contract(), r#"{"github": 7}"#, Moment::now(UNIX_EPOCH), None).unwrap();
    assert_eq!(faults.iter().filter(|fault| fault.command.is_some()).count(), 2, "{faults:?}");
    let unusable = ListError::Unusable { name: "github".to_owned() };
    assert_eq!(keyring.signing("github", Moment::now(UNIX_EPOCH)).unwrap_err(), unusable);
}

#[test]
fn an_unusable_list_keeps_the_previous_one() {
    let (before, _) = read(&json!({}), None);
    for (list, faults) in [
        (Value::Null, &["the secret has no list of this name"][..]),
        (json!({ "sha256": DIGEST }), &["it is not a list"]),
        (json!("hush"), &["it is not a list"]),
        (json!([7]), &["", "no entry of the list can be used"]),
    ] {
        for name in ["api-keys", "github", "standard-webhooks"] {
            let document = json!({ name: list });
            let now = Moment::now(UNIX_EPOCH);
            let usable = |keyring: &Keyring| match name {
                "api-keys" => keyring.api_keys(name, now).map(<[_]>::len).ok(),
                _ => keyring.signing(name, now).map(<[_]>::len).ok(),
            };
            let (alone, found) = read(&document, None);
            assert_eq!(found.len(), faults.len(), "{document}: {found:?}");
            assert!(found.last().unwrap().ends_with(faults.last().unwrap()), "{document}: {found:?}");
            assert_eq!(usable(&alone), None, "{document}");
            let (kept, again) = read(&document, Some(&before));
            assert_eq!((usable(&kept), again), (Some(1), found), "{document}");
        }
    }
    let (emptied, _) = read(&json!({ "api-keys": [] }), Some(&before));
    assert_eq!(emptied.api_keys("api-keys", Moment::now(UNIX_EPOCH)).unwrap().len(), 0, "an empty list is valid");
}

#[tokio::test(start_paused = true)]
async fn both_clocks_of_a_moment_are_of_the_same_time() {
    let at = |unix_ms| Moment::now(UNIX_EPOCH + Duration::from_millis(unix_ms));
    let arrived = at(100_900);
    tokio::time::advance(Duration::from_millis(1_764)).await;
    let failed = arrived.present();
    tokio::time::advance(Duration::from_millis(3_236)).await;
    // The seconds from 102.664 to 105.9 are three.
    assert_eq!(failed.age(at(105_900)), Duration::from_millis(3_236));
    // The wall clock alone has advanced, or was set back.
    assert_eq!(failed.age(at(3_702_000)), Duration::from_secs(3_600));
    assert_eq!(failed.age(at(0)), Duration::from_millis(3_236));
}
