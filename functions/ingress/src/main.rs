//! The ingress function: admits the requests that `openapi.yaml` describes.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    sluicegate_ingress::serve(sluicegate_ingress::embedded_contract!()).await
}

#[cfg(test)]
mod tests {
    use sluicegate_ingress::{embedded_contract, testing::TestIngress};

    #[tokio::test]
    async fn a_captured_order_is_enqueued() {
        let contract = embedded_contract!().load().unwrap();
        let ingress = TestIngress::new(contract).api_key("api-keys", "acme-key", "acme", &["orders.write"]);
        let event = include_str!("../../../tests/events/place-order.json");
        assert_eq!(ingress.handle(event).await.unwrap()["statusCode"], 202);
        let order = &ingress.stored()[0];
        assert_eq!((order.queue.as_str(), order.envelope.event_type()), ("orders", "order.placed"));
        assert_eq!(ingress.handle(&event.replace("\"x-api-key\"", "\"x-other\"")).await.unwrap()["statusCode"], 401);
    }
}
