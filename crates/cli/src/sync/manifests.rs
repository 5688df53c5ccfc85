//! The manifests of the functions: the features that a contract needs.

use std::path::{Path, PathBuf};

use sluicegate_contract::Contract;

use crate::{CommandError, input};

/// Returns the manifests beside a contract that lack a feature, with it; adds the changes, one a line.
pub(super) fn with_features(
    contract_path: &Path,
    contract: &Contract,
    changes: &mut Vec<String>,
) -> Result<Vec<(PathBuf, String)>, CommandError> {
    let (has_store, has_large) =
        (contract.first_with_store().is_some(), contract.first_with_large_payloads().is_some());
    let needs = [
        ("sluicegate-ingress", "dynamodb", has_store),
        ("sluicegate-ingress", "s3", has_large),
        ("sluicegate-batch", "s3", has_large),
        ("sluicegate-batch", "status", contract.has_status()),
    ];
    let folder = contract_path.parent().unwrap_or(Path::new(""));
    let mut changed = Vec::new();
    // functions/rabbitmq has both functions.
    for manifest in ["Cargo.toml", "../rabbitmq/Cargo.toml", "../consumer/Cargo.toml"].map(|file| folder.join(file)) {
        if !needs.iter().any(|(_, _, is_needed)| *is_needed) || !manifest.is_file() {
            continue;
        }
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
fn with_feature(manifest: &str, package: &str, feature: &str) -> Option<String> {
    let start = format!("{package} ");
    let line = manifest.lines().find(|line| line.starts_with(&start) && line.contains('['))?;
    if line.contains(&format!("\"{feature}\"")) {
        return None;
    }
    let edited = line.replacen("features = [", &format!("features = [\"{feature}\", "), 1);
    Some(manifest.replacen(line, &edited, 1)).filter(|edited| edited != manifest)
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
        assert_eq!(with_feature("[dependencies]\nother = \"1\"\n", "other", "s3"), None);
    }
}
