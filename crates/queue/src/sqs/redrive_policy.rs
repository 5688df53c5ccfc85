//! GetQueueAttributes, of which the consumer needs the redrive policy alone.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::client::{SqsClient, SqsError};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetQueueAttributes<'a> {
    queue_url: &'a str,
    attribute_names: [&'static str; 1],
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    attributes: Option<Attributes>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attributes {
    redrive_policy: Option<String>,
}

impl SqsClient {
    /// Returns the redrive policy of a queue as it was set, a JSON text; `None` if the queue has no dead-letter queue.
    ///
    /// # Errors
    /// The policy is not known.
    pub async fn redrive_policy(
        &self,
        queue_url: &str,
        trace_header: Option<&str>,
        deadline: Instant,
    ) -> Result<Option<String>, SqsError> {
        let request = GetQueueAttributes { queue_url, attribute_names: ["RedrivePolicy"] };
        let answer: Answer = self.call("AmazonSQS.GetQueueAttributes", &request, trace_header, deadline).await?;
        Ok(answer.attributes.and_then(|attributes| attributes.redrive_policy))
    }
}
