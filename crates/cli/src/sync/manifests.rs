//! The manifests of the functions: the features that a contract needs, and whether the consumer is built with a store.

use std::path::{Path, PathBuf};

use sluicegate_contract::Contract;

use crate::{CommandError, input};

/// The crate that the consumer is built on.
const CONSUMER: &str = "sluicegate-batch";

/// The feature with the store of idempotency keys and statuses.
const STORE: &str = "dynamodb";

/// Returns whether a consumer beside a contract is built with a store, because its handlers have an idempotency rule or
/// an earlier run found statuses.
pub(super) fn consumer_has_store(contract_path: &Path) -> Result<bool, CommandError> {
    for manifest in manifests(contract_path) {
        let has_store = |line: &str| line.contains(&format!("\"{STORE}\""));
        if dependency(&input::text(&manifest)?, CONSUMER).is_some_and(has_store) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the manifests of the functions beside a contract. functions/rabbitmq and functions/kafka have both
/// functions.
fn manifests(contract_path: &Path) -> impl Iterator<Item = PathBuf> {
    let folder = contract_path.parent().unwrap_or(Path::new("")).to_owned();
    let files = ["Cargo.toml", "../rabbitmq/Cargo.toml", "../kafka/Cargo.toml", "../consumer/Cargo.toml"];
    files.into_iter().map(move |file| folder.join(file)).filter(|manifest| manifest.is_file())
}

/// Returns the manifests beside a contract that lack a feature, with it; adds the changes, one a line.
pub(super) fn with_features(
    contract_path: &Path,
    contract: &Contract,
    consumer_has_store: bool,
    changes: &mut Vec<String>,
) -> Result<Vec<(PathBuf, String)>, CommandError> {
    let (has_store, has_large) =
        (contract.first_with_store().is_some(), contract.first_with_large_payloads().is_some());
    let needs = [
        ("sluicegate-ingress", STORE, has_store),
        ("sluicegate-ingress", "s3", has_large),
        (CONSUMER, "s3", has_large),
        // The consumers for SQS, for RabbitMQ and for Kafka have the same source.
        (CONSUMER, STORE, consumer_has_store),
    ];
    let mut changed = Vec::new();
    if !needs.iter().any(|(_, _, is_needed)| *is_needed) {
        return Ok(changed);
    }
    for manifest in manifests(contract_path) {
        let before = input::text(&manifest)?;
        let mut text = before.clone();
        for (package, feature, _) in needs.iter().filter(|(_, _, is_needed)| *is_needed) {
            if let Some(edited) = with_feature(&text, package, feature) {
                changes.push(format!("+ the feature {feature} of {package} in {}", manifest.display()));
                text = edited;
            }
        }
        if text != before {
            changed.push((manifest, text));
        }
    }
    Ok(changed)
}

/// Returns the manifest with the feature of a package; `None` if it has the feature, or no list of features.
pub(super) fn with_feature(manifest: &str, package: &str, feature: &str) -> Option<String> {
    let line = dependency(manifest, package)?;
    if line.contains(&format!("\"{feature}\"")) {
        return None;
    }
    let edited = line.replacen("features = [", &format!("features = [\"{feature}\", "), 1);
    Some(manifest.replacen(line, &edited, 1)).filter(|edited| edited != manifest)
}

/// Returns the line of a dependency with a list of features.
fn dependency<'m>(manifest: &'m str, package: &str) -> Option<&'m str> {
    let start = format!("{package} ");
    manifest.lines().find(|line| line.starts_with(&start) && line.contains('['))
}

#[cfg(test)]
mod tests {
    use super::with_feature;

    #[test]
    fn a_manifest_gets_the_feature_once() {
        let shipped = include_str!("../../../../functions/ingress/Cargo.toml");
        let edited = with_feature(shipped, "sluicegate-ingress", "dynamodb").unwrap();
        assert!(edited.contains("sluicegate-ingress = { workspace = true, features = [\"dynamodb\", \"sqs\"] }"));
        assert_eq!(with_feature(&edited, "sluicegate-ingress", "dynamodb"), None);
        let edited = with_feature(&edited, "sluicegate-ingress", "s3").unwrap();
        assert!(
            edited.contains("sluicegate-ingress = { workspace = true, features = [\"s3\", \"dynamodb\", \"sqs\"] }")
        );
        assert_eq!(with_feature(shipped, "sluicegate-batch", "s3"), None, "it is not a dependency");
        let consumer = include_str!("../../../../functions/consumer/Cargo.toml");
        assert!(with_feature(consumer, "sluicegate-batch", "s3").unwrap().contains("[\"s3\", \"forward\", \"sqs\"]"));
        let stored = with_feature(consumer, "sluicegate-batch", "dynamodb").unwrap();
        assert!(stored.contains("[\"dynamodb\", \"forward\", \"sqs\"]"));
        assert_eq!(with_feature("[dependencies]\nother = \"1\"\n", "other", "s3"), None);
    }
}
