//! An SQS endpoint inside a program: starts it on a free port, creates a queue and prints the queue's URL.
//!
//! `cargo run -p sqs-emulator --example in_process`, then point any AWS SDK at the printed endpoint.

use serde_json::json;
use sqs_emulator::{Clock, Sqs, SqsConfig, serve};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let sqs = Sqs::new(Clock::system(), SqsConfig::default());
    sqs.set_base_url(&endpoint);
    let server = tokio::spawn(serve(listener, sqs.clone()));

    let attributes = json!({ "VisibilityTimeout": "5" });
    let queue = sqs.call("CreateQueue", json!({ "QueueName": "orders", "Attributes": attributes })).await?;
    println!("endpoint: {endpoint}");
    println!("queue:    {}", queue["QueueUrl"].as_str().unwrap_or_default());

    server.await??;
    Ok(())
}
