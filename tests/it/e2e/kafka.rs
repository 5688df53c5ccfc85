//! The whole path on Kafka: `cargo local` with a running broker or a private one.

use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::console_actions::{UNWANTED, UNWANTED_TEXT, act, get};
use super::{WAY_TIME_MAX, placed, placed_with_mates};
use crate::support::forward::ForwardServer;
use crate::support::kafka::{self, Broker};
use crate::support::root;
use crate::support::stack::{Stack, steps};

/// The time limit of the failures of a poison record, with the pauses between them.
const GIVE_UP_TIME_MAX: Duration = Duration::from_secs(40);

/// A project with ingress and a function that reads its topic. The function fails for a record with the key `poison`.
const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Globals: { Function: { Runtime: provided.al2023, Handler: bootstrap, Timeout: 10 } }
Resources:
  Secrets: { Type: AWS::SecretsManager::Secret }
  Ingress:
    Type: AWS::Serverless::Function
    Metadata: { BuildMethod: rust-cargolambda, BuildProperties: { Binary: ingress-kafka } }
    Properties:
      CodeUri: FUNCTIONS/kafka
      Environment:
        Variables:
          QUEUE_ORDERS: kafka:orders
          QUEUE_WEBHOOKS: kafka:webhooks
          SECRET_ARN: !Ref Secrets
          KAFKA_BOOTSTRAP_SERVERS: b-1.example.com:9096
          KAFKA_SECRET_ARN: arn:aws:secretsmanager:us-east-1:000000000000:secret:AmazonMSK_user
      Events: { Any: { Type: HttpApi } }
  Reader:
    Type: AWS::Serverless::Function
    Metadata: { BuildMethod: rust-cargolambda }
    Properties:
      CodeUri: reader
      Environment: { Variables: { FAIL_ON: '"key":"cG9pc29u"' } }
      Events:
        Orders:
          Type: MSK
          Properties:
            Stream: arn:aws:kafka:us-east-1:000000000000:cluster/orders/1
            Topics: [orders]
            StartingPosition: TRIM_HORIZON
            ConsumerGroupId: reader
            MaximumBatchingWindowInSeconds: 0
            MaximumRetryAttempts: 1
            BisectBatchOnFunctionError: true
            ProvisionedPollerConfig: { MinimumPollers: 1 }
            DestinationConfig: { OnFailure: { Destination: 'kafka://orders.failed' } }
"#;

/// A folder with the template and the function that reads.
struct Files {
    _folder: TempDir,
    template: PathBuf,
}

impl Files {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let sources = folder.path().join("reader/src");
        std::fs::create_dir_all(&sources).expect("a folder");
        let function = root().join("crates/lambda-emulator/examples/bootstrap.rs");
        std::fs::copy(function, sources.join("main.rs")).expect("copied");
        let manifest = "[package]\nname = \"kafka-reader\"\nedition = \"2024\"\n[workspace]\n";
        std::fs::write(folder.path().join("reader/Cargo.toml"), manifest).expect("a file");
        Self::with(folder, TEMPLATE)
    }

    /// The project's template, which dead-letters after two receives.
    fn of_the_project() -> Self {
        let folder = TempDir::new().expect("a folder");
        std::fs::create_dir(folder.path().join("infra")).expect("a folder");
        for nested in ["broker.yaml", "kafka.yaml", "monitoring.yaml", "queue.yaml"] {
            let nested = format!("infra/{nested}");
            std::fs::copy(root().join(&nested), folder.path().join(&nested)).expect("copied");
        }
        let template = std::fs::read_to_string(root().join("template.yaml")).expect("the template");
        let line = "          KAFKA_PARTIAL_BATCH_RESPONSE: !If [UsesKafka, 'true', !Ref AWS::NoValue]\n";
        assert!(template.contains(line), "the consumer names the records that failed");
        let receives = format!("{line}          KAFKA_MAX_RECEIVE_COUNT: '2'\n");
        Self::with(folder, &template.replace(line, &receives).replace("Folder: functions", "Folder: FUNCTIONS"))
    }

    fn with(folder: TempDir, template: &str) -> Self {
        let text = template.replace("FUNCTIONS", &root().join("functions").display().to_string());
        let template = folder.path().join("template.yaml");
        std::fs::write(&template, text).expect("a file");
        Self { _folder: folder, template }
    }

    fn template(&self) -> &str {
        self.template.to_str().expect("UTF-8")
    }
}

async fn start(files: &Files, broker: &Broker) -> Stack {
    Stack::start(&["--kafka-url", &broker.servers(), "--template", files.template()], &[]).await
}

/// Returns the newest message in `state` whose id starts so, as the list shows it.
async fn until_listed(stack: &Stack, state: &str, start: &str, time_max: Duration) -> Value {
    let url = format!("{}/messages?state={state}", stack.admin);
    let request = || stack.http.get(&url).header("accept", "application/json").send();
    stack
        .until(&format!("a message {start} is {state}"), time_max, async || {
            let answer: Value = request().await.ok()?.json().await.ok()?;
            let mut messages = answer["messages"].as_array()?.iter();
            messages.find(|message| message["id"].as_str().is_some_and(|id| id.starts_with(start))).cloned()
        })
        .await
}

/// Waits until `/queues` has this many records of a topic that are not committed.
async fn until_visible(stack: &Stack, topic: &str, count: u64) {
    let fact = format!("{topic} has {count} records");
    stack
        .until(&fact, WAY_TIME_MAX, async || {
            let answer = stack.http.get(format!("{}/queues", stack.admin)).send().await.ok()?;
            let queues: Value = answer.json().await.ok()?;
            let mut queues = queues["queues"].as_array()?.iter();
            queues.find(|queue| queue["name"] == topic && queue["visible"] == count).map(drop)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn an_order_is_done_and_a_poison_record_goes_to_the_topic_of_failures() {
    let (files, broker) = (Files::new(), Broker::start(&["orders:2"]).await);
    let stack = start(&files, &broker).await;
    let order = placed(&stack, "o-1", "c-1").await;
    let timeline = stack.until_state(&order, "done", WAY_TIME_MAX).await;
    assert_eq!(steps(&timeline), ["accepted", "delivered", "done"], "{timeline:#}");
    assert_eq!(
        (&timeline["steps"][0]["queue"], &timeline["steps"][1]["function"]),
        (&json!("orders"), &json!("Reader"))
    );

    // Records of another client: neither is a CloudEvent.
    kafka::program("send.py", &[&broker.servers(), "orders", "poison", "fine"]).await;
    let poison = until_listed(&stack, "dead-lettered", "orders:", GIVE_UP_TIME_MAX).await;
    let timeline = stack.timeline(poison["id"].as_str().expect("an id")).await.expect("it is known");
    let last = &timeline["steps"].as_array().expect("steps").last().expect("a step").clone();
    assert_eq!((&last["queue"], &last["reason"]), (&json!("orders.failed"), &json!("failed 2 times")), "{timeline:#}");
    until_listed(&stack, "done", "orders:", WAY_TIME_MAX).await;
    until_visible(&stack, "orders", 0).await;
    until_visible(&stack, "orders.failed", 1).await;
    let failed = broker.records("orders.failed").await;
    let record: Value = serde_json::from_slice(&failed[0].value).expect("the record of a failure");
    assert_eq!(record["requestContext"]["condition"], "RetryAttemptsExhausted");
    assert_eq!((failed.len(), failed[0].key.as_deref()), (1, Some("poison")));
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn the_projects_template_handles_orders_and_stores_a_poison_order_in_the_dead_letter_topic() {
    let (files, broker) = (Files::of_the_project(), Broker::start(&["orders:2", "orders.dlq:1"]).await);
    let forward = ForwardServer::refusing("poison", StatusCode::INTERNAL_SERVER_ERROR).await;
    let arguments = ["--kafka-url", &broker.servers(), "--template", files.template()];
    let stack = Stack::start(&arguments, &[("FORWARD_URL", &forward.url)]).await;
    let (poison, mates) = placed_with_mates(&stack).await;
    for mate in &mates {
        let timeline = stack.until_state(mate, "done", WAY_TIME_MAX).await;
        assert_eq!(timeline["steps"][0]["queue"], "orders");
    }
    let timeline = stack.until_state(&poison, "dead-lettered", GIVE_UP_TIME_MAX).await;
    let last = timeline["steps"].as_array().expect("steps").last().expect("a step");
    assert_eq!((&last["queue"], &last["code"]), (&json!("orders.dlq"), &json!("receives_exhausted")), "{timeline:#}");
    assert_eq!(forward.received(|event| event.says("poison")).len(), 2, "a receive is a call of the handler");
    assert_eq!(forward.received(|_| true).len(), 2 + mates.len(), "each other order is handled once");
    until_visible(&stack, "orders", 0).await;
    let dead = broker.records("orders.dlq").await;
    assert_eq!((dead.len(), dead[0].event_id()), (1, poison));
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn the_console_shows_corrects_and_redrives_the_dead_letters_of_a_topic() {
    let (files, broker) = (Files::of_the_project(), Broker::start(&["orders:2", "orders.dlq:1"]).await);
    let forward = ForwardServer::refusing(UNWANTED_TEXT, StatusCode::UNPROCESSABLE_ENTITY).await;
    let arguments = ["--kafka-url", &broker.servers(), "--template", files.template()];
    let stack = Stack::start(&arguments, &[("FORWARD_URL", &forward.url)]).await;
    let mut ids = Vec::new();
    for order_id in ["o-1", "o-2", "o-3"] {
        let (status, body) = super::place(&stack, "dev-key", order_id, &super::order(order_id, "c-1", UNWANTED)).await;
        assert_eq!(status, 202, "{body}");
        ids.push(body["id"].as_str().expect("an id").to_owned());
        stack.until_state(&ids[ids.len() - 1], "dead-lettered", WAY_TIME_MAX).await;
    }
    until_visible(&stack, "orders.dlq", 3).await;

    let letter = format!("/queues/orders.dlq/dead-letters/{}", ids[1]);
    assert!(get(&stack, &letter).await["body"].as_str().is_some_and(|body| body.contains(UNWANTED_TEXT)));
    let corrected = act(&stack, &format!("{letter}/redrive"), json!({ "set": ["/items/0/quantity=2"] })).await;
    assert_eq!(corrected, (200, json!({ "id": ids[1], "dead_letter": ids[1], "redriven": true })));
    let timeline = stack.until_state(&ids[1], "done", WAY_TIME_MAX).await;
    let expected = ["accepted", "delivered", "dead-lettered", "redriven", "delivered", "done"];
    assert_eq!(steps(&timeline), expected, "{timeline:#}");
    assert_eq!(timeline["steps"][3]["from"], "orders.dlq");
    until_visible(&stack, "orders.dlq", 2).await;

    // What is redriven as it is fails as before.
    let (status, report) = act(&stack, "/queues/orders.dlq/redrive", json!({ "filter": { "ids": [ids[0]] } })).await;
    assert_eq!((status, &report["done"], &report["failures"]), (200, &json!(1), &json!([])), "{report}");
    let timeline = stack
        .until("it is a dead letter again", WAY_TIME_MAX, async || {
            stack.timeline(&ids[0]).await.filter(|timeline| steps(timeline).len() == 6)
        })
        .await;
    assert_eq!(steps(&timeline)[3..], ["redriven", "delivered", "dead-lettered"], "{timeline:#}");
    until_visible(&stack, "orders.dlq", 2).await;
    assert_eq!(broker.records("orders.dlq").await.len(), 4, "the log keeps them");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn after_a_kill_the_group_continues_at_its_offset() {
    let (files, broker) = (Files::new(), Broker::start(&["orders:1"]).await);
    let stack = start(&files, &broker).await;
    let first = placed(&stack, "o-1", "c-1").await;
    stack.until_state(&first, "done", WAY_TIME_MAX).await;
    until_visible(&stack, "orders", 0).await;
    stack.kill().await;
    kafka::program("send.py", &[&broker.servers(), "orders", "while-down"]).await;
    let stack = start(&files, &broker).await;
    until_listed(&stack, "done", "orders:0:1", WAY_TIME_MAX).await;
    assert!(stack.timeline(&first).await.is_none(), "the first record is not delivered again");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn a_private_broker_ends_with_the_stack() {
    let files = Files::new();
    let path = std::env::var("PATH").expect("a PATH");
    let path = format!("{}:{path}", kafka::bin());
    let stack = Stack::start(&["--kafka", "--template", files.template()], &[("PATH", &path)]).await;
    let order = placed(&stack, "o-1", "c-1").await;
    stack.until_state(&order, "done", WAY_TIME_MAX).await;
    let servers = stack.kafka.clone().expect("the address is printed");
    stack.stop().await;
    // The broker ends when it notices that the stack has.
    let closed = async {
        while tokio::net::TcpStream::connect(&servers).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(WAY_TIME_MAX, closed).await.unwrap_or_else(|_| panic!("{servers} is still open"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn a_stopped_broker_is_a_503_and_its_return_ends_it() {
    let (files, mut broker) = (Files::new(), Broker::start(&["orders:1"]).await);
    let stack = start(&files, &broker).await;
    broker.stop().await;
    let (status, _) = super::place(&stack, "dev-key", "o-1", &super::order("o-1", "c-1", 1)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE.as_u16());
    broker.restart().await;
    let order = placed(&stack, "o-2", "c-1").await;
    stack.until_state(&order, "done", GIVE_UP_TIME_MAX).await;
    stack.stop().await;
}
