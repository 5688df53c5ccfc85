//! A sender follows its messages on `cargo local` with either broker, from accepted to done or dead, with the embedded
//! DynamoDB.

use serde_json::{Value, json};
use tokio::process::Command;

use super::WAY_TIME_MAX;
use crate::support::own_workspace::{OwnWorkspace, command_dependency};
use crate::support::{command::BINARY, rabbitmq::Vhost, stack::Stack};

/// The parts of the template that do not depend on the broker. The names in braces stand for those that do.
const TEMPLATE: &str = "
{parameters}Globals: { Function: { Runtime: provided.al2023, Handler: bootstrap, Timeout: 30 } }
Resources:
  Api: { Type: AWS::Serverless::HttpApi }
  Secrets: { Type: AWS::SecretsManager::Secret, Properties: { SecretString: '{}' } }
{resources}  IngressFunction:
    Type: AWS::Serverless::Function
    Metadata: { BuildMethod: rust-cargolambda }
    Properties:
      CodeUri: functions/ingress
      Environment:
        Variables:
{ingress}          SECRET_ARN: !Ref Secrets
      Events:
        PlaceOrder: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: POST, Path: /orders } }
  ConsumerFunction:
    Type: AWS::Serverless::Function
    Metadata: { BuildMethod: rust-cargolambda }
    Properties:
      CodeUri: functions/consumer
      Environment:
        Variables:
{consumer}          RUST_LOG: warn
      Events:
{event}";

/// What a project has for its broker.
struct Broker {
    /// The name of the project.
    name: &'static str,
    /// The features of the functions' crates. With those of the shipped functions, dependencies are compiled already.
    batch_features: &'static str,
    ingress_features: &'static str,
    /// The parts of the template, by their names.
    template: [(&'static str, &'static str); 5],
}

/// Two messages are handled at a time, so a third one waits.
const SQS: Broker = Broker {
    name: "status",
    batch_features: r#""sqs""#,
    ingress_features: r#""sqs""#,
    template: [
        ("{parameters}", ""),
        (
            "{resources}",
            "  Parked: { Type: AWS::SQS::Queue, Properties: { QueueName: status-parked } }
  Orders:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: status-orders
      VisibilityTimeout: 60
      RedrivePolicy: { deadLetterTargetArn: !GetAtt Parked.Arn, maxReceiveCount: 5 }
",
        ),
        ("{ingress}", "          QUEUE_ORDERS: !Ref Orders\n"),
        ("{consumer}", ""),
        (
            "{event}",
            "        Orders:
          Type: SQS
          Properties:
            Queue: !GetAtt Orders.Arn
            BatchSize: 1
            ScalingConfig: { MaximumConcurrency: 2 }
            FunctionResponseTypes: [ReportBatchItemFailures]
",
        ),
    ],
};

/// One message is handled at a time.
const RABBITMQ: Broker = Broker {
    name: "status-rabbitmq",
    batch_features: r#""forward", "rabbitmq", "sqs""#,
    ingress_features: r#""rabbitmq", "sqs""#,
    template: [
        (
            "{parameters}",
            "Parameters:
  Broker: { Type: String, Default: rabbitmq, AllowedValues: [rabbitmq] }
  RabbitmqUrl: { Type: String, Default: 'amqp://guest:guest@127.0.0.1:5672' }
",
        ),
        ("{resources}", "  BrokerSecret: { Type: AWS::SecretsManager::Secret, Properties: { SecretString: '{}' } }\n"),
        (
            "{ingress}",
            "          QUEUE_ORDERS: rabbitmq:orders/{type}
          RABBITMQ_URL: !Ref RabbitmqUrl
",
        ),
        (
            "{consumer}",
            "          RABBITMQ_URL: !Ref RabbitmqUrl
          RABBITMQ_RETRY_DELAYS: '2'
",
        ),
        (
            "{event}",
            "        Orders:
          Type: MQ
          Properties:
            Broker: arn:aws:mq:us-east-1:000000000000:broker:local:b-local
            DynamicPolicyName: true
            Queues: [orders]
            BatchSize: 1
            SourceAccessConfigurations:
              - { Type: BASIC_AUTH, URI: !Ref BrokerSecret }
              - { Type: VIRTUAL_HOST, URI: / }
",
        ),
    ],
};

const TOPOLOGY: &str = "
exchanges:
  orders: { type: topic }
queues:
  orders:
    bindings: [{ exchange: orders, routing-key: '#' }]
    delivery-limit: 20
    retry: [2]
";

const CONTRACT: &str = "
openapi: 3.1.1
info: { title: Orders with a status, version: '1' }
paths:
  /orders:
    post:
      operationId: placeOrder
      security: [{ basic: [] }]
      requestBody: { required: true, content: { application/json: {} } }
      x-sluicegate: { queue: orders, type: order.placed, status: true }
components:
  securitySchemes:
    basic: { type: http, scheme: basic, x-secret: api-keys }
";

const CONSUMER: &str = r#"use std::sync::Arc;
use std::time::Duration;

use sluicegate_batch::{Consumer, Delivery, Outcome};

#[derive(serde::Deserialize)]
struct Order {
    n: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    let handler = async |order: Order, delivery: Arc<Delivery>| match order.n {
        0 => Outcome::reject("nothing_ordered", "nothing is ordered"),
        1 if delivery.receive_count() == 1 => Outcome::RetryAfter(Duration::from_secs(2)),
        _ => {
            tokio::time::sleep(Duration::from_secs(2)).await;
            delivery.set_result("reserved").map(|()| Outcome::Done).into()
        }
    };
    sluicegate_batch::serve(Ok::<_, std::convert::Infallible>(Consumer::builder().on_json("order.placed", handler))).await
}
"#;

fn project(broker: &Broker) -> OwnWorkspace {
    let Broker { name, batch_features, ingress_features, template } = broker;
    let project = OwnWorkspace::new(name, &["functions/consumer", "functions/ingress"]);
    let with_part = |text: String, (name, part): &(&str, &str)| text.replace(name, part);
    project.write("template.yaml", &template.iter().fold(TEMPLATE.to_owned(), with_part));
    project.write("infra/topology.yaml", TOPOLOGY);
    project.write("functions/consumer/src/main.rs", CONSUMER);
    let batch = format!(
        "{}serde = {{ workspace = true }}\nsluicegate-batch = {{ workspace = true, features = [{batch_features}] }}\n",
        command_dependency()
    );
    project.write_function("functions/consumer", &format!("{name}-consumer"), &batch);
    project.write("functions/ingress/openapi.yaml", CONTRACT);
    let build = "fn main() -> std::process::ExitCode {\n    sluicegate_contract::build(\"openapi.yaml\")\n}\n";
    project.write("functions/ingress/build.rs", build);
    let main = "#[tokio::main(flavor = \"current_thread\")]\nasync fn main() -> std::process::ExitCode {\n    \
                sluicegate_ingress::serve(sluicegate_ingress::embedded_contract!()).await\n}\n";
    project.write("functions/ingress/src/main.rs", main);
    let ingress = format!(
        "{}sluicegate-ingress = {{ workspace = true, features = [{ingress_features}] }}\n\n[build-dependencies]\n\
         sluicegate-contract = {{ workspace = true, features = [\"parse\"] }}\n",
        command_dependency()
    );
    project.write_function("functions/ingress", &format!("{name}-ingress"), &ingress);
    project
}

/// Writes what the statuses of a project need.
async fn sync(project: &OwnWorkspace) {
    let sync = Command::new(BINARY.as_path()).arg("sync").current_dir(project.path()).output().await.expect("it runs");
    let printed = String::from_utf8_lossy(&sync.stdout).into_owned();
    for change in
        ["+ GET /messages/{id} (MessageStatus)", "+ IdempotencyTable", "+ IDEMPOTENCY_TABLE of ConsumerFunction"]
    {
        assert!(printed.contains(change), "{change}: {printed}{}", String::from_utf8_lossy(&sync.stderr));
    }
}

/// Places an order. Returns the path of its status.
async fn placed(stack: &Stack, n: u32) -> String {
    let request = stack.http.post(format!("{}/orders", stack.gateway)).basic_auth("dev", Some("dev-key"));
    let answer = request.json(&json!({ "n": n })).send().await.expect("the gateway answers");
    assert_eq!(answer.status(), 202, "{}", stack.printed());
    answer.headers()["location"].to_str().expect("text").to_owned()
}

async fn status(stack: &Stack, path: &str) -> Value {
    let request = stack.http.get(format!("{}{path}", stack.gateway)).basic_auth("dev", Some("dev-key"));
    let answer = request.send().await.expect("the gateway answers");
    assert_eq!(answer.status(), 200, "{}", stack.printed());
    answer.json().await.expect("JSON")
}

/// Follows a message until it is done or dead. Returns each status that differs from the one before.
async fn followed(stack: &Stack, path: &str) -> Vec<Value> {
    let mut seen: Vec<Value> = Vec::new();
    let ended = async || {
        let status = status(stack, path).await;
        let is_ended = ["done", "dead"].iter().any(|state| status["status"] == *state);
        if seen.last() != Some(&status) {
            seen.push(status);
        }
        is_ended.then_some(())
    };
    stack.until("the message is done or dead", WAY_TIME_MAX, ended).await;
    seen
}

fn states(seen: &[Value]) -> Vec<&str> {
    seen.iter().map(|status| status["status"].as_str().expect("a status")).collect()
}

/// Follows messages through every state.
async fn follow(stack: &Stack) {
    // Both take two seconds, and use what is handled at a time.
    let first = [placed(stack, 3).await, placed(stack, 3).await];
    let path = placed(stack, 3).await;
    let seen = followed(stack, &path).await;
    assert_eq!(states(&seen), ["accepted", "processing", "done"], "{seen:?}");
    assert_eq!((&seen[1]["receiveCount"], &seen[2]["result"]), (&json!(1), &json!("reserved")));
    for path in &first {
        assert_eq!(status(stack, path).await["status"], "done");
    }

    let path = placed(stack, 1).await;
    let seen = followed(stack, &path).await;
    assert!(states(&seen).ends_with(&["retrying", "processing", "done"]), "{seen:?}");
    let retrying = seen.iter().find(|status| status["status"] == "retrying").expect("a failure");
    assert!(retrying["receiveCount"] == 1 && retrying["nextAt"].is_string(), "{seen:?}");
    assert_eq!(seen[seen.len() - 2]["receiveCount"], 2, "{seen:?}");

    let path = placed(stack, 0).await;
    let seen = followed(stack, &path).await;
    let last = &seen[seen.len() - 1];
    let [state, code, reason] = ["status", "code", "reason"].map(|name| last[name].as_str().unwrap_or_default());
    assert_eq!([state, code, reason], ["dead", "nothing_ordered", "nothing is ordered"]);
    let guess = stack.http.get(format!("{}{path}", stack.gateway)).send().await.expect("the gateway answers");
    assert_eq!(guess.status(), 401);
}

#[tokio::test]
async fn a_sender_follows_its_message_until_it_is_done_or_dead() {
    let project = project(&SQS);
    sync(&project).await;
    let stack = project.start().await;
    follow(&stack).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_sender_follows_its_message_over_rabbitmq_too() {
    let (vhost, project) = (Vhost::create().await, project(&RABBITMQ));
    sync(&project).await;
    let stack = project.start_with(&["--rabbitmq-url", &vhost.url()]).await;
    follow(&stack).await;
    let dead = vhost.until_drained("orders.dlq", 1).await;
    assert_eq!(dead[0].header_text("sluicegate-code"), Some("nothing_ordered"));
    stack.stop().await;
    vhost.delete().await;
}
