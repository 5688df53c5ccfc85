//! What the environment must say, and that every mistake in it is told at once.

use sluicegate_contract::Contract;
use sluicegate_ingress::Config;

const FIFO: (&str, &str) = ("QUEUE_ORDERS", "https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo");
const STANDARD: (&str, &str) = ("QUEUE_WEBHOOKS", "https://sqs.eu-west-1.amazonaws.com/123456789012/webhooks");
const SECRET: (&str, &str) = ("SECRETS_ARN", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:s");

fn check(contract: &Contract, environment: &[(&str, &str)], expected: &[&str]) {
    let lookup =
        |wanted: &str| environment.iter().find(|(name, _)| *name == wanted).map(|(_, text)| (*text).to_owned());
    let told = match Config::from_env(contract, lookup) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    };
    let named: Vec<_> = expected.iter().filter(|name| told.iter().any(|line| line.contains(**name))).collect();
    assert_eq!((told.len(), named.len()), (expected.len(), expected.len()), "expected {expected:?}, told {told:?}");
}

#[test]
fn every_mistake_is_told_before_the_first_request() {
    let shipped = crate::support::contract();
    check(shipped, &[FIFO, STANDARD, SECRET], &[]);
    check(shipped, &[], &["QUEUE_ORDERS", "QUEUE_WEBHOOKS", "SECRETS_ARN"]);
    check(shipped, &[("QUEUE_ORDERS", "orders"), STANDARD, ("SECRETS_ARN", "")], &["QUEUE_ORDERS", "SECRETS_ARN"]);
}

#[test]
fn a_delay_on_a_fifo_queue_is_told_before_the_first_request() {
    let yaml = std::fs::read_to_string(crate::support::root().join("functions/ingress/openapi.yaml")).unwrap();
    let delayed = yaml.replace("        queue: orders\n", "        queue: orders\n        delay: 5s\n");
    assert_ne!(yaml, delayed, "the example has an operation on the queue orders");
    let contract = Contract::parse("openapi.yaml", &delayed).unwrap();
    check(&contract, &[FIFO, STANDARD, SECRET], &["placeOrder"]);
    check(&contract, &[("QUEUE_ORDERS", STANDARD.1), STANDARD, SECRET], &[]);
}

const EXCHANGE: (&str, &str) = ("QUEUE_ORDERS", "rabbitmq:orders/{type}");
const BROKER: (&str, &str) = ("RABBITMQ_URL", "amqps://me:pass-word@b-1.mq.eu-west-1.on.aws/");

#[test]
fn a_queue_on_rabbitmq_needs_its_broker_and_nothing_else_does() {
    let shipped = crate::support::contract();
    check(shipped, &[EXCHANGE, STANDARD, SECRET, BROKER], &[]);
    check(shipped, &[EXCHANGE, STANDARD, SECRET], &["RABBITMQ_URL"]);
    check(shipped, &[EXCHANGE, STANDARD, SECRET, ("RABBITMQ_URL", "amqps://b-1")], &["RABBITMQ_SECRET_ARN"]);
    check(shipped, &[EXCHANGE, STANDARD, SECRET, BROKER, ("RABBITMQ_RETRY_DELAYS", "5,1")], &["RABBITMQ_RETRY_DELAYS"]);
    check(shipped, &[("QUEUE_ORDERS", "rabbitmq:orders"), STANDARD, BROKER], &["QUEUE_ORDERS", "SECRETS_ARN"]);
    check(shipped, &[FIFO, STANDARD, SECRET, ("RABBITMQ_URL", "of no use")], &[]);
}

#[test]
fn a_delay_beyond_the_ladder_is_told_before_the_first_request() {
    let yaml = std::fs::read_to_string(crate::support::root().join("functions/ingress/openapi.yaml")).unwrap();
    let delayed = yaml.replace("        queue: orders\n", "        queue: orders\n        delay: 61s\n");
    let contract = Contract::parse("openapi.yaml", &delayed).unwrap();
    check(&contract, &[EXCHANGE, STANDARD, SECRET, BROKER], &[]);
    check(&contract, &[EXCHANGE, STANDARD, SECRET, BROKER, ("RABBITMQ_RETRY_DELAYS", "1,60")], &["placeOrder"]);
}
