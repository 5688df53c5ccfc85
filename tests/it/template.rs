//! Rules for every project: the contract is sound, and the template and the RabbitMQ topology are consistent with it,
//! for every broker.
//!
//! The rules hold here, in a project with further routes and queues, and in one without the example. What is true of
//! the example alone is tested in `functions/ingress/tests/order_example.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use serde_json::{Value, json};
use sluicegate_contract::{Contract, Drift, Operation, binding_variable};
use sluicegate_doctor::{Inventory, examine};
use sluicegate_queue::{Binding, queue_names};
use sluicegate_sam::{FunctionPlan, Notice, Settings, StackPlan, StartingPosition, TemplateDocument};
use sluicegate_topology::Topology;

use crate::support::{project::Project, root};
use crate::tidy;

/// The base of the queues' URLs.
const AWS_URL: &str = "http://127.0.0.1:4566";
/// The broker parameters of a cluster on Amazon MSK.
const MSK: &[(&str, &str)] = &[
    ("KafkaClusterArn", "arn:aws:kafka:us-east-1:000000000000:cluster/orders/0123-abcd-2"),
    ("KafkaBootstrapServers", "b-1.orders.x.c2.kafka.us-east-1.amazonaws.com:9098"),
    ("KafkaSubnetIds", "subnet-0123456789abcdef0,subnet-0123456789abcdef1"),
    ("KafkaSecurityGroupId", "sg-0123456789abcdef0"),
];
/// The broker of the local stack.
const RABBITMQ_URL: &str = "amqp://guest:guest@127.0.0.1:5672/%2F";

/// A rule for the project in a folder.
type Rule = fn(&Path);

const RULES: &[(&str, Rule)] = &[
    ("the contract has neither a fault nor a warning", contract_is_sound),
    ("the template has exactly the routes of the contract", routes_are_those_of_the_contract),
    ("the routes do not depend on the broker", routes_do_not_depend_on_the_broker),
    ("every queue of the contract is bound", every_queue_is_bound),
    ("the functions of each broker are separate builds", builds_are_separate),
    ("the template is a plan with SQS", template_is_a_plan_with_sqs),
    ("the template is a plan with RabbitMQ", template_is_a_plan_with_rabbitmq),
    ("the template is a plan with Kafka", template_is_a_plan_with_kafka),
    ("published messages reach a consumed queue", published_messages_reach_a_consumed_queue),
    ("the consumer dead-letters before RabbitMQ does", consumer_dead_letters_before_rabbitmq),
    ("functions and mappings use one virtual host", one_virtual_host),
    ("doctor finds nothing", doctor_finds_nothing),
    ("the files of the functions are tidy", functions_are_tidy),
];

/// Routes, queues and handlers that a user of this project hardly has.
const ADDED: &[&str] = &[
    "add route 'POST /rule-test/{customer}' --type rule-test.submitted --queue rule-test --scope rule-test.write",
    "add route 'PUT /rule-test/{customer}' --type rule-test.changed --queue rule-test --auth none",
    "add route 'POST /rule-test-hook' --type rule-test-hook.received --queue rule-test-fifo --fifo --auth github",
    "add handler rule-test.submitted",
    "add handler rule-test-hook.received --bytes",
];

fn check(project: &Path) {
    for (name, rule) in RULES {
        println!("{}: {name}", project.display());
        rule(project);
    }
}

#[test]
fn this_project_keeps_the_rules() {
    check(&root());
}

#[test]
fn a_project_with_other_routes_keeps_the_rules() {
    let project = Project::copy();
    for line in ADDED {
        project.succeed(&format!("cargo sluicegate {line}"));
    }
    check(project.path());

    let mut removed = 0;
    for operation in contract(&root()).operations() {
        let edited = ["functions/ingress/openapi.yaml", "template.yaml"];
        let before = edited.map(|path| project.text(path));
        let Operation { method, path, .. } = operation;
        let (code, printed) = project.run(&format!("cargo sluicegate remove route '{method} {path}' --force"));
        assert!(code == 0 || printed.contains("is the last route"), "{method} {path}: {printed}");
        if code == 0 && !printed.contains("has no route now and stays") {
            removed += 1;
            continue;
        }
        // The queue whose parameters the others share stays, so its last route stays too.
        for (path, text) in edited.iter().zip(before) {
            fs::write(project.path().join(path), text).expect("written");
        }
    }
    assert!(removed > 0, "no route could be removed");
    check(project.path());
}

/// Returns a project after sync, whose route of orders has these members.
fn synced_with(members: &str) -> Project {
    let project = Project::copy();
    let contract = "functions/ingress/openapi.yaml";
    let (route, all) = ("        queue: orders\n", project.text(contract));
    assert!(all.contains(route), "{all}");
    fs::write(project.path().join(contract), all.replace(route, &format!("{route}{members}"))).expect("written");
    project.succeed("cargo sluicegate sync");
    project
}

#[test]
fn the_archive_that_sync_writes_is_on_the_broker_that_the_parameter_names() {
    let project = synced_with("        archive: true\n");
    let manifest = project.text("functions/archiver/Cargo.toml");
    assert!(manifest.contains("features = [\"rabbitmq\", \"archiver\"]"), "{manifest}");
    assert!(topology(project.path()).queues().iter().any(|queue| queue.name == "archive"));
    for (broker, binding, receives) in
        [("sqs", "http://127.0.0.1:4566/000000000000/", None), ("rabbitmq", "rabbitmq:/archive", Some("100"))]
    {
        let plan = plan(project.path(), broker);
        assert!(ingress(&plan).environment["QUEUE_ARCHIVE"].starts_with(binding), "{broker}");
        let archiver = plan.functions.iter().find(|function| function.logical_id == "ArchiverFunction");
        let archiver = archiver.expect("there is an archiver");
        assert!(archiver.environment.contains_key("ARCHIVE_BUCKET"), "{broker}");
        assert_eq!(archiver.environment.get("RABBITMQ_MAX_RECEIVE_COUNT").map(String::as_str), receives, "{broker}");
        let from_sqs = plan.mappings.iter().filter(|mapping| mapping.function == archiver.name).count();
        let from_broker = plan.mq_mappings.iter().filter(|mapping| mapping.function == archiver.name);
        let from_broker: Vec<_> = from_broker.map(|mapping| (mapping.queue.as_str(), mapping.batch_size)).collect();
        match receives {
            None => assert_eq!((from_sqs, from_broker), (1, vec![])),
            Some(_) => assert_eq!((from_sqs, from_broker), (0, vec![("archive", 10_000)])),
        }
    }
}

#[test]
fn the_buckets_that_sync_writes_are_encrypted_and_private_and_their_objects_expire() {
    let large = "        archive: true\n        largePayloads: s3\n        payloadBytes: 2000000\n";
    let project = synced_with(large);

    let template = TemplateDocument::parse("template.yaml", &project.text("template.yaml")).expect("a template").value;
    let resources = template["Resources"].as_object().expect("resources");
    let buckets: BTreeMap<_, _> = resources.iter().filter(|(_, it)| it["Type"] == "AWS::S3::Bucket").collect();
    let expected = [("ArchiveBucket", 365, json!("archive/")), ("PayloadBucket", 30, Value::Null)];
    assert_eq!(buckets.len(), expected.len(), "{buckets:?}");
    for (id, days, prefix) in expected {
        let bucket = &resources[id];
        assert_eq!(
            (&bucket["DeletionPolicy"], &bucket["UpdateReplacePolicy"]),
            (&json!("RetainExceptOnCreate"), &json!("Retain"))
        );
        let properties = &bucket["Properties"];
        let encryption = &properties["BucketEncryption"]["ServerSideEncryptionConfiguration"];
        assert_eq!(encryption, &json!([{ "ServerSideEncryptionByDefault": { "SSEAlgorithm": "AES256" } }]), "{id}");
        let blocks = properties["PublicAccessBlockConfiguration"].as_object().expect("four blocks");
        assert_eq!((blocks.len(), blocks.values().all(|block| block == true)), (4, true), "{id}");
        let rules = properties["LifecycleConfiguration"]["Rules"].as_array().expect("rules");
        let rule = (&rules[0]["Status"], &rules[0]["ExpirationInDays"], &rules[0]["Prefix"]);
        assert_eq!((rules.len(), rule), (1, (&json!("Enabled"), &json!(days), &prefix)), "{id}");
    }
}

#[test]
fn each_build_contains_the_client_of_its_broker_alone() {
    // That of RabbitMQ is lapin, that of Kafka is in sluicegate-queue.
    for (broker, clients) in [("sqs", &[][..]), ("rabbitmq", &["lapin", "rabbitmq"]), ("kafka", &["kafka"])] {
        for function in plan(&root(), broker).functions {
            let mut tree = Command::new(env!("CARGO"));
            tree.current_dir(root().join(&function.code_uri));
            tree.args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{lib} {f}"]);
            let output = tree.output().expect("cargo runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            let packages: Vec<_> = printed.lines().filter_map(|line| line.split_once(' ')).collect();
            let has = |client: &&str| {
                let is_feature = |features: &str| features.split([',', ' ']).any(|feature| feature == *client);
                packages
                    .iter()
                    .any(|(name, features)| name == client || *name == "sluicegate_queue" && is_feature(features))
            };
            let found: Vec<_> = ["lapin", "rabbitmq", "kafka"].into_iter().filter(has).collect();
            assert_eq!(found, clients, "{} with Broker={broker}", function.logical_id);
        }
    }
}

fn contract_is_sound(project: &Path) {
    let yaml = read(project, "functions/ingress/openapi.yaml");
    let (contract, warnings) = Contract::parse_with_warnings("openapi.yaml", &yaml).expect("no fault");
    assert_eq!(warnings, []);
    let json = serde_json::to_string(&contract).expect("JSON");
    let embedded: Contract = serde_json::from_str(&json).expect("a contract");
    assert_eq!(embedded.public_document(), "", "it is embedded separately");
    assert_eq!(embedded.with_public_document(contract.public_document().to_owned()), contract);
}

fn routes_are_those_of_the_contract(project: &Path) {
    let plan = plan(project, "sqs");
    let routes: Vec<_> = plan.routes.iter().map(|route| route.key.as_str()).collect();
    assert_eq!(Drift::between(&contract(project), routes.iter().copied()), Drift::default());
    // Requests without a route reach ingress too, which answers 404 and 405 as problem documents.
    assert!(routes.contains(&"$default"), "{routes:?}");
}

fn routes_do_not_depend_on_the_broker(project: &Path) {
    let routes =
        |broker: &str| plan(project, broker).routes.into_iter().map(|route| route.key).collect::<BTreeSet<_>>();
    assert_eq!(routes("rabbitmq"), routes("sqs"));
    assert_eq!(routes("kafka"), routes("sqs"));
}

fn every_queue_is_bound(project: &Path) {
    let check = |broker: &str, is_right: fn(&Binding) -> bool| {
        let bindings = bindings(project, &plan(project, broker));
        assert_eq!(bindings.keys().cloned().collect::<BTreeSet<_>>(), queues_of_the_contract(project));
        assert!(bindings.values().all(is_right), "with Broker={broker}: {bindings:#?}");
    };
    check("sqs", |binding| matches!(binding, Binding::Sqs { .. }));
    check("rabbitmq", |binding| matches!(binding, Binding::Rabbitmq { .. }));
    check("kafka", |binding| matches!(binding, Binding::Kafka { .. }));
}

fn builds_are_separate(project: &Path) {
    let built = |broker: &str| {
        let functions = plan(project, broker).functions.into_iter();
        functions.map(|function| (function.code_uri, function.binary.expect("a name"))).collect::<BTreeSet<_>>()
    };
    let pairs = |pairs: [(&str, &str); 2]| BTreeSet::from(pairs.map(|(folder, name)| (folder.into(), name.into())));
    assert_eq!(built("sqs"), pairs([("functions/consumer", "consumer"), ("functions/ingress", "ingress")]));
    let rabbitmq = "functions/rabbitmq";
    assert_eq!(built("rabbitmq"), pairs([(rabbitmq, "consumer-rabbitmq"), (rabbitmq, "ingress-rabbitmq")]));
    let kafka = "functions/kafka";
    assert_eq!(built("kafka"), pairs([(kafka, "consumer-kafka"), (kafka, "ingress-kafka")]));
}

fn template_is_a_plan_with_sqs(project: &Path) {
    let plan = plan(project, "sqs");
    assert!(plan.notices.iter().all(|notice| matches!(notice, Notice::NotRun { .. })), "{:?}", plan.notices);
    assert!(plan.mappings.iter().all(|mapping| mapping.report_batch_item_failures && mapping.batch_size == 10));
    assert_eq!(ingress(&plan).environment["SECRET_ARN"], plan.secrets[0].arn);
    let mut with_dead_letter_queue = 0;
    for (name, binding) in bindings(project, &plan) {
        let Binding::Sqs { queue_url, .. } = binding else { panic!("{name} is not on SQS") };
        let queue = plan.queues.iter().find(|queue| queue.url == queue_url).expect("a queue of the template");
        let policy: Value = serde_json::from_str(&queue.redrive_attributes["RedrivePolicy"]).expect("JSON");
        let dead = plan.queues.iter().find(|dead| policy["deadLetterTargetArn"] == dead.arn.as_str());
        let dead = dead.expect("a dead-letter queue of the template");
        assert_eq!(dead.fifo, queue.fifo, "{} and its dead-letter queue are of one kind", queue.name);
        with_dead_letter_queue += 1;
    }
    assert_eq!(plan.queues.len(), 2 * with_dead_letter_queue);
    assert_eq!(plan.mappings.len(), with_dead_letter_queue, "each queue has a mapping");
}

fn template_is_a_plan_with_rabbitmq(project: &Path) {
    let environment = BTreeMap::from([("RABBITMQ_URL".to_owned(), RABBITMQ_URL.to_owned())]);
    let plan = plan_in(project, "rabbitmq", environment);
    assert!(plan.queues.is_empty() && plan.mappings.is_empty());
    for function in &plan.functions {
        assert_eq!(function.environment["RABBITMQ_URL"], RABBITMQ_URL, "{}", function.name);
    }
    for mapping in &plan.mq_mappings {
        assert!(mapping.broker_arn.starts_with("arn:aws:mq:us-east-1:000000000000:broker:"), "{}", mapping.broker_arn);
        let settings = (mapping.batch_size, mapping.batching_window.as_millis(), mapping.filters.len());
        assert_eq!(settings, (100, 500, 0), "{}", mapping.queue);
    }
    let mapped = plan.mq_mappings.iter().map(|mapping| mapping.queue.clone());
    assert_eq!(mapped.collect::<BTreeSet<_>>(), queues_of_the_contract(project));
    let others: Vec<_> = plan.notices.iter().filter(|notice| !matches!(notice, Notice::NotRun { .. })).collect();
    // The stack gives it a value, because RABBITMQ_URL is used instead.
    assert!(
        matches!(others[..], [Notice::StandIn { variable, .. }] if variable == "RABBITMQ_SECRET_ARN"),
        "{others:?}"
    );
}

fn template_is_a_plan_with_kafka(project: &Path) {
    let check = |parameters: &[(&str, &str)], cluster: Option<&str>| {
        let plan = plan_with(project, "kafka", parameters, BTreeMap::new());
        assert!(plan.notices.iter().all(|notice| matches!(notice, Notice::NotRun { .. })), "{:?}", plan.notices);
        assert!(plan.queues.is_empty() && plan.mappings.is_empty() && plan.mq_mappings.is_empty());
        let topics = plan.kafka_mappings.iter().map(|mapping| mapping.topic.clone());
        assert_eq!(topics.collect::<BTreeSet<_>>(), queues_of_the_contract(project));
        for mapping in &plan.kafka_mappings {
            assert_eq!((mapping.cluster_arn.as_deref(), mapping.batch_size), (cluster, 100), "{}", mapping.topic);
            assert_eq!((mapping.start, mapping.retries_max), (StartingPosition::TrimHorizon, None));
            // The consumer names the records that failed, and Lambda reads that.
            let consumer =
                plan.functions.iter().find(|function| function.name == mapping.function).expect("a consumer");
            assert!(
                mapping.report_batch_item_failures && consumer.environment["KAFKA_PARTIAL_BATCH_RESPONSE"] == "true"
            );
        }
        let groups: BTreeSet<_> = plan.kafka_mappings.iter().map(|mapping| &mapping.group).collect();
        assert_eq!(groups.len(), plan.kafka_mappings.len(), "each topic has its group");
    };
    check(&[], None);
    check(MSK, Some(MSK[0].1));
}

fn published_messages_reach_a_consumed_queue(project: &Path) {
    let (plan, topology) = (plan(project, "rabbitmq"), topology(project));
    let consumed: BTreeSet<_> = plan.mq_mappings.iter().map(|mapping| mapping.queue.as_str()).collect();
    for (name, binding) in bindings(project, &plan) {
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

fn consumer_dead_letters_before_rabbitmq(project: &Path) {
    let (plan, topology) = (plan(project, "rabbitmq"), topology(project));
    assert_eq!(plan.mq_mappings.len(), topology.queues().len(), "each queue has a mapping");
    for mapping in &plan.mq_mappings {
        let queue = topology.queues().iter().find(|queue| queue.name == mapping.queue).expect("the queue exists");
        let consumer = plan.functions.iter().find(|function| function.name == mapping.function).expect("a consumer");
        let receives: u32 = consumer.environment["RABBITMQ_MAX_RECEIVE_COUNT"].parse().expect("a number");
        let limit = queue.delivery_limit().expect("a quorum queue");
        assert!(receives < limit, "{}: the consumer dead-letters first, with a reason", queue.name);
        let delays = consumer.environment.get("RABBITMQ_RETRY_DELAYS");
        let delays = delays.map_or_else(queue_names::RetryDelays::default, |delays| {
            queue_names::RetryDelays::parse(delays).expect("delays")
        });
        assert_eq!(queue.retry, delays, "{} has a queue for each retry delay of the consumer", queue.name);
    }
}

fn one_virtual_host(project: &Path) {
    let plan = plan(project, "rabbitmq");
    let urls: BTreeSet<_> = plan.functions.iter().map(|function| &function.environment["RABBITMQ_URL"]).collect();
    let [url] = Vec::from_iter(urls)[..] else { panic!("both functions have one URL") };
    let (_, after_host) = url.split_once("/%2F?").expect("the virtual host is /, and so are those of the mappings");
    assert_eq!(after_host, "heartbeat=60");
    assert!(read(project, sluicegate_sam::QUEUE_TEMPLATE).contains("Type: VIRTUAL_HOST, URI: / }"));
}

fn doctor_finds_nothing(project: &Path) {
    for (broker, cluster) in [("sqs", &[][..]), ("rabbitmq", &[]), ("kafka", MSK)] {
        let parameters = parameters(broker, cluster);
        let inventory = Inventory::of_template(&project.join("template.yaml"), &parameters).expect("the template");
        let beside =
            sluicegate_doctor::Project { contract: Some(contract(project)), topology: Some(topology(project)) };
        let report = examine(&inventory, &beside);
        assert_eq!((report.errors, report.warnings), (0, 0), "{broker}\n{report}");
        assert!(report.notes.is_empty(), "{:?}", report.notes);
    }
}

fn functions_are_tidy(project: &Path) {
    let mut paths = vec![project.join("functions")];
    let mut checked = 0;
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path());
            paths.extend(entries.filter(|path| !path.ends_with("target")));
        } else {
            let name = path.strip_prefix(project).expect("below the project").display().to_string();
            assert_eq!(tidy::faults(&name, &fs::read_to_string(&path).expect(&name)), Vec::<String>::new());
            checked += 1;
        }
    }
    assert!(checked > 5, "{checked} files");
}

fn plan(project: &Path, broker: &str) -> StackPlan {
    plan_in(project, broker, BTreeMap::new())
}

/// Returns the plan with the environment of a shell.
fn plan_in(project: &Path, broker: &str, environment: BTreeMap<String, String>) -> StackPlan {
    plan_with(project, broker, &[], environment)
}

/// Returns the plan with more parameters.
fn plan_with(
    project: &Path,
    broker: &str,
    others: &[(&str, &str)],
    environment: BTreeMap<String, String>,
) -> StackPlan {
    let settings = Settings {
        parameters: parameters(broker, others),
        queue_url_base: AWS_URL.into(),
        environment,
        ..Settings::default()
    };
    let file = project.join("template.yaml").display().to_string();
    StackPlan::read(&file, &read(project, "template.yaml"), &settings).expect("the template is sound")
}

/// Returns the parameters of a stack with a broker.
fn parameters(broker: &str, others: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    others.iter().chain(&[("Broker", broker)]).map(own).collect()
}

fn ingress(plan: &StackPlan) -> &FunctionPlan {
    plan.functions.iter().find(|function| function.logical_id == "IngressFunction").expect("there is an ingress")
}

/// Returns where each queue of the contract is.
fn bindings(project: &Path, plan: &StackPlan) -> BTreeMap<String, Binding> {
    let queues = queues_of_the_contract(project);
    let lookup = |name: &str| ingress(plan).environment.get(name).cloned();
    Binding::from_env(queues.iter().map(String::as_str), binding_variable, lookup).expect("every queue is bound")
}

fn contract(project: &Path) -> Contract {
    let yaml = read(project, "functions/ingress/openapi.yaml");
    Contract::parse("openapi.yaml", &yaml).expect("the contract is sound")
}

fn queues_of_the_contract(project: &Path) -> BTreeSet<String> {
    contract(project).queues().into_iter().map(str::to_owned).collect()
}

fn topology(project: &Path) -> Topology {
    let read = sluicegate_local::read_topology(&project.join("template.yaml")).expect("the template is sound");
    read.expect("the template declares queues")
}

fn read(project: &Path, path: &str) -> String {
    fs::read_to_string(project.join(path)).expect(path)
}
