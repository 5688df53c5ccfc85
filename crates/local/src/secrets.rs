//! The development secrets: fixed, public values that only the local stack uses.
//!
//! Every `AWS::SecretsManager::Secret` of the template has the same value: an object from a logical name to its live
//! values.

mod versions;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use sluicegate_sam::{REGION, SecretPlan};

pub use versions::SecretLookup;
pub(crate) use versions::{SecretVersions, SecretsManagerError};

/// The API key for every operation.
pub const API_KEY: &str = "dev-key";
/// The principal of the API key, and the user name of HTTP Basic.
pub const PRINCIPAL: &str = "dev";
/// The signing secret of GitHub deliveries.
pub const GITHUB: &str = "dev-github";
/// The signing secret of Standard Webhooks deliveries.
pub const STANDARD_WEBHOOKS: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Limit for a call to a remote endpoint.
const CALL_S_MAX: u64 = 30;
/// A secret is 64 KiB at most. <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html>
const ANSWER_BYTES_MAX: usize = 1_024 * 1_024;

/// Returns the list with the API key, which has every scope.
pub fn api_keys() -> Value {
    let hash: String = Sha256::digest(API_KEY).iter().map(|byte| format!("{byte:02x}")).collect();
    json!([{ "sha256": hash, "principal": PRINCIPAL, "scopes": ["*"] }])
}

/// Returns the secret's value, with the lists that the options add.
pub(crate) fn secret_string(lists: &Map<String, Value>) -> String {
    let mut value = json!({
        "api-keys": api_keys(),
        "github": [GITHUB],
        "standard-webhooks": [STANDARD_WEBHOOKS],
    });
    for (name, list) in lists {
        value[name.as_str()] = list.clone();
    }
    value.to_string()
}

/// Returns a lookup of the template's secrets by name, ARN, or ARN without its random end.
pub(crate) fn lookup(secrets: &[SecretPlan], lists: &Map<String, Value>) -> SecretLookup {
    let value = secret_string(lists);
    let known: Vec<_> = secrets.iter().map(|secret| (secret.name.clone(), secret.arn.clone())).collect();
    Arc::new(move |id| {
        let is = |(name, arn): &(String, String)| {
            id == name || id == arn || arn.rsplit_once('-').is_some_and(|(partial, _)| id == partial)
        };
        known.iter().any(is).then(|| value.clone())
    })
}

/// Why a secret is not created at a remote endpoint.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The endpoint does not answer.
    #[error("{endpoint_url}: {action}: {source}")]
    Call {
        /// The endpoint.
        endpoint_url: String,
        /// What was asked.
        action: &'static str,
        /// The reason.
        source: CallError,
    },
    /// The endpoint answers without an ARN.
    #[error("secret {name}: {message}")]
    Refused {
        /// The secret's name.
        name: String,
        /// What the endpoint says.
        message: String,
    },
}

/// Why a call to a remote endpoint has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The URL cannot be called.
    #[error(transparent)]
    Request(#[from] http::Error),
    /// The endpoint cannot be reached.
    #[error(transparent)]
    Connection(#[from] hyper_util::client::legacy::Error),
    /// The answer cannot be read, or is too large.
    #[error(transparent)]
    Body(#[from] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is not from an AWS service.
    #[error("the answer is not JSON")]
    NotJson,
    /// The endpoint refuses.
    #[error("the answer has the status {0}")]
    Status(http::StatusCode),
    /// The endpoint took too long.
    #[error("no answer within {} s", CALL_S_MAX)]
    NoAnswer,
}

/// Creates the secret at a remote endpoint unless it exists, and returns its ARN. An existing value stays.
///
/// # Errors
/// The endpoint does not answer, or refuses.
pub(crate) async fn create_remote(
    endpoint_url: &str,
    name: &str,
    lists: &Map<String, Value>,
) -> Result<String, SecretError> {
    let input = json!({
        "Name": name,
        "SecretString": secret_string(lists),
        "Description": "Development secrets",
        "ClientRequestToken": uuid::Uuid::now_v7().to_string(),
    });
    let call = async |action: &'static str, input: &Value| {
        let answer = call(endpoint_url, &SECRETS_MANAGER, action, input).await;
        answer.map_err(|source| SecretError::Call { endpoint_url: endpoint_url.to_owned(), action, source })
    };
    let mut answer = call("CreateSecret", &input).await?;
    if answer["__type"].as_str().is_some_and(|kind| kind.ends_with("ResourceExistsException")) {
        answer = call("DescribeSecret", &json!({ "SecretId": name })).await?;
    }
    let arn = answer["ARN"].as_str().map(str::to_owned);
    arn.ok_or_else(|| {
        let message = answer["message"].as_str().unwrap_or("no ARN in the answer");
        SecretError::Refused { name: name.to_owned(), message: message.to_owned() }
    })
}

/// A service of a remote endpoint.
pub(crate) struct RemoteService {
    /// The name in credentials.
    pub(crate) name: &'static str,
    /// The start of `X-Amz-Target`.
    pub(crate) target: &'static str,
    /// The media type of AWS JSON 1.0 or 1.1.
    pub(crate) content_type: &'static str,
}

const SECRETS_MANAGER: RemoteService =
    RemoteService { name: "secretsmanager", target: "secretsmanager", content_type: "application/x-amz-json-1.1" };

/// Creates what a URL of a remote endpoint names, unless it exists. The service accepts any credentials.
pub(crate) async fn put_remote(url: &str, service: &str) -> Result<(), CallError> {
    let request = Request::put(url)
        .header(header::AUTHORIZATION, authorization(service))
        .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
        .body(Full::<Bytes>::default())?;
    let exchange = async {
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let status = client.request(request).await?.status();
        if status.is_success() || status == http::StatusCode::CONFLICT {
            Ok(())
        } else {
            Err(CallError::Status(status))
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(CALL_S_MAX), exchange).await;
    answer.unwrap_or(Err(CallError::NoAnswer))
}

fn authorization(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

/// Calls a service of a remote endpoint, which accepts any credentials. An error of the service is an answer.
pub(crate) async fn call(
    endpoint_url: &str,
    service: &RemoteService,
    action: &str,
    input: &Value,
) -> Result<Value, CallError> {
    let RemoteService { name, target, content_type } = service;
    let request = Request::post(endpoint_url)
        .header(header::CONTENT_TYPE, *content_type)
        .header(header::AUTHORIZATION, authorization(name))
        .header("x-amz-target", format!("{target}.{action}"))
        .body(Full::<Bytes>::from(input.to_string()))?;
    let exchange = async {
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request).await?;
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?.to_bytes();
        serde_json::from_slice(&body).map_err(|_| CallError::NotJson)
    };
    let answer = tokio::time::timeout(Duration::from_secs(CALL_S_MAX), exchange).await;
    answer.unwrap_or(Err(CallError::NoAnswer))
}
