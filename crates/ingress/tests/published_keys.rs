//! Webhooks whose key the provider publishes: real messages of SNS and PayPal, through a fetch from a local server.
//!
//! The server stands in for the provider's hosts, and counts the requests.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use sluicegate_contract::Contract;
use sluicegate_ingress::testing::TestIngress;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Semaphore,
};

const TOPIC: &str = "arn:aws:sns:us-west-2:131990247566:dongie-standard-topic";
const CERTIFICATE: &str = "/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem";
const OK: &str = "HTTP/1.1 200 OK\r\n";

/// A server that answers every request with the same bytes, unless none are set: then it does not answer.
#[derive(Clone)]
struct Server {
    endpoint: String,
    answer: Arc<Mutex<Option<Vec<u8>>>>,
    /// The request lines.
    requests: Arc<Mutex<Vec<String>>>,
    /// A permit for each answer.
    permits: Arc<Semaphore>,
}

impl Server {
    async fn start(head: &str, body: &[u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let permits = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let server = Self { endpoint, answer: Arc::default(), requests: Arc::default(), permits };
        server.set(head, body);
        let of_task = server.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let server = of_task.clone();
                tokio::spawn(async move {
                    let (mut request, mut part) = (Vec::new(), [0; 1_024]);
                    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                        let length = socket.read(&mut part).await.unwrap();
                        request.extend_from_slice(&part[..length]);
                        assert!(length > 0, "a request has an end");
                    }
                    let line = String::from_utf8(request).unwrap().lines().next().unwrap().to_owned();
                    server.requests.lock().unwrap().push(line);
                    server.permits.acquire().await.unwrap().forget();
                    let answer = server.answer.lock().unwrap().clone();
                    match answer {
                        // A closed socket before the end of a large answer is not an error here.
                        Some(answer) => drop(socket.write_all(&answer).await),
                        None => std::future::pending().await,
                    }
                });
            }
        });
        server
    }

    fn set(&self, head: &str, body: &[u8]) {
        let head = format!("{head}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
        *self.answer.lock().unwrap() = Some([head.as_bytes(), body].concat());
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// A recorded webhook.
struct Recorded {
    headers: Value,
    body: String,
    key: String,
    at_unix_s: u64,
}

/// Returns a real message: of SNS a notification of version 2, one with a subject of version 1, a confirmation to
/// subscribe and one to unsubscribe; of PayPal.
fn recorded(file: &str, position: usize) -> Recorded {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/webhook").join(file);
    let vectors: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let vector = &vectors["vectors"][position];
    let headers = vector["headers"].as_array().unwrap().iter();
    let headers = headers.map(|pair| (pair[0].as_str().unwrap().to_owned(), pair[1].clone()));
    Recorded {
        headers: Value::Object(headers.collect()),
        body: vector["body"].as_str().unwrap().to_owned(),
        key: vector["key"].as_str().unwrap().to_owned(),
        at_unix_s: vector["now_unix_s"].as_u64().unwrap(),
    }
}

fn sns(position: usize) -> Recorded {
    recorded("certificates.json", position)
}

impl Recorded {
    fn with(mut self, name: &str, value: &str) -> Self {
        let mut body: Value = serde_json::from_str(&self.body).unwrap();
        body[name] = value.into();
        self.body = body.to_string();
        self
    }
}

/// Returns an ingress with one route of a provider, which fetches keys from the server.
fn ingress(signature: &str, secret: &str, server: &Server, at_unix_s: u64) -> TestIngress {
    let header = match signature.contains("paypal") {
        true => "paypal-transmission-sig",
        false if signature.contains("pubsub") => "authorization",
        false => "x-signature",
    };
    let yaml = format!(
        "openapi: 3.1.0\ninfo: {{ title: t, version: v }}\npaths:\n  /hook:\n    post:\n      operationId: hook\n      \
         security: [{{ s: [] }}]\n      requestBody: {{ content: {{ application/json: {{}} }} }}\n      \
         x-sluicegate: {{ queue: hooks }}\ncomponents:\n  securitySchemes:\n    \
         s: {{ type: apiKey, in: header, name: {header}, x-secret: s, x-signature: {signature} }}\n"
    );
    let contract = Contract::parse("hook.yaml", &yaml).unwrap_or_else(|faults| panic!("{faults:?}"));
    TestIngress::new(contract)
        .signing_secret("s", "another secret")
        .signing_secret("s", secret)
        .at(at_unix_s)
        .published_keys_at(&server.endpoint)
}

fn sns_ingress(server: &Server) -> TestIngress {
    ingress("{ scheme: sns, accept: partial }", TOPIC, server, sns(0).at_unix_s)
}

/// Sends a webhook as SNS does, as text. Returns the status and the code of the answer.
async fn send(ingress: &TestIngress, recorded: &Recorded) -> (u64, String) {
    let mut headers = recorded.headers.clone();
    let content_type = if headers.get("x-amz-sns-message-type").is_some() { "text/plain" } else { "application/json" };
    headers["content-type"] = format!("{content_type}; charset=UTF-8").into();
    let event = json!({
        "version": "2.0", "rawPath": "/hook", "rawQueryString": "", "headers": headers, "body": recorded.body,
        "isBase64Encoded": false,
        "requestContext": {
            "domainName": "api.example.com", "requestId": "r-1", "stage": "$default",
            "http": { "method": "POST", "path": "/hook", "sourceIp": "192.0.2.1" },
        },
    });
    let answer = ingress.handle(&event.to_string()).await.unwrap();
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap_or_default()).unwrap_or_default();
    (answer["statusCode"].as_u64().unwrap(), body["code"].as_str().unwrap_or_default().to_owned())
}

fn refused(code: &str) -> (u64, String) {
    (if code == "key_unavailable" { 503 } else { 401 }, code.to_owned())
}

#[tokio::test]
async fn messages_of_sns_are_admitted_with_one_fetch() {
    let server = Server::start(OK, sns(0).key.as_bytes()).await;
    let ingress = sns_ingress(&server);
    for position in [0, 1, 0] {
        assert_eq!(send(&ingress, &sns(position)).await, (202, String::new()), "{position}");
    }
    assert_eq!(server.requests(), [format!("GET {CERTIFICATE} HTTP/1.1")]);
    let stored = ingress.stored();
    let envelope = &stored[0].envelope;
    assert_eq!((envelope.event_type(), &*envelope.payload()), ("sns.Notification", sns(0).body.as_bytes()));
    assert_eq!(envelope.content_type(), Some("application/json"));
    // The same message is the same id.
    assert_eq!((envelope.id(), envelope.id() == stored[1].envelope.id()), (stored[2].envelope.id(), false));
}

#[tokio::test]
async fn a_subscription_is_confirmed_once_and_nothing_is_enqueued() {
    let server = Server::start(OK, sns(0).key.as_bytes()).await;
    let ingress = sns_ingress(&server);
    assert_eq!(send(&ingress, &sns(2)).await, (200, String::new()));
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests[1].starts_with(&format!("GET /?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336")));
    // Sent again, and the confirmation to unsubscribe: no visit.
    assert_eq!(send(&ingress, &sns(2)).await.0, 200);
    assert_eq!(send(&ingress, &sns(3)).await.0, 200);
    assert_eq!(server.requests().len(), 2);
    assert_eq!(ingress.stored().len(), 0);
}

#[tokio::test]
async fn a_subscription_that_cannot_be_confirmed_is_sent_again() {
    let server = Server::start(OK, sns(0).key.as_bytes()).await;
    let ingress = sns_ingress(&server);
    assert_eq!(send(&ingress, &sns(0)).await.0, 202);
    server.set("HTTP/1.1 500 No\r\n", b"");
    assert_eq!(send(&ingress, &sns(2)).await, refused("key_unavailable"));
    server.set(OK, b"<ConfirmSubscriptionResponse/>");
    assert_eq!(send(&ingress, &sns(2)).await.0, 200);
    assert_eq!((server.requests().len(), ingress.stored().len()), (3, 1));
}

/// Each is refused without a fetch or a visit.
#[tokio::test]
async fn hostile_messages_cause_no_request() {
    let server = Server::start(OK, sns(0).key.as_bytes()).await;
    let ingress = sns_ingress(&server);
    for url in [
        "https://sns.us-west-2.amazonaws.com.evil.com/a.pem",
        "https://evil.com/a.pem",
        "http://sns.us-west-2.amazonaws.com/a.pem",
        "https://user:word@sns.us-west-2.amazonaws.com/a.pem",
        "https://sns.us-west-2.amazonaws.com:443/a.pem",
        "https://sns.us-west-2.amazonaws.com/%2e%2e/a.pem",
        "https://sns.us-west-2.amazonaws.com/../a.pem",
        "https://sns.us-west-2.amazonaws.com/a.html",
        "https://sns.us-west-2.amazonaws.com/a.pem?b=.pem",
        "https://169.254.169.254/latest/meta-data/a.pem",
        "file:///a.pem",
        "",
    ] {
        let message = sns(0).with("SigningCertURL", url);
        assert_eq!(send(&ingress, &message).await, refused("credentials_invalid"), "{url}");
    }
    let other_topic = sns(0).with("TopicArn", &format!("{TOPIC}-of-another"));
    assert_eq!(send(&ingress, &other_topic).await, refused("credentials_invalid"));
    assert_eq!(send(&ingress, &sns(0).with("SignatureVersion", "3")).await, refused("credentials_invalid"));
    let mut twice = sns(0);
    twice.body = twice.body.replacen('{', r#"{"Message":"other","#, 1);
    assert_eq!(send(&ingress, &twice).await, refused("credentials_invalid"));
    // Raw message delivery has no signature.
    let mut raw = sns(0);
    raw.headers["x-amz-sns-rawdelivery"] = "true".into();
    raw.body = r#"{"order":1}"#.to_owned();
    assert_eq!(send(&ingress, &raw).await, refused("credentials_invalid"));
    assert_eq!((server.requests(), ingress.stored().len()), (Vec::new(), 0));

    // With a key, an altered message is refused, and an altered confirmation visits nothing.
    assert_eq!(send(&ingress, &sns(0).with("Message", "another")).await, refused("credentials_invalid"));
    for url in ["https://sns.us-west-2.amazonaws.com/?Action=Other", "https://evil.com/"] {
        assert_eq!(send(&ingress, &sns(2).with("SubscribeURL", url)).await, refused("credentials_invalid"), "{url}");
    }
    assert_eq!((server.requests().len(), ingress.stored().len()), (1, 0));
}

#[tokio::test]
async fn only_a_whole_file_of_the_provider_is_a_key() {
    let redirect = "HTTP/1.1 302 Found\r\nlocation: https://evil.com/a.pem\r\n";
    let pem = sns(0).key;
    let large = format!("{pem}{}", "\n".repeat(150_000));
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/webhook/certificate-files.json");
    let files: Value = serde_json::from_slice(&std::fs::read(files).unwrap()).unwrap();
    let file = |name: &str| {
        let mut files = files["files"].as_array().unwrap().iter();
        files.find(|file| file["name"] == name).unwrap()["file"].as_str().unwrap().to_owned()
    };
    for (head, body, code) in [
        (redirect, pem.as_str(), "credentials_invalid"),
        ("HTTP/1.1 404 Not Found\r\n", &pem, "credentials_invalid"),
        (OK, &large, "credentials_invalid"),
        (OK, "<html>", "credentials_invalid"),
        (OK, &file("self-signed"), "credentials_invalid"),
        (OK, &file("another name"), "credentials_invalid"),
        ("HTTP/1.1 503 No\r\n", &pem, "key_unavailable"),
        ("HTTP/1.1 429 No\r\n", &pem, "key_unavailable"),
        ("no HTTP\r\n", &pem, "key_unavailable"),
    ] {
        let server = Server::start(head, body.as_bytes()).await;
        let ingress = sns_ingress(&server);
        for _ in 0..3 {
            assert_eq!(send(&ingress, &sns(0)).await, refused(code), "{head}");
        }
        // The failure is remembered.
        assert_eq!((server.requests().len(), ingress.stored().len()), (1, 0), "{head}");
    }
    // Expired: the real certificate after its end.
    let server = Server::start(OK, pem.as_bytes()).await;
    let expired = ingress("{ scheme: sns, accept: partial }", TOPIC, &server, 1_792_022_400);
    assert_eq!(send(&expired, &sns(0)).await, refused("credentials_invalid"));
    assert_eq!(expired.stored().len(), 0);
}

#[tokio::test]
async fn a_server_that_does_not_answer_costs_one_wait() {
    let server = Server::start(OK, b"").await;
    *server.answer.lock().unwrap() = None;
    let ingress = sns_ingress(&server);
    let started = std::time::Instant::now();
    assert_eq!(send(&ingress, &sns(0)).await, refused("key_unavailable"));
    let first = started.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_secs(5)).contains(&first), "{first:?}");
    assert_eq!(send(&ingress, &sns(0)).await, refused("key_unavailable"));
    assert_eq!((server.requests().len(), ingress.stored().len()), (1, 0));
    assert!(started.elapsed() < first + Duration::from_secs(1), "the second request does not wait");
}

#[tokio::test]
async fn a_stampede_is_one_fetch() {
    let server = Server::start(OK, sns(0).key.as_bytes()).await;
    // No answer until every request waits.
    server.permits.forget_permits(Semaphore::MAX_PERMITS);
    let (ingress, recorded) = (sns_ingress(&server), sns(0));
    let all = async {
        let sends = (0..50).map(|_| send(&ingress, &recorded));
        futures_util::future::join_all(sends).await
    };
    let release = async {
        while server.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        server.permits.add_permits(50);
    };
    let (answers, ()) = tokio::join!(all, release);
    assert!(answers.iter().all(|(status, _)| *status == 202), "{answers:?}");
    assert_eq!((server.requests().len(), ingress.stored().len()), (1, 50));
}

/// URLs that a sender makes up fill no cache, and cause few requests.
#[tokio::test]
async fn made_up_urls_do_not_displace_a_key() {
    let paypal = || recorded("certificates.json", 4);
    let server = Server::start(OK, paypal().key.as_bytes()).await;
    let signature = "{ scheme: paypal, accept: partial }";
    let ingress = ingress(signature, "96605875FF6516633", &server, paypal().at_unix_s);
    assert_eq!(send(&ingress, &paypal()).await, (202, String::new()));
    server.set("HTTP/1.1 404 Not Found\r\n", b"");
    let mut codes = Vec::new();
    for made_up in 0..40 {
        let mut message = paypal();
        let url = format!("https://api.sandbox.paypal.com/v1/notifications/certs/{made_up}");
        message.headers["paypal-cert-url"] = url.into();
        codes.push(send(&ingress, &message).await.1);
    }
    let fetched = codes.iter().filter(|code| *code == "credentials_invalid").count();
    assert_eq!((fetched, server.requests().len(), codes[39].as_str()), (8, 9, "key_unavailable"));
    assert_eq!(send(&ingress, &paypal()).await.0, 202);
    assert_eq!(server.requests().len(), 9);
}

#[tokio::test]
async fn a_message_of_paypal_is_admitted() {
    let paypal = || recorded("certificates.json", 4);
    let server = Server::start(OK, paypal().key.as_bytes()).await;
    let signature = "{ scheme: paypal, accept: partial }";
    let with = |secret: &str| ingress(signature, secret, &server, paypal().at_unix_s);
    let ingress = with("96605875FF6516633");
    assert_eq!(send(&ingress, &paypal()).await, (202, String::new()));
    assert_eq!(ingress.stored()[0].envelope.event_type(), "paypal.BILLING.PLAN.CREATED");
    assert_eq!(server.requests(), ["GET /v1/notifications/test HTTP/1.1"]);
    for (header, value) in [
        ("paypal-transmission-id", "071f7d20-1584-11e7-abf0-6b62a8a99ac5"),
        ("paypal-transmission-time", "2017-03-30T20:04:06Z"),
        ("paypal-auth-algo", "SHA1withRSA"),
        ("paypal-cert-url", "https://api.paypal.com/v1/notifications/test"),
    ] {
        let mut message = paypal();
        message.headers[header] = value.into();
        assert_eq!(send(&ingress, &message).await, refused("credentials_invalid"), "{header}");
    }
    let mut message = paypal();
    message.body = message.body.replace("\"USD\"", "\"EUR\"");
    assert_eq!(send(&ingress, &message).await, refused("credentials_invalid"));
    assert_eq!(ingress.stored().len(), 1);
    // Another customer of PayPal, whose messages have signatures of the same key.
    let other = with("WEBHOOKOFANOTHER1");
    assert_eq!(send(&other, &paypal()).await, refused("credentials_invalid"));
    assert_eq!(other.stored().len(), 0);
}

#[tokio::test]
async fn a_token_of_google_is_admitted_and_an_unknown_key_fetched_once() {
    let google = |position: usize| {
        let mut recorded = recorded("tokens.json", position);
        recorded.headers["content-type"] = "application/json".into();
        recorded
    };
    let server = Server::start(OK, google(3).key.as_bytes()).await;
    let audience = "https://api.example.com/webhooks/pubsub";
    let signature = format!("{{ scheme: google-pubsub, accept: token, audience: '{audience}' }}");
    let ingress = ingress(&signature, "push@project.iam.gserviceaccount.com", &server, google(3).at_unix_s);
    for position in [3, 4, 5] {
        assert_eq!(send(&ingress, &google(position)).await, (202, String::new()), "{position}");
    }
    assert_eq!(ingress.stored()[0].envelope.event_type(), "google-pubsub.message");
    for position in 6..12 {
        assert_eq!(send(&ingress, &google(position)).await, refused("credentials_invalid"), "{position}");
    }
    // A token with a key that the set lacks, again and again: the set is too new to be fetched again.
    for _ in 0..3 {
        assert_eq!(send(&ingress, &google(12)).await, refused("credentials_invalid"));
    }
    assert_eq!(server.requests(), ["GET /oauth2/v3/certs HTTP/1.1"]);
    assert_eq!(ingress.stored().len(), 3);
}

const DAY_S: u64 = 24 * 3_600;

/// A cached key is used while it is fetched again, and while its provider is down.
#[tokio::test]
async fn a_second_request_never_waits_for_a_key() {
    let server = Server::start(OK, sns(0).key.as_bytes()).await;
    let mut ingress = sns_ingress(&server);
    assert_eq!(send(&ingress, &sns(0)).await.0, 202);
    ingress = ingress.at(sns(0).at_unix_s + DAY_S - 1);
    assert_eq!(send(&ingress, &sns(0)).await.0, 202);
    assert_eq!(server.requests().len(), 1, "the key is young enough");

    // The provider does not answer: the requests are admitted all the same.
    server.permits.forget_permits(Semaphore::MAX_PERMITS);
    ingress = ingress.at(sns(0).at_unix_s + DAY_S);
    for _ in 0..3 {
        assert_eq!(send(&ingress, &sns(0)).await.0, 202);
    }
    while server.requests().len() < 2 {
        tokio::task::yield_now().await;
    }
    server.set("HTTP/1.1 500 No\r\n", b"");
    server.permits.add_permits(1_000);
    ingress = ingress.at(sns(0).at_unix_s + 2 * DAY_S - 1);
    for _ in 0..3 {
        assert_eq!(send(&ingress, &sns(0)).await.0, 202);
    }
    ingress = ingress.at(sns(0).at_unix_s + 2 * DAY_S);
    assert_eq!(send(&ingress, &sns(0)).await, refused("key_unavailable"));
    server.set(OK, sns(0).key.as_bytes());
    ingress = ingress.at(sns(0).at_unix_s + 2 * DAY_S + 120);
    assert_eq!(send(&ingress, &sns(0)).await.0, 202);
}

#[tokio::test]
async fn a_new_key_of_a_set_works_within_a_minute() {
    let google = |position: usize| recorded("tokens.json", position);
    let server = Server::start(OK, google(3).key.as_bytes()).await;
    let signature = "{ scheme: google-pubsub, accept: token, audience: 'https://api.example.com/webhooks/pubsub' }";
    let at_unix_s = google(3).at_unix_s;
    let mut ingress = ingress(signature, "push@project.iam.gserviceaccount.com", &server, at_unix_s);
    assert_eq!(send(&ingress, &google(3)).await.0, 202);
    server.set(OK, google(3).key.replace("rsa-1", "rsa-2").as_bytes());
    ingress = ingress.at(at_unix_s + 59);
    assert_eq!(send(&ingress, &google(12)).await, refused("credentials_invalid"));
    ingress = ingress.at(at_unix_s + 60);
    assert_eq!(send(&ingress, &google(12)).await.0, 202);
    // The old key is gone.
    assert_eq!(send(&ingress, &google(3)).await, refused("credentials_invalid"));
    assert_eq!((server.requests().len(), ingress.stored().len()), (2, 2));
}

/// A provider that does not answer the first fetch is asked again when it repeats its request.
#[tokio::test]
async fn a_first_key_is_fetched_again_after_seconds() {
    let server = Server::start("HTTP/1.1 503 No\r\n", b"").await;
    let mut ingress = sns_ingress(&server);
    assert_eq!(send(&ingress, &sns(0)).await, refused("key_unavailable"));
    server.set(OK, sns(0).key.as_bytes());
    for (later_s, expected, requests) in [(4, refused("key_unavailable"), 1), (5, (202, String::new()), 2)] {
        ingress = ingress.at(sns(0).at_unix_s + later_s);
        assert_eq!(send(&ingress, &sns(0)).await, expected);
        assert_eq!(server.requests().len(), requests);
    }
}

/// The cache has a bound: the key that was not used for longest makes room.
#[tokio::test]
async fn only_so_many_keys_are_cached() {
    let server = Server::start(OK, sns(0).key.as_bytes()).await;
    let ingress = sns_ingress(&server);
    let of = |file: usize| {
        // The URL is not signed: SNS has the same certificate in each Region.
        sns(0).with("SigningCertURL", &format!("https://sns.us-west-2.amazonaws.com/{file}.pem"))
    };
    for file in (0..32).chain([0, 32]) {
        assert_eq!(send(&ingress, &of(file)).await.0, 202);
    }
    assert_eq!(server.requests().len(), 33);
    for (file, requests) in [(32, 33), (0, 33), (1, 34), (2, 35), (32, 35)] {
        assert_eq!(send(&ingress, &of(file)).await.0, 202);
        assert_eq!(server.requests().len(), requests, "{file}");
    }
}
