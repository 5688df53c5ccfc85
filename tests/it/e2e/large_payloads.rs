//! A request of 1.5 MB: through `cargo local`, whose S3 has its payload, to a handler that sees its bytes. And ten
//! payloads of 16 MiB, in the memory of the template's consumer.

use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use serde_json::{Value, json};
use sluicegate_envelope::Envelope;
use tokio::process::Command;

use super::WAY_TIME_MAX;
use crate::support::own_workspace::{OwnWorkspace, command_dependency};
use crate::support::{command::BINARY, service::Service, stack::Stack};

/// The bytes of the request, which is over the 1 MiB of SQS.
const REQUEST_BYTES: usize = 1_500_000;

/// The memory of the template's consumer.
const MEMORY_MB: usize = 256;

/// The bytes of the largest object that a consumer reads.
const OBJECT_BYTES: usize = 16 * 1_024 * 1_024;

const TEMPLATE: &str = "
Globals: { Function: { Runtime: provided.al2023, Handler: bootstrap, Timeout: 30, MemorySize: 256 } }
Resources:
  Api: { Type: AWS::Serverless::HttpApi }
  Orders: { Type: AWS::SQS::Queue, Properties: { QueueName: large-orders, VisibilityTimeout: 60 } }
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
info: { title: Large orders, version: '1' }
paths:
  /orders:
    post:
      operationId: placeOrder
      security: []
      requestBody: { content: { application/octet-stream: {} } }
      x-sluicegate: { queue: orders, type: order.placed, payloadBytes: 4000000, largePayloads: s3 }
";

const CONSUMER: &str = r#"use std::sync::Arc;

use sluicegate_batch::{Consumer, Delivery, Outcome};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    let handler = async |delivery: Arc<Delivery>| {
        let payload = delivery.envelope().payload().into_owned();
        // A handler that waits for another service, with a copy of the payload in memory.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        println!("{} bytes, sum {}", payload.len(), payload.iter().map(|byte| u64::from(*byte)).sum::<u64>());
        Outcome::Done
    };
    sluicegate_batch::serve(Ok::<_, std::convert::Infallible>(Consumer::builder().on("order.placed", handler))).await
}
"#;

/// Writes the project, without what `sync` writes. Its binaries have other names than those of this workspace, because
/// both use one target folder.
fn project() -> OwnWorkspace {
    let project = OwnWorkspace::new("large-payloads", &["functions/consumer", "functions/ingress"]);
    project.write("template.yaml", TEMPLATE);
    project.write("functions/consumer/src/main.rs", CONSUMER);
    let batch = command_dependency() + "sluicegate-batch = { workspace = true, features = [\"sqs\"] }\n";
    project.write_function("functions/consumer", "large-consumer", &batch);
    project.write("functions/ingress/openapi.yaml", CONTRACT);
    let build = "fn main() -> std::process::ExitCode {\n    sluicegate_contract::build(\"openapi.yaml\")\n}\n";
    project.write("functions/ingress/build.rs", build);
    let main = "#[tokio::main(flavor = \"current_thread\")]\nasync fn main() -> std::process::ExitCode {\n    \
                sluicegate_ingress::serve(sluicegate_ingress::embedded_contract!()).await\n}\n";
    project.write("functions/ingress/src/main.rs", main);
    let ingress = command_dependency()
        + "sluicegate-ingress = { workspace = true, features = [\"sqs\"] }\n\n[build-dependencies]\n\
           sluicegate-contract = { workspace = true, features = [\"parse\"] }\n";
    project.write_function("functions/ingress", "large-ingress", &ingress);
    project
}

#[tokio::test]
async fn a_request_of_1_5_mb_reaches_its_handler_through_s3() {
    let project = project();
    let sync = async |arguments: &[&str]| {
        let mut command = Command::new(BINARY.as_path());
        let output = command.arg("sync").args(arguments).current_dir(project.path()).output().await.expect("it runs");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), format!("{out}{err}"))
    };
    let (is_synced, printed) = sync(&[]).await;
    assert!(is_synced && printed.contains("+ PayloadBucket"), "{printed}");
    for feature in
        ["s3 of sluicegate-ingress in functions/ingress", "s3 of sluicegate-batch in functions/ingress/../consumer"]
    {
        assert!(printed.contains(&format!("+ the feature {feature}/Cargo.toml")), "{feature}: {printed}");
    }
    assert!(sync(&["--check"]).await.0, "a second run changes nothing");

    let stack = project.start().await;
    let body: Vec<u8> = (0..REQUEST_BYTES).map(|at| u8::try_from(at % 251).expect("a byte")).collect();
    let expected = format!("{REQUEST_BYTES} bytes, sum {}", body.iter().map(|byte| u64::from(*byte)).sum::<u64>());
    let request =
        stack.http.post(format!("{}/orders", stack.gateway)).header("content-type", "application/octet-stream");
    let answer = request.body(body).send().await.expect("the gateway answers");
    let (status, answer) = (answer.status(), answer.json::<Value>().await.expect("JSON"));
    assert_eq!(status, 202, "{answer}\n{}", stack.printed());
    stack.until_state(answer["id"].as_str().expect("an id"), "done", WAY_TIME_MAX).await;
    stack.until_printed(&expected).await;
    ten_of_16_mib_fit_into_the_memory_of_the_consumer(&stack).await;
    stack.stop().await;
}

async fn ten_of_16_mib_fit_into_the_memory_of_the_consumer(stack: &Stack) {
    let bucket = format!("{}/payloadbucket", stack.aws);
    let credential = "Credential=test/20261129/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
    let sqs = Service::at(&stack.aws);
    let mut batch = sqs.sqs.send_message_batch().queue_url(sqs.find("large-orders").await);
    for n in 0..10 {
        let event = |text: &str| {
            let envelope = Envelope::builder(format!("large-{n}"), "/by/hand", "order.placed");
            envelope.payload(Some("application/json"), format!("\"{text}\"")).build().expect("an event").encode()
        };
        let event = event(&"a".repeat(OBJECT_BYTES - event("").len()));
        assert_eq!(event.len(), OBJECT_BYTES);
        let put = stack
            .http
            .put(format!("{bucket}/large-{n}"))
            .header("authorization", format!("AWS4-HMAC-SHA256 {credential}"));
        let answer = put.body(event).send().await.expect("S3 answers");
        assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
        let place = json!({ "s3BucketName": "payloadbucket", "s3Key": format!("large-{n}") });
        let pointer = json!(["software.amazon.payloadoffloading.PayloadS3Pointer", place]).to_string();
        let marker = MessageAttributeValue::builder().data_type("Number").string_value(OBJECT_BYTES.to_string());
        let marker = marker.build().expect("an attribute");
        let entry = SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(pointer);
        batch = batch.entries(entry.message_attributes("ExtendedPayloadSize", marker).build().expect("an entry"));
    }
    assert!(batch.send().await.expect("SQS answers").failed.is_empty());
    for n in 0..10 {
        stack.until_state(&format!("large-{n}"), "done", WAY_TIME_MAX).await;
    }
    let functions = stack.functions().into_iter();
    let consumers = functions.filter(|process| process.name.contains("consumer"));
    let peak_mb = consumers.map(|consumer| consumer.memory_peak_mb()).max().expect("a consumer runs");
    println!("the consumer had at most {peak_mb} MB in memory");
    assert!(peak_mb < MEMORY_MB, "{peak_mb} MB");
}
