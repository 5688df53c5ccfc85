//! Sends a copy until it is stored, or surely is not.

use aws_sdk_sqs::{
    Client,
    config::{Config, retry::RetryConfig},
    error::SdkError,
    operation::send_message::{SendMessageError, SendMessageOutput},
};
use sluicegate_queue::sqs::is_throttled;

use super::{ATTEMPTS_MAX, PAUSE, redrive_message::RedriveMessage, told};

/// Why there is no proof that the copy is stored.
#[derive(Debug)]
pub(super) enum NotStored {
    /// It is not.
    Surely(String),
    /// Nobody knows.
    Perhaps(String),
}

/// Gives the id of the stored copy. A copy may be stored more than once if answers get lost, on a FIFO queue once.
pub(super) async fn send(client: &Client, url: &str, copy: RedriveMessage) -> Result<String, NotStored> {
    let digest = copy.digest;
    let request = client
        .send_message()
        .queue_url(url)
        .message_body(copy.body)
        .set_message_attributes(Some(copy.attributes))
        .set_message_system_attributes(copy.system)
        .set_message_group_id(copy.group)
        .set_message_deduplication_id(copy.deduplication_id);
    // Each attempt is looked at: what the last one says is nothing about those before it.
    let once = Config::builder().retry_config(RetryConfig::disabled());
    let mut perhaps = None;
    let mut pause = PAUSE;
    for attempt in 1..=ATTEMPTS_MAX {
        let error = match request.clone().customize().config_override(once.clone()).send().await {
            Ok(answer) => return proof(&digest, answer),
            Err(error) => error,
        };
        let refusal = refusal(&error);
        if refusal.is_none() {
            perhaps = Some(told(&error));
        }
        if attempt == ATTEMPTS_MAX || matches!(refusal, Some(Refusal::ForGood)) {
            return Err(perhaps.map_or_else(|| NotStored::Surely(told(&error)), NotStored::Perhaps));
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Err(NotStored::Surely("no attempt was made".to_owned()))
}

enum Refusal {
    ForNow,
    ForGood,
}

/// None if the attempt may have stored the message.
fn refusal(error: &SdkError<SendMessageError>) -> Option<Refusal> {
    if let SdkError::ConstructionFailure(_) = error {
        return Some(Refusal::ForGood);
    }
    let service = error.as_service_error()?;
    if is_throttled(service) {
        return Some(Refusal::ForNow);
    }
    error.raw_response().is_some_and(|response| response.status().is_client_error()).then_some(Refusal::ForGood)
}

fn proof(digest: &str, answer: SendMessageOutput) -> Result<String, NotStored> {
    let stored = answer.md5_of_message_body.unwrap_or_default();
    match answer.message_id {
        Some(id) if !id.is_empty() && stored.eq_ignore_ascii_case(digest) => Ok(id),
        _ => Err(NotStored::Perhaps(format!("the answer does not prove that it is stored (MD5 {stored:?})"))),
    }
}
