//! `sqs-emulator --port N`: Amazon SQS on the loopback address, until Ctrl-C.

use std::net::Ipv4Addr;
use std::process::ExitCode;

use clap::Parser;
use sqs_emulator::{Clock, Sqs, SqsConfig, serve};
use tokio::net::TcpListener;

/// Amazon SQS in memory, on 127.0.0.1; Ctrl-C stops it
///
/// Any credentials are accepted and signatures are not verified. Queues and messages live until the process ends.
#[derive(Parser)]
#[command(name = "sqs-emulator", version)]
struct Arguments {
    /// The port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 4566)]
    port: u16,
    /// The Region in the ARNs of queues whose creator sends none
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// The account in the ARNs and URLs of queues whose creator sends none
    #[arg(long, default_value = "000000000000")]
    account: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Arguments { port, region, account } = Arguments::parse();
    let running = run(port, SqsConfig { region, account });
    tokio::select! {
        result = running => match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: cannot serve on 127.0.0.1:{port}: {error}");
                ExitCode::FAILURE
            }
        },
        _ = tokio::signal::ctrl_c() => ExitCode::SUCCESS,
    }
}

async fn run(port: u16, config: SqsConfig) -> std::io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let sqs = Sqs::new(Clock::system(), config);
    sqs.set_base_url(&url);
    println!("Serving SQS at {url}");
    serve(listener, sqs).await
}
