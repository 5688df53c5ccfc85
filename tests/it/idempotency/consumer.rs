//! A consumer whose idempotency keys are in DynamoDB, and what `sync` writes for it.

use std::future::pending;
use std::sync::{Arc, Mutex};

use lambda_http::LambdaEvent;
use serde_json::value::RawValue;
use sluicegate_batch::{AnyStore, BatchResponse, Consumer, Delivery, IdempotencyRule, Outcome};
use tokio::sync::Notify;

use super::*;
use crate::support::context;
use crate::support::project::Project;

/// Two orders of a standard queue.
const EVENT: &str = include_str!("../../events/orders-placed.json");

/// The timeout of a function that is not killed.
const TIMEOUT: Duration = Duration::from_secs(30);

/// An environment of the function: a consumer with a client of the table.
struct Environment(Consumer);

/// The ids of the events whose effects happened.
type Effects = Arc<Mutex<Vec<String>>>;

impl Environment {
    fn new(endpoint: &str, table: &str, effects: &Effects) -> Self {
        let effects = Arc::clone(effects);
        let handler = move |delivery: Arc<Delivery>| {
            let effects = Arc::clone(&effects);
            async move {
                // Others may begin meanwhile.
                tokio::task::yield_now().await;
                effects.lock().unwrap().push(delivery.envelope().id().to_owned());
                Outcome::Done
            }
        };
        Self::of(endpoint, table, Consumer::builder().on("order.placed", handler))
    }

    fn of(endpoint: &str, table: &str, consumer: sluicegate_batch::ConsumerBuilder) -> Self {
        let store = DynamoDbStore::new(&environment(endpoint), table);
        let consumer = consumer
            .idempotency_for("order.*", IdempotencyRule::default())
            .store(AnyStore::DynamoDb(Box::new(store)))
            .aws_environment(sluicegate_batch::AwsEnvironment::read(|name| variable(endpoint, name)).unwrap());
        Self(consumer.build().unwrap())
    }

    async fn receive(&self, timeout: Duration) -> BatchResponse {
        let event = RawValue::from_string(EVENT.to_owned()).unwrap();
        self.0.handle(LambdaEvent::new(event, context(timeout))).await.unwrap()
    }

    /// Receives the batch until all of it is handled.
    async fn finish(&self) {
        while self.receive(TIMEOUT).await.failures().count() > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn environments_share_the_keys(endpoint: &str) {
    let table = table(endpoint).await;
    let effects = Effects::default();
    let environments: Vec<_> = (0..8).map(|_| Environment::new(endpoint, &table, &effects)).collect();
    futures_util::future::join_all(environments.iter().map(|environment| environment.receive(TIMEOUT))).await;
    // A message that another environment was handling is returned; now it is a duplicate.
    for environment in &environments {
        environment.finish().await;
    }
    let mut effects = effects.lock().unwrap().clone();
    let count = effects.len();
    effects.sort();
    effects.dedup();
    assert_eq!((count, effects.len()), (2, 2), "each of the two orders once");
}

#[tokio::test]
async fn of_many_environments_with_one_message_one_handles_it() {
    environments_share_the_keys(&emulator().await).await;
}

#[tokio::test]
#[ignore = "needs ministack, which ./tests/run starts"]
async fn of_many_environments_on_ministack_one_handles_a_message() {
    environments_share_the_keys(&std::env::var("SLUICEGATE_MINISTACK_URL").expect("the URL of ministack")).await;
}

#[tokio::test]
async fn a_killed_function_blocks_its_messages_until_it_would_have_ended() {
    const KILLED_TIMEOUT: Duration = Duration::from_secs(3);

    let endpoint = emulator().await;
    let table = table(&endpoint).await;
    let started = Arc::new(Notify::new());
    let starts = Arc::clone(&started);
    let hangs = Consumer::builder().on("order.placed", move |_| {
        starts.notify_one();
        pending::<Outcome>()
    });
    let killed = Environment::of(&endpoint, &table, hangs);
    let begun = std::time::Instant::now();
    tokio::select! {
        response = killed.receive(KILLED_TIMEOUT) => panic!("it hangs: {response:?}"),
        () = started.notified() => {}
    }
    let effects = Effects::default();
    let environment = Environment::new(&endpoint, &table, &effects);
    environment.finish().await;
    assert!(begun.elapsed() >= KILLED_TIMEOUT - Duration::from_millis(50), "{:?}", begun.elapsed());
    assert_eq!(effects.lock().unwrap().len(), 2);
}

#[test]
fn sync_writes_the_table_for_a_consumer_that_is_built_with_it() {
    let project = Project::copy();
    let manifest = project.path().join("functions/consumer/Cargo.toml");
    let text = project.text("functions/consumer/Cargo.toml");
    let (_, unneeded) = project.run("cargo sluicegate sync");
    assert!(!unneeded.contains("Idempotency"), "{unneeded}");
    std::fs::write(manifest, text.replace(r#"["forward", "sqs"]"#, r#"["dynamodb", "forward", "sqs"]"#)).unwrap();
    let (code, missing) = project.run("cargo sluicegate sync --check");
    assert_eq!((code, missing.contains("+ IDEMPOTENCY_TABLE of ConsumerFunction")), (1, true), "{missing}");
    project.succeed("cargo sluicegate sync");
    assert!(project.text("template.yaml").contains("IDEMPOTENCY_TABLE: !Ref IdempotencyTable"));
    let rabbitmq = project.text("functions/rabbitmq/Cargo.toml");
    assert!(rabbitmq.contains(r#"features = ["dynamodb", "forward", "rabbitmq", "sqs"]"#), "{rabbitmq}");
    assert_eq!(project.run("cargo sluicegate sync --check").0, 0);
}
