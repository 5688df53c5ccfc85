//! Several invocations at a time in one process.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::Function;
use super::slow_server::SlowServer;
use crate::ingress::{ORDER, http_api, secret_text};
use crate::support::service::{Service, emulator_with};

/// The loops of the ingress.
const CONCURRENCY: usize = 8;
/// The orders that are placed, so that calls with few of them do not decide the outcome.
const ORDERS: usize = 200;
/// What SQS takes within a Region, about.
const SQS_TAKES: Duration = Duration::from_millis(10);

/// An ingress, its SQS and the queue of its orders.
pub(super) struct Ingress {
    pub(super) function: Function,
    pub(super) sqs: SlowServer,
    service: Service,
    queue_url: String,
}

impl Ingress {
    pub(super) async fn start(concurrency: usize) -> Self {
        let endpoint = emulator_with(std::sync::Arc::new(|name: &str| (name == "ingress").then(secret_text))).await;
        let service = Service::at(&endpoint);
        let queue_url = service.queue(&[]).await;
        let sqs = SlowServer::start(Some(&endpoint)).await;
        let environment = [
            ("AWS_ENDPOINT_URL", sqs.url.as_str()),
            ("SECRET_ARN", "ingress"),
            ("QUEUE_ORDERS", &queue_url),
            ("QUEUE_WEBHOOKS", &queue_url),
        ];
        let function = Function::start("ingress", concurrency, &environment).await;
        Self { function, sqs, service, queue_url }
    }

    /// Gives the order with this number to the function.
    pub(super) fn order(&self, number: usize) {
        let key = format!("\"k-{number}\"");
        let headers = [("x-api-key", "writer"), ("content-type", "application/json"), ("idempotency-key", &key)];
        self.function.api.give(http_api("POST", "/orders", &headers, ORDER));
    }

    /// Waits for the next answer, a 202. Returns the id of its message.
    pub(super) async fn accepted(&mut self) -> String {
        let answer = self.function.api.answer().await;
        assert_eq!(answer["statusCode"], 202, "{answer}");
        id(answer["body"].as_str().expect("a body"))
    }

    /// Expects exactly these messages on the queue.
    pub(super) async fn expect_stored(&self, ids: &BTreeSet<String>) {
        let stored = self.service.receive_count(&self.queue_url, ids.len()).await;
        let stored: Vec<_> = stored.iter().map(|message| id(message.body().expect("a body"))).collect();
        assert_eq!(stored.len(), ids.len(), "each once");
        assert_eq!(stored.into_iter().collect::<BTreeSet<_>>(), *ids);
    }
}

fn id(document: &str) -> String {
    let document: Value = serde_json::from_str(document).expect("JSON");
    document["id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_share_calls_of_sqs_and_each_202_is_on_the_queue() {
    let mut ingress = Ingress::start(CONCURRENCY).await;
    ingress.sqs.answer_after(SQS_TAKES);
    let mut ids = BTreeSet::new();
    for number in 0..3 {
        ingress.order(number);
        ids.insert(ingress.accepted().await);
    }
    assert_eq!(ingress.sqs.actions(), ["SendMessage"; 3], "a request that is alone does not wait");

    for number in 3..ORDERS {
        ingress.order(number);
    }
    for _ in 3..ORDERS {
        ids.insert(ingress.accepted().await);
    }
    let calls = ingress.sqs.actions();
    let batches = calls.iter().filter(|action| *action == "SendMessageBatch").count();
    // Half of the loops share a call on an idle machine.
    assert!(batches > 0 && calls.len() < ORDERS * 3 / 4, "{} calls, {batches} of them batches", calls.len());
    assert_eq!(ids.len(), ORDERS);
    ingress.expect_stored(&ids).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_handles_several_batches_at_a_time() {
    let service = SlowServer::start(None).await;
    let mut consumer = Function::start("consumer", 3, &[("FORWARD_URL", &service.url)]).await;
    let event: Value = serde_json::from_str(include_str!("../../events/orders-placed.json")).expect("JSON");
    let messages = event["Records"].as_array().expect("records").len();
    for _ in 0..3 {
        consumer.api.give(event.clone());
    }
    service.until_arrived(3 * messages).await;
    service.answer_after(Duration::ZERO);
    for _ in 0..3 {
        assert_eq!(consumer.api.answer().await, json!({ "batchItemFailures": [] }));
    }
    consumer.api.until_waiting(3).await;
}
