//! A project outside this workspace: it runs `cargo local` from a two-line package, and an edited handler runs within
//! seconds.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{cargo, own_workspace, own_workspace::OwnWorkspace, stack::Stack};

/// Limit for the processor time of a rebuild and restart: five seconds on two cores. The elapsed time depends on the
/// load of the machine.
const EDIT_TIME_MAX: Duration = Duration::from_secs(10);
/// Limit for the elapsed time, on a machine that runs other tests too.
const EDIT_WAIT_MAX: Duration = Duration::from_secs(180);

const TEMPLATE: &str = "
Globals: { Function: { Runtime: provided.al2023, Handler: bootstrap } }
Resources:
  Orders: { Type: AWS::SQS::Queue, Properties: { QueueName: own-orders } }
  Consumer:
    Type: AWS::Serverless::Function
    Metadata: { BuildMethod: rust-cargolambda }
    Properties:
      CodeUri: consumer
      Events:
        Orders: { Type: SQS, Properties: { Queue: !GetAtt Orders.Arn, FunctionResponseTypes: [ReportBatchItemFailures] } }
";

const CONSUMER: &str = r#"mod handlers;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    sluicegate_batch::serve(Ok::<_, std::convert::Infallible>(
        sluicegate_batch::Consumer::builder().on("order.placed", handlers::order_placed),
    ))
    .await
}
"#;

const COMMAND: &str = "fn main() -> std::process::ExitCode {
    sluicegate_cli::run()
}
";

/// Returns the source of a handler that prints `text`.
fn handler(text: &str) -> String {
    format!(
        "use std::sync::Arc;

use sluicegate_batch::{{Delivery, Outcome}};

pub(crate) async fn order_placed(_: Arc<Delivery>) -> Outcome {{
    println!(\"{text}\");
    Outcome::Done
}}
"
    )
}

/// Writes the project. Its binaries have other names than those of this workspace, because both use one target folder.
fn project() -> OwnWorkspace {
    let project = OwnWorkspace::new("own-project", &["consumer", "tools/sluicegate"]);
    project.write("template.yaml", TEMPLATE);
    project.write("consumer/src/main.rs", CONSUMER);
    project.write("consumer/src/handlers.rs", &handler("the first handler"));
    let batch = "sluicegate-batch = { workspace = true, features = [\"sqs\"] }\n";
    project.write_function("consumer", "own-consumer", batch);
    project.write("tools/sluicegate/src/main.rs", COMMAND);
    let command = format!(
        "[package]
name = \"sluicegate\"
edition.workspace = true

[[bin]]
name = \"own-sluicegate\"
path = \"src/main.rs\"

[dependencies]
{}",
        own_workspace::command_dependency()
    );
    project.write("tools/sluicegate/Cargo.toml", &command);
    project.write(
        ".cargo/config.toml",
        "[alias]
local = \"run --package sluicegate --bin own-sluicegate -- local\"
",
    );
    project
}

#[tokio::test]
async fn an_edit_of_a_handler_runs_within_five_seconds_and_an_error_of_the_compiler_is_shown() {
    let project = project();
    let stack = project.run(cargo().into(), &[]).await;
    stack.until_printed("Building own-consumer in ").await;
    let compiled = stack.lines_since("Building own-consumer in ");
    let compiled: Vec<_> = compiled.iter().filter_map(|line| line.trim_start().strip_prefix("Compiling ")).collect();
    let only_its_own = compiled.iter().all(|package| package.starts_with("own-consumer "));
    assert!(only_its_own, "compiled again after the command was built: {compiled:#?}");

    send_until_printed(&stack, "the first handler").await;
    let (began, processor_time) = (Instant::now(), stack.processor_time_of_children());
    std::fs::write(project.path().join("consumer/src/handlers.rs"), handler("the second handler")).expect("written");
    send_until_printed(&stack, "the second handler").await;
    let took = stack.processor_time_of_children() - processor_time;
    println!("the edit runs after {:?}, with {took:?} of processor time", began.elapsed());
    assert!(took < EDIT_TIME_MAX, "a rebuild takes {took:?} of processor time\n{}", stack.printed());

    let source = project.path().join("consumer/src/handlers.rs");
    std::fs::write(&source, handler("never").replace("Outcome::Done", "Outcome::Dome")).expect("written");
    let broken = until_shown(&stack, |function| function["build_error"].is_string()).await;
    assert!(broken["build_error"].as_str().is_some_and(|text| text.contains("Dome")), "{broken:#}");
    // More than one where a message came while another was handled.
    let environments = broken["environments"].as_u64().expect("a number");
    assert!(broken["state"] == "ready" && environments > 0, "{broken:#}");
    let request = stack.http.get(format!("{}/functions", stack.admin)).header("accept", "text/html");
    let page = request.send().await.expect("answered").text().await.expect("text");
    for text in ["The last build failed; the code before it runs.", "Dome", "the second handler"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let restarts = broken["restarts"].as_u64().expect("a number");
    std::fs::write(&source, handler("the third handler")).expect("written");
    let corrected = until_shown(&stack, |function| function["restarts"].as_u64() > Some(restarts)).await;
    assert_eq!(corrected["build_error"], Value::Null, "{corrected:#}");
    stack.stop().await;
}

/// Waits until the consumer, as the admin port shows it, satisfies a condition.
async fn until_shown(stack: &Stack, is_wanted: impl Fn(&Value) -> bool) -> Value {
    stack
        .until("the function is shown so", EDIT_WAIT_MAX, async || {
            let answer = stack.http.get(format!("{}/functions", stack.admin)).send().await.expect("answered");
            let function = answer.json::<Value>().await.expect("JSON")["functions"][0].take();
            is_wanted(&function).then_some(function)
        })
        .await
}

/// Sends messages until a handler has printed `text`.
async fn send_until_printed(stack: &Stack, text: &str) {
    let message = json!({ "specversion": "1.0", "id": "o-1", "source": "/orders", "type": "order.placed" });
    let queue = format!("{}/000000000000/own-orders", stack.aws);
    let body = json!({ "QueueUrl": queue, "MessageBody": message.to_string() }).to_string();
    stack
        .until(&format!("{text:?} is printed"), EDIT_WAIT_MAX, async || {
            let request = stack.http.post(&stack.aws).header("x-amz-target", "AmazonSQS.SendMessage");
            let request = request.header("content-type", "application/x-amz-json-1.0").body(body.clone());
            let answer = request.send().await.expect("SQS answers");
            assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
            stack.printed().contains(text).then_some(())
        })
        .await;
}
