//! `sluicegate local` (`cargo local`): builds and starts everything on 127.0.0.1 and stops it on Ctrl-C.

mod screen;

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write as _, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use sluicegate_contract::{ARCHIVE_PREFIX, Contract};
use sluicegate_local::{
    ArchiveFolder, BrokerChoice, ContractFacts, KafkaChoice, Options, Stack, Terminal, cargo_build::CommandPackage,
    secrets,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{console, development, fail, input, local_project::LocalProject, paths};
use screen::Screen;

/// The feature of this crate that connects to RabbitMQ, as cargo accepts it for this crate and for a dependent package.
pub(crate) const RABBITMQ_FEATURE: &str = concat!(env!("CARGO_PKG_NAME"), "/rabbitmq");
/// The feature of this crate that connects to Kafka.
pub(crate) const KAFKA_FEATURE: &str = concat!(env!("CARGO_PKG_NAME"), "/kafka");
/// The feature of this crate that embeds DynamoDB.
pub(crate) const DYNAMODB_FEATURE: &str = concat!(env!("CARGO_PKG_NAME"), "/dynamodb");
/// Longest time that blocking tasks may delay the exit.
const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(2);

/// Build and run the whole stack on 127.0.0.1; Ctrl-C stops it
///
/// Reads the SAM template, builds the functions and starts them with an HTTP API and queues. A function is rebuilt and
/// restarted when its sources change. Variables of your shell override the variables that the template sets for a
/// function: FORWARD_URL=http://127.0.0.1:9000/ cargo local. A value that is known only after a deployment, such as a
/// bucket's name, is replaced by a placeholder, with a warning.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The API's port; 0 picks a free one, as for the other ports
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Port of the console, /healthz, /messages/{id} and /queues
    #[arg(long, default_value_t = 3001)]
    admin_port: u16,
    /// Port of SQS and Secrets Manager, for the AWS CLI and SDKs
    #[arg(long, default_value_t = 4566)]
    aws_port: u16,
    /// The SAM template [default: template.yaml here or in a folder above]
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// Use LocalStack or another endpoint instead of the built-in SQS and Secrets Manager
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
    /// Write the objects of the archive to this folder too, for `sluicegate replay FOLDER` and DuckDB
    #[arg(long, value_name = "FOLDER", conflicts_with = "endpoint_url")]
    archive_dir: Option<PathBuf>,
    /// Queues on a private RabbitMQ node, started and ended with the stack (parameter Broker=rabbitmq); needs
    /// rabbitmq-server
    #[arg(long)]
    rabbitmq: bool,
    /// Queues on an existing RabbitMQ: amqp[s]://USER:PASSWORD@HOST:PORT/VHOST
    #[arg(long, value_name = "URL", conflicts_with = "rabbitmq")]
    rabbitmq_url: Option<String>,
    /// Topics on a private Kafka broker, started and ended with the stack (parameter Broker=kafka, if the template has
    /// it); needs noida-db (pip install noida-db)
    #[arg(long, conflicts_with_all = ["rabbitmq", "rabbitmq_url"])]
    kafka: bool,
    /// Topics on an existing Kafka without encryption and login; topics that are missing are created
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["kafka", "rabbitmq", "rabbitmq_url"])]
    kafka_url: Option<String>,
    /// A value for one of the template's parameters; may be repeated
    #[arg(long = "parameter", value_name = "KEY=VALUE", value_parser = input::pair)]
    parameters: Vec<(String, String)>,
    /// Build the functions with optimisation
    #[arg(long)]
    release: bool,
    /// Stop each function's process between invocations, as Lambda does
    #[arg(long)]
    freeze: bool,
    /// Largest number of environments of a function, unless the template reserves a number; further requests are
    /// answered with 503 [default: as many as fit into half of the free memory, from 50 to 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: Option<u16>,
    /// Print one JSON object per line, for programs: docs/local.md has the events
    #[arg(long)]
    json: bool,
}

/// Why the command ends without a stack.
enum Failure {
    /// The text for the user.
    Error(String),
    /// The template has this table, and the command has to be built with DynamoDB.
    #[cfg(not(feature = "dynamodb"))]
    NoDynamoDb(String),
}

impl<E: std::fmt::Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Error(error.to_string())
    }
}

pub(crate) fn run(arguments: Arguments) -> ExitCode {
    #[cfg(not(feature = "rabbitmq"))]
    if arguments.rabbitmq || arguments.rabbitmq_url.is_some() {
        return crate::rebuild::with(RABBITMQ_FEATURE, "local with RabbitMQ", "a RabbitMQ client");
    }
    #[cfg(not(feature = "kafka"))]
    if arguments.kafka || arguments.kafka_url.is_some() {
        return crate::rebuild::with(KAFKA_FEATURE, "local with Kafka", "a Kafka client");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(error),
    };
    let (terminal, screen) = output(arguments.json);
    let result = runtime.block_on(start(arguments, &terminal));
    runtime.shutdown_timeout(SHUTDOWN_TIME_MAX);
    drop(screen);
    let code = match &result {
        Ok(()) => ExitCode::SUCCESS,
        #[cfg(not(feature = "dynamodb"))]
        Err(Failure::NoDynamoDb(table)) => {
            return crate::rebuild::with(DYNAMODB_FEATURE, &format!("local with the table {table}"), "DynamoDB");
        }
        Err(Failure::Error(reason)) if terminal.is_json() => {
            terminal.error(reason);
            ExitCode::FAILURE
        }
        Err(Failure::Error(reason)) => fail(reason),
    };
    terminal.stopped(result.is_ok());
    code
}

async fn start(arguments: Arguments, terminal: &Terminal) -> Result<(), Failure> {
    let began = Instant::now();
    // The signal handlers are installed before any child process starts, so that a signal always stops the children.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let asked_to_stop = async {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hangup.recv() => {} }
    };
    tokio::pin!(asked_to_stop);
    // The build reports the faults of a contract.
    let contract = input::contract(Path::new(paths::CONTRACT)).ok();
    let options = options(arguments, contract.as_ref(), terminal);
    input::exists(&options.template)?;
    let remote = options.endpoint_url.is_some();
    let mut credentials = development::credentials(contract.as_ref());
    let stack = tokio::select! {
        () = &mut asked_to_stop => return Ok(()),
        started = Stack::start(options) => match started {
            Ok(stack) => stack,
            #[cfg(not(feature = "dynamodb"))]
            Err(sluicegate_local::StackError::NoDynamoDb { table }) => return Err(Failure::NoDynamoDb(table)),
            Err(error) => return Err(error.into()),
        },
    };
    credentials.extend(development::authorizer_tokens(contract.as_ref(), stack.authorizers()));
    if !terminal.started(stack.addresses(), stack.routes(), began.elapsed()) {
        print_ready(terminal, &stack, &credentials, remote, began.elapsed());
    }
    asked_to_stop.await;
    terminal.line("Stopping");
    stack.stop().await;
    Ok(())
}

/// Returns what a stack prints to. On a terminal it has a status line, as long as the screen exists.
fn output(is_json: bool) -> (Terminal, Option<Screen>) {
    // A closed stdout pipe is not an error.
    let print = |line: &str| drop(writeln!(stdout().lock(), "{line}"));
    if is_json {
        return (Terminal::json(Arc::new(print)), None);
    }
    let value = |name: &str| std::env::var(name).unwrap_or_default();
    let (has_status, is_coloured) = look(stdout().is_terminal(), &value("TERM"), &value("NO_COLOR"));
    let columns = || {
        let size = ::console::Term::stdout().size_checked();
        size.map_or(screen::COLUMNS_DEFAULT, |(_, columns)| usize::from(columns))
    };
    match has_status.then(|| Screen::new(stdout(), columns)) {
        Some(Ok(screen)) => {
            screen.clear_before_panics();
            let terminal = Terminal::new(Arc::new(screen.lines()), is_coloured);
            (terminal.with_status(Arc::new(screen.status())), Some(screen))
        }
        // Without the thread that draws, lines are printed without a status line.
        Some(Err(_)) | None => (Terminal::new(Arc::new(print), is_coloured), None),
    }
}

/// Returns whether the output has a status line, and whether it has colours. <https://no-color.org>
fn look(is_terminal: bool, term: &str, no_color: &str) -> (bool, bool) {
    let has_status = is_terminal && term != "dumb";
    (has_status, has_status && no_color.is_empty())
}

fn options(arguments: Arguments, contract: Option<&Contract>, terminal: &Terminal) -> Options {
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let template = paths::or_default(arguments.template.as_ref(), paths::TEMPLATE);
    let project = LocalProject::new(&template);
    Options {
        template,
        port: arguments.port,
        admin_port: arguments.admin_port,
        aws_port: arguments.aws_port,
        endpoint_url: arguments.endpoint_url,
        archive: arguments.archive_dir.map(|path| ArchiveFolder { path, prefix: ARCHIVE_PREFIX }),
        rabbitmq: match (arguments.rabbitmq_url, arguments.rabbitmq) {
            (Some(url), _) => Some(BrokerChoice::At(url)),
            (None, true) => Some(BrokerChoice::Private),
            (None, false) => None,
        },
        kafka: match (arguments.kafka_url, arguments.kafka) {
            (Some(servers), _) => Some(KafkaChoice::At(servers)),
            (None, true) => Some(KafkaChoice::Private),
            (None, false) => None,
        },
        release: arguments.release,
        freeze: arguments.freeze,
        concurrency: arguments.concurrency.map(usize::from),
        binaries: None,
        watch: true,
        parameters: BTreeMap::from_iter(arguments.parameters),
        environment: environment.collect(),
        secrets: contract.map(development::lists).unwrap_or_default(),
        published: contract.map(development::tokens::documents).unwrap_or_default(),
        verify_token: Some(Arc::new(development::tokens::accepted_claims)),
        contract: ContractFacts { project: Some(Arc::new(project)), ..console::facts(contract) },
        command: command_package(),
        terminal: terminal.clone(),
    }
}

/// Returns the package that `cargo run` started.
///
/// Cargo sets its name in the environment, but not its features. For this crate they are known; a package that uses
/// this crate is assumed to have its default features, and those of this crate that are built.
pub(crate) fn command_package() -> Option<CommandPackage> {
    let folder = std::env::var_os("CARGO_MANIFEST_DIR")?;
    let is_this = std::env::var_os("CARGO_PKG_NAME")? == env!("CARGO_PKG_NAME");
    let mut features = Vec::new();
    if is_this && cfg!(feature = "functions") {
        features.push(concat!(env!("CARGO_PKG_NAME"), "/functions").to_owned());
    }
    if cfg!(feature = "rabbitmq") {
        features.push(RABBITMQ_FEATURE.to_owned());
    }
    if cfg!(feature = "kafka") {
        features.push(KAFKA_FEATURE.to_owned());
    }
    if cfg!(feature = "dynamodb") {
        features.push(DYNAMODB_FEATURE.to_owned());
    }
    Some(CommandPackage {
        manifest: PathBuf::from(folder).join("Cargo.toml"),
        default_features: !is_this || cfg!(feature = "aws"),
        features,
    })
}

fn print_ready(terminal: &Terminal, stack: &Stack, credentials: &[String], remote: bool, took: Duration) {
    let addresses = stack.addresses();
    let (gateway, admin, aws) = (&addresses.gateway, &addresses.admin, &addresses.aws);
    terminal.line(format_args!("\nReady after {:.1} s. Ctrl-C stops everything.\n", took.as_secs_f64()));
    terminal.line(format_args!("  API    {gateway}   {}", stack.routes().join(", ")));
    terminal
        .line(format_args!("  admin  {admin}   the console; /healthz, /messages/{{id}}, /messages, /queues, /metrics"));
    let services = if remote { "used instead of the built-in services" } else { "SQS, Secrets Manager" };
    terminal.line(format_args!("  AWS    {aws}   {services}: aws --endpoint-url {aws} sqs list-queues"));
    if let Some(url) = &addresses.rabbitmq {
        terminal.line(format_args!("  AMQP   {url}   RabbitMQ"));
    }
    if let Some(url) = &addresses.rabbitmq_management {
        terminal.line(format_args!("         {url}   its management"));
    }
    if let Some(servers) = &addresses.kafka {
        terminal.line(format_args!("  Kafka  {servers}"));
    }
    terminal.line("");
    terminal.line("  Development secrets:");
    for line in credentials {
        terminal.line(format_args!("    {line}"));
    }
    terminal.line("");
    if stack.routes().iter().any(|route| route == "POST /orders") {
        terminal.line(format_args!(
            r#"  curl -i {gateway}/orders -H 'x-api-key: {}' -H 'idempotency-key: first-order' \"#,
            secrets::API_KEY
        ));
        terminal.line(r#"    -H 'content-type: application/json' \"#);
        terminal
            .line(r#"    -d '{"order_id": "o-1", "customer_id": "c-1", "items": [{"sku": "tea", "quantity": 2}]}'"#);
        terminal.line("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_and_a_dumb_terminal_have_plain_lines() {
        for (is_terminal, term, no_color, expected) in [
            (true, "xterm", "", (true, true)),
            (true, "", "", (true, true)),
            (true, "xterm", "1", (true, false)),
            (true, "dumb", "", (false, false)),
            (false, "xterm", "", (false, false)),
        ] {
            assert_eq!(look(is_terminal, term, no_color), expected, "{is_terminal} {term} {no_color}");
        }
    }
}
