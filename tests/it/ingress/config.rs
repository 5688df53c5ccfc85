//! The environment of the ingress: required variables, and errors at startup.

use sluicegate_contract::Contract;
use sluicegate_ingress::Config;

use super::shipped_with;

const FIFO: (&str, &str) = ("QUEUE_ORDERS", "https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo");
const STANDARD: (&str, &str) = ("QUEUE_WEBHOOKS", "https://sqs.eu-west-1.amazonaws.com/123456789012/webhooks");
const SECRET: (&str, &str) = ("SECRET_ARN", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:s");

fn check(contract: &Contract, environment: &[(&str, &str)], expected: &[&str]) {
    let lookup =
        |wanted: &str| environment.iter().find(|(name, _)| *name == wanted).map(|(_, text)| (*text).to_owned());
    let errors = match Config::from_env(contract, lookup) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    };
    let named: Vec<_> = expected.iter().filter(|name| errors.iter().any(|line| line.contains(**name))).collect();
    assert_eq!((errors.len(), named.len()), (expected.len(), expected.len()), "expected {expected:?}, got {errors:?}");
}

#[test]
fn every_error_is_reported_at_startup() {
    let shipped = crate::support::contract();
    check(shipped, &[FIFO, STANDARD, SECRET], &[]);
    check(shipped, &[], &["QUEUE_ORDERS", "QUEUE_WEBHOOKS", "SECRET_ARN"]);
    check(shipped, &[("QUEUE_ORDERS", "orders"), STANDARD, ("SECRET_ARN", "")], &["QUEUE_ORDERS", "SECRET_ARN"]);
}

#[test]
fn the_settings_of_keys_and_secrets_are_checked_at_startup() {
    let shipped = crate::support::contract();
    let with = |name: &'static str, value: &'static str| [FIFO, STANDARD, SECRET, (name, value)];
    check(shipped, &with("KEYS_ENDPOINTS", "a.example=http://127.0.0.1:3001"), &[]);
    check(shipped, &with("KEYS_ENDPOINTS", "a.example=http://keys.example"), &["KEYS_ENDPOINTS"]);
    for seconds in ["0", "86400", ""] {
        check(shipped, &with("SECRETS_GRACE_S", seconds), &[]);
    }
    for seconds in ["-1", "86401", "1h"] {
        check(shipped, &with("SECRETS_GRACE_S", seconds), &["SECRETS_GRACE_S"]);
    }
}

#[test]
fn a_store_of_keys_or_limits_needs_its_table() {
    let table = ("IDEMPOTENCY_TABLE", "keys");
    let key = "          required: true\n        rateLimit";
    let keys = (key, "          required: true\n          store: dynamodb\n        rateLimit");
    let limit = ("by: principal\n", "by: principal\n          store: dynamodb\n");
    for change in [keys, limit] {
        let contract = shipped_with(&[change]);
        check(contract, &[FIFO, STANDARD, SECRET], &["IDEMPOTENCY_TABLE is not set"]);
        check(contract, &[FIFO, STANDARD, SECRET, table], &[]);
    }
}

#[test]
fn a_delay_on_a_fifo_queue_is_reported_at_startup() {
    let contract = shipped_with(&[("        queue: orders\n", "        queue: orders\n        delay: 5s\n")]);
    check(contract, &[FIFO, STANDARD, SECRET], &["placeOrder"]);
    check(contract, &[("QUEUE_ORDERS", STANDARD.1), STANDARD, SECRET], &[]);
}

/// The queue and the delay of a request are known at startup, as far as they can be.
#[test]
fn every_queue_of_a_route_needs_a_binding_that_fits() {
    let queues = "        queue: [{ queue: urgent, when: '{header.x-priority}', is: high }, orders]\n";
    let urgent = ("QUEUE_URGENT", "https://sqs.us-east-1.amazonaws.com/000000000000/urgent");
    let contract = shipped_with(&[("        queue: orders\n", queues)]);
    check(contract, &[FIFO, STANDARD, SECRET], &["QUEUE_URGENT"]);
    check(contract, &[FIFO, STANDARD, SECRET, urgent], &[]);
    let delayed =
        shipped_with(&[("        queue: orders\n", &format!("{queues}        delay: '{{header.x-delay}}'\n"))]);
    check(delayed, &[FIFO, STANDARD, SECRET, urgent], &["queue orders"]);
    check(delayed, &[("QUEUE_ORDERS", STANDARD.1), STANDARD, SECRET, ("QUEUE_URGENT", FIFO.1)], &["queue urgent"]);
    check(delayed, &[EXCHANGE, STANDARD, SECRET, BROKER, urgent], &[]);
    check(delayed, &[EXCHANGE, STANDARD, SECRET, BROKER, urgent, ("RABBITMQ_RETRY_DELAYS", "1,60")], &["placeOrder"]);
}

#[test]
fn a_queue_on_kafka_needs_its_cluster_and_has_no_delay() {
    const TOPIC: (&str, &str) = ("QUEUE_ORDERS", "kafka:orders");
    const SERVERS: (&str, &str) = ("KAFKA_BOOTSTRAP_SERVERS", "b-1.example.com:9094");
    let shipped = crate::support::contract();
    check(shipped, &[TOPIC, STANDARD, SECRET, SERVERS], &[]);
    check(shipped, &[TOPIC, STANDARD, SECRET], &["KAFKA_BOOTSTRAP_SERVERS"]);
    check(shipped, &[TOPIC, STANDARD, SECRET, ("KAFKA_BOOTSTRAP_SERVERS", "b-1")], &["KAFKA_BOOTSTRAP_SERVERS"]);
    check(shipped, &[FIFO, STANDARD, SECRET, ("KAFKA_BOOTSTRAP_SERVERS", "unused")], &[]);
    let delayed = shipped_with(&[("        queue: orders\n", "        queue: orders\n        delay: 5s\n")]);
    check(delayed, &[TOPIC, STANDARD, SECRET, SERVERS], &["which does not delay messages"]);
    let large = shipped_with(&[(
        "        queue: orders\n",
        "        queue: orders\n        payloadBytes: 1000000\n        largePayloads: s3\n",
    )]);
    let bucket = ("PAYLOAD_BUCKET", "payloads");
    check(large, &[TOPIC, STANDARD, SECRET, SERVERS, bucket], &["bound to Kafka; Kafka accepts the payload as it is"]);
}

const EXCHANGE: (&str, &str) = ("QUEUE_ORDERS", "rabbitmq:orders/{type}");
const BROKER: (&str, &str) = ("RABBITMQ_URL", "amqps://me:pass-word@b-1.mq.eu-west-1.on.aws/");

#[test]
fn only_a_queue_on_rabbitmq_needs_the_broker_variables() {
    let shipped = crate::support::contract();
    check(shipped, &[EXCHANGE, STANDARD, SECRET, BROKER], &[]);
    check(shipped, &[EXCHANGE, STANDARD, SECRET], &["RABBITMQ_URL"]);
    check(shipped, &[EXCHANGE, STANDARD, SECRET, ("RABBITMQ_URL", "amqps://b-1")], &["RABBITMQ_SECRET_ARN"]);
    check(shipped, &[EXCHANGE, STANDARD, SECRET, BROKER, ("RABBITMQ_RETRY_DELAYS", "5,1")], &["RABBITMQ_RETRY_DELAYS"]);
    check(shipped, &[("QUEUE_ORDERS", "rabbitmq:orders"), STANDARD, BROKER], &["QUEUE_ORDERS", "SECRET_ARN"]);
    check(shipped, &[FIFO, STANDARD, SECRET, ("RABBITMQ_URL", "unused")], &[]);
}

#[test]
fn a_delay_beyond_the_retry_delays_is_reported_at_startup() {
    let contract = shipped_with(&[("        queue: orders\n", "        queue: orders\n        delay: 61s\n")]);
    check(contract, &[EXCHANGE, STANDARD, SECRET, BROKER], &[]);
    check(contract, &[EXCHANGE, STANDARD, SECRET, BROKER, ("RABBITMQ_RETRY_DELAYS", "1,60")], &["placeOrder"]);
}
