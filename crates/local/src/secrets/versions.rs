//! Versions of the development secrets, so that a rotation can be tested: `GetSecretValue`, `PutSecretValue`,
//! `UpdateSecretVersionStage` and `UpdateSecret`.
//!
//! Written values live until the process ends. A version without a staging label is removed at once, as Secrets
//! Manager may do at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

/// Maps a secret's id or ARN to its value.
pub type SecretLookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Largest value of a secret, in bytes.
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html>
const SECRET_BYTES_MAX: usize = 65_536;
/// Largest number of staging labels of one call. API PutSecretValue.
const STAGES_MAX: usize = 20;
/// Length of `ClientRequestToken`, in characters. It becomes the version's id. API PutSecretValue.
const TOKEN_CHARS: std::ops::RangeInclusive<usize> = 32..=64;
/// Random characters at the end of a secret's ARN.
const ARN_END_CHARS: usize = 6;

const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";
/// Id of the first version, which the lookup returns.
const FIRST_VERSION: &str = "00000000-0000-4000-8000-000000000000";

/// A refused call, with the error texts of Secrets Manager.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SecretsManagerError {
    /// The error's name in the API.
    pub(crate) code: &'static str,
    /// The text for the caller.
    pub(crate) message: String,
}

impl SecretsManagerError {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The secrets of a lookup, and the values written to them since.
pub(crate) struct SecretVersions {
    lookup: SecretLookup,
    /// Versions of the secrets that were written to, by the secret's name.
    written: Mutex<BTreeMap<String, Vec<Version>>>,
}

#[derive(Clone)]
struct Version {
    id: String,
    text: String,
    stages: BTreeSet<String>,
}

impl SecretVersions {
    pub(crate) fn new(lookup: SecretLookup) -> Self {
        Self { lookup, written: Mutex::default() }
    }

    /// Returns whether the action is supported.
    pub(crate) fn has(action: &str) -> bool {
        matches!(action, "GetSecretValue" | "PutSecretValue" | "UpdateSecretVersionStage" | "UpdateSecret")
    }

    /// Runs an action on its AWS JSON input.
    ///
    /// # Errors
    /// `ResourceNotFoundException`, `ResourceExistsException` for a token used before with another value,
    /// `InvalidParameterException`, `MissingRequiredParameterException`.
    pub(crate) fn call(&self, action: &str, input: &Value) -> Result<Value, SecretsManagerError> {
        let id = input["SecretId"].as_str().ok_or_else(|| {
            SecretsManagerError::new(
                "MissingRequiredParameterException",
                "The request must contain the parameter SecretId.",
            )
        })?;
        let first = (self.lookup)(id).ok_or_else(|| {
            SecretsManagerError::new("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
        })?;
        let name = name_of(id);
        let arn = if id.starts_with("arn:") {
            id.to_owned()
        } else {
            format!("arn:aws:secretsmanager:us-east-1:000000000000:secret:{id}-local0")
        };
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let start = || vec![Version { id: FIRST_VERSION.to_owned(), text: first, stages: [CURRENT.to_owned()].into() }];
        let mut answer = match action {
            "GetSecretValue" => match written.get(name) {
                Some(versions) => get(versions, input)?,
                None => get(&start(), input)?,
            },
            // UpdateSecret may change nothing but the description, which is not kept.
            "UpdateSecret" if input["SecretString"].is_null() && input["SecretBinary"].is_null() => json!({}),
            _ => {
                let mut versions = written.get(name).cloned().unwrap_or_else(start);
                let answer = match action {
                    "UpdateSecretVersionStage" => move_stage(&mut versions, input)?,
                    _ => put(&mut versions, action, input)?,
                };
                written.insert(name.to_owned(), versions);
                answer
            }
        };
        answer["ARN"] = arn.into();
        answer["Name"] = name.into();
        Ok(answer)
    }
}

/// Returns the name in an ARN, which ends in the name, a hyphen and six characters; an id that is not an ARN is a name.
fn name_of(id: &str) -> &str {
    let Some((_, tail)) = id.rsplit_once(":secret:") else { return id };
    match tail.rsplit_once('-') {
        Some((name, end)) if end.len() == ARN_END_CHARS => name,
        _ => tail,
    }
}

fn get(versions: &[Version], input: &Value) -> Result<Value, SecretsManagerError> {
    let (id, stage) = (input["VersionId"].as_str(), input["VersionStage"].as_str());
    let stage = stage.or(if id.is_none() { Some(CURRENT) } else { None });
    let is_it = |version: &&Version| {
        id.is_none_or(|id| id == version.id) && stage.is_none_or(|stage| version.stages.contains(stage))
    };
    let version = versions.iter().find(is_it).ok_or_else(|| {
        let what = match (id, stage) {
            (Some(id), _) => format!("VersionId: {id}"),
            (None, stage) => format!("staging label: {}", stage.unwrap_or(CURRENT)),
        };
        let text = format!("Secrets Manager can't find the specified secret value for {what}");
        SecretsManagerError::new("ResourceNotFoundException", text)
    })?;
    Ok(json!({ "SecretString": version.text, "VersionId": version.id, "VersionStages": version.stages }))
}

/// Adds a version and moves its labels to it; `AWSPREVIOUS` goes to the version that loses `AWSCURRENT`.
fn put(versions: &mut Vec<Version>, action: &str, input: &Value) -> Result<Value, SecretsManagerError> {
    let refused = |text: &str| SecretsManagerError::new("InvalidParameterException", text);
    let text = input["SecretString"]
        .as_str()
        .ok_or_else(|| refused("SecretString is required: binary secrets are not kept."))?;
    if text.is_empty() || text.len() > SECRET_BYTES_MAX {
        return Err(refused("SecretString must have 1 to 65536 bytes."));
    }
    let id = input["ClientRequestToken"].as_str().map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
    if !TOKEN_CHARS.contains(&id.len()) {
        return Err(refused("ClientRequestToken must have 32 to 64 characters."));
    }
    let stages: BTreeSet<String> = match (action, input["VersionStages"].as_array()) {
        ("PutSecretValue", Some(stages)) => {
            stages.iter().filter_map(|stage| stage.as_str().map(str::to_owned)).collect()
        }
        _ => [CURRENT.to_owned()].into(),
    };
    if stages.is_empty() || stages.len() > STAGES_MAX {
        return Err(refused("VersionStages must have 1 to 20 labels."));
    }
    if let Some(version) = versions.iter().find(|version| version.id == id) {
        if version.text == text {
            return Ok(json!({ "VersionId": id, "VersionStages": version.stages }));
        }
        let text = format!("You can't use ClientRequestToken {id}: it is in use for a version with another value.");
        return Err(SecretsManagerError::new("ResourceExistsException", text));
    }
    take_off(versions, &stages);
    versions.retain(|version| !version.stages.is_empty());
    let answer = json!({ "VersionId": id, "VersionStages": stages });
    versions.push(Version { id, text: text.to_owned(), stages });
    Ok(answer)
}

/// Removes labels from the versions that have them. `AWSPREVIOUS` goes to the version that loses `AWSCURRENT`.
fn take_off(versions: &mut [Version], stages: &BTreeSet<String>) {
    if stages.contains(CURRENT) {
        for version in versions.iter_mut() {
            version.stages.remove(PREVIOUS);
            if version.stages.contains(CURRENT) {
                version.stages.insert(PREVIOUS.to_owned());
            }
        }
    }
    for version in versions {
        version.stages.retain(|stage| !stages.contains(stage));
    }
}

/// Moves a label from one version to another, if it is on the version given by the caller.
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html>
fn move_stage(versions: &mut Vec<Version>, input: &Value) -> Result<Value, SecretsManagerError> {
    let stage = input["VersionStage"].as_str().ok_or_else(|| {
        SecretsManagerError::new(
            "MissingRequiredParameterException",
            "The request must contain the parameter VersionStage.",
        )
    })?;
    let (from, to) = (input["RemoveFromVersionId"].as_str(), input["MoveToVersionId"].as_str());
    let refused = |text: String| SecretsManagerError::new("InvalidParameterException", text);
    for id in [from, to].into_iter().flatten() {
        if !versions.iter().any(|version| version.id == id) {
            let text = format!("Secrets Manager can't find the specified secret version: {id}");
            return Err(SecretsManagerError::new("ResourceNotFoundException", text));
        }
    }
    let at = versions.iter().find(|version| version.stages.contains(stage)).map(|version| version.id.as_str());
    if at.is_some_and(|at| from.or(to) != Some(at)) {
        return Err(refused(format!(
            "Staging label {stage} is attached to version {}: RemoveFromVersionId must name it.",
            at.unwrap_or_default()
        )));
    }
    if from.is_some() && from != at {
        return Err(refused(format!("Staging label {stage} is not attached to version {}.", from.unwrap_or_default())));
    }
    if to.is_none() && stage == CURRENT {
        return Err(refused(format!("Staging label {CURRENT} can be moved and cannot be removed.")));
    }
    if to != at {
        take_off(versions, &[stage.to_owned()].into());
        let moved = versions.iter_mut().find(|version| Some(version.id.as_str()) == to);
        if let Some(version) = moved {
            version.stages.insert(stage.to_owned());
        }
        versions.retain(|version| !version.stages.is_empty());
    }
    Ok(json!({}))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "11111111-1111-4111-8111-111111111111";
    const ARN: &str = "arn:aws:secretsmanager:us-east-1:000000000000:secret:dev-one-AbCdEf";

    #[test]
    fn a_rotation_can_be_tested() {
        let secrets = SecretVersions::new(Arc::new(|id| id.contains("dev-one").then(|| "first".to_owned())));
        let check = |action: &str, input: Value, expected: Result<&str, &str>| {
            let answer = secrets.call(action, &input);
            let seen = answer.as_ref().map(|answer| answer["SecretString"].as_str().unwrap_or_default());
            assert_eq!(seen.map_err(|error| error.code), expected, "{action} {input}");
            answer.unwrap_or_default()
        };
        let get = |more: Value, expected: Result<&str, &str>| {
            let mut input = json!({ "SecretId": "dev-one" });
            input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            check("GetSecretValue", input, expected)
        };
        let (missing, parameter) = ("ResourceNotFoundException", "InvalidParameterException");
        assert_eq!(get(json!({}), Ok("first"))["VersionStages"], json!([CURRENT]));
        get(json!({ "VersionStage": PREVIOUS }), Err(missing));
        let put = |text: &str, more: Value| {
            let mut input = json!({ "SecretId": ARN, "SecretString": text });
            input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            input
        };
        let second = check("PutSecretValue", put("second", json!({ "ClientRequestToken": TOKEN })), Ok(""));
        assert_eq!(
            (&second["VersionId"], &second["Name"], &second["ARN"]),
            (&TOKEN.into(), &"dev-one".into(), &ARN.into())
        );
        assert_eq!(get(json!({}), Ok("second"))["VersionId"], TOKEN, "a value that was put by ARN is read by name");
        get(json!({ "VersionStage": PREVIOUS }), Ok("first"));
        get(json!({ "VersionId": TOKEN }), Ok("second"));
        get(json!({ "VersionId": TOKEN, "VersionStage": PREVIOUS }), Err(missing));
        check("PutSecretValue", put("second", json!({ "ClientRequestToken": TOKEN })), Ok(""));
        check("PutSecretValue", put("other", json!({ "ClientRequestToken": TOKEN })), Err("ResourceExistsException"));

        check("PutSecretValue", put("pending", json!({ "VersionStages": ["AWSPENDING"] })), Ok(""));
        get(json!({}), Ok("second"));
        get(json!({ "VersionStage": "AWSPENDING" }), Ok("pending"));
        check("UpdateSecret", put("third", json!({})), Ok(""));
        get(json!({}), Ok("third"));
        get(json!({ "VersionStage": PREVIOUS }), Ok("second"));
        check("UpdateSecret", json!({ "SecretId": "dev-one", "Description": "d" }), Ok(""));
        get(json!({}), Ok("third"));

        // A label moves only from the version that has it, so one of two concurrent writers is refused.
        let current = get(json!({}), Ok("third"))["VersionId"].clone();
        let stage = |from: &Value, to: &Value| {
            let mut input = json!({ "SecretId": ARN, "VersionStage": CURRENT });
            for (name, id) in [("RemoveFromVersionId", from), ("MoveToVersionId", to)] {
                if !id.is_null() {
                    input[name] = id.clone();
                }
            }
            input
        };
        let update = "UpdateSecretVersionStage";
        let fourth = check("PutSecretValue", put("fourth", json!({ "VersionStages": ["MINE"] })), Ok(""));
        let fourth = &fourth["VersionId"];
        get(json!({}), Ok("third"));
        check(update, stage(&Value::Null, fourth), Err(parameter));
        check(update, stage(fourth, fourth), Err(parameter));
        check(update, stage(&current, &Value::Null), Err(parameter));
        check(update, stage(&current, &"gone".into()), Err(missing));
        check(update, json!({ "SecretId": ARN }), Err("MissingRequiredParameterException"));
        get(json!({}), Ok("third"));
        check(update, stage(&current, fourth), Ok(""));
        get(json!({}), Ok("fourth"));
        get(json!({ "VersionStage": PREVIOUS }), Ok("third"));
        check(update, stage(&current, fourth), Err(parameter));
        check(update, stage(fourth, &current), Ok(""));
        get(json!({}), Ok("third"));
        get(json!({ "VersionStage": PREVIOUS }), Ok("fourth"));

        let long = "a".repeat(SECRET_BYTES_MAX + 1);
        for (input, error) in [
            (put(&long, json!({})), parameter),
            (put("", json!({})), parameter),
            (put("x", json!({ "ClientRequestToken": "short" })), parameter),
            (put("x", json!({ "VersionStages": [] })), parameter),
            (json!({ "SecretId": ARN, "SecretBinary": "AA==" }), parameter),
            (json!({ "SecretId": ARN }), parameter),
            (json!({ "SecretId": "none", "SecretString": "x" }), missing),
            (json!({ "SecretString": "x" }), "MissingRequiredParameterException"),
        ] {
            check("PutSecretValue", input, Err(error));
        }
        get(json!({}), Ok("third"));
        assert_eq!(secrets.written.lock().unwrap()["dev-one"].len(), 3, "versions without a label are removed");
    }
}
