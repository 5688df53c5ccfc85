//! The deletion of the ready messages of a queue.

use lapin::options::QueuePurgeOptions;
use sluicegate_lambda_emulator::{BrokerEndpoint, ConnectError};

/// Deletes the messages of a queue that are not with a consumer; returns their number.
///
/// # Errors
/// The broker cannot be reached, or refuses.
pub(crate) async fn purge(endpoint: &BrokerEndpoint, queue: &str) -> Result<u64, ConnectError> {
    let connection = endpoint.connect("sluicegate local: purge").await?;
    let channel = connection.create_channel().await?;
    let purged = channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await?;
    // The result is known; a connection that does not close ends with the stack.
    let _ = connection.close(200, "purged".into()).await;
    Ok(u64::from(purged))
}
