//! Tests of the changes to a secret's text.

use serde_json::json;

use super::*;

const ACME: &str = "0000000000000000000000000000000000000000000000000000000000000001";
const GLOBEX: &str = "0000000000000000000000000000000000000000000000000000000000000002";

fn key(sha256: &str, principal: &str, scopes: &[&str]) -> Value {
    json!({ "sha256": sha256, "principal": principal, "scopes": scopes })
}

fn document(value: &Value) -> Document {
    Document::parse(&value.to_string()).unwrap()
}

/// Checks the document after a change, or its error, after which the document is unchanged.
fn check(before: &Value, change: impl Fn(&mut Document) -> Result<Change, String>, expected: Result<&Value, &str>) {
    let mut after = document(before);
    let changed = change(&mut after);
    match (&changed, expected) {
        (Ok(_), Ok(expected)) => assert_eq!(after, document(expected), "{before}"),
        (Err(reason), Err(expected)) => {
            assert!(reason.contains(expected), "{before}: {reason}");
            assert_eq!(after, document(before), "{before}");
        }
        _ => panic!("{before}: {changed:?} is not {expected:?}"),
    }
}

#[test]
fn a_value_is_added_to_the_existing_ones_or_replaces_them() {
    let (acme, globex) = (key(ACME, "acme", &["a"]), key(GLOBEX, "globex", &[]));
    let new = key(&"f".repeat(64), "acme", &["b"]);
    let add = |entry: &Value, name: &'static str, replace: bool| {
        let entry = entry.clone();
        move |document: &mut Document| document.add(name, entry.clone(), replace)
    };
    let keys = "api-keys";
    check(&json!({}), add(&new, keys, false), Ok(&json!({ "api-keys": [new] })));
    let both = json!({ "api-keys": [acme, globex], "other": [7] });
    check(&both, add(&new, keys, false), Ok(&json!({ "api-keys": [acme, globex, new], "other": [7] })));
    check(&both, add(&new, keys, true), Ok(&json!({ "api-keys": [globex, new], "other": [7] })));
    let wider = key(&ACME.to_uppercase(), "acme", &["a", "b"]);
    check(&both, add(&wider, keys, false), Ok(&json!({ "api-keys": [wider, globex], "other": [7] })));
    check(&both, add(&key(ACME, "globex", &[]), keys, true), Err("the key is acme's already"));
    check(&json!({ "username": "hush" }), add(&new, keys, true), Err("nothing was changed"));
    check(&json!({ "api-keys": {} }), add(&new, keys, true), Err(r#""api-keys" is not a list"#));
    let unusable = json!({ "api-keys": [7, acme] });
    check(&unusable, add(&new, keys, true), Ok(&json!({ "api-keys": [7, new] })));

    let secrets = json!({ "github": ["one", "two"] });
    check(&secrets, add(&json!("three"), "github", false), Ok(&json!({ "github": ["one", "two", "three"] })));
    check(&secrets, add(&json!("three"), "github", true), Ok(&json!({ "github": ["three"] })));
    check(&secrets, add(&json!("two"), "github", true), Ok(&json!({ "github": ["two"] })));

    let named = |keyid: &str, secret: &str| json!({ "keyid": keyid, "secret": secret });
    let secrets = json!({ "callers": ["one", named("a", "two"), named("b", "three")] });
    let added = json!({ "callers": ["one", named("a", "two"), named("b", "three"), named("a", "four")] });
    check(&secrets, add(&named("a", "four"), "callers", false), Ok(&added));
    let replaced = json!({ "callers": ["one", named("b", "three"), named("a", "four")] });
    check(&secrets, add(&named("a", "four"), "callers", true), Ok(&replaced));
    let renamed = json!({ "callers": [named("c", "one"), named("a", "two"), named("b", "three")] });
    check(&secrets, add(&named("c", "one"), "callers", false), Ok(&renamed));
    let without = json!({ "callers": [named("a", "two"), named("b", "three"), "four"] });
    check(&secrets, add(&json!("four"), "callers", true), Ok(&without));

    let mut again = document(&both);
    assert_eq!(again.add(keys, acme, false), Ok(Change { is_new: false, removed: 0, live: 2 }));
}

#[test]
fn a_value_is_removed_by_its_fingerprint() {
    let remove = |name: &'static str, fingerprint: &'static str| {
        move |document: &mut Document| document.remove(name, fingerprint)
    };
    let twins = [key(&format!("{}1", "a".repeat(63)), "one", &[]), key(&format!("{}2", "a".repeat(63)), "two", &[])];
    let before = json!({ "api-keys": [twins[0], twins[1], key(GLOBEX, "globex", &[])], "github": ["one"] });
    let without = json!({ "api-keys": twins, "github": ["one"] });
    check(&before, remove("api-keys", "00000000"), Ok(&without));
    check(&before, remove("api-keys", "aaaaaaaaaaaa"), Err("2 values of api-keys have the fingerprint"));
    check(&before, remove("api-keys", "bbbbbbbb"), Err("no value with the fingerprint bbbbbbbb"));
    check(&before, remove("none", "00000000"), Err("no value with the fingerprint"));
    // printf one | sha256sum
    let emptied = json!({ "api-keys": before["api-keys"], "github": [] });
    check(&before, remove("github", "7692c3ad3540"), Ok(&emptied));
    let unusable = summary(&json!({ "sha256": "hush" }), None).fingerprint;
    let mut document = document(&json!({ "api-keys": [{ "sha256": "hush" }] }));
    assert_eq!(document.remove("api-keys", &unusable), Ok(Change { is_new: true, removed: 1, live: 0 }));
}

#[test]
fn a_value_of_another_form_is_refused_and_not_quoted() {
    for text in ["", "hush", "[\"hush\"]", "\"hush\"", "{\"hush\": "] {
        let reason = Document::parse(text).unwrap_err();
        assert!(reason.contains("not a JSON object") && !reason.contains("hush"), "{reason}");
    }
    let long = json!({ "github": ["x".repeat(SECRET_BYTES_MAX)] });
    assert!(document(&long).text().unwrap_err().contains("Secrets Manager stores 65536"));
    for principal in ["", "a\u{7}", &"x".repeat(2_049)] {
        assert!(api_key("any", principal, &[]).is_err(), "{principal:?}");
    }
}

#[test]
fn an_entry_is_shown_without_its_value() {
    let signature = Kind::of(sluicegate_webhook::Provider::named("github").unwrap());
    for (entry, kind, fault) in [
        (json!("hush"), Some(&signature), None),
        (json!("hush\n"), Some(&signature), Some("white space")),
        (json!(7), Some(&signature), Some("neither a string")),
        (json!({ "keyid": "a", "secret": "hush" }), Some(&signature), Some("keyid")),
        (json!({ "keyid": "a", "secret": "hush" }), None, None),
        (key(ACME, "acme", &["a"]), None, None),
        (key("hush", "acme", &[]), None, Some("64 hexadecimal digits")),
        (json!({ "sha256": ACME }), None, Some("principal")),
        (json!({ "sha256": ACME, "principal": "a", "scopes": "hush" }), None, Some("scopes")),
    ] {
        let shown = summary(&entry, kind);
        assert_eq!(shown.fault.is_some(), fault.is_some(), "{shown:?}");
        let (text, fault) = (format!("{shown:?}"), fault.unwrap_or_default());
        assert!(text.contains(fault) && !text.contains("hush"), "{text}");
        assert_eq!(shown.fingerprint.len(), FINGERPRINT_CHARS, "{text}");
    }
    assert_eq!(summary(&json!("one"), None).fingerprint, fingerprint_of("one"));
    let shown = summary(&json!({ "keyid": "a", "secret": "one" }), None);
    assert_eq!((shown.fingerprint, shown.keyid.as_deref()), (fingerprint_of("one"), Some("a")));
    let shown = summary(&api_key("one", "acme", &["a".to_owned()]).unwrap(), None);
    assert_eq!(shown.fingerprint, fingerprint_of("one"));
    assert_eq!((shown.principal.as_deref(), shown.scopes), (Some("acme"), vec!["a".to_owned()]));
}

#[test]
fn a_fingerprint_is_hexadecimal() {
    assert_eq!(parse_fingerprint("ABCDEF01"), Ok("abcdef01".to_owned()));
    for wrong in ["", "abc", "abcdefgh", &"a".repeat(65)] {
        assert!(parse_fingerprint(wrong).is_err(), "{wrong}");
    }
}
