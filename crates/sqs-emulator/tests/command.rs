//! The stand-alone server, used through the AWS SDK.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Stdio;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Starts the server on a free port; returns its process and its URL.
async fn start() -> (Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sqs-emulator"));
    command.args(["--port", "0", "--account", "111122223333"]).stdout(Stdio::piped()).kill_on_drop(true);
    let mut server = command.spawn().expect("the binary starts");
    let mut lines = BufReader::new(server.stdout.take().expect("its output is piped")).lines();
    let line = lines.next_line().await.expect("its output is text").expect("it prints a line");
    (server, line.strip_prefix("Serving SQS at ").expect("the line names the URL").to_owned())
}

#[tokio::test]
async fn an_sdk_sends_receives_and_deletes() {
    let (mut server, endpoint) = start().await;
    assert!(endpoint.starts_with("http://127.0.0.1:"), "{endpoint}");
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(&endpoint)
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let client = Client::from_conf(config);

    let created = client.create_queue().queue_name("orders").send().await.unwrap();
    let url = created.queue_url().unwrap();
    assert_eq!(url, format!("{endpoint}/111122223333/orders"));
    client.send_message().queue_url(url).message_body("héllo").send().await.unwrap();
    let received = client.receive_message().queue_url(url).send().await.unwrap();
    let message = &received.messages()[0];
    assert_eq!(message.body(), Some("héllo"));
    let handle = message.receipt_handle().unwrap();
    client.delete_message().queue_url(url).receipt_handle(handle).send().await.unwrap();
    let refused = client.get_queue_url().queue_name("none").send().await.unwrap_err();
    assert!(refused.into_service_error().is_queue_does_not_exist());

    server.kill().await.unwrap();
}
