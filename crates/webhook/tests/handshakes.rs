//! The answers to handshakes, byte for byte.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use http::{HeaderMap, HeaderName};
use sluicegate_webhook::{HandshakeAnswer, HandshakeError, Provider, Request, Secret};

/// Returns the answer of a provider's handshake; `None` for another request.
fn answer(
    slug: &str,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Option<Result<HandshakeAnswer, HandshakeError>> {
    let scheme = &Provider::named(slug).unwrap().scheme;
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    let request = Request::new(&map, body.as_bytes()).at(method, url);
    let handshake = scheme.handshakes.iter().find(|handshake| handshake.is(&request))?;
    let secrets: Vec<Secret> = match (handshake.needs_secret(), &handshake.token) {
        (true, _) => vec![scheme.secret(SECRET).unwrap(), scheme.secret("the next one").unwrap()],
        (false, Some(_)) => ["an older one", "a token"].map(|token| Secret::verify_token(token).unwrap()).into(),
        (false, None) => Vec::new(),
    };
    Some(handshake.answer(&request, &secrets))
}

/// The sample secret of X's documentation.
const SECRET: &str = "z3ZX4v7mAAUGykl3EcmkqbartmuW8VFOOzCloLx9Q45P0hLrFu";

#[test]
fn each_provider_gets_the_answer_it_checks() {
    let text = ("content-type", "text/plain");
    let json = ("content-type", "application/json");
    let check = |slug: &str,
                 method: &str,
                 url: &str,
                 header: Option<(&str, &str)>,
                 body: &str,
                 expected: (u16, &[(&str, &str)], &str)| {
        let (status, headers, text) = expected;
        let headers = headers.iter().map(|(name, value)| (HeaderName::try_from(*name).unwrap(), (*value).to_owned()));
        let found = answer(slug, method, url, header.as_slice(), body);
        let expected = HandshakeAnswer { status, headers: headers.collect(), body: text.to_owned() };
        assert_eq!(found, Some(Ok(expected)), "{slug}");
    };
    let slack =
        r#"{"token":"t","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}"#;
    check("slack", "POST", "/", None, slack, (200, &[text], "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"));
    check("discord", "POST", "/", None, r#"{"type":1}"#, (200, &[json], r#"{"type":1}"#));
    check("discord-events", "POST", "/", None, r#"{"type":0}"#, (204, &[], ""));
    // https://developers.zoom.us/docs/api/webhooks/#validate-your-webhook-endpoint; the digest is Python's hmac's.
    let zoom = r#"{"payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event_ts":1654503849680,"event":"endpoint.url_validation"}"#;
    let token = "940755963c6d9b000b2a6601da61431b69cbb406c3209ddfc7abba7ac9cfd15f";
    let zoomed = format!(r#"{{"plainToken":"qgg8vlvZRS6UYooatFL8Aw","encryptedToken":"{token}"}}"#);
    check("zoom", "POST", "/", None, zoom, (200, &[json], &zoomed));
    let twitch = r#"{"challenge":"pogchamp-kappa-360noscope-vohiyo","subscription":{}}"#;
    let kind = Some(("twitch-eventsub-message-type", "webhook_callback_verification"));
    check("twitch", "POST", "/", kind, twitch, (200, &[text], "pogchamp-kappa-360noscope-vohiyo"));
    let nosniff = ("x-content-type-options", "nosniff");
    check("dropbox", "GET", "/d?challenge=abc123", None, "", (200, &[text, nosniff], "abc123"));
    // https://docs.x.com/x-api/webhooks/quickstart
    let crc = r#"{"response_token":"sha256=Cytd4Sq+NvEcV3MMrXxWJGJx5A+y/lXzzU2Maartkx8="}"#;
    check("x", "GET", "/x?crc_token=9b4507b3-9040-4669-9ca3-6b94edb50553", None, "", (200, &[json], crc));
    let hook = ("x-hook-secret", "b537207f20cbfa02357cf448134da559");
    check("asana", "POST", "/", Some(hook), "", (200, &[hook], ""));
    check("asana", "POST", "/", None, r#"{"events":[]}"#, (200, &[], ""));
    check("notion", "POST", "/", None, r#"{"verification_token":"secret_t"}"#, (200, &[], ""));
    let meta = "/m?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=a%20token";
    check("meta", "GET", meta, None, "", (200, &[text, nosniff], "1158201444"));
    // https://learn.microsoft.com/en-us/azure/event-grid/end-point-validation-event-grid-events-schema
    let validation = Some(("aeg-event-type", "SubscriptionValidation"));
    let grid = r#"[{"id":"2d1781af","data":{"validationCode":"512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}}]"#;
    let code = r#"{"validationResponse":"512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}"#;
    check("event-grid", "POST", "/", validation, grid, (200, &[json], code));
    let origin = ("webhook-allowed-origin", "eventemitter.example.com");
    let asked = Some(("webhook-request-origin", "eventemitter.example.com"));
    check("cloudevents", "OPTIONS", "/", asked, "", (200, &[origin, ("allow", "POST")], ""));
    let graph = "/g?validationToken=Validation%3a+Testing+client+application+reachability+for+subscription+Request-Id%3a+522a8e7e";
    let token = "Validation: Testing client application reachability for subscription Request-Id: 522a8e7e";
    check("msgraph", "POST", graph, None, "", (200, &[text, nosniff], token));
    for slug in ["trello", "mandrill"] {
        check(slug, "HEAD", "/", None, "", (200, &[], ""));
    }
    let okta = Some(("x-okta-verification-challenge", "c-1"));
    check("okta", "GET", "/", okta, "", (200, &[json], r#"{"verification":"c-1"}"#));
    check("intercom", "HEAD", "/", None, "", (200, &[], ""));
}

#[test]
fn a_rate_is_allowed_as_asked() {
    let headers = [("webhook-request-origin", "a.example"), ("webhook-request-rate", "120")];
    let answer = answer("cloudevents", "OPTIONS", "/", &headers, "").unwrap().unwrap();
    let expected = [("webhook-allowed-origin", "a.example"), ("webhook-allowed-rate", "120"), ("allow", "POST")];
    assert_eq!(answer.headers.len(), expected.len());
    for ((name, value), (expected, text)) in answer.headers.iter().zip(expected) {
        assert_eq!((name.as_str(), value.as_str()), (expected, text));
    }
    let without_origin = self::answer("cloudevents", "OPTIONS", "/", &headers[1..], "");
    assert_eq!(without_origin, Some(Err(HandshakeError::Value)));
}

/// The token is not a signing secret, and what is wrong with it does not show.
#[test]
fn a_verify_token_that_is_not_live_is_refused() {
    for token in ["", "a", "a%20toke", "a%20token%20", "A%20token", SECRET] {
        let url = format!("/m?hub.mode=subscribe&hub.challenge=1&hub.verify_token={token}");
        assert_eq!(answer("meta", "GET", &url, &[], ""), Some(Err(HandshakeError::Token)), "{token}");
    }
    let without = answer("meta", "GET", "/m?hub.mode=subscribe&hub.challenge=1", &[], "");
    assert_eq!(without, Some(Err(HandshakeError::Value)));
    for text in ["", " ", "a ", "\ta"] {
        assert!(Secret::verify_token(text).is_err(), "{text:?}");
    }
}

#[test]
fn events_are_not_handshakes() {
    for (slug, method, url, body) in [
        ("slack", "POST", "/", r#"{"type":"event_callback","challenge":"c"}"#),
        ("slack", "GET", "/", r#"{"type":"url_verification","challenge":"c"}"#),
        ("discord", "POST", "/", r#"{"type":2}"#),
        ("zoom", "POST", "/", r#"{"event":"meeting.started"}"#),
        ("twitch", "POST", "/", r#"{"challenge":"c"}"#),
        ("dropbox", "POST", "/d?challenge=c", "{}"),
        ("x", "POST", "/x?crc_token=t", "{}"),
        ("asana", "POST", "/", r#"{"events":[{}]}"#),
        ("notion", "POST", "/", r#"{"type":"page.created"}"#),
        ("meta", "POST", "/m?hub.mode=subscribe&hub.challenge=1", "{}"),
        ("meta", "GET", "/m?hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=t", ""),
        ("event-grid", "POST", "/", r#"[{"data":{"validationCode":"c"}}]"#),
        ("cloudevents", "OPTIONS", "/", ""),
        ("msgraph", "POST", "/g?validationTokens=t", r#"{"value":[]}"#),
        ("msgraph", "GET", "/g?validationToken=t", ""),
        ("trello", "POST", "/", "{}"),
        ("github", "POST", "/", "{}"),
    ] {
        assert_eq!(answer(slug, method, url, &[], body), None, "{slug} {method} {body}");
    }
}

/// An answer to anyone is neither the signature of a body nor a way to inject a header or a script.
#[test]
fn an_answer_never_repeats_or_signs_what_no_provider_sends() {
    for token in ["%7B%22a%22:1%7D", "a%0Ab", "a%20b", "%C3%A9", "", &"a".repeat(513)] {
        let found = answer("x", "GET", &format!("/x?crc_token={token}"), &[], "");
        let is_empty = token.is_empty();
        let refused = found == Some(Err(HandshakeError::Value));
        assert!(refused || is_empty, "{token}: {found:?}");
    }
    for challenge in ["a%0D%0Ab", "a%20b", &"a".repeat(513)] {
        let found = answer("dropbox", "GET", &format!("/d?challenge={challenge}"), &[], "");
        assert_eq!(found, Some(Err(HandshakeError::Value)), "{challenge}");
    }
    for token in ["a%0Ab", "%C3%A9", &"a".repeat(513)] {
        let found = answer("msgraph", "POST", &format!("/g?validationToken={token}"), &[], "");
        assert_eq!(found, Some(Err(HandshakeError::Value)), "{token}");
    }
    let quote =
        answer("zoom", "POST", "/", &[], r#"{"event":"endpoint.url_validation","payload":{"plainToken":"a\"b"}}"#);
    assert_eq!(quote, Some(Err(HandshakeError::Value)));
}
