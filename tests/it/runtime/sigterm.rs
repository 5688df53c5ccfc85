//! SIGTERM, which Lambda sends to a function with an extension, and a supervisor to a local process.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::Function;
use super::concurrency::Ingress;
use super::slow_server::SlowServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_functions_end_at_once_with_success() {
    for concurrency in [1, 4] {
        let mut ingress = Ingress::start(concurrency).await;
        ingress.function.terminate().await;
        let (status, asked) = ingress.function.ended().await;
        assert!(status.success() && asked == concurrency, "{status}, asked {asked} times");

        let mut consumer = Function::start("consumer", concurrency, &[]).await;
        consumer.terminate().await;
        let (status, asked) = consumer.ended().await;
        assert!(status.success() && asked == concurrency, "{status}, asked {asked} times");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingress_answers_its_requests_and_asks_for_no_more() {
    for concurrency in [1, 4] {
        let mut ingress = Ingress::start(concurrency).await;
        for number in 0..concurrency {
            ingress.order(number);
        }
        // One call alone, and with more requests the others in a batch, or in several on a busy machine.
        ingress.sqs.until_arrived(concurrency.min(2)).await;
        ingress.function.api.until_waiting(0).await;
        ingress.function.terminate().await;
        ingress.sqs.answer_after(Duration::ZERO);
        let mut ids = BTreeSet::new();
        for _ in 0..concurrency {
            ids.insert(ingress.accepted().await);
        }
        ingress.expect_stored(&ids).await;
        let (status, asked) = ingress.function.ended().await;
        assert!(status.success() && asked == concurrency, "{status}, asked {asked} times");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_settles_its_batches_and_asks_for_no_more() {
    let event: serde_json::Value = serde_json::from_str(include_str!("../../events/orders-placed.json")).expect("JSON");
    for concurrency in [1, 2] {
        let service = SlowServer::start(None).await;
        let mut consumer = Function::start("consumer", concurrency, &[("FORWARD_URL", &service.url)]).await;
        for _ in 0..concurrency {
            consumer.api.give(event.clone());
        }
        service.until_arrived(2 * concurrency).await;
        consumer.terminate().await;
        service.answer_after(Duration::ZERO);
        for _ in 0..concurrency {
            assert_eq!(consumer.api.answer().await, json!({ "batchItemFailures": [] }));
        }
        let (status, asked) = consumer.ended().await;
        assert!(status.success() && asked == concurrency, "{status}, asked {asked} times");
    }
}
