//! The first programs of the RabbitMQ tutorial (`tests/peers/rabbitmq/declare_*`): they declare a queue with defaults,
//! publish without properties, and consume with automatic acknowledgements.
//!
//! The stack is `tests/tutorial/template.yaml` with `tests/tutorial/infra/topology.yaml`.

use http::StatusCode;
use sluicegate_envelope::Envelope;
use sluicegate_topology::{Address, Error, Topology, apply, plan};

use super::interop::{Program, command};
use crate::e2e::{deliver, github_payload, placed};
use crate::support::forward::ForwardServer;
use crate::support::rabbitmq::{PATIENCE, Vhost};
use crate::support::root;
use crate::support::stack::Stack;

const QUEUE: &str = "order_queue";
const ORDER: &str = "Order ID: 12345";

async fn stack(vhost: &Vhost, endpoint: &ForwardServer) -> Stack {
    let template = root().join("tests/tutorial/template.yaml");
    let forward_url = format!("ForwardUrl={}", endpoint.url);
    let arguments = [
        ["--template", template.to_str().expect("UTF-8")],
        ["--rabbitmq-url", &vhost.url()],
        ["--parameter", &forward_url],
    ];
    Stack::start(arguments.as_flattened(), &[]).await
}

/// Waits until the endpoint has `count` events, and returns them.
async fn events(stack: &Stack, endpoint: &ForwardServer, count: usize) -> Vec<Envelope> {
    let decoded = |body: &[u8]| Envelope::decode(std::str::from_utf8(body).expect("UTF-8")).expect("a CloudEvent");
    let forwarded = stack
        .until(&format!("{count} events are forwarded"), PATIENCE, async || {
            Some(endpoint.received(|_| true)).filter(|events| events.len() >= count)
        })
        .await;
    forwarded.iter().map(|event| decoded(&event.body)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, pika and amqplib, which ./tests/run brings"]
async fn a_queue_that_the_first_producer_declares_is_consumed_and_its_failures_are_kept() {
    let vhost = Vhost::create().await;
    // The program declares the queue before there is a stack.
    Program::start("declare_and_send.py", &[&vhost.url(), QUEUE, ORDER]).end().await;
    let endpoint = ForwardServer::start(|event| match event.says("cG9pc29u") || event.says("poison") {
        true => StatusCode::INTERNAL_SERVER_ERROR,
        false => StatusCode::OK,
    })
    .await;
    let stack = stack(&vhost, &endpoint).await;
    let first = &events(&stack, &endpoint, 1).await[0];
    assert_eq!((first.event_type(), first.content_type()), ("rabbitmq.message", None));
    assert_eq!(&*first.payload(), ORDER.as_bytes());
    assert!(first.source().ends_with("/order_queue"), "{}", first.source());

    // The queue exists now, and the declarations of both programs are accepted.
    Program::start("declare_and_send.js", &[&vhost.url(), QUEUE, ORDER]).end().await;
    assert_eq!(&*events(&stack, &endpoint, 2).await[1].payload(), ORDER.as_bytes());
    let id = placed(&stack, "o-1", "c-1").await;
    let placed = &events(&stack, &endpoint, 3).await[2];
    assert_eq!((placed.event_type(), placed.id()), ("order.placed", id.as_str()), "a route publishes to it");

    // The retry and dead-letter queues are durable quorum queues of the topology.
    Program::start("declare_and_send.py", &[&vhost.url(), QUEUE, "poison"]).end().await;
    let dead = &vhost.until_drained("order_queue.dlq", 1).await[0];
    assert_eq!((dead.text(), dead.header_number("sluicegate-receive-count")), ("poison", Some(2)));
    let reason = dead.header_text("sluicegate-reason").expect("a reason");
    assert!(reason.starts_with("receives exhausted after 2: "), "{reason}");
    stack.stop().await;
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, pika and amqplib, which ./tests/run brings"]
async fn the_first_consumers_read_what_a_route_publishes_to_the_queue_they_declare() {
    let vhost = Vhost::create().await;
    let endpoint = ForwardServer::start(|_| StatusCode::OK).await;
    let stack = stack(&vhost, &endpoint).await;
    for name in ["declare_and_receive.py", "declare_and_receive.js"] {
        let mut program = Program::start(name, &[&vhost.url(), "hello"]);
        assert_eq!(program.line().await, " [*] Waiting for messages", "{name}");
        let payload = github_payload("ping");
        let (status, body) = deliver(&stack, "ping", name, &payload, &payload).await;
        assert_eq!(status, 202, "{body}\n{}", stack.printed());
        let envelope = Envelope::decode(program.message().await.as_str().expect("text")).expect("a CloudEvent");
        assert_eq!((envelope.id(), &*envelope.payload()), (body["id"].as_str().expect("an id"), &*payload), "{name}");
    }
    stack.stop().await;
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, pika and amqplib, which ./tests/run brings"]
async fn a_declaration_that_differs_from_the_topology_is_refused_on_both_sides() {
    let vhost = Vhost::create().await;
    let address = Address::parse(&vhost.url()).expect("an address");
    let topology = |text: &str| Topology::parse("topology.yaml", text).expect("a sound file");
    let durable = topology("queues: { orders: { retry: [1] } }");
    apply(&durable, &address).await.expect("applied");
    for name in ["declare_and_send.py", "declare_and_send.js"] {
        let output = command(name, &[&vhost.url(), "orders", ORDER]).output().await.expect("it runs");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{name}");
        let refusal = "inequivalent arg 'durable' for queue 'orders'";
        assert!(errors.contains("406") && errors.contains(refusal), "{name}: {errors}");
        assert!(errors.contains("received 'false' but current is 'true'"), "{name}: {errors}");
    }
    // Without the declaration, the producer publishes.
    Program::start("send.py", &[&vhost.url(), "orders", ORDER]).end().await;
    assert_eq!(vhost.until_drained("orders", 1).await[0].text(), ORDER);

    // A program was first: its queue is as the file says, or `apply` names the difference.
    Program::start("declare_and_send.py", &[&vhost.url(), QUEUE, ORDER]).end().await;
    for address in [address.clone(), address.without_management()] {
        let same = topology("queues: { order_queue: { type: classic, durable: false, retry: [1] } }");
        apply(&same, &address).await.expect("applied");
        assert!(plan(&same, &address).await.expect("a plan").is_met());
        let other = topology("queues: { order_queue: { type: classic, durable: true, retry: [1] } }");
        let error = apply(&other, &address).await.expect_err("a conflict");
        assert!(matches!(error, Error::Conflict(_)), "{error}");
        assert!(error.to_string().contains("! queue order_queue: durable wanted true, actual false"), "{error}");
    }
    assert_eq!(vhost.until_drained(QUEUE, 1).await[0].text(), ORDER, "the program's message is still there");
    vhost.delete().await;
}
