//! Publish and subscribe: one route and two consumer functions, each with a separate queue on the same exchange, for a
//! topic and a fanout exchange. Each consumer gets every message, and failures of one do not affect the other.
//!
//! The stack is `tests/fanout/template.yaml` with `tests/fanout/infra/topology.yaml`.

use std::time::Duration;

use http::StatusCode;
use sluicegate_envelope::Envelope;

use crate::e2e::{deliver, github_payload, placed};
use crate::support::forward::{ForwardServer, Forwarded};
use crate::support::rabbitmq::Vhost;
use crate::support::root;
use crate::support::stack::Stack;

/// The time limit from a request to its last handler, one retry after a second included.
const WAY_TIME_MAX: Duration = Duration::from_secs(30);

/// The stack and the endpoints of its two consumers.
pub(super) struct Subscribers {
    pub(super) vhost: Vhost,
    pub(super) stack: Stack,
    pub(super) stock: ForwardServer,
    pub(super) mail: ForwardServer,
}

impl Subscribers {
    /// Starts the stack and the endpoints. `mail` answers poison messages with 500; `stock` accepts every message.
    pub(super) async fn start() -> Self {
        let vhost = Vhost::create().await;
        let stock = ForwardServer::start(|_| StatusCode::OK).await;
        let mail = ForwardServer::start(|event| match is_poison(event) {
            true => StatusCode::INTERNAL_SERVER_ERROR,
            false => StatusCode::OK,
        })
        .await;
        let template = root().join("tests/fanout/template.yaml");
        let (stock_url, mail_url) = (format!("StockUrl={}", stock.url), format!("MailUrl={}", mail.url));
        let arguments = [
            ["--template", template.to_str().expect("UTF-8")],
            ["--rabbitmq-url", &vhost.url()],
            ["--parameter", &stock_url],
            ["--parameter", &mail_url],
        ];
        let stack = Stack::start(arguments.as_flattened(), &[]).await;
        Self { vhost, stack, stock, mail }
    }

    /// Waits until an endpoint has received an event `count` times.
    pub(super) async fn until_forwarded(&self, to: &ForwardServer, id: &str, times: usize) {
        self.stack
            .until(&format!("{} got {id} {times} times", to.url), WAY_TIME_MAX, async || {
                (to.received(|event| event.says(id)).len() >= times).then_some(())
            })
            .await;
    }

    pub(super) async fn stop(self) {
        self.stack.stop().await;
        self.vhost.delete().await;
    }
}

/// Returns whether the payload of an event is poison; it may be base64 in the event.
fn is_poison(event: &Forwarded) -> bool {
    let envelope = Envelope::decode(std::str::from_utf8(&event.body).expect("UTF-8")).expect("a CloudEvent");
    String::from_utf8_lossy(&envelope.payload()).contains("poison")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn each_of_two_consumers_gets_every_message_independently_of_the_other() {
    let all = Subscribers::start().await;
    let mut fine = Vec::new();
    for n in 0..5 {
        fine.push(placed(&all.stack, &format!("o-{n}"), &format!("c-{n}")).await);
    }
    let poison = placed(&all.stack, "poison", "c-poison").await;
    for n in 0..3 {
        let payload = github_payload("ping");
        let (status, body) = deliver(&all.stack, "ping", &format!("d-{n}"), &payload, &payload).await;
        assert_eq!(status, 202, "{body}\n{}", all.stack.printed());
        fine.push(body["id"].as_str().expect("an id").to_owned());
    }

    for id in &fine {
        all.until_forwarded(&all.stock, id, 1).await;
        all.until_forwarded(&all.mail, id, 1).await;
    }
    all.until_forwarded(&all.stock, &poison, 1).await;
    all.until_forwarded(&all.mail, &poison, 2).await;
    let dead = all.vhost.until_drained("mail-orders.dlq", 1).await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].message_id.as_deref(), Some(poison.as_str()));
    assert_eq!(dead[0].header_number("sluicegate-receive-count"), Some(2), "{:?}", dead[0].properties);

    for id in fine.iter().chain([&poison]) {
        let times = |to: &ForwardServer| to.received(|event| event.says(id)).len();
        let receives = if *id == poison { 2 } else { 1 };
        assert_eq!((times(&all.stock), times(&all.mail)), (1, receives), "{id}");
    }
    for (queue, count) in
        [("stock-orders.dlq", 0), ("stock-news.dlq", 0), ("mail-news.dlq", 0), ("cancelled-orders", 0), ("archive", 9)]
    {
        assert_eq!(all.vhost.ready(queue).await, count, "{queue}");
    }
    all.stop().await;
}
