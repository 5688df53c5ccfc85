//! The calls that read the current state of queues, functions, event source mappings and secrets.

use std::{collections::BTreeMap, time::SystemTime};

use aws_config::SdkConfig;
use aws_sdk_lambda::types::{EventSourceMappingConfiguration, ProvisionedPollerConfig};
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::{Map, Value, json};

use super::reason;
use crate::{
    inventory::Inventory,
    overlay::{Overlay, SecretState},
};

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

type Properties = Map<String, Value>;

/// Reads the current state; a call that fails is a note.
pub(super) async fn read(config: &SdkConfig, inventory: &Inventory, notes: &mut Vec<String>) -> Overlay {
    let mut overlay = Overlay::default();
    let sqs = aws_sdk_sqs::Client::new(config);
    for queue in inventory.of_kind("AWS::SQS::Queue") {
        let get = sqs.get_queue_attributes().queue_url(&queue.reference).attribute_names(QueueAttributeName::All);
        match get.send().await {
            Ok(answer) => {
                let attributes = answer.attributes().into_iter().flatten();
                let attributes =
                    attributes.map(|(name, value)| (name.as_str().to_owned(), Value::from(value.as_str())));
                overlay.queues.insert(queue.arn.clone(), Some(attributes.collect()));
            }
            Err(error) if error.as_service_error().is_some_and(|error| error.is_queue_does_not_exist()) => {
                overlay.queues.insert(queue.arn.clone(), None);
            }
            Err(error) => notes.push(format!("{}: sqs:GetQueueAttributes: {}", queue.origin.id, reason(&error))),
        }
    }
    let lambda = aws_sdk_lambda::Client::new(config);
    for function in inventory.of_kind("AWS::Lambda::Function") {
        match properties(&lambda, &function.reference, &function.properties).await {
            Ok(properties) => drop(overlay.functions.insert(function.reference.clone(), properties)),
            Err(error) => notes.push(format!("{}: {error}", function.origin.id)),
        }
    }
    if inventory.of_kind("AWS::Lambda::Function").next().is_some() {
        match lambda.get_account_settings().send().await {
            Ok(answer) => {
                let limit = answer.account_limit().map(|limit| limit.concurrent_executions());
                overlay.account_concurrency = limit.and_then(|limit| u64::try_from(limit).ok());
            }
            Err(error) => {
                notes.push(format!("the account's concurrency: lambda:GetAccountSettings: {}", reason(&error)))
            }
        }
    }
    overlay.mappings = mappings(&lambda, inventory, notes).await;
    let secrets = aws_sdk_secretsmanager::Client::new(config);
    for secret in inventory.of_kind("AWS::SecretsManager::Secret") {
        match secrets.describe_secret().secret_id(&secret.reference).send().await {
            Ok(answer) => {
                let versions = answer.version_ids_to_stages().map_or(0, |versions| versions.len() as u64);
                let changed = answer.last_changed_date().or(answer.created_date());
                let changed = changed.and_then(|at| SystemTime::try_from(*at).ok());
                let unchanged = changed.and_then(|at| at.elapsed().ok()).unwrap_or_default();
                let now = SecretState { versions, days_unchanged: unchanged.as_secs() / SECONDS_PER_DAY };
                overlay.secrets.insert(secret.reference.clone(), now);
            }
            Err(error) => {
                notes.push(format!("{}: secretsmanager:DescribeSecret: {}", secret.origin.id, reason(&error)))
            }
        }
    }
    overlay
}

async fn properties(lambda: &aws_sdk_lambda::Client, name: &str, written: &Value) -> Result<Properties, String> {
    let get = lambda.get_function_configuration().function_name(name).send().await;
    let now = get.map_err(|error| format!("lambda:GetFunctionConfiguration: {}", reason(&error)))?;
    let mut properties = Properties::new();
    properties.extend(now.timeout().map(|seconds| ("Timeout".to_owned(), seconds.into())));
    properties.extend(now.runtime().map(|runtime| ("Runtime".to_owned(), runtime.as_str().into())));
    if let Some(variables) = now.environment().and_then(|environment| environment.variables()) {
        let variables: Properties =
            variables.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        if !variables.is_empty() {
            properties.insert("Environment".to_owned(), json!({ "Variables": variables }));
        }
    }
    match lambda.get_function_concurrency().function_name(name).send().await {
        Ok(answer) => {
            let reserved = answer.reserved_concurrent_executions();
            properties.extend(reserved.map(|count| ("ReservedConcurrentExecutions".to_owned(), count.into())));
        }
        // It needs another permission, and the rest is useful without it.
        Err(_) => {
            let name = "ReservedConcurrentExecutions";
            properties.extend(written.get(name).map(|written| (name.to_owned(), written.clone())));
        }
    }
    Ok(properties)
}

/// Returns the mappings of the stack, and other mappings of its queues and functions.
async fn mappings(
    lambda: &aws_sdk_lambda::Client,
    inventory: &Inventory,
    notes: &mut Vec<String>,
) -> BTreeMap<String, Option<Properties>> {
    let mut found = BTreeMap::new();
    let queues = inventory.of_kind("AWS::SQS::Queue").map(|queue| (queue, true));
    let functions = inventory.of_kind("AWS::Lambda::Function").map(|function| (function, false));
    for (resource, is_queue) in queues.chain(functions) {
        let list = lambda.list_event_source_mappings();
        let list = match is_queue {
            true => list.event_source_arn(&resource.arn),
            false => list.function_name(&resource.reference),
        };
        let mut pages = list.into_paginator().items().send();
        while let Some(mapping) = pages.next().await {
            match mapping {
                Ok(mapping) => found.extend(of_mapping(&mapping)),
                Err(error) => {
                    let id = &resource.origin.id;
                    notes.push(format!("{id}: lambda:ListEventSourceMappings: {}", reason(&error)));
                    break;
                }
            }
        }
    }
    for mapping in inventory.of_kind("AWS::Lambda::EventSourceMapping") {
        let uuid = &mapping.reference;
        if found.contains_key(uuid) {
            continue;
        }
        // A mapping that exists and was not listed keeps the template's values.
        let get = lambda.get_event_source_mapping().uuid(uuid).send().await;
        if get.is_err_and(|error| error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()))
        {
            found.insert(uuid.clone(), None);
        }
    }
    found
}

/// Returns the UUID and the current properties of a mapping from SQS or Amazon MQ.
fn of_mapping(now: &EventSourceMappingConfiguration) -> Option<(String, Option<Properties>)> {
    let source = now.event_source_arn()?;
    let is_queue = source.contains(":sqs:");
    if !is_queue && !source.contains(":mq:") {
        return None;
    }
    let mut properties = Properties::from_iter([
        ("EventSourceArn".to_owned(), source.into()),
        ("FunctionName".to_owned(), now.function_arn()?.into()),
        ("Enabled".to_owned(), (!matches!(now.state(), Some("Disabled" | "Disabling"))).into()),
    ]);
    let mut put = |name: &str, value: Option<Value>| properties.extend(value.map(|value| (name.to_owned(), value)));
    put("BatchSize", now.batch_size().map(Value::from));
    let types: Vec<&str> = now.function_response_types().iter().map(|kind| kind.as_str()).collect();
    put("FunctionResponseTypes", (!types.is_empty()).then(|| types.into()));
    let concurrency = now.scaling_config().and_then(|scaling| scaling.maximum_concurrency());
    put("ScalingConfig", concurrency.map(|most| json!({ "MaximumConcurrency": most })));
    // Null counts as not written.
    let range = |pollers: &ProvisionedPollerConfig| json!({ "MinimumPollers": pollers.minimum_pollers(), "MaximumPollers": pollers.maximum_pollers() });
    put("ProvisionedPollerConfig", now.provisioned_poller_config().map(range));
    let filters = now.filter_criteria().map(|criteria| criteria.filters()).unwrap_or_default();
    let filters: Vec<_> = filters.iter().map(|filter| json!({ "Pattern": filter.pattern() })).collect();
    put("FilterCriteria", (!filters.is_empty()).then(|| json!({ "Filters": filters })));
    let window_s = now.maximum_batching_window_in_seconds();
    if is_queue {
        put("MaximumBatchingWindowInSeconds", window_s.map(Value::from));
    } else {
        put("Queues", Some(now.queues().into()));
        let access = now.source_access_configurations().iter();
        let access = access.map(|one| json!({ "Type": one.r#type().map(|kind| kind.as_str()), "URI": one.uri() }));
        put("SourceAccessConfigurations", Some(access.collect()));
    }
    Some((now.uuid()?.to_owned(), Some(properties)))
}
