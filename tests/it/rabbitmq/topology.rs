//! The topology file on a real broker: idempotent apply, delays, dead letters.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use http::Method;
use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, BasicPublishOptions, BasicRejectOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use serde_json::{Value, json};
use sluicegate_topology::{Address, ChangeState, Error, Plan, Topology, apply, plan};

use crate::support::rabbitmq::{Message, PATIENCE, Vhost, until};
use crate::support::{command::BINARY, root};

const FILE: &str = "
exchanges:
  orders: { type: topic, alternate-exchange: lost, delays: [1] }
  lost: { type: fanout }
  by-header: { type: headers }
queues:
  orders:
    bindings:
      - { exchange: orders, routing-key: 'order.#' }
      - { exchange: by-header, arguments: { x-match: any, tenant: a, vip: true, level: 3 } }
    delivery-limit: 2
    max-length: 3
    retry: [1]
  lost: { bindings: [{ exchange: lost }], retry: [1] }
policies:
  short: { pattern: '^nothing$', apply-to: queues, priority: 1, definition: { max-length: 10 } }
";

fn topology() -> Topology {
    Topology::parse("topology.yaml", FILE).expect("a sound file")
}

fn address(vhost: &Vhost) -> Address {
    Address::parse(&vhost.url()).expect("an address")
}

/// Returns the number of changes in each state: missing, present, differing, foreign, unseen.
fn states(plan: &Plan) -> [usize; 5] {
    let count = |wanted: fn(&ChangeState) -> bool| plan.changes.iter().filter(|change| wanted(&change.state)).count();
    [
        count(|state| *state == ChangeState::Missing),
        count(|state| *state == ChangeState::Present),
        count(|state| matches!(state, ChangeState::Differs { .. })),
        count(|state| *state == ChangeState::Foreign),
        count(|state| *state == ChangeState::Unseen),
    ]
}

/// 4 exchanges, 2 × (queue, DLQ, retry) + 1 delay queue, 4 bindings, 1 policy.
const ALL: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn missing_objects_are_created_once_and_foreign_ones_are_unchanged() {
    let vhost = Vhost::create().await;
    vhost.declare_exchange("theirs", "topic").await;
    vhost.declare_queue("theirs").await;
    vhost.bind("theirs", "theirs", "#").await;
    vhost.set_policy("theirs", "^theirs$", json!({ "max-length": 5 })).await;
    vhost.publish("theirs", "k", BasicProperties::default(), b"kept").await;
    let (topology, address) = (topology(), address(&vhost));

    let before = plan(&topology, &address).await.expect("a plan");
    assert_eq!((states(&before), before.is_met()), ([ALL, 0, 0, 3, 0], false), "{before}");
    let applied = apply(&topology, &address).await.expect("applied");
    assert_eq!(applied.made().count(), ALL, "{applied}");

    // A foreign binding to a queue of the file.
    vhost.bind("theirs", "orders", "more").await;
    let after = plan(&topology, &address).await.expect("a plan");
    assert_eq!((states(&after), after.is_met()), ([0, ALL, 0, 4, 0], true), "{after}");
    assert!(after.to_string().contains(". binding theirs -> orders (more) (not in the file)"), "{after}");
    let definitions = definitions(&vhost).await;
    let again = apply(&topology, &address).await.expect("applied");
    assert_eq!(again.made().count(), 0, "{again}");
    assert!(again.to_string().contains("nothing was changed"), "{again}");
    assert_eq!(self::definitions(&vhost).await, definitions, "the second apply changes nothing");
    assert_eq!(vhost.until_drained("theirs", 1).await[0].text(), "kept");

    // A policy is changed in place.
    vhost.set_policy("short", "^nothing$", json!({ "max-length": 11 })).await;
    let changed = plan(&topology, &address).await.expect("a plan");
    let shown = "~ policy short: priority wanted 1, actual 0; definition max-length wanted 10, actual 11";
    assert!(changed.to_string().contains(shown), "{changed}");
    let applied = apply(&topology, &address).await.expect("applied");
    assert!(applied.to_string().contains("changed policy short"), "{applied}");
    assert!(plan(&topology, &address).await.expect("a plan").is_met());
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn every_queue_that_dead_letters_does_so_at_least_once() {
    let vhost = Vhost::create().await;
    apply(&topology(), &address(&vhost)).await.expect("applied");
    let queues = vhost.manage(Method::GET, &format!("queues/{}", vhost.name()), None).await;
    let queues = queues.as_array().expect("queues");
    assert_eq!(queues.len(), 7);
    for queue in queues {
        let name = queue["name"].as_str().expect("a name");
        let arguments = &queue["arguments"];
        assert_eq!((&queue["type"], &queue["durable"]), (&json!("quorum"), &json!(true)), "{name}");
        assert_eq!(arguments["x-overflow"], "reject-publish", "{name}");
        assert!(arguments["x-delivery-limit"].is_u64(), "{name}: 4.0 and later would take 20");
        let strategy = &arguments["x-dead-letter-strategy"];
        assert_eq!(*strategy, if name.ends_with(".dlq") { Value::Null } else { json!("at-least-once") }, "{name}");
        assert_ne!(queue["effective_policy_definition"]["dead-letter-strategy"], "at-most-once", "{name}");
    }
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_queue_with_other_arguments_is_explained_and_nothing_is_created() {
    let vhost = Vhost::create().await;
    let classic = json!({ "durable": true, "arguments": { "x-max-length": 9, "x-max-priority": 3 } });
    vhost.manage(Method::PUT, &format!("queues/{}/orders", vhost.name()), Some(classic)).await;
    vhost.publish("", "orders", BasicProperties::default(), b"kept").await;
    vhost.declare_exchange("orders", "direct").await;
    let before = definitions(&vhost).await;
    let with = address(&vhost);
    for (address, shown) in [
        (
            with.clone(),
            &[
                "! exchange orders: type wanted topic, actual direct; alternate-exchange wanted lost, actual none",
                "! queue orders: ",
                "x-max-length wanted 3, actual 9",
                "x-max-priority wanted none, actual 3",
                "x-queue-type wanted quorum, actual none",
            ][..],
        ),
        // RabbitMQ's error names only the first argument.
        (
            with.without_management(),
            &["! exchange orders: type wanted topic, actual direct", "! queue orders: x-", "wanted"][..],
        ),
    ] {
        let error = apply(&topology(), &address).await.expect_err("a conflict");
        let Error::Conflict(changes) = &error else { panic!("{error}") };
        assert_eq!(changes.len(), 2, "{error}");
        let text = error.to_string();
        for part in shown.iter().chain(&["406 PRECONDITION_FAILED", "drain", "by hand", "policy"]) {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        assert_eq!(definitions(&vhost).await, before, "nothing was created or changed");
    }
    assert_eq!(vhost.until_drained("orders", 1).await[0].text(), "kept");
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn without_a_management_api_everything_but_policies_is_created_and_reported() {
    let vhost = Vhost::create().await;
    // A broker without a reachable management port: only AMQP is forwarded.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (port, broker) = (listener.local_addr().expect("an address").port(), vhost.port());
    let forwarding = tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = tokio::net::TcpStream::connect(("127.0.0.1", broker)).await.expect("the broker");
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    });
    let private = Address::parse(&vhost.url_at(port)).expect("an address");
    let topology = topology();
    let before = plan(&topology, &private).await.expect("a plan");
    assert_eq!((states(&before), before.is_met()), ([11, 0, 0, 0, 5], false), "{before}");
    assert!(before.to_string().contains("no management API"), "{before}");
    assert_eq!(definitions(&vhost).await["queues"], json!([]), "a plan creates nothing");
    let applied = apply(&topology, &private).await.expect("applied");
    assert!(applied.to_string().contains("policies were not checked"), "{applied}");
    let after = plan(&topology, &private).await.expect("a plan");
    assert_eq!((states(&after), after.is_met()), ([0, 11, 0, 0, 5], true), "{after}");
    assert_eq!(apply(&topology, &private).await.expect("applied").made().count(), 0);
    forwarding.abort();
    // Visible only to the management API: the bindings exist, the policy does not.
    let seen = plan(&topology, &address(&vhost)).await.expect("a plan");
    assert_eq!(states(&seen), [1, ALL - 1, 0, 0, 0], "{seen}");
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn delayed_messages_arrive_after_their_delay() {
    let vhost = Vhost::create().await;
    apply(&topology(), &address(&vhost)).await.expect("applied");
    let started = Instant::now();
    vhost.publish("", "orders.retry.1s", BasicProperties::default().with_message_id("retried".into()), b"r").await;
    vhost.publish("orders.delay.1s", "order.placed", BasicProperties::default(), b"delayed").await;
    assert_eq!(vhost.ready("orders").await, 0, "not at once");
    let mut messages = vhost.until_drained("orders", 2).await;
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    messages.sort_by(|a, b| a.body.cmp(&b.body));
    let places = |message: &Message| (message.exchange.clone(), message.routing_key.clone());
    assert_eq!(places(&messages[0]), ("orders".into(), "order.placed".into()), "the routing key is unchanged");
    assert_eq!((messages[1].message_id.as_deref(), messages[1].text()), (Some("retried"), "r"));
    // Unroutable messages go to the alternate exchange.
    vhost.publish("orders", "else", BasicProperties::default(), b"lost").await;
    assert_eq!(vhost.until_drained("lost", 1).await[0].text(), "lost");
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn messages_rejected_expired_or_delivered_too_often_are_dead_lettered() {
    let vhost = Vhost::create().await;
    apply(&topology(), &address(&vhost)).await.expect("applied");
    let channel = vhost.channel().await;

    vhost.publish("orders", "order.a", BasicProperties::default(), b"rejected").await;
    reject(&channel, "orders", false).await;
    expect_dead(&vhost, "rejected", "rejected").await;

    let short = BasicProperties::default().with_expiration("1".into());
    vhost.publish("orders", "order.a", short, b"expired").await;
    expect_dead(&vhost, "expired", "expired").await;

    vhost.publish("orders", "order.a", BasicProperties::default(), b"tried").await;
    // The delivery limit is 2: the third return dead-letters the message.
    for _ in 0..3 {
        reject(&channel, "orders", true).await;
    }
    expect_dead(&vhost, "tried", "delivery_limit").await;
    assert_eq!(vhost.ready("orders").await, 0);
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn nothing_is_dropped_by_a_full_queue_or_a_missing_dead_letter_queue() {
    let vhost = Vhost::create().await;
    let (topology, address) = (topology(), address(&vhost));
    apply(&topology, &address).await.expect("applied");
    let channel = vhost.channel().await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    // A quorum queue may accept a few messages above its limit.
    let refused = until("a full queue refuses", PATIENCE, async || {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let sent = channel.basic_publish("".into(), "orders".into(), options, b"x", BasicProperties::default()).await;
        let confirm = sent.expect("the channel is open").await.expect("a confirm");
        (!matches!(confirm, Confirmation::Ack(None))).then_some(confirm)
    });
    assert!(matches!(refused.await, Confirmation::Nack(None)), "the publish is refused");
    assert!(vhost.ready("orders").await >= 3);

    vhost.publish("", "lost", BasicProperties::default(), b"kept").await;
    vhost.delete_queue("lost.dlq").await;
    reject(&channel, "lost", false).await;
    let missing = plan(&topology, &address).await.expect("a plan");
    assert_eq!(states(&missing)[0], 1, "{missing}");
    // At-least-once: the message stays in its queue until the dead-letter queue exists.
    until("the message is counted with its source", PATIENCE, async || {
        (vhost.counts().await["lost"] == 1).then_some(())
    })
    .await;
    assert_eq!(apply(&topology, &address).await.expect("applied").made().count(), 1);
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn the_command_reports_by_its_exit_code_and_never_prints_a_password() {
    let vhost = Vhost::create().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("topology.yaml");
    std::fs::write(&file, FILE).expect("written");
    let file = file.to_str().expect("UTF-8");
    let url = vhost.url();
    check(&["plan", "--file", file, "--url", &url], 0, &["+ queue orders.dlq", "16 to create"]);
    check(&["check", "--file", file, "--url", &url], 1, &["+ queue orders.dlq"]);
    check(&["apply", "--file", file, "--url", &url], 0, &["created queue orders.retry.1s", "16 created or changed"]);
    check(&["apply", "--file", file, "--url", &url], 0, &["nothing was changed"]);
    check(&["check", "--file", file, "--url", &url], 0, &["= policy short", "0 to create, 0 to change, 16 unchanged"]);
    let printed = check(&["check", "--json", "--file", file, "--url", &url], 0, &[]);
    let plan: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(
        (&plan["met"], &plan["vhost"], &plan["managementAbsent"]),
        (&json!(true), &json!(vhost.name()), &Value::Null)
    );
    assert_eq!(plan["changes"][0], json!({ "kind": "exchange", "name": "orders", "state": "present" }));
    vhost.delete_queue("lost.dlq").await;
    let printed = check(&["plan", "--json", "--file", file, "--url", &url], 0, &[]);
    assert!(printed.contains(r#""state": "missing""#), "{printed}");

    std::fs::write(file, FILE.replace("retry: [1]", "retry: [0]")).expect("written");
    check(
        &["plan", "--file", file, "--url", &url],
        1,
        &["2 fault(s)", ":13: /queues/orders/retry: must be whole seconds"],
    );
    std::fs::write(file, FILE).expect("written");
    let shipped = file;
    check(&["plan", "--url", &url], 0, &["+ exchange webhooks", "+ queue webhooks.retry.1s"]);
    check(&["plan", "--file", "nowhere.yaml", "--url", &url], 1, &["cannot read nowhere.yaml"]);
    check(&["plan", "--file", shipped, "--url", "http://me:secret@h"], 2, &["amqps://HOST:PORT/VHOST"]);
    check(&["plan", "--file", shipped, "--url", &url, "--nonsense"], 2, &["--nonsense"]);
    let wrong = format!("amqp://unknown:secret@127.0.0.1:{}", vhost.port());
    check(&["plan", "--file", shipped, "--url", &wrong], 1, &["401 Unauthorized"]);
    check(&["plan", "--file", shipped, "--url", &wrong, "--management-url", "none"], 1, &["ACCESS_REFUSED"]);
    check(
        &["plan", "--file", shipped, "--url", &url, "--vhost", "no/where"],
        1,
        &["there is no virtual host no/where"],
    );
    let no_host = ["plan", "--file", shipped, "--url", &url, "--vhost", "no/where", "--management-url", "none"];
    check(&no_host, 1, &["no/where"]);
    check(&["plan", "--file", shipped, "--url", "amqp://me:secret@127.0.0.1:1"], 1, &["cannot be reached"]);
    vhost.delete().await;
}

// ---- helpers
// -----------------------------------------------------------------------------------------------------------

/// Runs `sluicegate topology`. Returns its output.
fn check(arguments: &[&str], code: i32, says: &[&str]) -> String {
    let mut command = Command::new(&*BINARY);
    let output = command.arg("topology").args(arguments).current_dir(root()).output();
    let Output { status, stdout, stderr } = output.expect("the command runs");
    let printed = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert_eq!(status.code(), Some(code), "{arguments:?} printed\n{printed}");
    assert!(!printed.contains("secret") && !printed.contains("guest:guest"), "{arguments:?} printed\n{printed}");
    for text in says {
        assert!(printed.contains(text), "{arguments:?} lacks {text:?}; it printed\n{printed}");
    }
    printed
}

/// Returns the definitions of the virtual host, without message counts.
async fn definitions(vhost: &Vhost) -> Value {
    let mut definitions = vhost.manage(Method::GET, &format!("definitions/{}", vhost.name()), None).await;
    for kind in ["queues", "exchanges", "bindings", "policies"] {
        definitions[kind].as_array_mut().expect("a list").sort_by_key(ToString::to_string);
    }
    definitions
}

/// Takes the next message of a queue and rejects it.
async fn reject(channel: &Channel, queue: &str, requeue: bool) {
    let got = until("there is a message to reject", PATIENCE, async || {
        channel.basic_get(queue.into(), BasicGetOptions::default()).await.expect("the channel is open")
    });
    got.await.reject(BasicRejectOptions { requeue }).await.expect("the channel is open");
}

/// Checks that the dead-letter queue of `orders` has one message with this reason.
async fn expect_dead(vhost: &Vhost, text: &str, reason: &str) {
    let dead = vhost.until_drained("orders.dlq", 1).await;
    assert_eq!((dead.len(), dead[0].text()), (1, text));
    assert_eq!(dead[0].header_text("x-first-death-reason"), Some(reason));
    assert_eq!(dead[0].header_text("x-first-death-queue"), Some("orders"));
}
