//! Tests of faults: each case makes one change to a valid file and expects faults with line, pointer and reason.

use serde_json::{Value, json};

use crate::{ExchangeType, Topology};

const VALID: &str = "\
exchanges:
  orders: { type: topic, alternate-exchange: lost, delays: [5] }
  lost: { type: fanout }
  by-header:
    type: headers
queues:
  orders:
    bindings:
      - { exchange: orders, routing-key: 'order.#' }
      - { exchange: by-header, arguments: { x-match: any, tenant: a, vip: true } }
      - { exchange: amq.fanout }
    delivery-limit: 7
    max-length: 1000
    retry: [1, 5]
  lost: { bindings: [{ exchange: lost }], retry: default }
policies:
  short:
    pattern: '^orders$'
    apply-to: queues
    priority: 3
    definition: { max-length: 99, overflow: reject-publish }
";

/// Replaces `old` by `new` and expects these faults, each `line: path: reason`.
fn check(old: &str, new: &str, expected: &[&str]) {
    assert_eq!(VALID.matches(old).count(), 1, "{old:?} is in the valid file once");
    let faults = Topology::parse("t.yaml", &VALID.replace(old, new)).expect_err("a fault");
    let shown: Vec<String> = faults.iter().map(|f| format!("{}: {}: {}", f.line, f.pointer, f.reason)).collect();
    let right =
        shown.len() == expected.len() && shown.iter().zip(expected).all(|(shown, start)| shown.starts_with(start));
    assert!(right, "{old:?} -> {new:?} gives {shown:#?}, not {expected:#?}");
    assert!(faults.to_string().starts_with("t.yaml:"), "{faults}");
}

#[test]
fn a_valid_file_gives_the_declared_objects() {
    let topology = Topology::parse("t.yaml", VALID).unwrap();
    let exchanges = topology.exchange_declarations();
    let names: Vec<_> = exchanges.iter().map(|each| (each.name.as_str(), each.exchange_type)).collect();
    assert_eq!(
        names,
        [
            ("orders", ExchangeType::Topic),
            ("orders.delay.5s", ExchangeType::Fanout),
            ("lost", ExchangeType::Fanout),
            ("by-header", ExchangeType::Headers),
        ]
    );
    assert_eq!(exchanges[0].arguments["alternate-exchange"], "lost");
    let queues = topology.queue_declarations();
    let names: Vec<_> = queues.iter().map(|each| each.name.as_str()).collect();
    assert_eq!(names[..4], ["orders.dlq", "orders", "orders.retry.1s", "orders.retry.5s"]);
    assert_eq!((names.len(), names[4], names[5], names[13]), (14, "lost.dlq", "lost", "orders.delay.5s"));
    let arguments = |index: usize| Value::from_iter(queues[index].arguments.clone());
    assert_eq!(
        arguments(0),
        json!({ "x-queue-type": "quorum", "x-overflow": "reject-publish", "x-delivery-limit": 1_000_000_000 })
    );
    assert_eq!(
        arguments(1),
        json!({
            "x-queue-type": "quorum", "x-overflow": "reject-publish", "x-delivery-limit": 7, "x-max-length": 1000,
            "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "orders.dlq",
            "x-dead-letter-strategy": "at-least-once",
        })
    );
    assert_eq!(
        arguments(3),
        json!({
            "x-queue-type": "quorum", "x-overflow": "reject-publish", "x-delivery-limit": 1_000_000_000,
            "x-message-ttl": 5000, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "orders",
            "x-dead-letter-strategy": "at-least-once",
        })
    );
    assert_eq!(
        arguments(13),
        json!({
            "x-queue-type": "quorum", "x-overflow": "reject-publish", "x-delivery-limit": 1_000_000_000,
            "x-message-ttl": 5000, "x-dead-letter-exchange": "orders", "x-dead-letter-strategy": "at-least-once",
        })
    );
    let bindings: Vec<_> = topology.binding_declarations().iter().map(ToString::to_string).collect();
    assert_eq!(
        bindings,
        [
            "orders -> orders (order.#)",
            r#"by-header -> orders {"tenant":"a","vip":true,"x-match":"any"}"#,
            "amq.fanout -> orders",
            "lost -> lost",
            "orders.delay.5s -> orders.delay.5s",
        ]
    );
    assert_eq!(topology.queues()[1].delivery_limit(), Some(20));
    assert_eq!(topology.policies()[0].definition["max-length"], 99);
}

#[test]
fn a_classic_queue_has_no_arguments_besides_its_type_and_an_ordered_queue_allows_many_returns() {
    let file = "queues:
  order_queue: { type: classic, durable: false, retry: [1] }
  hello: { type: classic, durable: true, retry: [1] }
  payments: { single-active-consumer: true, retry: [1] }
";
    let topology = Topology::parse("t.yaml", file).unwrap();
    let queues = topology.queue_declarations();
    let shown: Vec<_> = queues.iter().map(|queue| (queue.name.as_str(), queue.durable)).collect();
    assert_eq!(
        shown,
        [
            ("order_queue.dlq", true),
            ("order_queue", false),
            ("order_queue.retry.1s", true),
            ("hello.dlq", true),
            ("hello", true),
            ("hello.retry.1s", true),
            ("payments.dlq", true),
            ("payments", true),
            ("payments.retry.1s", true),
        ]
    );
    let arguments = |index: usize| Value::from_iter(queues[index].arguments.clone());
    assert_eq!((arguments(1), arguments(4)), (json!({ "x-queue-type": "classic" }), arguments(1)));
    assert_eq!(arguments(2)["x-dead-letter-routing-key"], "order_queue");
    assert_eq!(arguments(7)["x-single-active-consumer"], true);
    assert_eq!(arguments(7)["x-delivery-limit"], 1_000);
    assert_eq!(arguments(8).get("x-single-active-consumer"), None);
}

#[test]
fn queues_of_a_template_are_as_a_file_with_the_defaults_says_and_the_file_wins() {
    let written = "
exchanges:
  orders: { type: topic, delays: default }
  webhooks: { type: topic, delays: default }
queues:
  orders: { bindings: [{ exchange: orders, routing-key: '#' }], delivery-limit: 20, retry: default }
  webhooks: { bindings: [{ exchange: webhooks, routing-key: '#' }], retry: default }
";
    let written = Topology::parse("t.yaml", written).unwrap();
    assert_eq!(Topology::default().with_queues(["orders", "webhooks", "orders"]), written);
    let file = "exchanges: { orders: { type: fanout } }\nqueues: { orders: { bindings: [{ exchange: orders }], retry: [7] } }\n";
    let topology = Topology::parse("t.yaml", file).unwrap();
    assert_eq!(topology.clone().with_queues(["orders"]), topology);
    assert_eq!(topology.with_queues(["webhooks"]).queues()[1], written.queues()[1]);
}

#[test]
fn an_empty_section_and_a_file_that_is_not_yaml_are_faults() {
    for (text, expected) in [
        ("", "t.yaml:1: #: the file is empty"),
        ("queues:\n", "t.yaml:1: /queues: must be an object"),
        ("- a\n", "t.yaml:1: #: must be an object"),
        ("queues: {}\n---\nqueues: {}\n", "t.yaml:3: #: a second YAML document begins here"),
        ("queues: {\n", "t.yaml:"),
        ("queues: &a {}\nexchanges: *a\n", "t.yaml:2: /exchanges: YAML aliases are not supported"),
    ] {
        let faults = Topology::parse("t.yaml", text).expect_err(text);
        assert!(faults.to_string().starts_with(expected), "{text:?}: {faults}");
    }
}

#[test]
fn mistakes_in_exchanges() {
    check(
        "type: fanout",
        "type: topics",
        &["3: /exchanges/lost/type: `topics` is not known; must be topic, fanout, direct or headers"],
    );
    check("{ type: fanout }", "{}", &["3: /exchanges/lost/type: is missing"]);
    check(
        "{ type: fanout }",
        "{ type: x-delayed-message }",
        &["3: /exchanges/lost/type: `x-delayed-message` is not known"],
    );
    check(
        "{ type: fanout }",
        "{ type: fanout, durable: false }",
        &["3: /exchanges/lost/durable: unknown field; known are type"],
    );
    check(
        "  lost: { type",
        "  amq.lost: { type",
        &[
            "2: /exchanges/orders/alternate-exchange: there is no exchange `lost`",
            "3: /exchanges/amq.lost: names that start with `amq.`",
            "15: /queues/lost/bindings/0/exchange: there is no exchange `lost`",
        ],
    );
    check(
        "alternate-exchange: lost",
        "alternate-exchange: orders",
        &["2: /exchanges/orders/alternate-exchange: an exchange cannot"],
    );
    let ladder = "2: /exchanges/orders/delays: must be whole seconds from 1 to 86400, ascending";
    for delays in ["[]", "[5, 5]", "[0]", "[1.5]", "['5']", "5", "[86401]", "all"] {
        check("[5] }", &format!("{delays} }}"), &[ladder]);
    }
    let long = "o".repeat(256);
    check(
        "  by-header:\n",
        &format!("  {long}:\n"),
        &[
            &format!("4: /exchanges/{long}: a name has at most 255 bytes"),
            "10: /queues/orders/bindings/1/exchange: there is no exchange `by-header`",
        ],
    );
    check(
        "  by-header:\n",
        "  orders.delay.5s: { type: fanout }\n  by-header:\n",
        &["4: /exchanges/orders.delay.5s: `orders.delay.5s` would be made for this and for `orders`"],
    );
}

#[test]
fn mistakes_in_queues() {
    check(
        "    max-length: 1000\n",
        "    length: 1000\n",
        &["13: /queues/orders/length: unknown field; known are type, durable, bindings, delivery-limit"],
    );
    check("    max-length: 1000\n", "    type: stream\n", &["13: /queues/orders/type: `stream` is not known"]);
    check("    max-length: 1000\n", "    durable: false\n", &["13: /queues/orders/durable: a quorum queue is always"]);
    check(
        "    max-length: 1000\n",
        "    single-active-consumer: 1\n",
        &["13: /queues/orders/single-active-consumer: must be true or false"],
    );
    check(
        "    max-length: 1000\n",
        "    type: classic\n",
        &[
            "7: /queues/orders/durable: is missing",
            "12: /queues/orders/delivery-limit: not with `type: classic`: RabbitMQ counts deliveries",
        ],
    );
    for limit in ["0", "-1", "many", "7.5", "1000001"] {
        check(
            "delivery-limit: 7",
            &format!("delivery-limit: {limit}"),
            &["12: /queues/orders/delivery-limit: must be an integer from 1 to 1000000"],
        );
    }
    check("max-length: 1000", "max-length: 0", &["13: /queues/orders/max-length: must be an integer"]);
    check("retry: [1, 5]", "retry: [5, 1]", &["14: /queues/orders/retry: must be whole seconds"]);
    check(", routing-key: 'order.#'", "", &["9: /queues/orders/bindings/0/routing-key: is missing"]);
    check("'order.#'", "5", &["9: /queues/orders/bindings/0/routing-key: must be text"]);
    check(
        "'order.#'",
        &"k".repeat(256),
        &["9: /queues/orders/bindings/0/routing-key: a routing key has at most 255 bytes"],
    );
    check(
        "exchange: orders, routing-key",
        "exchange: others, routing-key",
        &["9: /queues/orders/bindings/0/exchange: there is no exchange `others` in this file"],
    );
    check(
        "x-match: any",
        "x-match: some",
        &["10: /queues/orders/bindings/1/arguments/x-match: `some` is not known; must be all or any"],
    );
    check("tenant: a", "tenant: [a]", &["10: /queues/orders/bindings/1/arguments/tenant: must be text, an integer"]);
    check(
        "exchange: amq.fanout",
        "exchange: amq.fanout, arguments: {}",
        &["11: /queues/orders/bindings/2/arguments: only bindings to a headers"],
    );
    check("exchange: amq.fanout", "exchange: amq.match", &["11: /queues/orders/bindings/2/arguments: is missing"]);
    check(
        "      - { exchange: amq.fanout }",
        "      - { exchange: orders, routing-key: 'order.#' }",
        &["11: /queues/orders/bindings/2: this binding is already there"],
    );
    check(
        "  lost: { bindings",
        "  orders.dlq: { bindings",
        &["15: /queues/orders.dlq: `orders.dlq` would be made for this and for `orders`"],
    );
    check(
        "  lost: { bindings",
        "  orders.delay.5s: { bindings",
        &["2: /exchanges/orders: its delay queue `orders.delay.5s` would be a queue of another kind"],
    );
    check("  lost: { bindings", "  orders: { bindings", &["15: /queues/orders: this key is already there, on line 7"]);
    check("  lost: { bindings", "  \"lo\\nst\": { bindings", &["15: /queues/lo\nst: a name must not have control"]);
    check("  lost: { bindings", "  '': { bindings", &["15: /queues/: a name must not be empty"]);
    let long = "q".repeat(245);
    check(
        "  lost: { bindings",
        &format!("  {long}: {{ bindings"),
        &[&format!("15: /queues/{long}: the name leaves no room for `.retry.")],
    );
}

#[test]
fn mistakes_in_policies() {
    check("    pattern: '^orders$'\n", "", &["17: /policies/short/pattern: is missing"]);
    check(
        "apply-to: queues",
        "apply-to: quorum_queues",
        &["19: /policies/short/apply-to: RabbitMQ before 3.12 does not support"],
    );
    check(
        "apply-to: queues",
        "apply-to: queue",
        &["19: /policies/short/apply-to: `queue` is not known; must be all, queues or exchanges"],
    );
    check("priority: 3", "priority: high", &["20: /policies/short/priority: must be an integer"]);
    check("{ max-length: 99, overflow: reject-publish }", "{}", &["21: /policies/short/definition: must not be empty"]);
    check("max-length: 99", "max-length: ten", &["21: /policies/short/definition/max-length: must be an integer"]);
    check(
        "overflow: reject-publish",
        "overflow: reject-publish-dlx",
        &["21: /policies/short/definition/overflow: must be reject-publish or drop-head"],
    );
    for (setting, reason) in [
        ("ha-mode: all", "ha-mode: `ha-mode` is refused: classic queue mirroring was removed in RabbitMQ 4.0"),
        ("ha-sync-mode: automatic", "ha-sync-mode: `ha-sync-mode` is refused"),
        ("queue-mode: lazy", "queue-mode: `queue-mode` is refused: lazy queues"),
        ("queue-master-locator: min-masters", "queue-master-locator: `queue-master-locator` is refused"),
        ("expires: 1000", "expires: `expires` is refused"),
        ("delayed-retry-type: all", "delayed-retry-type: `delayed-retry-type` is refused: only RabbitMQ 4.3"),
        ("consumer-timeout: 1", "consumer-timeout: `consumer-timeout` is refused"),
        ("max-size: 1", "max-size: unknown setting; known are alternate-exchange"),
    ] {
        check("max-length: 99", setting, &[&format!("21: /policies/short/definition/{reason}")]);
    }
}

#[test]
fn every_mistake_is_reported_at_once() {
    let text = "exchanges:\n  a: { type: x }\nqueues:\n  q: { retry: [], bindings: [{ exchange: b }], limit: 1 }\npolicy: {}\n";
    let faults = Topology::parse("t.yaml", text).expect_err("faults");
    let lines: Vec<_> = faults.iter().map(|fault| (fault.line, fault.pointer.as_str())).collect();
    let places = ["/queues/q/bindings/0/exchange", "/queues/q/limit", "/queues/q/retry"];
    assert_eq!(lines, [(2, "/exchanges/a/type"), (4, places[0]), (4, places[1]), (4, places[2]), (5, "/policy")]);
}
