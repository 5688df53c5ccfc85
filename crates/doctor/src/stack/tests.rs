//! Tests with a deployed stack on LocalStack that has planted faults, and with nested stacks.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws_config::{SdkConfig, timeout::TimeoutConfig};
use aws_sdk_cloudformation::types::{Parameter, StackStatus};
use aws_sdk_sqs::types::QueueAttributeName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::deployed;
use crate::{Inventory, Project, Report, Severity, examine, inventory::Deployed};

const LOCALSTACK_URL: &str = "SLUICEGATE_LOCALSTACK_URL";

fn localstack() -> SdkConfig {
    let url = std::env::var(LOCALSTACK_URL);
    config(&url.unwrap_or_else(|_| panic!("{LOCALSTACK_URL} is not set: ./tests/run starts LocalStack and sets it")))
}

fn config(url: &str) -> SdkConfig {
    let config = sluicegate_queue::aws::sdk_config(|name| match name {
        "AWS_REGION" => Some("us-east-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".to_owned()),
        "AWS_ENDPOINT_URL" => Some(url.to_owned()),
        _ => None,
    });
    // LocalStack starts a service at its first call, which may take long.
    config.expect("a configuration").into_builder().timeout_config(TimeoutConfig::disabled()).build()
}

fn found(report: &Report, severity: Severity) -> BTreeSet<&str> {
    report.findings.iter().filter(|finding| finding.severity == severity).map(|finding| finding.check).collect()
}

#[tokio::test]
#[ignore = "needs LocalStack"]
async fn what_was_deployed_wrong_and_what_was_changed_by_hand_is_found() {
    let config = localstack();
    let client = aws_sdk_cloudformation::Client::new(&config);
    let name = format!("doctor-{}", uuid::Uuid::now_v7().simple());
    let parameter = |key: &str, value: &str| Parameter::builder().parameter_key(key).parameter_value(value).build();
    let create = client.create_stack().stack_name(&name).template_body(include_str!("tests.yaml"));
    let create =
        create.parameters(parameter("Receives", "1")).parameters(parameter("Folder", env!("CARGO_MANIFEST_DIR")));
    create.send().await.expect("a stack");
    created(&client, &name).await;

    let inventory = deployed(&config, &name).await.expect("the stack");
    let report = examine(&inventory, &Project::default());
    assert_eq!(report.notes, Vec::<String>::new(), "{report}");
    let planted = BTreeSet::from(["max-receive-count-one"]);
    assert_eq!(found(&report, Severity::Error), planted, "{report}");
    assert!(found(&report, Severity::Warning).contains("no-partial-batch-response"), "{report}");
    assert!(!found(&report, Severity::Warning).contains("changed-since-deployed"), "{report}");

    let sqs = aws_sdk_sqs::Client::new(&config);
    let parked = inventory.resources.iter().find(|resource| resource.origin.id == "Parked").expect("the queue");
    let set = sqs.set_queue_attributes().queue_url(&parked.reference);
    set.attributes(QueueAttributeName::MessageRetentionPeriod, "86400").send().await.expect("set by hand");

    let report = examine(&deployed(&config, &name).await.expect("the stack"), &Project::default());
    let mut planted = planted;
    planted.insert("dead-letter-retention");
    assert_eq!(found(&report, Severity::Error), planted, "{report}");
    let changed = report.findings.iter().find(|finding| finding.check == "changed-since-deployed");
    let changed = changed.map(|finding| (finding.resource.as_str(), finding.what.as_str(), finding.line));
    let what = "MessageRetentionPeriod is 86400, was deployed as 1209600";
    assert_eq!(changed, Some(("Parked", what, None)), "{report}");

    sqs.delete_queue().queue_url(&parked.reference).send().await.expect("deleted by hand");
    let report = examine(&deployed(&config, &name).await.expect("the stack"), &Project::default());
    let gone = report.findings.iter().any(|finding| finding.resource == "Parked" && finding.what == "is gone");
    assert!(gone, "{report}");

    client.delete_stack().stack_name(&name).send().await.expect("deleted");
}

async fn created(client: &aws_sdk_cloudformation::Client, name: &str) {
    for _ in 0..240 {
        let answer = client.describe_stacks().stack_name(name).send().await.expect("the stack");
        match answer.stacks().first().and_then(|stack| stack.stack_status()) {
            Some(StackStatus::CreateComplete) => return,
            Some(StackStatus::CreateInProgress) => tokio::time::sleep(Duration::from_millis(250)).await,
            other => panic!("{other:?}"),
        }
    }
    panic!("{name} is not created after a minute");
}

#[tokio::test]
#[ignore = "needs LocalStack"]
async fn a_stack_that_is_not_there_is_an_error_that_says_so() {
    let error = deployed(&localstack(), "no-such-stack").await.expect_err("no stack").to_string();
    assert!(error.starts_with("cloudformation:DescribeStacks: ") && error.contains("no-such-stack"), "{error}");
}

/// A caller may read the stack, but none of its resources.
#[tokio::test]
async fn each_refused_call_is_a_note_and_the_rest_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (head, body) =
                ("HTTP/1.1 403 Forbidden\r\nconnection: close", r#"{"__type":"AccessDenied","message":"no"}"#);
            let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            // A caller that is gone needs no answer.
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let template = "Resources: {Orders: {Type: AWS::SQS::Queue}, Consumer: {Type: AWS::Lambda::Function}, \
                    Mapping: {Type: AWS::Lambda::EventSourceMapping}, Keys: {Type: AWS::SecretsManager::Secret}}";
    let stack = Deployed { name: "shop".to_owned(), template: template.to_owned(), ..Deployed::default() };
    let inventory = Inventory::of_deployed(&stack).expect("the stack");
    let mut notes = Vec::new();
    let overlay = super::overlay::read(&config(&url), &inventory, &mut notes).await;
    serving.abort();
    assert!(
        overlay.queues.is_empty()
            && overlay.functions.is_empty()
            && overlay.mappings.is_empty()
            && overlay.secrets.is_empty()
    );
    for call in [
        "Orders: sqs:GetQueueAttributes: AccessDenied: no",
        "Consumer: lambda:GetFunctionConfiguration: AccessDenied: no",
        "the account's concurrency: lambda:GetAccountSettings: AccessDenied: no",
        "Orders: lambda:ListEventSourceMappings: AccessDenied: no",
        "Consumer: lambda:ListEventSourceMappings: AccessDenied: no",
        "Keys: secretsmanager:DescribeSecret: AccessDenied: no",
    ] {
        assert!(notes.iter().any(|note| note == call), "{call} is not among {notes:#?}");
    }
}

#[test]
fn nested_stacks_are_read_with_their_parameters_and_outputs() {
    let stack = |name: &str, template: &str, physical: &[(&str, &str)]| Deployed {
        name: name.to_owned(),
        arn: format!("arn:aws-cn:cloudformation:cn-north-1:123456789012:stack/{name}/1"),
        template: template.to_owned(),
        physical: physical.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect(),
        ..Deployed::default()
    };
    let mut queues = stack(
        "shop-Queues-1",
        "{Resources: {Orders: {Type: 'AWS::SQS::Queue', Properties: {VisibilityTimeout: !Ref Seconds}}}, \
          Parameters: {Seconds: {Type: Number}}, Outputs: {Arn: {Value: !GetAtt Orders.Arn}}}",
        &[("Orders", "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/orders-of-the-shop")],
    );
    queues.parameters.insert("Seconds".to_owned(), "45".to_owned());
    queues.outputs.insert("Arn".to_owned(), "arn:aws-cn:sqs:cn-north-1:123456789012:orders-of-the-shop".to_owned());
    let mut shop = stack(
        "shop",
        "{Resources: {Queues: {Type: 'AWS::CloudFormation::Stack'}, \
          Consumer: {Type: 'AWS::Lambda::Function', Properties: {Timeout: 60}}, \
          Mapping: {Type: 'AWS::Lambda::EventSourceMapping', \
            Properties: {FunctionName: !GetAtt Consumer.Arn, EventSourceArn: !GetAtt Queues.Outputs.Arn}}}}",
        &[
            ("Consumer", "shop-consumer"),
            ("Queues", "arn:aws-cn:cloudformation:cn-north-1:123456789012:stack/shop-Queues-1/1"),
        ],
    );
    shop.nested.insert("Queues".to_owned(), queues);
    let report = examine(&Inventory::of_deployed(&shop).expect("the stack"), &Project::default());
    let finding =
        report.findings.iter().find(|finding| finding.check == "visibility-below-timeout").expect("it is found");
    assert_eq!(finding.resource, "Queues/Orders");
    assert_eq!(finding.what, "messages stay hidden for 45 s, Consumer may run for 60 s");

    shop.nested.clear();
    let report = examine(&Inventory::of_deployed(&shop).expect("the stack"), &Project::default());
    assert_eq!(report.notes, ["Queues: the stack could not be read"]);
}

#[test]
fn a_deployed_nested_queue_is_checked_with_the_role_and_the_alias_of_its_parent() {
    let text = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let arn = "arn:aws:lambda:eu-west-1:123456789012:function:shop-consumer";
    let url = |name: &str| format!("https://sqs.eu-west-1.amazonaws.com/123456789012/shop-orders{name}.fifo");
    let found = |template: &str| {
        let queue = Deployed {
            name: "shop-OrdersQueue-1".to_owned(),
            arn: "arn:aws:cloudformation:eu-west-1:123456789012:stack/shop-OrdersQueue-1/1".to_owned(),
            template: template.to_owned(),
            parameters: text(&[
                ("Name", "orders"),
                ("Stack", "shop"),
                ("Roles", "shop-ingress,shop-consumer-role"),
                ("Consumer", &format!("{arn}:live")),
                ("AlarmTopicArn", ""),
            ]),
            physical: text(&[
                ("Queue", url("").as_str()),
                ("DeadLetterQueue", url("-dlq").as_str()),
                ("Mapping", "uuid"),
            ]),
            ..Deployed::default()
        };
        let stack = Deployed {
            name: "shop".to_owned(),
            arn: "arn:aws:cloudformation:eu-west-1:123456789012:stack/shop/1".to_owned(),
            template:
                "{Resources: {OrdersQueue: {Type: 'AWS::CloudFormation::Stack'}, Role: {Type: 'AWS::IAM::Role'}, \
                       Consumer: {Type: 'AWS::Lambda::Function', Properties: {Timeout: 10, Role: !GetAtt Role.Arn}}}}"
                    .to_owned(),
            physical: text(&[("Consumer", "shop-consumer"), ("Role", "shop-consumer-role"), ("OrdersQueue", "1")]),
            nested: BTreeMap::from([("OrdersQueue".to_owned(), queue)]),
            ..Deployed::default()
        };
        let report = examine(&Inventory::of_deployed(&stack).expect("the stack"), &Project::default());
        let of_mapping = report.findings.iter().filter(|finding| finding.resource == "OrdersQueue/Mapping");
        of_mapping.map(|finding| finding.check).collect::<Vec<_>>()
    };
    let template = include_str!("../../../../tests/nested/infra/queue.yaml");
    assert_eq!(found(template), Vec::<&str>::new());
    assert_eq!(found(&template.replace("sqs:ChangeMessageVisibility, ", "")), ["retry-permission"]);
    assert_eq!(found(&template.replace("[ReportBatchItemFailures]", "[]")), ["no-partial-batch-response"]);
}
