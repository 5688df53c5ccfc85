//! Consistency of the template, the contract and the RabbitMQ topology, for both brokers.

use std::{collections::BTreeSet, fs, process::Command};

use sluicegate_contract::{Contract, binding_variable};
use sluicegate_queue::{Binding, queue_names};
use sluicegate_sam::{FunctionPlan, Settings, StackPlan};
use sluicegate_topology::Topology;

use crate::support::root;

#[test]
fn every_queue_of_the_contract_is_bound() {
    let check = |broker: &str, is_right: fn(&Binding) -> bool| {
        let plan = plan(broker);
        let queues = queues_of_the_contract();
        let lookup = |name: &str| ingress(&plan).environment.get(name).cloned();
        let bindings = Binding::from_env(queues.iter().map(String::as_str), binding_variable, lookup)
            .expect("every queue is bound");
        assert_eq!(bindings.keys().cloned().collect::<BTreeSet<_>>(), queues);
        assert!(bindings.values().all(is_right), "with Broker={broker}: {bindings:#?}");
    };
    check("sqs", |binding| matches!(binding, Binding::Sqs { .. }));
    check("rabbitmq", |binding| matches!(binding, Binding::Rabbitmq { .. }));
}

#[test]
fn the_routes_do_not_depend_on_the_broker() {
    let routes = |broker: &str| plan(broker).routes.into_iter().map(|route| route.key).collect::<BTreeSet<_>>();
    assert_eq!(routes("rabbitmq"), routes("sqs"));
}

#[test]
fn functions_with_and_without_rabbitmq_are_separate_builds() {
    let built = |broker: &str| {
        let functions = plan(broker).functions.into_iter();
        functions.map(|function| (function.code_uri, function.binary.expect("a name"))).collect::<BTreeSet<_>>()
    };
    let pairs = |pairs: [(&str, &str); 2]| BTreeSet::from(pairs.map(|(folder, name)| (folder.into(), name.into())));
    assert_eq!(built("sqs"), pairs([("functions/consumer", "consumer"), ("functions/ingress", "ingress")]));
    let rabbitmq = "functions/rabbitmq";
    assert_eq!(built("rabbitmq"), pairs([(rabbitmq, "consumer-rabbitmq"), (rabbitmq, "ingress-rabbitmq")]));
}

#[test]
fn only_rabbitmq_builds_contain_an_amqp_client() {
    let check = |broker: &str, expected: bool| {
        for function in plan(broker).functions {
            let mut tree = Command::new(env!("CARGO"));
            tree.current_dir(root().join(&function.code_uri));
            tree.args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{lib}"]);
            let output = tree.output().expect("cargo runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let carries = String::from_utf8_lossy(&output.stdout).lines().any(|name| name.trim() == "lapin");
            assert_eq!(carries, expected, "{} with Broker={broker}", function.logical_id);
        }
    };
    check("sqs", false);
    check("rabbitmq", true);
}

#[test]
fn published_messages_reach_a_consumed_queue() {
    let (plan, topology) = (plan("rabbitmq"), topology());
    let queues = queues_of_the_contract();
    let lookup = |name: &str| ingress(&plan).environment.get(name).cloned();
    let bindings =
        Binding::from_env(queues.iter().map(String::as_str), binding_variable, lookup).expect("every queue is bound");
    let consumed: BTreeSet<_> = plan.mq_mappings.iter().map(|mapping| mapping.queue.as_str()).collect();
    for (name, binding) in bindings {
        let Binding::Rabbitmq { exchange, .. } = binding else { panic!("{name} is not on RabbitMQ") };
        assert!(topology.exchanges().iter().any(|known| known.name == exchange), "{exchange} is in the topology");
        // The exchange gets every event type, so the binding must match all of them.
        let everything = topology.queues().iter().filter(|queue| {
            queue.bindings.iter().any(|binding| binding.exchange == exchange && binding.routing_key == "#")
        });
        let reached: Vec<_> = everything.map(|queue| queue.name.as_str()).collect();
        assert!(!reached.is_empty(), "a queue is bound to every message of {exchange}");
        assert!(reached.iter().all(|queue| consumed.contains(queue)), "{reached:?} are among {consumed:?}");
    }
}

#[test]
fn every_consumed_queue_exists_and_the_consumer_dead_letters_before_rabbitmq() {
    let (plan, topology) = (plan("rabbitmq"), topology());
    assert_eq!(plan.mq_mappings.len(), topology.queues().len(), "each queue has a mapping");
    for mapping in &plan.mq_mappings {
        let queue = topology.queues().iter().find(|queue| queue.name == mapping.queue).expect("the queue exists");
        let consumer = plan.functions.iter().find(|function| function.name == mapping.function).expect("a consumer");
        let receives: u32 = consumer.environment["RABBITMQ_MAX_RECEIVE_COUNT"].parse().expect("a number");
        assert!(receives < queue.delivery_limit, "{}: the consumer dead-letters first, with a reason", queue.name);
        let delays = consumer.environment.get("RABBITMQ_RETRY_DELAYS");
        let delays = delays.map_or_else(queue_names::RetryDelays::default, |delays| {
            queue_names::RetryDelays::parse(delays).expect("delays")
        });
        assert_eq!(queue.retry, delays, "{} has a queue for each retry delay of the consumer", queue.name);
    }
}

#[test]
fn both_functions_and_the_mappings_use_one_virtual_host() {
    let plan = plan("rabbitmq");
    let urls: BTreeSet<_> = plan.functions.iter().map(|function| &function.environment["RABBITMQ_URL"]).collect();
    let [url] = Vec::from_iter(urls)[..] else { panic!("both functions have one URL") };
    let (_, after_host) = url.split_once("/%2F?").expect("the virtual host is /, and so are those of the mappings");
    assert_eq!(after_host, "heartbeat=60");
    assert!(read("infra/queue.yaml").contains("Type: VIRTUAL_HOST, URI: / }"));
}

fn plan(broker: &str) -> StackPlan {
    let settings = Settings {
        parameters: [("Broker".to_owned(), broker.to_owned())].into(),
        queue_url_base: "http://127.0.0.1:4566".into(),
        ..Settings::default()
    };
    StackPlan::read(&root().join("template.yaml").display().to_string(), &read("template.yaml"), &settings)
        .expect("the template is sound")
}

fn ingress(plan: &StackPlan) -> &FunctionPlan {
    plan.functions.iter().find(|function| function.logical_id == "IngressFunction").expect("there is an ingress")
}

fn queues_of_the_contract() -> BTreeSet<String> {
    let yaml = read("functions/ingress/openapi.yaml");
    let contract = Contract::parse("openapi.yaml", &yaml).expect("the contract is sound");
    contract.operations().iter().map(|operation| operation.enqueue.queue.clone()).collect()
}

fn topology() -> Topology {
    let read = sluicegate_local::read_topology(&root().join("template.yaml")).expect("the template is sound");
    read.expect("the template declares queues")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect(path)
}
