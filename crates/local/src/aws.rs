//! The AWS port: the SQS emulator, and Secrets Manager for the development secrets, DynamoDB and S3 beside it.
//!
//! `X-Amz-Target: secretsmanager.<Action>` (AWS JSON 1.1) reads and changes the development secrets, and
//! `DynamoDB_20120810.<Action>` (AWS JSON 1.0) the template's tables, if it has any. A request whose signature names S3
//! reads and changes the objects of the template's buckets. Every other request goes to [`sqs_emulator`], except a
//! request for another AWS service, which is refused with a text that lists what is supported.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use sqs_emulator::{Sqs, serve_with};
use tokio::net::TcpListener;

use crate::broker_faults::BrokerFaults;
use crate::dynamodb::{DYNAMODB, DynamoDb};
use crate::s3::S3;
use crate::secrets::{SecretLookup, SecretVersions, SecretsManagerError};

/// The largest request to Secrets Manager: a secret is 64 KiB at most, each character escaped as six, and room for
/// the rest.
const REQUEST_BYTES_MAX: usize = 1_024 * 1_024;

/// The largest request to DynamoDB.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
const DYNAMODB_REQUEST_BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// The end of the error text for a request to another service.
const SUPPORTED: &str = "This endpoint has Amazon SQS (X-Amz-Target: AmazonSQS.<Action>, AWS JSON 1.0, or Action=<Action>, \
                         AWS Query), secretsmanager.GetSecretValue, PutSecretValue, UpdateSecretVersionStage and \
                         UpdateSecret, DynamoDB_20120810.<Action> if the template has a table, the objects of S3, and STS GetCallerIdentity.";

/// Answers requests until the listener fails or the future is dropped. A value written to a secret replaces the one
/// that `secrets` returns. Without `dynamodb`, requests for it are refused.
///
/// # Errors
/// The error of accepting connections.
pub async fn serve(
    listener: TcpListener,
    sqs: Sqs,
    secrets: SecretLookup,
    dynamodb: Option<DynamoDb>,
    s3: S3,
) -> std::io::Result<()> {
    serve_with_faults(listener, sqs, secrets, dynamodb, s3, BrokerFaults::default()).await
}

/// Serves like [`serve`], with the faults of SQS.
pub(crate) async fn serve_with_faults(
    listener: TcpListener,
    sqs: Sqs,
    secrets: SecretLookup,
    dynamodb: Option<DynamoDb>,
    s3: S3,
    faults: BrokerFaults,
) -> std::io::Result<()> {
    let services = Arc::new(Services { sqs, secrets: SecretVersions::new(secrets), dynamodb, s3, faults });
    serve_with(listener, move |request| {
        let services = Arc::clone(&services);
        async move { answer(&services, request).await }
    })
    .await
}

struct Services {
    sqs: Sqs,
    secrets: SecretVersions,
    dynamodb: Option<DynamoDb>,
    s3: S3,
    faults: BrokerFaults,
}

async fn answer(services: &Services, request: Request<Incoming>) -> Option<Response<Full<Bytes>>> {
    if S3::is_for(&request) {
        return Some(services.s3.answer(request).await);
    }
    let target = request.headers().get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if target.is_empty() || target.starts_with("AmazonSQS.") {
        return services.faults.answer(&services.sqs, request).await;
    }
    let of_dynamodb = target.strip_prefix(DYNAMODB.target).and_then(|action| action.strip_prefix('.'));
    let mut response = match (&services.dynamodb, of_dynamodb) {
        (Some(dynamodb), Some(action)) => {
            let action = action.to_owned();
            match Limited::new(request.into_body(), DYNAMODB_REQUEST_BYTES_MAX).collect().await {
                Ok(body) => answer_dynamodb(dynamodb.call(&action, body.to_bytes()).await),
                Err(error) => answer_dynamodb((413, format!("cannot read the body: {error}"))),
            }
        }
        _ => answer_secrets(&services.secrets, request).await,
    };
    if let Ok(id) = HeaderValue::from_str(&uuid::Uuid::now_v7().to_string()) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    Some(response)
}

fn answer_dynamodb((status, body): (u16, String)) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(DYNAMODB.content_type));
    response
}

async fn answer_secrets(secrets: &SecretVersions, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let target = request.headers().get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    match target.strip_prefix("secretsmanager.").filter(|action| SecretVersions::has(action)) {
        Some(action) => {
            let action = action.to_owned();
            let input = read(request).await;
            let answer = input.and_then(|input| secrets.call(&action, &input));
            answer_json("application/x-amz-json-1.1", "com.amazonaws.secretsmanager", answer)
        }
        None => {
            let error = SecretsManagerError::new(
                "UnknownOperationException",
                format!("{target} is not supported. {SUPPORTED}"),
            );
            answer_json("application/x-amz-json-1.0", "com.amazon.coral.service", Err(error))
        }
    }
}

async fn read(request: Request<Incoming>) -> Result<Value, SecretsManagerError> {
    let unreadable = |reason: String| SecretsManagerError::new("SerializationException", reason);
    let body = Limited::new(request.into_body(), REQUEST_BYTES_MAX).collect().await;
    let body = body.map_err(|error| unreadable(format!("cannot read the body: {error}")))?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| unreadable(error.to_string()))
}

fn answer_json(
    content_type: &'static str,
    namespace: &str,
    answer: Result<Value, SecretsManagerError>,
) -> Response<Full<Bytes>> {
    let mut response = match answer {
        Ok(output) => Response::new(Full::from(output.to_string())),
        Err(error) => {
            let body = json!({ "__type": format!("{namespace}#{}", error.code), "message": error.message });
            let mut response = Response::new(Full::from(body.to_string()));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            if let Ok(code) = HeaderValue::from_str(&format!("{};Sender", error.code)) {
                response.headers_mut().insert("x-amzn-query-error", code);
            }
            response
        }
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;
    use sqs_emulator::{Clock, SqsConfig};

    use super::*;

    /// Posts one request; returns status, query error header and body.
    async fn post(target: &str, body: &'static str) -> (u16, String, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let secrets: SecretLookup =
            Arc::new(|id| (id == "dev" || id.ends_with(":secret:dev-AbCdEf")).then(|| "{}".into()));
        let server = tokio::spawn(serve(
            listener,
            Sqs::new(Clock::system(), SqsConfig::default()),
            secrets,
            None,
            S3::default(),
        ));
        let mut request = Request::post(url);
        if !target.is_empty() {
            request = request.header("x-amz-target", target);
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request.body(Full::<Bytes>::from(body)).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        assert!(head.headers.contains_key("x-amzn-requestid"), "{target}");
        let code = head.headers.get("x-amzn-query-error").map(|value| value.to_str().unwrap().to_owned());
        let body = body.collect().await.unwrap().to_bytes();
        server.abort();
        (head.status.as_u16(), code.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap())
    }

    async fn check(target: &str, body: &'static str, status: u16, code: &str, contains: &str) {
        let answer = post(target, body).await;
        assert_eq!((answer.0, answer.1.as_str()), (status, code), "{target} {body}: {}", answer.2);
        assert!(answer.2.contains(contains), "{target} {body}: {}", answer.2);
    }

    #[tokio::test]
    async fn secrets_are_read_beside_the_queues() {
        let no_secret = r#""__type":"com.amazonaws.secretsmanager#ResourceNotFoundException""#;
        let get = "secretsmanager.GetSecretValue";
        check("AmazonSQS.ListQueues", "", 200, "", r#"{}"#).await;
        check("", "Action=ListQueues", 200, "", "<ListQueuesResult/>").await;
        check(get, r#"{"SecretId":"dev"}"#, 200, "", r#""Name":"dev","SecretString":"{}""#).await;
        let arn = r#"{"SecretId":"arn:aws:secretsmanager:us-east-1:000000000000:secret:dev-AbCdEf"}"#;
        check(get, arn, 200, "", r#""Name":"dev""#).await;
        check(get, r#"{"SecretId":"x"}"#, 400, "ResourceNotFoundException;Sender", no_secret).await;
        check(get, "{", 400, "SerializationException;Sender", "SerializationException").await;
        for target in ["DynamoDB_20120810.ListTables", "secretsmanager.ListSecrets"] {
            check(target, "{}", 400, "UnknownOperationException;Sender", "AmazonSQS.<Action>").await;
            check(target, "{}", 400, "UnknownOperationException;Sender", "secretsmanager.GetSecretValue").await;
        }
    }
}
