//! A deployed stack, read and never changed: its template and those of nested stacks, then the current state of queues,
//! functions, event source mappings and secrets.
//!
//! A stack that cannot be read is an error. Anything else that cannot be read, for example without the permission, is a
//! note. Only this module names the SDK.

mod overlay;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, future::Future, pin::Pin};

use aws_config::SdkConfig;
use aws_sdk_cloudformation::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::TemplateStage,
};
use sluicegate_queue::chain;
use sluicegate_sam::NESTED_DEPTH_MAX;

use crate::{Error, Inventory, inventory::Deployed};

/// Reads a deployed stack, by its name or its ARN.
///
/// Requires cloudformation:DescribeStacks, GetTemplate and ListStackResources. More is checked with
/// sqs:GetQueueAttributes, lambda:GetAccountSettings, GetFunctionConfiguration, GetFunctionConcurrency,
/// GetEventSourceMapping and ListEventSourceMappings, and secretsmanager:DescribeSecret.
///
/// # Errors
/// The stack cannot be read, or its template is not valid.
pub async fn deployed(config: &SdkConfig, stack: &str) -> Result<Inventory, Error> {
    let client = Client::new(config);
    let mut notes = Vec::new();
    let deployed = read(&client, stack, 0, &mut notes).await?;
    let mut inventory = Inventory::of_deployed(&deployed)?;
    let overlay = overlay::read(config, &inventory, &mut notes).await;
    inventory.overlay(overlay);
    inventory.notes.append(&mut notes);
    Ok(inventory)
}

/// Returns the outputs of a deployed stack, by its name or its ARN. Requires cloudformation:DescribeStacks.
///
/// # Errors
/// The stack cannot be read.
pub async fn stack_outputs(config: &SdkConfig, stack: &str) -> Result<BTreeMap<String, String>, Error> {
    described(&Client::new(config), stack).await.map(|described| described.outputs)
}

type Read<'a> = Pin<Box<dyn Future<Output = Result<Deployed, Error>> + Send + 'a>>;

/// Returns the stack and those nested in it. A nested one that cannot be read is left out.
fn read<'a>(client: &'a Client, stack: &'a str, depth: usize, notes: &'a mut Vec<String>) -> Read<'a> {
    Box::pin(async move {
        let mut deployed = described(client, stack).await?;
        deployed.template = template(client, stack).await?;
        let mut pages = client.list_stack_resources().stack_name(stack).into_paginator().items().send();
        while let Some(resource) = pages.next().await {
            let resource = resource.map_err(|error| failed("cloudformation:ListStackResources", &error))?;
            let (Some(id), Some(physical)) = (resource.logical_resource_id(), resource.physical_resource_id()) else {
                continue;
            };
            if resource.resource_type() == Some("AWS::CloudFormation::Stack") && depth < NESTED_DEPTH_MAX {
                match read(client, physical, depth + 1, notes).await {
                    Ok(nested) => drop(deployed.nested.insert(id.to_owned(), nested)),
                    Err(error) => notes.push(format!("{id}: {error}")),
                }
            }
            deployed.physical.insert(id.to_owned(), physical.to_owned());
        }
        Ok(deployed)
    })
}

async fn described(client: &Client, name: &str) -> Result<Deployed, Error> {
    let call = "cloudformation:DescribeStacks";
    let answer = client.describe_stacks().stack_name(name).send().await.map_err(|error| failed(call, &error))?;
    let none = || Error::Stack { call, reason: format!("there is no stack {name}") };
    let stack = answer.stacks().first().ok_or_else(none)?;
    let parameters = stack.parameters().iter().filter_map(|parameter| {
        let value = parameter.resolved_value().or(parameter.parameter_value())?;
        // CloudFormation masks secret values with asterisks.
        let is_masked = !value.is_empty() && value.chars().all(|c| c == '*');
        (!is_masked).then_some((parameter.parameter_key()?.to_owned(), value.to_owned()))
    });
    let outputs = stack.outputs().iter();
    let outputs =
        outputs.filter_map(|output| Some((output.output_key()?.to_owned(), output.output_value()?.to_owned())));
    Ok(Deployed {
        name: stack.stack_name().unwrap_or(name).to_owned(),
        arn: stack.stack_id().unwrap_or_default().to_owned(),
        parameters: parameters.collect(),
        outputs: outputs.collect(),
        template: String::new(),
        physical: BTreeMap::new(),
        nested: BTreeMap::new(),
    })
}

async fn template(client: &Client, name: &str) -> Result<String, Error> {
    let get = client.get_template().stack_name(name).template_stage(TemplateStage::Processed).send().await;
    let answer = get.map_err(|error| failed("cloudformation:GetTemplate", &error))?;
    Ok(answer.template_body().unwrap_or_default().to_owned())
}

fn failed<E, R>(call: &'static str, error: &SdkError<E, R>) -> Error
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    R: std::fmt::Debug,
{
    Error::Stack { call, reason: reason(error) }
}

/// Returns the service's error, or why the service was not reached.
fn reason<E, R>(error: &SdkError<E, R>) -> String
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    R: std::fmt::Debug,
{
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => chain(error),
    }
}
