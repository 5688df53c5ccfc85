//! The consumer as one writes it with the official crates: lambda_runtime, aws_lambda_events, a partial batch response.

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Envelope {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    data: Value,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    run(service_fn(handler)).await
}

async fn handler(event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
    let mut response = SqsBatchResponse::default();
    for record in event.payload.records {
        let envelope = serde_json::from_str::<Envelope>(record.body.as_deref().unwrap_or_default());
        if !envelope.is_ok_and(|envelope| handle(&envelope)) {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = record.message_id.unwrap_or_default();
            response.batch_item_failures.push(failure);
        }
    }
    Ok(response)
}

/// Returns whether the message is done.
fn handle(envelope: &Envelope) -> bool {
    !envelope.id.is_empty() && envelope.kind == "order.placed" && envelope.data.is_object()
}
