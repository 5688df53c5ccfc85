//! The ingress as one writes it with the official crates, all with their defaults: lambda_http, aws-config,
//! aws-sdk-sqs, jsonschema.

use std::env::var;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use jsonschema::Validator;
use lambda_http::{Body, Error, Request, RequestExt, Response, run, service_fn, tracing};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

struct State {
    sqs: aws_sdk_sqs::Client,
    order: Validator,
    api_key_sha256: String,
    github_secret: String,
    standard_secret: Vec<u8>,
    orders: String,
    webhooks: String,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let state = State {
        sqs: aws_sdk_sqs::Client::new(&aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await),
        order: jsonschema::validator_for(&serde_json::from_str(include_str!("../../../order.schema.json"))?)?,
        api_key_sha256: var("API_KEY_SHA256")?,
        github_secret: var("GITHUB_SECRET")?,
        standard_secret: BASE64_STANDARD.decode(var("STANDARD_SECRET")?)?,
        orders: var("QUEUE_ORDERS")?,
        webhooks: var("QUEUE_WEBHOOKS")?,
    };
    run(service_fn(|request| admit(&state, request))).await
}

async fn admit(state: &State, request: Request) -> Result<Response<Body>, Error> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let body: &[u8] = request.body();
    let path = request.raw_http_path();
    let is_authentic = match path {
        "/orders" => hex(&Sha256::digest(header("x-api-key"))) == state.api_key_sha256,
        "/webhooks/github" => {
            let mut mac = Hmac::<Sha256>::new_from_slice(state.github_secret.as_bytes())?;
            mac.update(body);
            let signature = unhex(header("x-hub-signature-256").trim_start_matches("sha256="));
            mac.verify_slice(&signature).is_ok()
        }
        _ => {
            let mut mac = Hmac::<Sha256>::new_from_slice(&state.standard_secret)?;
            mac.update(format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).as_bytes());
            mac.update(body);
            let signature = BASE64_STANDARD.decode(header("webhook-signature").trim_start_matches("v1,"))?;
            mac.verify_slice(&signature).is_ok()
        }
    };
    if !is_authentic {
        return answer(401, json!({ "title": "Unauthorized" }));
    }
    let data: Value = serde_json::from_slice(body)?;
    if path == "/orders" && !state.order.is_valid(&data) {
        return answer(422, json!({ "title": "Unprocessable Content" }));
    }
    let (queue, kind, key, group) = match path {
        "/orders" => {
            let group = data["customer_id"].as_str().map(str::to_owned);
            (&state.orders, "order.placed".to_owned(), header("idempotency-key"), group)
        }
        "/webhooks/github" => {
            (&state.webhooks, format!("github.{}", header("x-github-event")), header("x-github-delivery"), None)
        }
        _ => (&state.webhooks, "webhook.received".to_owned(), header("webhook-id"), None),
    };
    let id = hex(&Sha256::digest(format!("{path} {key}")))[..32].to_owned();
    let envelope = json!({
        "specversion": "1.0", "id": id, "source": path, "type": kind, "datacontenttype": "application/json",
        "idempotencykey": key, "data": data,
    });
    // The SDK checks the MD5 of the body by default.
    let sent = state.sqs.send_message().queue_url(queue).message_body(envelope.to_string());
    sent.set_message_group_id(group).send().await?;
    answer(202, json!({ "id": id }))
}

fn answer(status: u16, body: Value) -> Result<Response<Body>, Error> {
    Ok(Response::builder().status(status).header("content-type", "application/json").body(body.to_string().into())?)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |start| text.get(start..start + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    (0..text.len()).step_by(2).map_while(byte).collect()
}
