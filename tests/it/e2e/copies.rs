//! A route with copies on `cargo local` with SQS: every queue has the message, or the answer says which.

use serde_json::{Value, json};

use crate::support::{own_workspace::OwnWorkspace, service::Service};

const CONTRACT: &str = "
openapi: 3.1.0
info: { title: Copies, version: '1' }
paths:
  /orders:
    post:
      operationId: placeOrder
      security: []
      requestBody: { content: { application/json: {} } }
      x-sluicegate:
        queue: orders
        copyTo: [audit, search]
        type: order.placed
        idempotency: { key: '{header.idempotency-key}', required: true }
";

const TEMPLATE: &str = "
Globals: { Function: { Runtime: provided.al2023, Handler: bootstrap } }
Resources:
  Orders: { Type: AWS::SQS::Queue, Properties: { QueueName: own-orders } }
  Audit: { Type: AWS::SQS::Queue, Properties: { QueueName: own-audit } }
  Search: { Type: AWS::SQS::Queue, Properties: { QueueName: own-search } }
  Keys: { Type: AWS::SecretsManager::Secret, Properties: { Name: own-keys } }
  Api: { Type: AWS::Serverless::HttpApi }
  Ingress:
    Type: AWS::Serverless::Function
    Metadata: { BuildMethod: rust-cargolambda }
    Properties:
      CodeUri: functions/ingress
      Environment:
        Variables: { QUEUE_ORDERS: !Ref Orders, QUEUE_AUDIT: !Ref Audit, QUEUE_SEARCH: !Ref Search, SECRET_ARN: !Ref Keys }
      Events:
        Take: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: POST, Path: /orders } }
";

#[tokio::test]
async fn a_message_is_on_every_queue_or_the_answer_says_on_which() {
    let project = OwnWorkspace::with_ingress("copies", CONTRACT, TEMPLATE);
    let stack = project.start().await;
    let sqs = Service::at(&stack.aws);
    let place = async |key: &str| {
        let request = stack.http.post(format!("{}/orders", stack.gateway)).header("idempotency-key", key);
        let answer = request.json(&json!({ "n": 1 })).send().await.expect("the gateway answers");
        let (status, retry_after) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
        let body: Value = answer.json().await.expect("JSON");
        (status, retry_after, body)
    };
    // Returns the id of the only message of a queue, and deletes the message.
    let taken = async |queue: &str| {
        let url = sqs.find(queue).await;
        let message = sqs.receive_one(&url).await;
        sqs.delete(&url, &message).await;
        let event: Value = serde_json::from_str(message.body().expect("a body")).expect("JSON");
        event["id"].clone()
    };

    let (status, _, accepted) = place("k-1").await;
    assert_eq!(status, 202, "{accepted}\n{}", stack.printed());
    for queue in ["own-orders", "own-audit", "own-search"] {
        assert_eq!(taken(queue).await, accepted["id"], "{queue}");
    }

    let audit = sqs.find("own-audit").await;
    sqs.sqs.delete_queue().queue_url(audit).send().await.expect("the queue is deleted");
    let (status, retry_after, problem) = place("k-2").await;
    assert_eq!((status, retry_after, &problem["code"]), (503, true, &json!("queue_unavailable")), "{problem}");
    let stored = [("orders", "yes"), ("audit", "no"), ("search", "no")];
    let stored = stored.map(|(queue, stored)| json!({ "queue": queue, "stored": stored }));
    assert_eq!(problem["destinations"], json!(stored), "{problem}");
    assert_eq!(taken("own-orders").await, problem["id"]);
    let search = sqs.find("own-search").await;
    assert!(sqs.receive(&search, 0).await.is_empty());

    // The repeat is the same message.
    let (status, _, again) = place("k-2").await;
    assert_eq!((status, &again["id"]), (503, &problem["id"]), "{again}");
    assert_eq!(taken("own-orders").await, problem["id"]);
    stack.stop().await;
}
