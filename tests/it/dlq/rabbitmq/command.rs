//! The command `sluicegate dlq … --rabbitmq-url` as a process.

use std::collections::BTreeSet;

use lapin::BasicProperties;
use serde_json::Value;

use super::super::binary::{dlq, ran};
use super::{dead_letter, long, table, vhost};
use crate::rabbitmq::consumer;
use crate::support::rabbitmq::{PATIENCE, Vhost, until};

/// Returns the command with the address of this virtual host.
fn on(vhost: &Vhost, arguments: &[&str]) -> tokio::process::Command {
    let mut command = dlq(arguments);
    command.args(["--rabbitmq-url", &vhost.url()]);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn dead_letters_are_listed_redriven_by_a_filter_corrected_and_purged() {
    let vhost = vhost("quorum").await;
    let source = format!("q::{}", vhost.name());
    for (id, event_type, reason) in
        [("1", "order.placed", "bad card"), ("2", "order.placed", "no stock"), ("3", "order.paid", "bad card")]
    {
        let (properties, body) = consumer::envelope(id, event_type);
        let mut headers = table([("sluicegate-reason", long(reason)), ("sluicegate-source", long(&source))]);
        if reason == "no stock" {
            headers.insert("sluicegate-code".into(), long("out_of_stock"));
        }
        vhost.publish("", "q.dlq", properties.with_headers(headers), &body).await;
    }
    vhost.publish("", "q.dlq", BasicProperties::default(), b"\xff raw").await;

    let queues = ran(on(&vhost, &["list", "--json"])).await.expect(0, &["q.dlq"]);
    assert!(!queues.out.contains("guest") && !queues.err.contains("guest"), "{queues:?}");
    // What a command has read is back on the queue soon after it has ended.
    let read = async |arguments: &[&str]| {
        vhost.until_ready("q.dlq", 4).await;
        ran(on(&vhost, arguments)).await
    };
    read(&["list", "q.dlq"]).await.expect(0, &["bad card", "out_of_stock  no stock", "no reason recorded"]);
    read(&["list", "q.dlq", "--each", "--code", "out_of_stock"]).await.expect(0, &["1 of the 4", "no stock"]);
    let each = read(&["list", "q.dlq", "--each", "--json"]).await.expect(0, &[]);
    let each: Vec<Value> = each.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(each.len(), 4, "{each:#?}");
    assert_eq!(each[1]["id"], "2");
    read(&["show", "q.dlq", "2"]).await.expect(0, &["no stock", "order.placed"]);

    let arguments = ["redrive", "q.dlq", "--type", "order.placed", "--reason", "card"];
    read(&[&arguments[..], &["--dry-run"]].concat()).await.expect(0, &["q"]);
    assert_eq!(vhost.ready("q").await, 0);
    read(&arguments).await.expect(0, &[]);
    let sent = vhost.until_drained("q", 1).await;
    assert_eq!(sent[0].message_id.as_deref(), Some("1"));
    vhost.until_ready("q.dlq", 3).await;
    ran(on(&vhost, &["edit", "q.dlq", "3", "--set", "subject=\"corrected\""])).await.expect(0, &["3"]);
    assert!(vhost.until_drained("q", 1).await[0].text().contains("\"subject\":\"corrected\""));
    ran(on(&vhost, &["redrive", "q.dlq", "--to", "gone"])).await.expect(1, &["the queue gone does not exist"]);
    vhost.until_ready("q.dlq", 2).await;
    ran(on(&vhost, &["purge", "q.dlq", "--reason", "stock", "--yes"])).await.expect(0, &[]);
    let left = vhost.until_drained("q.dlq", 1).await;
    assert_eq!(left[0].body, b"\xff raw");
    ran(on(&vhost, &["list", "missing.dlq"])).await.expect(1, &["the queue missing.dlq does not exist"]);
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_redrive_that_is_killed_repeatedly_loses_no_message() {
    let vhost = vhost("quorum").await;
    let count = 1_000;
    dead_letter(&vhost, count).await;
    let mut killed = 0;
    loop {
        let before = vhost.ready("q").await;
        let mut command = on(&vhost, &["redrive", "q.dlq"]).spawn().expect("the command starts");
        // A random moment of the redrive.
        let enough = before + fastrand::u32(1..300);
        let ended = until("it works or ends", PATIENCE, async || {
            let ended = command.try_wait().expect("its state is known");
            (ended.is_some() || vhost.ready("q").await >= enough).then_some(ended)
        })
        .await;
        if let Some(status) = ended {
            assert!(status.success(), "{status}");
            break;
        }
        command.kill().await.expect("killed");
        killed += 1;
        until("the broker has returned the messages in flight", PATIENCE, async || {
            vhost.connections("sluicegate").await.is_empty().then_some(())
        })
        .await;
    }
    let messages = vhost.drain("q").await;
    let ids: BTreeSet<_> = messages.iter().filter_map(|message| message.message_id.clone()).collect();
    println!("{killed} killed; {} repeats", messages.len() - count);
    assert!(killed >= 2, "only {killed} redrives were killed, at least 2 are needed");
    assert_eq!(ids.len(), count, "every message is still there");
    assert!(messages.len() - count <= killed * 10, "no more duplicates than messages in flight");
    assert_eq!(vhost.ready("q.dlq").await, 0);
    vhost.delete().await;
}
