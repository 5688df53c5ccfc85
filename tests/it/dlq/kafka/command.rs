//! The command `sluicegate dlq … --kafka-url` as a process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::binary::{dlq, ran};
use super::dead_letter;
use crate::kafka::cluster;
use crate::support::kafka::{Broker, Login, PASSWORD, Record, USER, program};
use crate::support::service::emulator_with;

/// Returns the command with the address of this broker.
fn on(servers: &str, arguments: &[&str]) -> tokio::process::Command {
    let mut command = dlq(arguments);
    command.args(["--kafka-url", servers]).env("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT");
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn dead_letters_are_listed_redriven_by_a_filter_corrected_and_purged() {
    let broker = Broker::start(&["orders:1", "orders.dlq:1", "alone.dlq:2"]).await;
    let (servers, direct) = (broker.servers(), cluster(&broker.servers()));
    for letter in [
        ["1", "order.placed", "a", "bad card", "card_bad"],
        ["2", "order.placed", "b", "no stock", "out_of_stock"],
        ["3", "order.paid", "c", "bad card", "card_bad"],
    ] {
        dead_letter(&direct, letter).await;
    }
    program("send.py", &[&servers, "orders.dlq", "raw"]).await;

    let queues = ran(on(&servers, &["list", "--json"])).await.expect(0, &[]);
    let queues: Value = serde_json::from_str(&queues.out).expect("JSON");
    let listed = |queue: &str, messages: u32, sources: &[&str]| json!({ "queue": queue, "messages": messages, "sources": sources });
    assert_eq!(queues, json!([listed("alone.dlq", 0, &[]), listed("orders.dlq", 4, &["orders"])]));
    ran(on(&servers, &["list", "orders.dlq"]))
        .await
        .expect(0, &["out_of_stock  no stock", "no reason recorded", "4 of the 4"]);
    let each = ran(on(&servers, &["list", "orders.dlq", "--each", "--json"])).await.expect(0, &[]);
    let each: Vec<Value> = each.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let facts: Vec<_> = each.iter().map(|letter| (&letter["id"], &letter["broker_id"], &letter["group"])).collect();
    assert_eq!(facts[1], (&json!("2"), &json!("orders.dlq:0:1"), &json!("b")));
    ran(on(&servers, &["list", "orders.dlq", "--each", "--code", "out_of_stock"])).await.expect(0, &["1 of the 4"]);
    ran(on(&servers, &["show", "orders.dlq", "orders.dlq:0:1"]))
        .await
        .expect(0, &["no stock", "order.placed", "record.key"]);

    let arguments = ["redrive", "orders.dlq", "--type", "order.placed", "--reason", "card"];
    ran(on(&servers, &[&arguments[..], &["--dry-run"]].concat()))
        .await
        .expect(0, &["to orders", "1 would be redriven of 1"]);
    assert!(broker.records("orders").await.is_empty());
    ran(on(&servers, &arguments)).await.expect(0, &["1 redriven of 1 that match, 4 looked at"]);
    let set = ["--set", "subject=\"corrected\"", "--set", "/n=2"];
    ran(on(&servers, &[&["edit", "orders.dlq", "3"], &set[..]].concat()))
        .await
        .expect(0, &["corrected and redriven: 3"]);
    let sent = broker.records("orders").await;
    assert_eq!(sent.iter().map(Record::event_id).collect::<Vec<_>>(), ["1", "3"]);
    let body = String::from_utf8_lossy(&sent[1].value).into_owned();
    assert!(body.contains(r#"{"n": 2}"#) && body.contains(r#""subject":"corrected""#), "{body}");
    assert_eq!((&sent[1].headers["ce_subject"], sent[1].key.as_deref()), (&json!("corrected"), Some("c")));

    ran(on(&servers, &["redrive", "orders.dlq", "--to", "gone"])).await.expect(1, &["the topic gone does not exist"]);
    ran(on(&servers, &["purge", "orders.dlq", "--reason", "stock", "--yes"]))
        .await
        .expect(0, &["1 deleted of 1 that match, 2 looked at"]);
    ran(on(&servers, &["list", "orders.dlq"])).await.expect(0, &["1 of the 1", "no reason recorded"]);
    ran(on(&servers, &["list", "missing.dlq"]))
        .await
        .expect(1, &["the cluster has no topic missing.dlq", "help: check the topic's name"]);
    ran(on("nonsense", &["list"])).await.expect(2, &["--kafka-url is not a list of HOST:PORT"]);
    let mut both = dlq(&["list"]);
    both.env("KAFKA_BOOTSTRAP_SERVERS", &servers).env("RABBITMQ_URL", "amqp://127.0.0.1:1");
    ran(both).await.expect(2, &["pass --rabbitmq-url or --kafka-url"]);
    let mut variable = dlq(&["list"]);
    variable.env("KAFKA_BOOTSTRAP_SERVERS", &servers).env("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT");
    ran(variable).await.expect(0, &["orders.dlq"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn a_redrive_that_is_killed_repeatedly_loses_no_message() {
    const COUNT: usize = 600;
    let broker = Broker::start(&["orders:1", "orders.dlq:3"]).await;
    let direct = cluster(&broker.servers());
    for number in 0..COUNT {
        let (id, key) = (number.to_string(), format!("k-{number}"));
        dead_letter(&direct, [&id, "order.placed", &key, "bad card", "card_bad"]).await;
    }
    let reader = sluicegate_queue::kafka::PartitionReader::new(direct, "orders", 0);
    let redriven = async || reader.offset(sluicegate_queue::kafka::Position::End).await.expect("the end");
    let mut killed = 0;
    loop {
        // A random moment of the redrive.
        let enough = redriven().await + fastrand::i64(1..200);
        let mut command = on(&broker.servers(), &["redrive", "orders.dlq"]).spawn().expect("the command starts");
        let ended = loop {
            let ended = command.try_wait().expect("its state is known");
            if ended.is_some() || redriven().await >= enough {
                break ended;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        if let Some(status) = ended {
            assert!(status.success(), "{status}");
            break;
        }
        command.kill().await.expect("killed");
        killed += 1;
    }
    let sent: Vec<_> = broker.records("orders").await.iter().map(Record::event_id).collect();
    println!("{killed} killed; {} repeats", sent.len() - COUNT);
    assert!(killed >= 2, "only {killed} redrives were killed, at least 2 are needed");
    assert_eq!(sent.iter().collect::<BTreeSet<_>>().len(), COUNT, "every message is there");
    assert!(sent.len() - COUNT <= killed * 10, "no more repeats than messages in flight");
    ran(on(&broker.servers(), &["list", "orders.dlq"])).await.expect(0, &["0 of the 0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn a_user_of_a_secret_and_a_role_log_in_with_the_functions_variables() {
    let broker = Broker::start(&["orders.dlq:1"]).await;
    let secret = json!({ "username": USER, "password": PASSWORD }).to_string();
    let endpoint = emulator_with(Arc::new(move |name: &str| (name == "kafka").then(|| secret.clone()))).await;
    for (mechanism, variables) in [
        ("SCRAM-SHA-512", &[("KAFKA_SECRET_ARN", "kafka")][..]),
        ("OAUTHBEARER", &[("KAFKA_SASL_MECHANISM", "AWS_MSK_IAM")]),
    ] {
        let login = Login::start(&broker, mechanism, &[]).await;
        let mut command = dlq(&["list", "--kafka-url", &login.servers("127.0.0.1")]);
        command.args(["--endpoint-url", &endpoint, "--region", "eu-west-1"]);
        command.env("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT").envs(variables.iter().copied());
        command.env("AWS_ACCESS_KEY_ID", USER).env("AWS_SECRET_ACCESS_KEY", PASSWORD);
        command.env("AWS_SESSION_TOKEN", "session+token/=");
        let listed = ran(command).await.expect(0, &["orders.dlq"]);
        assert!(!listed.err.contains(PASSWORD), "{listed:?}");
        assert!(!login.log().is_empty(), "{mechanism}");
    }
}
