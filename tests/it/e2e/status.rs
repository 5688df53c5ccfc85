//! A sender follows its messages on `cargo local`, from accepted to done or dead, with the embedded DynamoDB.

use serde_json::{Value, json};
use tokio::process::Command;

use super::WAY_TIME_MAX;
use crate::support::{command::BINARY, own_workspace::OwnWorkspace, stack::Stack};

const TEMPLATE: &str = "
Globals: { Function: { Runtime: provided.al2023, Handler: bootstrap, Timeout: 30 } }
Resources:
  Api: { Type: AWS::Serverless::HttpApi }
  Parked: { Type: AWS::SQS::Queue, Properties: { QueueName: status-parked } }
  Orders:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: status-orders
      VisibilityTimeout: 60
      RedrivePolicy: { deadLetterTargetArn: !GetAtt Parked.Arn, maxReceiveCount: 5 }
  Secrets: { Type: AWS::SecretsManager::Secret, Properties: { SecretString: '{}' } }
  IngressFunction:
    Type: AWS::Serverless::Function
    Metadata: { BuildMethod: rust-cargolambda }
    Properties:
      CodeUri: functions/ingress
      Environment:
        Variables:
          QUEUE_ORDERS: !Ref Orders
          SECRET_ARN: !Ref Secrets
      Events:
        PlaceOrder: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: POST, Path: /orders } }
  ConsumerFunction:
    Type: AWS::Serverless::Function
    Metadata: { BuildMethod: rust-cargolambda }
    Properties:
      CodeUri: functions/consumer
      Environment:
        Variables:
          RUST_LOG: warn
      Events:
        Orders: { Type: SQS, Properties: { Queue: !GetAtt Orders.Arn, FunctionResponseTypes: [ReportBatchItemFailures] } }
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

use sluicegate_batch::{Consumer, Delivery, Outcome};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    let handler = async |delivery: Arc<Delivery>| {
        if delivery.envelope().payload().starts_with(b"{\"n\":0") {
            return Outcome::reject("nothing_ordered", "nothing is ordered");
        }
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        delivery.set_result("reserved").map(|()| Outcome::Done).into()
    };
    sluicegate_batch::serve(Ok::<_, std::convert::Infallible>(Consumer::builder().on("order.placed", handler))).await
}
"#;

fn project() -> OwnWorkspace {
    let project = OwnWorkspace::new("status", &["functions/consumer", "functions/ingress"]);
    project.write("template.yaml", TEMPLATE);
    project.write("functions/consumer/src/main.rs", CONSUMER);
    let batch = "sluicegate-batch = { workspace = true, features = [\"sqs\"] }\n";
    project.write_function("functions/consumer", "status-consumer", batch);
    project.write("functions/ingress/openapi.yaml", CONTRACT);
    let build = "fn main() -> std::process::ExitCode {\n    sluicegate_contract::build(\"openapi.yaml\")\n}\n";
    project.write("functions/ingress/build.rs", build);
    let main = "#[tokio::main(flavor = \"current_thread\")]\nasync fn main() -> std::process::ExitCode {\n    \
                sluicegate_ingress::serve(sluicegate_ingress::embedded_contract!()).await\n}\n";
    project.write("functions/ingress/src/main.rs", main);
    let ingress = "sluicegate-ingress = { workspace = true, features = [\"sqs\"] }\n\n[build-dependencies]\n\
                   sluicegate-contract = { workspace = true, features = [\"parse\"] }\n";
    project.write_function("functions/ingress", "status-ingress", ingress);
    project
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

#[tokio::test]
async fn a_sender_follows_its_message_until_it_is_done_or_dead() {
    let project = project();
    let sync = Command::new(BINARY.as_path()).arg("sync").current_dir(project.path()).output().await.expect("it runs");
    let printed = String::from_utf8_lossy(&sync.stdout).into_owned();
    for change in
        ["+ GET /messages/{id} (MessageStatus)", "+ IdempotencyTable", "+ IDEMPOTENCY_TABLE of ConsumerFunction"]
    {
        assert!(printed.contains(change), "{change}: {printed}{}", String::from_utf8_lossy(&sync.stderr));
    }
    let stack = project.start().await;
    let path = placed(&stack, 3).await;
    let mut seen: Vec<String> = Vec::new();
    let done = async || {
        let status = status(&stack, &path).await;
        let state = status["status"].as_str().expect("a status").to_owned();
        if seen.last() != Some(&state) {
            seen.push(state);
        }
        (status["status"] == "done").then_some(status)
    };
    let last = stack.until("the message is done", WAY_TIME_MAX, done).await;
    assert_eq!(last["result"], "reserved");
    assert!(seen.ends_with(&["processing".to_owned(), "done".to_owned()]), "{seen:?}");

    let path = placed(&stack, 0).await;
    let dead = async || Some(status(&stack, &path).await).filter(|status| status["status"] == "dead");
    let last = stack.until("the message is dead", WAY_TIME_MAX, dead).await;
    assert_eq!((&last["code"], &last["reason"]), (&json!("nothing_ordered"), &json!("nothing is ordered")));
    let guess = stack.http.get(format!("{}{path}", stack.gateway)).send().await.expect("the gateway answers");
    assert_eq!(guess.status(), 401);
    stack.stop().await;
}
