//! Webhooks of providers: admitted, refused, and the handshakes that are answered instead.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use http::HeaderMap;
use serde_json::{Value, json};
use sluicegate_contract::Contract;
use sluicegate_ingress::testing::TestIngress;
use sluicegate_webhook::{Provider, Request};

/// A signing secret that every provider of these tests accepts.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Returns an ingress with one route, which this provider signs and which takes any JSON.
fn ingress(slug: &str, accept: Option<&str>) -> TestIngress {
    ingress_for(slug, accept, "application/json: {}", "")
}

/// Returns an ingress with one route, which this provider signs: its content, and more of its `x-sluicegate`.
fn ingress_for(slug: &str, accept: Option<&str>, content: &str, more: &str) -> TestIngress {
    // A signature in the body has no header.
    let header = Provider::named(slug).unwrap().scheme.signature.header.first().to_owned();
    let header = if header.is_empty() { "x-signature".to_owned() } else { header };
    let signature = match accept {
        Some(word) => format!("{{ scheme: {slug}, accept: {word} }}"),
        None => slug.to_owned(),
    };
    let yaml = format!(
        "openapi: 3.1.0\ninfo: {{ title: t, version: v }}\npaths:\n  /hook:\n    post:\n      operationId: hook\n      \
         security: [{{ s: [] }}]\n      requestBody: {{ content: {{ {content} }} }}\n      \
         x-sluicegate: {{ queue: hooks{more} }}\ncomponents:\n  securitySchemes:\n    \
         s: {{ type: apiKey, in: header, name: {header}, x-secret: s, x-signature: {signature} }}\n"
    );
    TestIngress::new(Contract::parse("hook.yaml", &yaml).unwrap())
        .signing_secret("s", "an older secret of the provider")
}

fn now_unix_s() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

/// Returns the headers of a signed body.
fn signed(slug: &str, at_unix_s: i64, body: &str) -> Vec<(String, String)> {
    let scheme = &Provider::named(slug).unwrap().scheme;
    let url = "https://api.example.com/hook?a=1";
    let request = HeaderMap::new();
    let request = Request::new(&request, body.as_bytes()).at("POST", url);
    scheme.sign(&scheme.secret(SECRET).unwrap(), "msg-1", at_unix_s, &request).unwrap()
}

/// Sends a request; returns the status, the headers and the body of the answer.
async fn send(
    ingress: &TestIngress,
    method: &str,
    query: &str,
    headers: &[(String, String)],
    body: &str,
) -> (u64, Value, String) {
    let mut all: serde_json::Map<String, Value> =
        headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    all.insert("host".to_owned(), "api.example.com".into());
    all.entry("content-type").or_insert_with(|| "application/json".into());
    let event = json!({
        "version": "2.0", "rawPath": "/hook", "rawQueryString": query, "headers": all, "body": body,
        "isBase64Encoded": false,
        "requestContext": {
            "domainName": "api.example.com", "requestId": "r-1", "stage": "$default",
            "http": { "method": method, "path": "/hook", "sourceIp": "192.0.2.1" },
        },
    });
    let answer = ingress.handle(&event.to_string()).await.unwrap();
    let text = answer["body"].as_str().unwrap_or_default().to_owned();
    (answer["statusCode"].as_u64().unwrap(), answer["headers"].clone(), text)
}

#[tokio::test]
async fn a_provider_is_admitted_by_its_name_alone() {
    let linear = format!(r#"{{"type":"Issue","action":"create","webhookTimestamp":{}000}}"#, now_unix_s());
    for (slug, extra, body, event_type) in [
        ("stripe", None, r#"{"id":"evt_1","type":"invoice.paid"}"#, "stripe.invoice.paid"),
        ("slack", None, r#"{"event_id":"Ev1","event":{"type":"app_mention"}}"#, "slack.app_mention"),
        ("square", None, r#"{"event_id":"1","type":"payment.created"}"#, "square.payment.created"),
        ("hubspot", None, r#"[{"eventId":1,"subscriptionType":"contact.creation"}]"#, "hubspot.contact.creation"),
        ("linear", Some(("linear-delivery", "d-1")), &linear, "linear.Issue.create"),
        ("svix", None, r#"{"type":"user.created1"}"#, "svix.user.created1"),
        ("netlify", Some(("x-netlify-event", "deploy")), r#"{"id":"1","state":"ready"}"#, "netlify.deploy"),
    ] {
        let ingress = ingress(slug, None).signing_secret("s", SECRET);
        let mut headers = signed(slug, now_unix_s(), body);
        headers.extend(extra.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let (status, _, text) = send(&ingress, "POST", "a=1", &headers, body).await;
        assert_eq!(status, 202, "{slug}: {text}");
        let stored = ingress.stored();
        assert_eq!((stored.len(), stored[0].envelope.event_type()), (1, event_type), "{slug}");

        // The same delivery is the same message; an altered or unsigned one is none.
        let (_, _, again) = send(&ingress, "POST", "a=1", &headers, body).await;
        assert_eq!(again, text, "{slug}");
        let altered = body.replacen('1', "2", 1);
        let refused =
            [send(&ingress, "POST", "a=1", &headers, &altered).await, send(&ingress, "POST", "a=1", &[], body).await];
        for (status, _, text) in refused {
            assert_eq!(status, 401, "{slug}: {text}");
        }
        assert_eq!(ingress.stored().len(), 2, "{slug}");
    }
}

#[tokio::test]
async fn a_signature_of_another_day_is_refused() {
    let (ingress, body) = (ingress("stripe", None).signing_secret("s", SECRET), r#"{"id":"evt_1","type":"a"}"#);
    for (off_s, expected) in [(-301, 401), (-299, 202), (3_600, 202)] {
        let headers = signed("stripe", now_unix_s() + off_s, body);
        assert_eq!(send(&ingress, "POST", "", &headers, body).await.0, expected, "{off_s} s");
    }
}

#[tokio::test]
async fn a_missing_header_is_named() {
    let (ingress, body) = (ingress("slack", None).signing_secret("s", SECRET), r#"{"event":{"type":"a"}}"#);
    let mut headers = signed("slack", now_unix_s(), body);
    headers.retain(|(name, _)| name != "x-slack-request-timestamp");
    let (status, _, text) = send(&ingress, "POST", "", &headers, body).await;
    assert!(status == 401 && text.contains("Send the header x-slack-request-timestamp."), "{status} {text}");
    let (status, _, text) = send(&ingress, "POST", "", &[], body).await;
    assert!(status == 401 && text.contains("Send the header x-slack-signature."), "{status} {text}");
}

#[tokio::test]
async fn handshakes_are_answered_and_nothing_is_enqueued() {
    // Signed: refused without a signature.
    let (ingress, body) =
        (ingress("slack", None).signing_secret("s", SECRET), r#"{"type":"url_verification","challenge":"c-1"}"#);
    let headers = signed("slack", now_unix_s(), body);
    let (status, headers_of, text) = send(&ingress, "POST", "", &headers, body).await;
    assert_eq!((status, headers_of["content-type"].as_str(), text.as_str()), (200, Some("text/plain"), "c-1"));
    assert_eq!(send(&ingress, "POST", "", &[], body).await.0, 401);
    assert!(ingress.stored().is_empty());

    // Not signed, with a signed answer.
    let ingress = self::ingress("x", None);
    let (status, _, text) = send(&ingress, "GET", "crc_token=t-1", &[], "").await;
    assert!(status == 200 && text.starts_with(r#"{"response_token":"sha256="#), "{status} {text}");
    // What could be the body of a webhook is not signed.
    assert_eq!(send(&ingress, "GET", "crc_token=%7B%22a%22%3A1%7D", &[], "").await.0, 400);
    // Nor does a signed answer admit a body: each of these is JSON.
    for token in ["123", "null", ""] {
        let (status, _, text) = send(&ingress, "GET", &format!("crc_token={token}"), &[], "").await;
        assert_eq!(status, 200, "{token}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        let signature = answer["response_token"].as_str().unwrap().to_owned();
        let headers = [("x-twitter-webhooks-signature".to_owned(), signature)];
        assert_eq!(send(&ingress, "POST", "", &headers, token).await.0, 401, "{token}");
    }
    // And it is limited by address.
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(send(&ingress, "GET", "crc_token=t", &[], "").await.0);
    }
    assert!(statuses.contains(&429) && statuses[0] == 200, "{statuses:?}");
    assert!(ingress.stored().is_empty());
    // Without its sign, another method stays another method.
    assert_eq!(send(&ingress, "GET", "", &[], "").await.0, 405);
}

#[tokio::test]
async fn a_signed_handshake_may_have_another_method_than_the_webhooks() {
    let ingress = ingress("okta", Some("token")).signing_secret("s", SECRET);
    let challenge = ("x-okta-verification-challenge".to_owned(), "c-1".to_owned());
    let secret = |value: &str| ("authorization".to_owned(), value.to_owned());
    let (status, _, text) = send(&ingress, "GET", "", &[challenge.clone(), secret(SECRET)], "").await;
    assert_eq!((status, text.as_str()), (200, r#"{"verification":"c-1"}"#));
    assert_eq!(send(&ingress, "GET", "", &[challenge.clone(), secret("whsec_other")], "").await.0, 401);
    assert_eq!(send(&ingress, "GET", "", &[challenge], "").await.0, 401);
    assert_eq!(send(&ingress, "GET", "", &[secret(SECRET)], "").await.0, 405);
    assert!(ingress.stored().is_empty());
}

#[tokio::test]
async fn a_token_is_admitted_where_the_contract_accepts_one() {
    let (ingress, body) =
        (ingress("gitlab-token", Some("token")).signing_secret("s", SECRET), r#"{"object_kind":"push"}"#);
    let header = |value: &str| [("x-gitlab-token".to_owned(), value.to_owned())];
    assert_eq!(send(&ingress, "POST", "", &header(SECRET), body).await.0, 202);
    assert_eq!(send(&ingress, "POST", "", &header("whsec_other"), body).await.0, 401);
    assert_eq!(ingress.stored()[0].envelope.event_type(), "gitlab.push");
}

#[tokio::test]
async fn what_a_provider_signed_arrives_byte_for_byte() {
    let deep = format!(r#"{{"id":"1","type":"t","data":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    let half = r#"{"id":"1","type":"t","text":"\ud83d"}"#;
    let twice = r#"{"id":"1","type":"t","a":1,"a":2}"#;
    let (any, object) = ("application/json: {}", "application/json: { schema: { type: object } }");
    let strict = "application/json: { schema: { type: object, properties: { id: { type: string } } } }";
    let own_type = ", type: own, idempotency: { key: '{query.a}' }";
    for (content, more, body, status, says) in [
        // The templates of the provider read /type and /id.
        (any, "", half, 202, ""),
        (object, "", half, 202, ""),
        (object, "", twice, 202, ""),
        (object, "", &deep, 202, ""),
        (object, "", r#"{"id":1e400,"type":"t"}"#, 202, ""),
        (object, "", " {\"id\":\"1\",\"type\":\"t\"}\r\n", 202, ""),
        (object, "", r#"{"id":"1","type":"t","type":"u"}"#, 400, "/type"),
        (object, "", r#"{"id":"1","type":"\ud83d"}"#, 422, "/type"),
        (object, "", r#"["t"]"#, 422, "not of type"),
        (any, "", "Hello", 400, "not JSON at line 1"),
        // A schema needs the whole document.
        (strict, "", half, 400, "not JSON at line 1, column"),
        (strict, "", twice, 400, "/a"),
        // Nothing is read.
        (object, own_type, half, 202, ""),
        (object, own_type, "Hello", 400, "not JSON at line 1"),
        (any, own_type, "Hello", 202, ""),
        (any, own_type, "\u{feff}{}", 202, ""),
    ] {
        let ingress = ingress_for("stripe", None, content, more).signing_secret("s", SECRET);
        let (found, _, text) = send(&ingress, "POST", "a=1", &signed("stripe", now_unix_s(), body), body).await;
        assert!(found == status && text.contains(says), "{content}{more} {body}: {found} {text}");
        let stored = ingress.stored();
        assert_eq!(stored.len(), usize::from(status == 202), "{content}{more} {body}");
        assert!(stored.iter().all(|message| *message.envelope.payload() == *body.as_bytes()), "{body}");
    }
}

#[tokio::test]
async fn the_fields_of_a_form_name_the_event() {
    let payload =
        "payload=%7B%22type%22%3A%22block_actions%22%2C%22trigger_id%22%3A%22t-1%22%2C%22x%22%3A%22%5Cud83d%22%7D";
    let form = "application/x-www-form-urlencoded";
    let both = format!("application/json: {{}}, {form}: {{}}");
    let url = ", type: 'sms.{form.SmsStatus | form.CallStatus}', subject: '{form.From}'";
    for (more, content_type, body, event_type, key) in [
        ("", form, "command=%2Fweather&text=Here&trigger_id=t-2", "slack./weather", Some("t-2")),
        ("", form, payload, "slack.block_actions", Some("t-1")),
        ("", "application/json", r#"{"event_id":"E","event":{"type":"message"}}"#, "slack.message", Some("E")),
        ("", "application/json", r#"{"type":"app_rate_limited"}"#, "slack.app_rate_limited", None),
    ] {
        let ingress = ingress_for("slack", None, &both, more).signing_secret("s", SECRET);
        let mut headers = signed("slack", now_unix_s(), body);
        headers.push(("content-type".to_owned(), content_type.to_owned()));
        let (status, _, text) = send(&ingress, "POST", "", &headers, body).await;
        assert_eq!(status, 202, "{body}: {text}");
        let envelope = &ingress.stored()[0].envelope;
        assert_eq!((envelope.event_type(), envelope.idempotency_key()), (event_type, key), "{body}");
        assert_eq!(*envelope.payload(), *body.as_bytes());
    }
    for (body, status, says) in [
        ("SmsStatus=sent&From=%2B49", 202, ""),
        ("CallStatus=busy&From=+49", 202, ""),
        ("SmsStatus=sent&SmsStatus=read&From=1", 400, "form field SmsStatus was sent more than once"),
        ("From=1", 400, "form field SmsStatus is missing"),
        ("SmsStatus=%ff&From=1", 400, "form field SmsStatus is missing"),
    ] {
        let ingress = ingress_for("slack", None, &format!("{form}: {{}}"), url).signing_secret("s", SECRET);
        let mut headers = signed("slack", now_unix_s(), body);
        headers.push(("content-type".to_owned(), format!("{form}; charset=utf-8")));
        let (found, _, text) = send(&ingress, "POST", "", &headers, body).await;
        assert!(found == status && text.contains(says), "{body}: {found} {text}");
        assert_eq!(ingress.stored().len(), usize::from(status == 202), "{body}");
    }
}

#[tokio::test]
async fn a_verify_token_is_one_of_its_own_list() {
    let ingress = ingress("meta", None).signing_secret("s", SECRET).signing_secret("s-verify-token", "a-token");
    let query = |token: &str| format!("hub.mode=subscribe&hub.challenge=115&hub.verify_token={token}");
    let (status, headers, text) = send(&ingress, "GET", &query("a-token"), &[], "").await;
    assert_eq!((status, headers["content-type"].as_str(), text.as_str()), (200, Some("text/plain"), "115"));
    // The answer to another token is always the same, a signing secret included.
    let (status, _, refused) = send(&ingress, "GET", &query("b"), &[], "").await;
    let problem: Value = serde_json::from_str(&refused).unwrap();
    assert_eq!((status, problem["code"].as_str()), (403, Some("verify_token_invalid")));
    for token in ["a-toke", "a-token1", SECRET, ""] {
        let (status, _, text) = send(&ingress, "GET", &query(token), &[], "").await;
        assert_eq!((status, text), (403, refused.clone()), "{token}");
    }
    // The token signs nothing.
    let scheme = &Provider::named("meta").unwrap().scheme;
    let signed =
        scheme.sign(&scheme.secret("a-token").unwrap(), "", 7, &Request::new(&HeaderMap::new(), b"{}")).unwrap();
    assert_eq!(send(&ingress, "POST", "", &signed, "{}").await.0, 401);
    // Guesses are limited by address.
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(send(&ingress, "GET", &query("b"), &[], "").await.0);
    }
    assert!(statuses.contains(&429) && !statuses.contains(&200), "{statuses:?}");
    assert!(ingress.stored().is_empty());
    // Without the list, the operator is missing.
    let ingress = self::ingress("meta", None).signing_secret("s", SECRET);
    assert_eq!(send(&ingress, "GET", &query("a-token"), &[], "").await.0, 503);
}

#[tokio::test]
async fn unsigned_handshakes_are_answered_with_and_without_credentials() {
    let credentials = ("authorization".to_owned(), format!("Bearer {SECRET}"));
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let validation =
        r#"[{"id":"1","eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","data":{"validationCode":"c-1"}}]"#;
    for (slug, method, query, sign, body, expected, text) in [
        (
            "event-grid",
            "POST",
            "",
            header("aeg-event-type", "SubscriptionValidation"),
            validation,
            200,
            r#"{"validationResponse":"c-1"}"#,
        ),
        ("cloudevents", "OPTIONS", "", header("webhook-request-origin", "a.example"), "", 200, ""),
        ("msgraph", "POST", "validationToken=a%3a+b", header("x-any", "1"), "", 200, "a: b"),
        ("trello", "HEAD", "", header("x-any", "1"), "", 200, ""),
        ("mandrill", "HEAD", "", header("x-any", "1"), "", 200, ""),
    ] {
        let accept = Provider::named(slug).unwrap().scheme.algorithm == sluicegate_webhook::Algorithm::Token;
        let ingress = ingress(slug, accept.then_some("token")).signing_secret("s", SECRET);
        for headers in [vec![sign.clone()], vec![sign, credentials.clone()]] {
            let (status, answered, found) = send(&ingress, method, query, &headers, body).await;
            assert_eq!((status, found.as_str()), (expected, text), "{slug}");
            if slug == "cloudevents" {
                assert_eq!(answered["webhook-allowed-origin"], "a.example");
            }
        }
        assert!(ingress.stored().is_empty(), "{slug}");
    }
    // Without its sign, OPTIONS describes the route and HEAD is another method.
    let plain = ingress("cloudevents", Some("token")).signing_secret("s", SECRET);
    assert_eq!(send(&plain, "OPTIONS", "", &[], "").await.0, 204);
    assert_eq!(send(&plain, "HEAD", "", &[], "").await.0, 405);
}

/// Each notification of a body has the secret.
#[tokio::test]
async fn a_token_in_the_body_is_in_every_item() {
    let ingress = ingress("msgraph", Some("token")).signing_secret("s", SECRET);
    let body = |second: &str| {
        format!(r#"{{"value":[{{"changeType":"created","clientState":"{SECRET}"}},{{"clientState":"{second}"}}]}}"#)
    };
    assert_eq!(send(&ingress, "POST", "", &[], &body(SECRET)).await.0, 202);
    assert_eq!(ingress.stored()[0].envelope.event_type(), "msgraph.created");
    for refused in [body("whsec_other"), body(""), r#"{"value":[]}"#.to_owned(), "{}".to_owned(), "text".to_owned()] {
        assert_eq!(send(&ingress, "POST", "", &[], &refused).await.0, 401, "{refused}");
    }
    assert_eq!(ingress.stored().len(), 1);
}
