//! `sluicegate secrets` against the local stack, whose functions use the values, and against LocalStack.

use std::process::Stdio;
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use crate::dlq::binary::{self, Ran, sluicegate};
use crate::support::processes;
use crate::support::service::LOCALSTACK_URL;
use crate::support::stack::Stack;

/// The name of the template's secret in the local stack.
const LOCAL_SECRET: &str = "sluicegate/Secrets";
/// The time limit until a killed function has restarted.
const RESTART_TIME_MAX: Duration = Duration::from_secs(20);
const WRITERS: usize = 8;

/// A secret at an endpoint.
struct Secret {
    endpoint: String,
    id: String,
}

impl Secret {
    async fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with("", arguments).await
    }

    /// Runs `sluicegate secrets` with this standard input.
    async fn run_with(&self, stdin: &str, arguments: &[&str]) -> Ran {
        let place = ["--endpoint-url", &self.endpoint, "--secret-id", &self.id];
        let mut command = sluicegate("secrets", &[arguments, &place].concat());
        let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
        child.stdin.take().expect("a pipe").write_all(stdin.as_bytes()).await.expect("it reads");
        let output = child.wait_with_output().await.expect("it ends");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Stores any text.
    async fn store(&self, text: &str) {
        self.call("PutSecretValue", &json!({ "SecretId": self.id, "SecretString": text })).await;
    }

    async fn document(&self) -> Value {
        let answer = self.call("GetSecretValue", &json!({ "SecretId": self.id })).await;
        serde_json::from_str(answer["SecretString"].as_str().expect("a text")).expect("JSON")
    }

    async fn call(&self, action: &str, input: &Value) -> Value {
        let mut input = input.clone();
        if action != "GetSecretValue" {
            input["ClientRequestToken"] = format!("{:032x}", fastrand::u128(..)).into();
        }
        let authorization = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/secretsmanager/aws4_request, \
                             SignedHeaders=host, Signature=0";
        let request = Client::new().post(&self.endpoint).body(input.to_string());
        let request = request.header("content-type", "application/x-amz-json-1.1");
        let request = request.header("x-amz-target", format!("secretsmanager.{action}"));
        let answer = request.header("authorization", authorization).send().await.expect("the endpoint answers");
        let (status, text) = (answer.status(), answer.text().await.expect("a text"));
        assert_eq!(status, 200, "{action}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }
}

/// Places an order. Returns status and code, or nothing while the function starts.
async fn place(stack: &Stack, key: &str) -> Option<(u16, Value)> {
    let order = json!({ "order_id": "o-1", "customer_id": "c-1", "items": [{ "sku": "tea", "quantity": 2 }] });
    let request = stack.http.post(format!("{}/orders", stack.gateway)).json(&order);
    let answer = request.header("x-api-key", key).header("idempotency-key", "o-1").send().await.expect("an answer");
    let (status, body): (_, Value) = (answer.status().as_u16(), answer.json().await.unwrap_or_default());
    (status == 202 || body["code"].is_string()).then(|| (status, body["code"].clone()))
}

/// Kills the ingress and waits for the answer of a new environment, which has no secrets in its cache.
async fn place_anew(stack: &Stack, key: &str) -> (u16, Value) {
    for process in stack.functions().iter().filter(|process| process.name.starts_with("ingress")) {
        processes::signal(process.id, "KILL");
    }
    stack.until("the ingress answers", RESTART_TIME_MAX, async || place(stack, key).await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_an_empty_secret_has_the_command_that_fills_it() {
    let stack = Stack::start(&[], &[]).await;
    let secret = Secret { endpoint: stack.aws.clone(), id: LOCAL_SECRET.to_owned() };
    secret.store("{}").await;
    assert_eq!(place_anew(&stack, "dev-key").await, (503, json!("secrets_missing")), "{}", stack.printed());
    let line = "sluicegate secrets put api-keys --principal NAME --scopes SCOPE --secret-id arn:aws:secretsmanager";
    stack.until_printed(line).await;

    let put = ["put", "api-keys", "--principal", "acme", "--scopes", "orders.write"];
    let ran = secret.run(&put).await.expect(0, &["live within 30 seconds", "not shown again", "1 in the list"]);
    let key = ran.out.trim_end();
    assert_eq!(key.len(), 43, "{ran:?}");
    assert!(!ran.err.contains(key), "the key is printed once: {ran:?}");
    assert_eq!(place_anew(&stack, key).await.0, 202, "{}", stack.printed());
    assert!(!stack.printed().contains(key), "{}", stack.printed());
    let document = secret.document().await;
    assert!(!document.to_string().contains(key), "{document}");

    // A rotation: both keys are live until the old one is removed.
    let second = secret.run(&put).await.expect(0, &["2 in the list"]).out;
    assert_eq!(place_anew(&stack, key).await.0, 202);
    assert_eq!(place(&stack, second.trim_end()).await, Some((202, Value::Null)));
    let listed = secret.run(&["list", "--json"]).await.expect(0, &[]);
    let listed: Value = serde_json::from_str(&listed.out).expect("JSON");
    let old = listed[0]["values"][0]["fingerprint"].as_str().expect("a fingerprint").to_owned();
    secret.run(&["remove", "api-keys", "--fingerprint", &old]).await.expect(0, &["1 in the list"]);
    assert_eq!(place_anew(&stack, key).await, (401, json!("credentials_invalid")));
    assert_eq!(place(&stack, second.trim_end()).await, Some((202, Value::Null)));
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_put_listed_and_removed_on_the_local_stack() {
    let stack = Stack::start(&[], &[]).await;
    let secret = Secret { endpoint: stack.aws.clone(), id: LOCAL_SECRET.to_owned() };
    live(&secret).await;

    // Concurrent writers do not overwrite each other.
    secret.store("{}").await;
    let writers = (0..WRITERS).map(|writer| {
        let secret = &secret;
        async move { secret.run(&["put", "api-keys", "--principal", &format!("writer-{writer}")]).await }
    });
    for ran in futures_util::future::join_all(writers).await {
        ran.expect(0, &["live within 30 seconds"]);
    }
    let document = secret.document().await;
    for writer in 0..WRITERS {
        assert!(document.to_string().contains(&format!("\"writer-{writer}\"")), "{document}");
    }
    stack.stop().await;
}

/// A contract whose webhooks are Asana's.
const ASANA: &str = "\
openapi: 3.1.0
info: { title: t, version: v }
paths:
  /hook:
    post:
      operationId: hook
      security: [{ asana: [] }]
      requestBody: { content: { application/json: {} } }
      x-sluicegate: { queue: hooks }
components:
  securitySchemes:
    asana: { type: apiKey, in: header, name: x-hook-signature, x-secret: asana, x-signature: asana }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_secret_of_a_handshake_is_stored_before_it_is_answered() {
    let stack = Stack::start(&[], &[]).await;
    let secret = Secret { endpoint: stack.aws.clone(), id: LOCAL_SECRET.to_owned() };
    secret.store(r#"{"asana":["an older one"]}"#).await;
    let folder = tempfile::tempdir().expect("a folder");
    let contract = folder.path().join("openapi.yaml");
    std::fs::write(&contract, ASANA).expect("it is written");
    let contract = contract.to_str().expect("UTF-8");
    secret
        .run(&["listen", "github"])
        .await
        .expect(1, &["github sends no secret in a handshake, as asana and notion do"]);
    let in_time = ["listen", "asana", "--port", "0", "--contract", contract, "--timeout", "1"];
    secret.run(&in_time).await.expect(1, &["no handshake of asana within 1 s"]);

    let place = ["--endpoint-url", &secret.endpoint, "--secret-id", &secret.id, "--contract", contract];
    let mut child =
        sluicegate("secrets", &[&["listen", "asana", "--port", "0"][..], &place].concat()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let first = lines.next_line().await.expect("a line").expect("it listens");
    let url = first.split(' ').find(|word| word.starts_with("http://127.0.0.1:")).expect("the address").to_owned();
    assert_eq!(Client::new().post(&url).body("{}").send().await.expect("an answer").status(), 404);
    let handshake = Client::new().post(&url).header("x-hook-secret", "b537207f").send().await.expect("an answer");
    assert_eq!(
        (handshake.status().as_u16(), &handshake.headers()["x-hook-secret"]),
        (200, &"b537207f".parse().expect("a value"))
    );
    assert_eq!(secret.document().await["asana"], json!(["an older one", "b537207f"]));

    // It ends, and says what to do next without the value.
    assert!(child.wait().await.expect("it ends").success());
    let mut said = String::new();
    while let Some(line) = lines.next_line().await.expect("text") {
        said += &line;
    }
    assert!(said.contains("is live within 30 seconds; 2 in the list") && !said.contains("b537207f"), "{said}");
    stack.stop().await;
}

#[tokio::test]
#[ignore = "needs LocalStack, which ./tests/run starts"]
async fn values_are_put_listed_and_removed_on_localstack() {
    let endpoint = std::env::var(LOCALSTACK_URL).expect("./tests/run starts LocalStack and sets its URL");
    let secret = Secret { endpoint, id: format!("secrets-{:016x}", fastrand::u64(..)) };
    secret.call("CreateSecret", &json!({ "Name": secret.id, "SecretString": "{}" })).await;
    live(&secret).await;
}

/// Adds, lists, replaces and removes values, starting with an empty secret.
async fn live(secret: &Secret) {
    secret.store("{}").await;
    secret.run(&["list"]).await.expect(0, &["api-keys", "github", "slack", "standard-webhooks", "stripe", "missing"]);
    let check = async |arguments: &[&str], code: i32, says: &[&str]| secret.run(arguments).await.expect(code, says);

    // Refused before anything is written.
    check(&["put", "api-key", "--principal", "acme"], 1, &["did you mean \"api-keys\"?"]).await;
    check(&["put", "api-keys"], 1, &["pass --principal NAME"]).await;
    check(&["put", "github", "--principal", "acme"], 1, &["have no principal"]).await;
    check(&["put", "api-keys", "--principal", ""], 1, &["principal is not a string, or is empty"]).await;
    check(&["remove", "api-keys", "--fingerprint", "00000000"], 1, &["no value with the fingerprint"]).await;
    check(&["remove", "api-keys", "--fingerprint", "hush"], 2, &["hexadecimal digits"]).await;
    for (name, value, says) in [
        ("github", "hush\n\n", "white space"),
        ("github", "", "empty"),
        ("standard-webhooks", "whsec_hush", "not 24 to 64"),
        ("standard-webhooks", "whsec_hush!", "not base64"),
    ] {
        let ran = secret.run_with(value, &["put", name, "--value-file", "-"]).await.expect(1, &[says]);
        assert!(!ran.err.contains("hush"), "{ran:?}");
    }
    for (key, says) in [("hush", "not 16 to 512"), ("hush hush hush hush", "not visible ASCII")] {
        let put = ["put", "api-keys", "--principal", "acme", "--value-file", "-"];
        let ran = secret.run_with(key, &put).await.expect(1, &[says]);
        assert!(!ran.err.contains("hush"), "{ran:?}");
    }
    assert_eq!(secret.document().await, json!({}));

    // Generated values are printed once, given ones never.
    check(&["put", "api-keys", "--principal", "acme", "--scopes", "order.write"], 0, &["warning: no route"]).await;
    let ran = check(&["put", "github"], 0, &["not shown again", "1 in the list"]).await;
    assert_eq!(secret.document().await["github"], json!([ran.out.trim_end()]));
    let given = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let put = ["put", "standard-webhooks", "--value-file", "-"];
    for (text, says) in [(format!("{given}\r\n"), "is live within 30 seconds"), (given.to_owned(), "was live already")]
    {
        let ran = secret.run_with(&text, &put).await.expect(0, &[says]);
        assert!(ran.out.is_empty() && !ran.err.contains("MfKQ"), "{ran:?}");
    }
    check(&["put", "standard-webhooks", "--replace"], 0, &["1 removed, refused within 5 minutes; 1 in the list"]).await;

    let ran = check(&["list"], 0, &["acme", "order.write"]).await;
    let document = secret.document().await;
    for name in ["github", "standard-webhooks"] {
        let value = document[name][0].as_str().expect("a text");
        assert!(!ran.out.contains(value), "{ran:?}");
    }
    let sha256 = document["api-keys"][0]["sha256"].as_str().expect("a digest");
    assert!(ran.out.contains(&sha256[..12]) && !ran.out.contains(&sha256[..13]), "{ran:?}");
    check(&["remove", "api-keys", "--fingerprint", &sha256[..12]], 0, &["0 in the list"]).await;
    assert_eq!(secret.document().await["api-keys"], json!([]), "an empty list stays");

    // A secret of another form is left as it is.
    for text in [r#""hush""#, r#"{"username": "hush"}"#, r#"{"api-keys": "hush"}"#] {
        secret.store(text).await;
        for change in [&["put", "github"][..], &["remove", "github", "--fingerprint", "00000000"]] {
            let ran = secret.run(change).await.expect(1, &["nothing was changed"]);
            assert!(!ran.err.contains("hush") && ran.out.is_empty(), "{ran:?}");
        }
        let kept: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(secret.document().await, kept);
    }
    let unknown = Secret { endpoint: secret.endpoint.clone(), id: "no-such-secret".to_owned() };
    unknown.run(&["list"]).await.expect(1, &["secret no-such-secret: GetSecretValue: ResourceNotFoundException"]);
    binary::ran(sluicegate("secrets", &["list"])).await.expect(2, &["--stack", "--secret-id"]);
}
