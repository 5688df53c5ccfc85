//! The webhook schemes against the providers' own SDKs. What an SDK signs, the ingress admits; what `sluicegate send`
//! signs, the SDK accepts; both refuse what is changed, late or signed with another secret.
//!
//! The SDKs are installed from `tests/peers/webhooks`, where two programs sign and verify with them.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use sluicegate_contract::Contract;
use sluicegate_ingress::testing::TestIngress;
use sluicegate_webhook::{Assurance, KeyEncoding, Provider, Request, Scheme, SignError, Source};

use crate::support::root;

/// The folder of the npm packages.
const NODE_MODULES: &str = "SLUICEGATE_WEBHOOKS_NODE_MODULES";
/// The folder of programs of the Python environment.
const PYTHON_BIN: &str = "SLUICEGATE_WEBHOOKS_BIN";

const METHOD: &str = "POST";
const URL: &str = "https://api.example.com/hook?a=1";
const ID: &str = "msg-1";
/// Added to a limit of time, to be beyond it however slow the machine is.
const BEYOND_S: i64 = 60;
/// Longer than a token of any SDK is valid.
const TOKEN_S: i64 = 3_600;

/// An SDK, and a provider whose requests it signs or verifies.
struct Peer {
    /// Its name in the program.
    name: &'static str,
    program: Program,
    package: &'static str,
    slug: &'static str,
    /// Whether the SDK, or for a key pair the program, can sign.
    signs: bool,
    /// Headers that are not signed, or that the provider sends before it signs.
    headers: &'static [(&'static str, &'static str)],
    /// `AT` stands for the time, in seconds. Its first 1 is signed.
    body: &'static str,
    /// `HASH` stands for the SHA-256 of the body, in hexadecimal digits.
    url: &'static str,
    /// Where the SDK decides otherwise than the ingress: it accepts an old request (`past`), or decides otherwise about
    /// one of the future (`future`).
    differs: &'static [&'static str],
}

/// The language of a program in `tests/peers/webhooks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Node,
    Python,
}

impl Program {
    /// Returns the command of the program with this name.
    fn command(self, name: &str) -> Command {
        let source = root().join("tests/peers/webhooks");
        match self {
            Self::Node => {
                let text = std::fs::read_to_string(source.join(format!("{name}.mjs"))).expect("the program");
                let mut command = Command::new("node");
                // Packages are found from the working directory.
                command.args(["--input-type=module", "--eval", &text]);
                command.current_dir(from_run(NODE_MODULES).parent().expect("a folder with node_modules"));
                command
            }
            Self::Python => {
                let mut command = Command::new(from_run(PYTHON_BIN).join("python"));
                command.arg(source.join(format!("{name}.py")));
                command
            }
        }
    }

    /// Runs the program with this name; returns its answer to one request.
    pub(crate) fn ask(self, name: &str, request: &Value) -> Value {
        let mut command = self.command(name);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut requests = child.stdin.take().expect("piped");
        requests.write_all(request.to_string().as_bytes()).expect("written");
        drop(requests);
        let output = child.wait_with_output().expect("the program ends");
        assert!(output.status.success(), "{self:?} {name}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Returns the word that follows the name of a package in the catalog.
    fn registry(self) -> &'static str {
        match self {
            Self::Node => "npm",
            Self::Python => "Python",
        }
    }
}

/// Returns a peer of Node.js that signs and verifies.
const fn node(slug: &'static str, package: &'static str, body: &'static str) -> Peer {
    Peer { name: slug, program: Program::Node, package, slug, signs: true, headers: &[], body, url: URL, differs: &[] }
}

/// Returns a peer of Node.js that verifies what this workspace signs.
const fn verifier(slug: &'static str, package: &'static str, body: &'static str) -> Peer {
    Peer { signs: false, ..node(slug, package, body) }
}

const fn python(slug: &'static str, package: &'static str, body: &'static str) -> Peer {
    Peer { program: Program::Python, ..node(slug, package, body) }
}

/// A body that gives most providers' requests a type and a key. It has a character outside ASCII and a slash.
const EVENT: &str = r#"{"id":"evt_1","type":"invoice.paid","event":"room_started","note":"Grüße aus / nach"}"#;
const ADYEN: &str = r#"{"notificationItems":[{"NotificationRequestItem":{"pspReference":"psp1","merchantAccountCode":"Grüße","merchantReference":"r","amount":{"value":1000,"currency":"EUR"},"eventCode":"AUTHORISATION","success":"true"}},{"NotificationRequestItem":{"pspReference":"psp2","originalReference":"o","merchantAccountCode":"m","merchantReference":"a:b\\c","amount":{"value":0,"currency":"JPY"},"eventCode":"CAPTURE","success":"false"}}]}"#;
const SHOPIFY: &[(&str, &str)] = &[
    ("x-shopify-topic", "orders/create"),
    ("x-shopify-shop-domain", "shop.example.com"),
    ("x-shopify-api-version", "2026-07"),
    ("x-shopify-webhook-id", "w-1"),
];
const SHOPIFY_EVENTS: &[(&str, &str)] = &[
    ("shopify-topic", "Product"),
    ("shopify-shop-domain", "shop.example.com"),
    ("shopify-api-version", "2026-07"),
    ("shopify-webhook-id", "w-1"),
    ("shopify-event-id", "e-1"),
];
const BOX: &[(&str, &str)] = &[("box-delivery-id", "d-1")];
const TWILIO: &[(&str, &str)] = &[("i-twilio-idempotency-token", "t-1")];
/// A form with a repeated name, whose values are neither sorted nor distinct, and with one without a value.
const SMS: &str = "MessageSid=SM1&Body=Gr%C3%BC%C3%9Fe+%26+a%2Bb&B=2&B=10&B=2&a=";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const TWILIO_FORM: &[(&str, &str)] = &[("i-twilio-idempotency-token", "t-1"), FORM];
const SHARED_KEY: &[(&str, &str)] = &[
    ("i-twilio-idempotency-token", "t-1"),
    ("x-twilio-webhooks-signature-settings", "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"),
    FORM,
];

const PEERS: &[Peer] = &[
    node("adyen", "@adyen/api-library", ADYEN),
    node("adyen-platform", "@adyen/api-library", r#"{"type":"balancePlatform.payment","data":{"id":"1"}}"#),
    Peer { headers: BOX, ..node("box", "box-node-sdk", r#"{"trigger":"FILE.UPLOADED1","name":"Grüße/😀"}"#) },
    Peer {
        name: "box-escaped",
        headers: BOX,
        ..node("box", "box-node-sdk", r#"{"trigger":"FILE.UPLOADED1","url":"https:\/\/a/b","name":"Grüße/😀\u007f"}"#)
    },
    Peer {
        headers: &[("x-contentful-topic", "ContentManagement.Entry.publish")],
        ..node("contentful", "@contentful/node-apps-toolkit", EVENT)
    },
    node("discord", "discord-interactions", EVENT),
    node(
        "discord-events",
        "discord-interactions",
        r#"{"application_id":"1","type":1,"event":{"type":"APPLICATION_AUTHORIZED","timestamp":"2026-11-28T12:00:00Z"}}"#,
    ),
    Peer {
        headers: &[("x-github-event", "push"), ("x-github-delivery", "d-1")],
        ..node("github", "@octokit/webhooks-methods", EVENT)
    },
    verifier(
        "gocardless",
        "gocardless-nodejs",
        r#"{"events":[{"id":"EV1","resource_type":"payments","action":"paid"}],"meta":{"webhook_id":"WB1"}}"#,
    ),
    Peer { headers: &[("idempotency-key", ID)], ..node("http-message-signatures", "http-message-signatures", EVENT) },
    node("hubspot", "@hubspot/api-client", r#"[{"eventId":1,"subscriptionType":"contact.creation"}]"#),
    Peer {
        headers: &[("linear-delivery", "d-1")],
        ..verifier("linear", "@linear/sdk", r#"{"action":"create1","type":"Issue","webhookTimestamp":AT000}"#)
    },
    verifier("lithic", "lithic", EVENT),
    node("livekit", "livekit-server-sdk", EVENT),
    node("notion", "@notionhq/client", EVENT),
    verifier("openai", "openai", EVENT),
    Peer {
        differs: &["future"],
        ..verifier("paddle", "@paddle/paddle-node-sdk", r#"{"event_id":"evt_1","event_type":"transaction.paid"}"#)
    },
    python("paddle", "paddle-python-sdk", r#"{"event_id":"evt_1","event_type":"transaction.paid"}"#),
    Peer { differs: &["past", "future"], ..verifier("replicate", "replicate", r#"{"id":"p1","status":"succeeded"}"#) },
    verifier("resend", "resend", EVENT),
    Peer {
        headers: &[("idempotency-key", "k-1")],
        ..node("sanity", "@sanity/webhook", r#"{"_id":"doc1","_type":"resume","note":"Grüße"}"#)
    },
    node("sendgrid", "@sendgrid/eventwebhook", "[{\"sg_event_id\":\"1\",\"event\":\"delivered\"}]\r\n"),
    Peer { headers: SHOPIFY, ..verifier("shopify", "@shopify/shopify-api", EVENT) },
    Peer { headers: SHOPIFY_EVENTS, ..verifier("shopify-events", "@shopify/shopify-api", EVENT) },
    verifier("slack", "@slack/bolt", r#"{"event_id":"Ev1","event":{"type":"app_mention"}}"#),
    Peer {
        differs: &["future"],
        ..python("slack", "slack_sdk", r#"{"event_id":"Ev1","event":{"type":"app_mention","text":"Grüße"}}"#)
    },
    verifier("square", "square", r#"{"event_id":"1","type":"payment.created"}"#),
    node("standard-webhooks", "standardwebhooks", EVENT),
    python("standard-webhooks", "standardwebhooks", EVENT),
    node("stripe", "stripe", EVENT),
    node("svix", "svix", EVENT),
    node("telnyx", "telnyx", r#"{"data":{"id":"1","event_type":"message.received"}}"#),
    Peer { headers: TWILIO_FORM, ..node("twilio", "twilio", SMS) },
    Peer { headers: SHARED_KEY, ..node("twilio-shared-key", "twilio", SMS) },
    Peer {
        name: "twilio-json",
        headers: TWILIO,
        url: "https://api.example.com/hook?a=1&bodySHA256=HASH",
        ..node("twilio", "twilio", EVENT)
    },
    Peer { differs: &["future"], ..node("workos", "@workos-inc/node", EVENT) },
];

/// A request as it is sent.
#[derive(Clone)]
struct Sent {
    url: String,
    headers: Map<String, Value>,
    body: String,
}

impl Sent {
    fn with_headers<I: IntoIterator<Item = (String, String)>>(mut self, headers: I) -> Self {
        self.headers.extend(headers.into_iter().map(|(name, value)| (name, value.into())));
        self
    }

    fn with_body(&self, body: String) -> Self {
        Self { body, ..self.clone() }
    }
}

impl Peer {
    fn provider(&self) -> &'static Provider {
        Provider::named(self.slug).unwrap_or_else(|| panic!("no provider {}", self.slug))
    }

    /// Returns two live secrets and another one, in the form of the provider; for a key pair, the names of three.
    fn secrets(&self) -> [String; 3] {
        let scheme = &self.provider().scheme;
        [1_u8, 2, 3].map(|number| match scheme.secret.encoding {
            _ if scheme.algorithm.has_public_key() => number.to_string(),
            KeyEncoding::Hex => format!("{number:02x}").repeat(32),
            KeyEncoding::Text => number.to_string().repeat(64),
            // OpenAI's secrets are encoded after the prefix alone.
            KeyEncoding::Base64OrText if number == 2 => "a secret without the prefix".to_owned(),
            _ if scheme.secret.prefixes.is_empty() => STANDARD.encode([number; 32]),
            _ => format!("whsec_{}", STANDARD.encode([number; 32])),
        })
    }

    /// Returns the request before it is signed, at this time.
    fn unsigned(&self, at_unix_s: i64) -> Sent {
        let mut headers: Map<String, Value> = Map::new();
        headers.insert("content-type".to_owned(), "application/json".into());
        let own = self.headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let body = self.body.replace("AT", &at_unix_s.to_string());
        let hash: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
        Sent { url: self.url.replace("HASH", &hash), headers, body }.with_headers(own)
    }

    /// Returns the request signed with the SDK.
    fn signed_there(&self, sdks: &mut Sdks, secret: &str, at_unix_s: i64) -> Sent {
        let unsigned = self.unsigned(at_unix_s);
        let answer = sdks.ask(self, "sign", secret, at_unix_s, &unsigned);
        let body = answer["body"].as_str().unwrap_or(&unsigned.body).to_owned();
        let mut signed = unsigned.with_body(body);
        signed.headers.extend(answer["headers"].as_object().expect("headers").clone());
        signed
    }

    /// Returns the request signed as `sluicegate send` does.
    fn signed_here(&self, secret: &str, at_unix_s: i64) -> Result<Sent, SignError> {
        let (scheme, unsigned) = (&self.provider().scheme, self.unsigned(at_unix_s));
        let headers: HeaderMap = unsigned.headers.iter().map(header).collect();
        let request = Request::new(&headers, unsigned.body.as_bytes()).at(METHOD, &unsigned.url);
        let secret = scheme.secret(secret).unwrap_or_else(|error| panic!("{}: {error}", self.slug));
        let signed = scheme.sign(&secret, ID, at_unix_s, &request)?;
        Ok(unsigned.clone().with_headers(signed))
    }
}

fn header((name, value): (&String, &Value)) -> (HeaderName, HeaderValue) {
    let value = value.as_str().expect("a text");
    (HeaderName::try_from(name.as_str()).expect("a name"), HeaderValue::try_from(value).expect("a value"))
}

/// Returns a time that the scheme refuses as too old; `None` for a scheme that accepts any.
fn stale(scheme: &Scheme, now_unix_s: i64) -> Option<i64> {
    let limit = scheme.timestamp.as_ref().and_then(|timestamp| timestamp.past_seconds);
    let limit = limit.map(|limit| i64::try_from(limit).expect("a limit"));
    Some(now_unix_s - limit.or(scheme.signature.claim.as_ref().map(|_| TOKEN_S))? - BEYOND_S)
}

fn now_unix_s() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()).expect("a time")
}

/// The program that signs and verifies with the SDKs of one language.
struct Sdks {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Sdks {
    fn start(program: Program) -> Self {
        let mut command = program.command("sdks");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
        let requests = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, requests, answers }
    }

    fn ask(&mut self, peer: &Peer, does: &str, secret: &str, at_unix_s: i64, sent: &Sent) -> Value {
        let Sent { url, headers, body } = sent;
        let request = json!({
            "peer": peer.name, "does": does, "secret": secret, "id": ID, "at": at_unix_s, "method": METHOD, "url": url,
            "headers": headers, "body": body,
        });
        writeln!(self.requests, "{request}").expect("the program reads");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the program answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{}: {does}: {line:?}: {error}", peer.name))
    }

    /// Returns whether the SDK accepts a request.
    fn accepts(&mut self, peer: &Peer, secret: &str, sent: &Sent) -> bool {
        self.ask(peer, "verify", secret, 0, sent)["valid"].as_bool().expect("a verdict")
    }
}

impl Drop for Sdks {
    fn drop(&mut self) {
        let _already_ended = self.child.kill();
        let _status = self.child.wait();
    }
}

pub(crate) fn from_run(variable: &str) -> PathBuf {
    let folder = std::env::var(variable);
    folder.unwrap_or_else(|_| panic!("{variable} is not set: ./tests/run makes it and sets it")).into()
}

/// Returns an ingress with one route, which this provider signs.
fn ingress(provider: &Provider, media_type: &str, secrets: &[String]) -> TestIngress {
    let accept = match provider.scheme.assurance {
        Assurance::Signed => "signed",
        Assurance::Partial => "partial",
        Assurance::Token => "token",
    };
    let content = json!({media_type: {}});
    let header = match provider.scheme.signature.header.first() {
        "" => "signature-in-body",
        header => header,
    };
    let scheme = json!({
        "type": "apiKey", "in": "header", "name": header, "x-secret": "s",
        "x-signature": {"scheme": provider.slug, "accept": accept},
    });
    let contract = json!({
        "openapi": "3.1.0", "info": {"title": "t", "version": "v"},
        "paths": {"/hook": {"post": {
            "operationId": "hook", "security": [{"s": []}], "requestBody": {"content": content},
            "x-sluicegate": {"queue": "hooks"},
        }}},
        "components": {"securitySchemes": {"s": scheme}},
    });
    let contract = Contract::parse("hook.yaml", &contract.to_string());
    let contract = contract.unwrap_or_else(|error| panic!("{}: {error}", provider.slug));
    secrets.iter().fold(TestIngress::new(contract), |ingress, secret| ingress.signing_secret("s", secret))
}

/// Sends a request to the ingress; returns the status and the body of the answer.
async fn send(ingress: &TestIngress, sent: &Sent) -> (u64, String) {
    let target = sent.url.strip_prefix("https://api.example.com").expect("the host");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = sent.headers.clone();
    headers.insert("host".to_owned(), "api.example.com".into());
    let event = json!({
        "version": "2.0", "rawPath": path, "rawQueryString": query, "headers": headers, "body": sent.body,
        "isBase64Encoded": false,
        "requestContext": {
            "domainName": "api.example.com", "requestId": "r-1", "stage": "$default",
            "http": {"method": METHOD, "path": path, "sourceIp": "192.0.2.1"},
        },
    });
    let answer = ingress.handle(&event.to_string()).await.expect("an answer");
    (answer["statusCode"].as_u64().expect("a status"), answer["body"].as_str().unwrap_or_default().to_owned())
}

/// What differs from the expected, by peer.
struct Faults(Vec<String>);

impl Faults {
    fn check<T: PartialEq + std::fmt::Debug>(&mut self, peer: &Peer, what: &str, found: T, expected: T) {
        if found != expected {
            self.0.push(format!("{} {}: {what}: {found:?}, not {expected:?}", peer.package, peer.name));
        }
    }
}

/// What the SDK signs: admitted with either live secret, once each. Nothing else is enqueued.
async fn the_ingress_admits(peer: &Peer, sdks: &mut Sdks, faults: &mut Faults) {
    let (provider, [first, second, other]) = (peer.provider(), peer.secrets());
    let configured = [&first, &second].map(|secret| {
        let answer = sdks.ask(peer, "secret", secret, 0, &peer.unsigned(0));
        answer["secret"].as_str().expect("a secret").to_owned()
    });
    let unsigned = peer.unsigned(0);
    let ingress = ingress(provider, unsigned.headers["content-type"].as_str().expect("a text"), &configured);
    for (what, secret) in [("the first secret", &first), ("the second secret", &second)] {
        let signed = peer.signed_there(sdks, secret, now_unix_s());
        let (status, answer) = send(&ingress, &signed).await;
        faults.check(peer, what, (status, answer.contains("\"id\"")), (202, true));
        let payload = ingress.stored().last().map(|stored| stored.envelope.payload().into_owned());
        faults.check(peer, what, payload.as_deref(), Some(signed.body.as_bytes()));
    }

    let signed = peer.signed_there(sdks, &first, now_unix_s());
    let mut refused = vec![
        ("a changed byte", signed.with_body(signed.body.replacen('1', "2", 1))),
        ("a byte more", signed.with_body(format!("{} ", signed.body))),
        ("another secret", peer.signed_there(sdks, &other, now_unix_s())),
        ("no signature", peer.unsigned(now_unix_s())),
    ];
    if provider.scheme.assurance == Assurance::Partial {
        // White space is not signed.
        refused.remove(1);
    }
    if let Some(at) = stale(&provider.scheme, now_unix_s()) {
        refused.push(("too old", peer.signed_there(sdks, &first, at)));
    }
    if let Some(limit) = provider.scheme.timestamp.as_ref().and_then(|timestamp| timestamp.future_seconds) {
        let limit = i64::try_from(limit).expect("a limit");
        refused.push(("of the future", peer.signed_there(sdks, &first, now_unix_s() + limit + BEYOND_S)));
    }
    for (what, sent) in refused {
        let (status, answer) = send(&ingress, &sent).await;
        faults.check(peer, &format!("{what}: {answer}"), matches!(status, 400 | 401), true);
    }
    faults.check(peer, "stored", ingress.stored().len(), 2);
}

/// What is signed here, or for a key pair by the program: accepted by the SDK, and otherwise refused.
fn the_sdk_accepts(peer: &Peer, sdks: &mut Sdks, faults: &mut Faults) {
    let (scheme, [first, second, other]) = (&peer.provider().scheme, peer.secrets());
    // A key pair is the program's.
    let here = scheme.can_sign();
    if here && let Err(error) = peer.signed_here(&first, 0) {
        return faults.check(peer, "signed here", error.to_string(), String::new());
    }
    let sign = |sdks: &mut Sdks, secret: &str, at_unix_s: i64| match here {
        true => peer.signed_here(secret, at_unix_s).expect("signed above"),
        false => peer.signed_there(sdks, secret, at_unix_s),
    };
    for secret in [&first, &second] {
        let signed = sign(sdks, secret, now_unix_s());
        faults.check(peer, "the SDK accepts what is signed here", sdks.accepts(peer, secret, &signed), true);
        let changed = signed.with_body(signed.body.replacen('1', "2", 1));
        faults.check(peer, "the SDK accepts a changed byte", sdks.accepts(peer, secret, &changed), false);
        faults.check(peer, "the SDK accepts another secret", sdks.accepts(peer, &other, &signed), false);
    }
    let differs = |word: &str| peer.differs.contains(&word);
    if let Some(at) = stale(scheme, now_unix_s()) {
        let signed = sign(sdks, &first, at);
        faults.check(peer, "the SDK accepts an old request", sdks.accepts(peer, &first, &signed), differs("past"));
        let limit = scheme.timestamp.as_ref().and_then(|timestamp| timestamp.future_seconds);
        let at = now_unix_s() + limit.map_or(TOKEN_S, |limit| i64::try_from(limit).expect("a limit")) + BEYOND_S;
        if scheme.timestamp.is_some() {
            let signed = sign(sdks, &first, at);
            let accepted = limit.is_none() != differs("future");
            faults.check(peer, "the SDK accepts the future", sdks.accepts(peer, &first, &signed), accepted);
        }
    }
}

/// What the SDKs signed at [`VECTORS_AT_UNIX_S`].
const VECTORS: &str = "tests/vectors/webhook/sdk.json";
/// The time of the vectors, in seconds since 1970.
const VECTORS_AT_UNIX_S: i64 = 1_700_000_000;

/// Returns a request that the SDK signed as a vector for `crates/webhook`, if the SDK always signs it alike.
fn vector(peer: &Peer, sdks: &mut Sdks) -> Option<String> {
    let scheme = &peer.provider().scheme;
    if !peer.signs || scheme.algorithm.has_public_key() || scheme.signature.claim.is_some() {
        return None;
    }
    let [secret, ..] = peer.secrets();
    let Sent { url, headers, body } = peer.signed_there(sdks, &secret, VECTORS_AT_UNIX_S);
    let vector = json!({
        "scheme": peer.slug, "name": format!("signed by {} {}", peer.package, pinned(peer)), "secrets": [secret],
        "headers": headers.into_iter().collect::<Vec<_>>(), "body": body, "url": url, "now_unix_s": VECTORS_AT_UNIX_S,
        "error": null,
    });
    Some(format!("  {vector}"))
}

#[tokio::test]
#[ignore = "needs the SDKs of webhook providers, which ./tests/run installs"]
async fn the_sdks_of_providers_and_the_ingress_agree() {
    let (mut faults, mut vectors) = (Faults(Vec::new()), Vec::new());
    for program in [Program::Node, Program::Python] {
        let mut sdks = Sdks::start(program);
        for peer in PEERS.iter().filter(|peer| peer.program == program) {
            if peer.signs {
                the_ingress_admits(peer, &mut sdks, &mut faults).await;
            }
            the_sdk_accepts(peer, &mut sdks, &mut faults);
            vectors.extend(vector(peer, &mut sdks));
            let directions = if peer.signs { "signs and verifies" } else { "verifies" };
            println!("{:18} {} {} {directions}", peer.name, peer.package, pinned(peer));
        }
    }
    assert!(faults.0.is_empty(), "{} faults:\n{}", faults.0.len(), faults.0.join("\n"));

    let (file, text) = (root().join(VECTORS), format!("{{\"vectors\": [\n{}\n]}}\n", vectors.join(",\n")));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &text).expect("written");
    }
    let value = |text: &[u8]| serde_json::from_slice::<Value>(text).expect("JSON");
    let stored = value(&std::fs::read(&file).expect("the vectors"));
    assert_eq!(
        stored,
        value(text.as_bytes()),
        "{VECTORS} is not what the SDKs sign: UPDATE=1 with this test writes it anew"
    );
}

/// Returns the version of the SDK in the lock file of its package manager.
fn pinned(peer: &Peer) -> String {
    let read = |file: &str| std::fs::read_to_string(root().join("tests/peers/webhooks").join(file)).expect("the file");
    match peer.program {
        Program::Node => {
            let lock: Value = serde_json::from_str(&read("package-lock.json")).expect("JSON");
            let package = &lock["packages"][format!("node_modules/{}", peer.package)];
            package["version"].as_str().unwrap_or_else(|| panic!("{} is not locked", peer.package)).to_owned()
        }
        Program::Python => {
            let requirements = read("requirements.txt");
            let versions = requirements.lines().filter_map(|line| line.split_once("=="));
            let mut versions = versions.filter(|(package, _)| *package == peer.package);
            versions.next().unwrap_or_else(|| panic!("{} is not pinned", peer.package)).1.to_owned()
        }
    }
}

#[test]
fn every_provider_has_a_vector_or_an_sdk() {
    let folder = root().join("tests/vectors/webhook");
    let files = std::fs::read_dir(&folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    let files = files.filter(|file| file.extension().is_some_and(|extension| extension == "json"));
    let read = |file: &Path| serde_json::from_slice::<Value>(&std::fs::read(file).expect("the file")).expect("JSON");
    // Some files have vectors of primitives, or cases of schemes of one's own.
    let vectors = files.flat_map(|file| read(&file)["vectors"].as_array().cloned().unwrap_or_default());
    let named = vectors.filter(|vector| vector["error"].is_null());
    let named = named.filter_map(|vector| vector["scheme"].as_str().map(str::to_owned));
    let covered: BTreeSet<String> = named.chain(PEERS.iter().map(|peer| peer.slug.to_owned())).collect();
    for Provider { slug, .. } in Provider::all() {
        assert!(covered.contains(slug), "{slug} has neither a vector in tests/vectors/webhook nor an SDK here");
    }
}

#[test]
fn an_entry_names_the_version_of_the_sdk_that_is_run() {
    let mut named = 0;
    for peer in PEERS {
        if let Source::Sdk(source) = &peer.provider().source
            && let Some((package, version)) = source.rsplit_once(' ')
            && (package == peer.package || package == format!("{} {}", peer.package, peer.program.registry()))
        {
            assert_eq!(version, pinned(peer), "{}: {source}", peer.slug);
            named += 1;
        }
    }
    assert!(named > 15, "{named}");
}
