//! The whole path on RabbitMQ: `cargo local` with a running broker or a private one.

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::{WAY_TIME_MAX, placed, placed_with_mates};
use crate::support::forward::ForwardServer;
use crate::support::rabbitmq::Vhost;
use crate::support::root;
use crate::support::stack::{Stack, steps};

/// The time limit of five receives, one second apart.
const GIVE_UP_TIME_MAX: Duration = Duration::from_secs(40);

/// A topology with a retry delay of one second.
const TOPOLOGY: &str = "
exchanges:
  orders: { type: topic }
  webhooks: { type: topic }
queues:
  orders:
    bindings: [{ exchange: orders, routing-key: 'order.#' }]
    delivery-limit: 20
    retry: [1]
  webhooks:
    bindings: [{ exchange: webhooks, routing-key: '#' }]
    delivery-limit: 20
    retry: [1]
";

/// A folder with the project's template and the topology of the test.
pub(super) struct Files {
    _folder: tempfile::TempDir,
    template: PathBuf,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let template = std::fs::read_to_string(root().join("template.yaml")).expect("the template");
        let functions = root().join("functions");
        let template = template.replace("Folder: functions", &format!("Folder: {}", functions.display()));
        let limit = "RABBITMQ_MAX_RECEIVE_COUNT: !If [UsesRabbitmq, '5', !Ref AWS::NoValue]\n";
        assert!(template.contains(limit), "the template says how often a message is received");
        let template = template.replace(limit, &format!("{limit}          RABBITMQ_RETRY_DELAYS: '1'\n"));
        std::fs::create_dir(folder.path().join("infra")).expect("a folder");
        for nested in ["infra/broker.yaml", "infra/monitoring.yaml", "infra/queue.yaml"] {
            std::fs::copy(root().join(nested), folder.path().join(nested)).expect("copied");
        }
        std::fs::write(folder.path().join("infra/topology.yaml"), TOPOLOGY).expect("a file");
        let path = folder.path().join("template.yaml");
        std::fs::write(&path, template).expect("a file");
        Self { _folder: folder, template: path }
    }
}

/// A stack on a new virtual host.
pub(super) async fn start(vhost: &Vhost, forward: &ForwardServer, arguments: &[&str]) -> (Stack, Files) {
    let files = Files::new();
    let url = vhost.url();
    let mut all = vec!["--rabbitmq-url", &url, "--template", files.template.to_str().expect("UTF-8")];
    all.extend(arguments);
    (Stack::start(&all, &[("FORWARD_URL", &forward.url)]).await, files)
}

/// Returns the entry of a queue in `/queues`.
pub(super) async fn counts(stack: &Stack, queue: &str) -> Value {
    let answer = stack.http.get(format!("{}/queues", stack.admin)).send().await.expect("admin answers");
    let queues: Value = answer.json().await.expect("JSON");
    let mut queues = queues["queues"].as_array().expect("a list").iter();
    queues.find(|each| each["name"] == queue).expect("the queue is listed").clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_poison_message_is_dead_lettered_after_five_receives_and_the_others_are_done_once() {
    let vhost = Vhost::create().await;
    let forward = ForwardServer::refusing("poison", StatusCode::INTERNAL_SERVER_ERROR).await;
    let (stack, _files) = start(&vhost, &forward, &[]).await;
    let (poison, mates) = placed_with_mates(&stack).await;
    for mate in &mates {
        let timeline = stack.until_state(mate, "done", WAY_TIME_MAX).await;
        assert_eq!(steps(&timeline), ["accepted", "delivered", "done"], "another message is delivered once");
        assert_eq!(timeline["steps"][0]["queue"], "orders");
    }
    let timeline = stack.until_state(&poison, "dead-lettered", GIVE_UP_TIME_MAX).await;
    let mut expected = vec!["accepted"];
    expected.extend(["delivered", "retrying"].repeat(4));
    expected.extend(["delivered", "dead-lettered"]);
    assert_eq!(steps(&timeline), expected, "{timeline:#}");
    let all = timeline["steps"].as_array().expect("steps");
    let receives = all.iter().filter(|step| step["step"] == "delivered").map(|step| step["receive_count"].clone());
    assert_eq!(receives.collect::<Vec<_>>(), [json!(1), json!(2), json!(3), json!(4), json!(5)]);
    assert_eq!(
        forward.received(|event| event.says("poison")).len(),
        5,
        "the receiver got the poison message five times"
    );
    assert_eq!(forward.received(|_| true).len(), 5 + mates.len(), "the receiver got each other message once");
    stack
        .until("the counts say so", WAY_TIME_MAX, async || {
            let (queue, parked) = (counts(&stack, "orders").await, counts(&stack, "orders.dlq").await);
            let idle = ["visible", "in_flight", "delayed"].iter().all(|count| queue[count] == 0);
            (idle && parked["visible"] == 1).then_some(())
        })
        .await;
    // Reading timelines and counts did not change the dead letter.
    let parked = vhost.until_drained("orders.dlq", 1).await;
    assert_eq!((parked.len(), parked[0].message_id.as_deref()), (1, Some(poison.as_str())));
    assert_eq!((parked[0].redelivered, parked[0].header_number("sluicegate-receive-count")), (false, Some(5)));
    stack.stop().await;
    let host = vhost.manage(http::Method::GET, &format!("vhosts/{}", vhost.name()), None).await;
    assert_eq!(host["tracing"], false, "tracing ends with the stack");
    assert_eq!(vhost.connections("").await, Vec::<String>::new());
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn connections_closed_while_the_functions_were_frozen_cost_no_request() {
    let vhost = Vhost::create().await;
    // Each message fails once, so that the consumer publishes too.
    let attempts = Arc::new(AtomicUsize::new(0));
    let forward = ForwardServer::start(move |_| match attempts.fetch_add(1, Ordering::SeqCst) % 2 {
        0 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    })
    .await;
    let (stack, _files) = start(&vhost, &forward, &["--freeze"]).await;
    for (name, attempts) in [("before", 2), ("after", 4), ("long-after", 6)] {
        let id = placed(&stack, name, name).await;
        // The tracer is cut too and may miss the retry, so the test counts at the receiver.
        stack
            .until("it is tried twice", GIVE_UP_TIME_MAX, async || {
                (forward.received(|_| true).len() == attempts).then_some(())
            })
            .await;
        let timeline = stack.until_state(&id, "done", WAY_TIME_MAX).await;
        let delivered = steps(&timeline).into_iter().filter(|step| *step == "delivered").count();
        assert_eq!(delivered, 2, "{timeline:#}");
        // No invocation is in progress, so the frozen functions do not notice that their connections are closed.
        stack
            .until("every connection is listed", WAY_TIME_MAX, async || {
                // The ingress, the consumer, two mappings and the tracer. All five must be listed before any is closed,
                // because the frozen functions do not reconnect.
                (vhost.connections("").await.len() >= 5).then_some(())
            })
            .await;
        vhost.close_connections().await;
    }
    stack.stop().await;
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_private_broker_starts_and_ends_with_the_stack() {
    let forward = ForwardServer::start(|_| StatusCode::OK).await;
    let stack = Stack::start(&["--rabbitmq"], &[("FORWARD_URL", &forward.url)]).await;
    let printed = stack.printed();
    let url = printed.split_whitespace().find_map(|word| word.strip_prefix("rabbitmq=")).expect("its URL is printed");
    let port = url.rsplit([':', '/']).nth(1).and_then(|port| port.parse::<u16>().ok()).expect("a port");
    let listens = |port: u16| TcpStream::connect(("127.0.0.1", port)).is_ok();
    let ports = [port, port + 1, port + 10_000, port + 20_000];
    assert!(ports.iter().all(|port| listens(*port)), "{ports:?}");
    let id = placed(&stack, "o-1", "c-1").await;
    let timeline = stack.until_state(&id, "done", WAY_TIME_MAX).await;
    assert_eq!(steps(&timeline), ["accepted", "delivered", "done"]);
    assert_eq!(forward.received(|_| true).len(), 1);
    stack.stop().await;
    assert!(ports.iter().all(|port| !listens(*port)), "{ports:?}");
}
