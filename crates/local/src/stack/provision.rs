//! Creates the template's queues and secrets, emulated or at a remote endpoint.
//!
//! An existing queue is used and gets the template's attributes. Redrive policies are set after all queues exist, so
//! that the order of the queues does not matter.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sluicegate_lambda_emulator::SqsClient;
use sluicegate_sam::{QueuePlan, ResolvedResource, StackPlan};

use super::{
    error::{CreateError, StackError},
    options::Options,
};
use crate::secrets::{self, SecretError};

/// Returns the names of the queues that are the target of a redrive policy.
pub(super) fn dead_letter_queues(plan: &StackPlan) -> BTreeSet<String> {
    let policies = plan.queues.iter().filter_map(|queue| queue.redrive_attributes.get("RedrivePolicy"));
    let targets = policies.filter_map(|policy| {
        let policy: Value = serde_json::from_str(policy).ok()?;
        Some(policy["deadLetterTargetArn"].as_str()?.rsplit(':').next()?.to_owned())
    });
    targets.collect()
}

/// Creates the queues, and the secrets at a remote endpoint; returns their real names.
pub(super) async fn create(
    client: &SqsClient,
    plan: &StackPlan,
    options: &Options,
) -> Result<BTreeMap<String, ResolvedResource>, StackError> {
    let mut physical = BTreeMap::new();
    for queue in &plan.queues {
        let error = |source| StackError::Create { name: format!("queue {}", queue.name), source };
        physical.insert(queue.logical_id.clone(), create_queue(client, queue).await.map_err(error)?);
    }
    // The emulated Secrets Manager reads the template's secrets itself.
    if let Some(url) = &options.endpoint_url {
        for secret in &plan.secrets {
            let error = |error: SecretError| StackError::Create {
                name: format!("secret {}", secret.name),
                source: error.into(),
            };
            let arn = secrets::create_remote(url, &secret.name, &options.secrets).await.map_err(error)?;
            physical.insert(secret.logical_id.clone(), ResolvedResource::new(arn.clone(), [("Id", arn)]));
        }
    }
    Ok(physical)
}

async fn create_queue(client: &SqsClient, queue: &QueuePlan) -> Result<ResolvedResource, CreateError> {
    let input = json!({ "QueueName": queue.name, "Attributes": queue.attributes });
    let created = match client.call("CreateQueue", input).await {
        Ok(created) => created,
        // The queue probably exists with other attributes. If not, the error of creating it is the useful one.
        Err(error) => {
            let found = client.call("GetQueueUrl", json!({ "QueueName": queue.name })).await;
            let Ok(found) = found else { return Err(error.into()) };
            let mut attributes = queue.attributes.clone();
            attributes.remove("FifoQueue");
            let input = json!({ "QueueUrl": found["QueueUrl"], "Attributes": attributes });
            client.call("SetQueueAttributes", input).await?;
            found
        }
    };
    let input = json!({ "QueueUrl": created["QueueUrl"], "AttributeNames": ["QueueArn"] });
    let answer = client.call("GetQueueAttributes", input).await?;
    let (url, arn) = (created["QueueUrl"].as_str(), answer["Attributes"]["QueueArn"].as_str());
    let (Some(url), Some(arn)) = (url, arn) else { return Err(CreateError::Nameless) };
    let attributes = [("Arn", arn), ("QueueName", queue.name.as_str()), ("QueueUrl", url)];
    Ok(ResolvedResource::new(url.to_owned(), attributes.map(|(name, value)| (name, value.to_owned()))))
}

/// Sets the redrive policies.
pub(super) async fn set_redrive(client: &SqsClient, plan: &StackPlan) -> Result<(), StackError> {
    for queue in plan.queues.iter().filter(|queue| !queue.redrive_attributes.is_empty()) {
        let input = json!({ "QueueUrl": queue.url, "Attributes": queue.redrive_attributes });
        client.call("SetQueueAttributes", input).await.map_err(|error| StackError::Create {
            name: format!("redrive policy of queue {}", queue.name),
            source: error.into(),
        })?;
    }
    Ok(())
}
