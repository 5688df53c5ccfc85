//! `sluicegate dlq list|show|redrive|edit|purge`: operations on dead-letter queues of SQS, RabbitMQ and Kafka.
//!
//! Exit codes: 0 done, 1 not all messages could be processed, 2 invalid command line, 130 interrupted by Ctrl-C.

mod edit;
mod list;
mod purge;
mod redrive;
mod show;
mod text;

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use sluicegate_dlq::{
    CancellationToken, DeadLetterQueue, Error,
    kafka::KafkaDeadLetterQueue,
    rabbitmq::RabbitmqDeadLetterQueue,
    sqs::{SqsDeadLetterQueue, VISIBILITY_DEFAULT, VISIBILITY_MAX},
};
use sluicegate_queue::kafka::Cluster;

use crate::{
    CommandError,
    aws::{self, Aws, SdkConfig},
    fail, fail_with_advice,
    interrupt::{INTERRUPTED, stop_at_ctrl_c},
    kafka, rabbitmq,
};

/// What to check when RabbitMQ refuses, or is not reached.
const RABBITMQ_ADVICE: &str = "check the queue's name, --rabbitmq-url (or RABBITMQ_URL), RABBITMQ_USERNAME and \
    RABBITMQ_PASSWORD, and that the broker runs with its management plugin";

/// What to check when Kafka refuses, or is not reached.
const KAFKA_ADVICE: &str = "check the topic's name, --kafka-url (or KAFKA_BOOTSTRAP_SERVERS), KAFKA_SECURITY_PROTOCOL \
    (PLAINTEXT without encryption) and the login, and what the user may do: read the topic and write to the one that \
    the messages came from, and read and commit the offsets of the group sluicegate-dlq";

/// List, show, redrive, correct or delete the messages in dead-letter queues of SQS, RabbitMQ or Kafka
///
/// QUEUE is the dead-letter queue: a name, URL or ARN of SQS, the name of a RabbitMQ queue, or a topic of Kafka. The
/// broker is RabbitMQ if --rabbitmq-url is given, and Kafka if --kafka-url is given. Without either it is the one that
/// RABBITMQ_URL or KAFKA_BOOTSTRAP_SERVERS names, if one of them is set and no argument is for SQS (an AWS option, a
/// URL, an ARN); otherwise it is SQS.
///
/// Messages are hidden from other readers while the command runs, and visible again afterwards. On SQS this increments
/// their receive count, so a dead-letter queue that has a dead-letter queue may move them to it. On a FIFO queue,
/// messages behind one in flight cannot be reached; the command reports their number. If the command is killed, no
/// message is lost: its messages become visible again.
///
/// A topic of Kafka does not delete single records. What was redriven or deleted is remembered in the offsets of the
/// consumer group sluicegate-dlq and is not a dead letter any more; it stays in the log until the topic's retention
/// deletes it. Nothing is hidden from other readers: run one command on a topic at a time, or messages may be redriven
/// twice.
///
/// Exit codes: 0 done, 1 not all messages could be processed, 2 invalid command line, 130 interrupted by Ctrl-C.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    #[command(flatten)]
    broker: BrokerOptions,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Args)]
#[command(next_help_heading = "Where")]
struct BrokerOptions {
    #[command(flatten)]
    aws: Aws,
    /// RabbitMQ at amqp(s)://[USERNAME:PASSWORD@]HOST:PORT/VHOST instead of SQS [default: the variable RABBITMQ_URL];
    /// credentials may also come from RABBITMQ_USERNAME and RABBITMQ_PASSWORD
    #[arg(long, value_name = "URL", global = true, conflicts_with_all = ["endpoint_url", "profile", "region"])]
    rabbitmq_url: Option<String>,
    /// Kafka at these addresses, with commas between several, instead of SQS [default: the variable
    /// KAFKA_BOOTSTRAP_SERVERS]; encryption and login are those of the functions' other KAFKA_ variables, with the
    /// AWS options for a secret or a role
    #[arg(long, value_name = "HOST:PORT", global = true, conflicts_with = "rabbitmq_url")]
    kafka_url: Option<String>,
    /// SQS: how long messages stay hidden if this command is killed, in seconds; longer if they have been in flight
    /// for longer
    #[arg(long, value_name = "SECONDS", global = true, default_value_t = VISIBILITY_DEFAULT.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..=VISIBILITY_MAX.as_secs()))]
    visibility: u64,
}

#[derive(Subcommand)]
enum Verb {
    List(list::Arguments),
    Show(show::Arguments),
    Redrive(redrive::Arguments),
    Edit(edit::Arguments),
    Purge(purge::Arguments),
}

impl Verb {
    fn queue(&self) -> Option<&str> {
        match self {
            Self::List(arguments) => arguments.queue.as_deref(),
            Self::Show(arguments) => Some(&arguments.queue),
            Self::Redrive(arguments) => Some(&arguments.queue),
            Self::Edit(arguments) => Some(&arguments.queue),
            Self::Purge(arguments) => Some(&arguments.queue),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    if let Verb::Purge(purge) = &arguments.verb
        && let Err(reason) = purge.check()
    {
        return wrong(reason);
    }
    let broker = match arguments.broker() {
        Ok(broker) => broker,
        Err(reason) => return wrong(reason),
    };
    // A worker thread for the heartbeat of the messages in flight, which must not wait for a prompt.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(error),
    };
    let aws = &arguments.broker.aws;
    match broker {
        Broker::Rabbitmq(address) => {
            let done = runtime.block_on(on_rabbitmq(&arguments.verb, &address));
            done.unwrap_or_else(|error| fail_with_advice(error, RABBITMQ_ADVICE))
        }
        Broker::Kafka => match runtime.block_on(kafka::cluster(arguments.broker.kafka_url.as_deref(), aws)) {
            Ok(cluster) => {
                let done = runtime.block_on(on_kafka(&arguments.verb, cluster));
                done.unwrap_or_else(|error| fail_with_advice(error, KAFKA_ADVICE))
            }
            Err(reason) => wrong(reason),
        },
        Broker::Sqs => match runtime.block_on(aws.load()) {
            Ok(config) => {
                let done = runtime.block_on(on_sqs(&arguments.verb, &config, arguments.broker.visibility));
                let advice = format!("check the queue's name (`sluicegate dlq list` has all), and {}", aws::ADVICE);
                done.unwrap_or_else(|error| fail_with_advice(error, &advice))
            }
            Err(reason) => fail(reason),
        },
    }
}

/// The broker of the queue.
enum Broker {
    Sqs,
    Rabbitmq(sluicegate_topology::Address),
    Kafka,
}

impl Arguments {
    fn broker(&self) -> Result<Broker, CommandError> {
        let BrokerOptions { rabbitmq_url, kafka_url, .. } = &self.broker;
        let names_sqs = |queue: &str| ["arn:", "http://", "https://"].iter().any(|start| queue.starts_with(start));
        let is_sqs = self.broker.aws.is_given() || self.verb.queue().is_some_and(names_sqs);
        let is_named = rabbitmq_url.is_some() || kafka_url.is_some();
        let of_variable = |is_set: bool| !is_named && !is_sqs && is_set;
        let is_rabbitmq = rabbitmq_url.is_some() || of_variable(rabbitmq::is_in_environment());
        let is_kafka = kafka_url.is_some() || of_variable(kafka::is_in_environment());
        match (is_rabbitmq, is_kafka) {
            (true, true) => {
                Err("RABBITMQ_URL and KAFKA_BOOTSTRAP_SERVERS are set: pass --rabbitmq-url or --kafka-url".into())
            }
            (true, false) => {
                let address = rabbitmq::address(rabbitmq_url.as_deref()).map_err(|error| error.to_string())?;
                Ok(Broker::Rabbitmq(address))
            }
            (false, true) => Ok(Broker::Kafka),
            (false, false) => Ok(Broker::Sqs),
        }
    }
}

async fn on_sqs(verb: &Verb, config: &SdkConfig, visibility_s: u64) -> Result<ExitCode, Error> {
    let Some(queue) = verb.queue() else {
        let queues = sluicegate_dlq::sqs::dead_letter_queues(config).await?;
        return Ok(list::queues(verb, &queues));
    };
    let queue = SqsDeadLetterQueue::open(config, queue, Duration::from_secs(visibility_s)).await?;
    let stop = stop_at_ctrl_c();
    if let Verb::Redrive(arguments) = verb
        && let Some(code) = redrive::by_move_task(&queue, arguments, &stop).await?
    {
        return Ok(code);
    }
    Ok(work(verb, &queue, &stop).await)
}

async fn on_rabbitmq(verb: &Verb, address: &sluicegate_topology::Address) -> Result<ExitCode, Error> {
    let Some(queue) = verb.queue() else {
        let queues = sluicegate_dlq::rabbitmq::dead_letter_queues(address).await?;
        return Ok(list::queues(verb, &queues));
    };
    let queue = RabbitmqDeadLetterQueue::open(address, queue).await?;
    Ok(work(verb, &queue, &stop_at_ctrl_c()).await)
}

async fn on_kafka(verb: &Verb, cluster: Cluster) -> Result<ExitCode, Error> {
    let Some(queue) = verb.queue() else {
        let queues = sluicegate_dlq::kafka::dead_letter_queues(&cluster).await?;
        return Ok(list::queues(verb, &queues));
    };
    let queue = KafkaDeadLetterQueue::open(cluster, queue).await?;
    Ok(work(verb, &queue, &stop_at_ctrl_c()).await)
}

/// Runs a command on an open queue, and always releases the messages in flight.
async fn work<S: DeadLetterQueue>(verb: &Verb, queue: &S, stop: &CancellationToken) -> ExitCode {
    let code = match verb {
        Verb::List(arguments) => list::list(queue, arguments, stop).await,
        Verb::Show(arguments) => show::show(queue, arguments, stop).await,
        Verb::Redrive(arguments) => redrive::one_by_one(queue, arguments, stop).await,
        Verb::Edit(arguments) => edit::edit(queue, arguments, stop).await,
        Verb::Purge(arguments) => purge::purge(queue, arguments, stop).await,
    };
    if let Err(error) = queue.release().await {
        eprintln!("warning: {error}");
    }
    code
}

fn wrong(reason: impl std::fmt::Display) -> ExitCode {
    eprintln!("error: {reason}");
    ExitCode::from(2)
}

/// Returns the exit code of a report.
fn code(report: &sluicegate_dlq::RunReport) -> ExitCode {
    if report.interrupted {
        ExitCode::from(INTERRUPTED)
    } else if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
