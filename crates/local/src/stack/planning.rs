//! The plan of a stack: the template with the settings from the options and the broker.

use std::{collections::BTreeMap, path::Path};

use sluicegate_lambda_emulator::SqsClient;
use sluicegate_sam::{Notice, Settings, StackPlan, TemplateDocument};

use super::{error::StackError, functions, options::Options, provision};
use crate::{kafka::PlannedKafka, rabbitmq::PlannedBroker, terminal::Terminal};

/// The template's parameter that chooses the broker.
const BROKER_PARAMETER: &str = "Broker";
/// Its value for RabbitMQ.
const RABBITMQ: &str = "rabbitmq";
/// Its value for Kafka.
const KAFKA: &str = "kafka";
/// The environment variable with RabbitMQ's URL.
const RABBITMQ_URL: &str = "RABBITMQ_URL";
/// The environment variable with the ARN of the URL's secret in the cloud; functions prefer [`RABBITMQ_URL`].
const RABBITMQ_SECRET_ARN: &str = "RABBITMQ_SECRET_ARN";
/// The environment variable with the addresses of Kafka's brokers.
pub(super) const KAFKA_SERVERS: &str = "KAFKA_BOOTSTRAP_SERVERS";
/// How functions connect to the brokers of the local stack, which have neither encryption nor a login: an empty
/// variable is as none.
pub(super) const KAFKA_CONNECTION: [(&str, &str); 3] =
    [("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT"), ("KAFKA_SASL_MECHANISM", ""), ("KAFKA_SECRET_ARN", "")];

/// Reads the text of a template.
pub(super) fn read(template: &Path) -> Result<String, StackError> {
    std::fs::read_to_string(template).map_err(|source| StackError::Template { path: template.to_owned(), source })
}

/// Returns the settings of the template before its queues exist.
pub(super) fn settings(
    options: &Options,
    text: &str,
    aws: &str,
    broker: Option<&PlannedBroker>,
    kafka: Option<&PlannedKafka>,
) -> Settings {
    let mut settings = Settings {
        parameters: options.parameters.clone(),
        environment: options.environment.clone(),
        queue_url_base: aws.to_owned(),
        physical: BTreeMap::new(),
    };
    if let Some(broker) = broker {
        settings.parameters.entry(BROKER_PARAMETER.to_owned()).or_insert_with(|| RABBITMQ.to_owned());
        settings.environment.insert(RABBITMQ_URL.to_owned(), broker.url());
        settings.environment.entry(RABBITMQ_SECRET_ARN.to_owned()).or_insert_with(|| "none-is-needed".to_owned());
    }
    if let Some(kafka) = kafka {
        if has_broker(options, text, KAFKA) {
            settings.parameters.entry(BROKER_PARAMETER.to_owned()).or_insert_with(|| KAFKA.to_owned());
        }
        settings.environment.insert(KAFKA_SERVERS.to_owned(), kafka.servers().to_owned());
    }
    settings
}

/// Returns whether the template's parameter can choose this broker. A template without such a parameter names its
/// topics itself, beside its queues.
fn has_broker(options: &Options, text: &str, broker: &str) -> bool {
    // The plan reports the faults of the document.
    let Ok(document) = TemplateDocument::parse(&options.template.display().to_string(), text) else { return false };
    let allowed = document.value["Parameters"][BROKER_PARAMETER]["AllowedValues"].as_array();
    allowed.is_some_and(|allowed| allowed.iter().any(|value| value == broker))
}

/// Returns the plan, with a binary for each function, and prints its notices.
pub(super) async fn plan(
    options: &Options,
    text: &str,
    settings: &Settings,
    broker: Option<&PlannedBroker>,
) -> Result<StackPlan, StackError> {
    let mut plan = StackPlan::read(&options.template.display().to_string(), text, settings)?;
    if options.binaries.is_none() {
        functions::name_binaries(&options.template, &mut plan.functions, &options.terminal).await?;
    }
    print_notices(&options.terminal, &plan.notices);
    if let (Some(mapping), None) = (plan.mq_mappings.first(), broker) {
        return Err(StackError::NoBroker { function: mapping.function.clone() });
    }
    if let (Some(mapping), None) = (plan.kafka_mappings.first(), &options.kafka) {
        return Err(StackError::NoKafka { function: mapping.function.clone() });
    }
    Ok(plan)
}

/// Creates the queues of the first plan; returns the plan with their real names.
pub(super) async fn with_queues(
    options: &Options,
    text: &str,
    mut settings: Settings,
    first: &StackPlan,
    client: &SqsClient,
) -> Result<StackPlan, StackError> {
    settings.physical = provision::create(client, first, options).await?;
    let mut plan = StackPlan::read(&options.template.display().to_string(), text, &settings)?;
    for (function, named) in plan.functions.iter_mut().zip(&first.functions) {
        function.binary.clone_from(&named.binary);
    }
    provision::set_redrive(client, &plan).await?;
    Ok(plan)
}

/// Prints one line for each kind of resource that is not run, and one for each property without effect.
fn print_notices(terminal: &Terminal, notices: &[Notice]) {
    let mut not_run: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for notice in notices {
        match notice {
            Notice::NotRun { kind, logical_id, .. } => not_run.entry(kind).or_default().push(logical_id),
            Notice::Ignored { .. } | Notice::StandIn { .. } => terminal.warn(notice),
        }
    }
    for (kind, names) in not_run {
        terminal.line(format_args!("not run locally: {kind} ({})", names.join(", ")));
    }
}
