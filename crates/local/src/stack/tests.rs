//! The stack on templates of other projects, with a function that is built and run: lambda-emulator's `bootstrap`
//! example.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::concurrency::{available_bytes, concurrency_in};
use super::{Options, Stack};
use crate::{contract_facts::ContractFacts, terminal::Terminal};

/// A function as in AWS's samples: without `Binary`, with variables that refer to a topic and a table.
const TEMPLATE: &str = "
Parameters:
  Network: { Type: 'AWS::EC2::VPC::Id' }
Globals: { Function: { Runtime: provided.al2023, Handler: bootstrap } }
Resources:
  Topic: { Type: AWS::SNS::Topic }
  Table:
    Type: AWS::DynamoDB::Table
    Metadata: { Seed: [{ id: tea, quantity: 5 }] }
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
      KeySchema: [{ AttributeName: id, KeyType: HASH }]
      TimeToLiveSpecification: { AttributeName: expires_at, Enabled: true }
  Firewall: { Type: AWS::EC2::SecurityGroup, Properties: { VpcId: !Ref Network } }
  First:
    Type: AWS::Serverless::Function
    Metadata: { BuildMethod: rust-cargolambda }
    Properties:
      CodeUri: FOLDER_1
      Environment: { Variables: { TOPIC_ARN: !Ref Topic, TABLE_NAME: !Ref Table } }
      Events: { Any: { Type: HttpApi } }
  Second:
    Type: AWS::Serverless::Function
    Metadata: { BuildMethod: rust-cargolambda }
    Properties: { CodeUri: FOLDER_2 }
";

/// Creates a package of this name with the binary `binary`.
fn package(folder: &Path, name: &str, binary: &str) {
    let sources = folder.join(name).join("src/bin");
    std::fs::create_dir_all(&sources).unwrap();
    std::fs::write(
        sources.join(format!("{binary}.rs")),
        include_str!("../../../lambda-emulator/examples/bootstrap.rs"),
    )
    .unwrap();
    let manifest = format!("[package]\nname = \"{name}\"\nedition = \"2021\"\n[workspace]\n");
    std::fs::write(folder.join(name).join("Cargo.toml"), manifest).unwrap();
}

/// Starts the stack on the template with the packages `sample-local-one` and `sample-local-two`; returns its output
/// too.
async fn start(folders: [&str; 2], binaries: [&str; 2], shell: &[(&str, &str)]) -> (Result<Stack, String>, String) {
    let folder = tempfile::tempdir().unwrap();
    package(folder.path(), "sample-local-one", binaries[0]);
    package(folder.path(), "sample-local-two", binaries[1]);
    let template = folder.path().join("template.yaml");
    let text = TEMPLATE.replace("FOLDER_1", folders[0]).replace("FOLDER_2", folders[1]);
    std::fs::write(&template, text).unwrap();
    let printed = Arc::<Mutex<Vec<String>>>::default();
    let sink = Arc::clone(&printed);
    let options = Options {
        template,
        port: 0,
        admin_port: 0,
        aws_port: 0,
        endpoint_url: None,
        rabbitmq: None,
        kafka: None,
        release: false,
        freeze: false,
        archive: None,
        concurrency: None,
        binaries: None,
        watch: false,
        parameters: BTreeMap::new(),
        secrets: serde_json::Map::new(),
        published: Vec::new(),
        verify_token: None,
        contract: ContractFacts::default(),
        command: None,
        environment: shell.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        terminal: Terminal::new(Arc::new(move |line: &str| sink.lock().unwrap().push(line.to_owned())), false),
    };
    let started = Stack::start(options).await.map_err(|error| error.to_string());
    let printed = printed.lock().unwrap().join("\n");
    (started, printed)
}

/// Returns the answer to a request with `Connection: close`.
async fn answer(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Returns the status of `GET /` at the gateway.
async fn status(stack: &Stack) -> String {
    let answer = answer(&stack.addresses().gateway, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    answer.lines().next().unwrap_or_default().to_owned()
}

/// Returns the answer to a call about the table at the AWS port.
async fn dynamodb(stack: &Stack, action: &str) -> String {
    let body = r#"{"TableName":"Table"}"#;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Amz-Target: DynamoDB_20120810.{action}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    answer(&stack.addresses().aws, &(head + body)).await
}

#[tokio::test]
async fn a_template_of_another_project_runs() {
    let warning = "functions see `Topic-is-not-known-locally`: set one in your shell, TOPIC_ARN=VALUE cargo local";
    let folders = ["sample-local-one", "sample-local-two"];
    for (shell, warned) in [(&[][..], true), (&[("TOPIC_ARN", "mine")], false)] {
        let (stack, printed) = start(folders, ["sample-handler-one", "sample-handler-two"], shell).await;
        let stack = stack.unwrap_or_else(|error| panic!("{error}\n{printed}"));
        assert_eq!(printed.contains(warning), warned, "{printed}");
        assert_eq!(status(&stack).await, "HTTP/1.1 200 OK");
        let has_table = |answer: &str| answer.starts_with("HTTP/1.1 200 OK") && answer.contains(r#""Table""#);
        let described = dynamodb(&stack, "DescribeTable").await;
        assert!(has_table(&described) && described.contains("ACTIVE"), "{described}");
        let ttl = dynamodb(&stack, "DescribeTimeToLive").await;
        assert!(ttl.contains("expires_at") && ttl.contains("ENABLED"), "{ttl}");
        let items = dynamodb(&stack, "Scan").await;
        assert!(items.contains(r#""S":"tea""#) && items.contains(r#""N":"5""#), "{items}");
        stack.stop().await;
    }
}

#[tokio::test]
async fn two_packages_that_build_one_path_are_refused() {
    // Without a shared target folder each has its own path, as on most machines; then both run.
    let folders = ["sample-local-one", "sample-local-two"];
    let (stack, printed) = start(folders, ["sample-handler", "sample-handler"], &[]).await;
    match (stack, std::env::var_os("CARGO_TARGET_DIR")) {
        (Ok(stack), None) => stack.stop().await,
        (Err(error), Some(_)) => {
            assert!(error.contains("two packages build ") && error.contains("another name"), "{error}")
        }
        (Ok(_), Some(_)) => panic!("the second package's binary runs for both\n{printed}"),
        (Err(error), None) => panic!("{error}\n{printed}"),
    }
}

#[test]
fn the_default_concurrency_fits_into_half_of_the_free_memory() {
    let meminfo = "MemTotal:       24576000 kB\nMemFree:         100 kB\nMemAvailable:   16777216 kB\n";
    let gib: u64 = 1024 * 1024 * 1024;
    assert_eq!(available_bytes(meminfo), Some(16 * gib));
    for (wrong, name) in
        [("", "absent"), ("MemAvailable: x kB", "no number"), ("MemAvailable: 18446744073709551615 kB", "large")]
    {
        assert_eq!(available_bytes(wrong), None, "{name}");
    }
    for (bytes, functions, expected) in
        [(16 * gib, 2, 85), (16 * gib, 1, 170), (16 * gib, 0, 170), (gib, 2, 50), (0, 1, 50), (u64::MAX, 1, 1_000)]
    {
        assert_eq!(concurrency_in(bytes, functions), expected, "{bytes} bytes, {functions} functions");
    }
}
