//! Requests to the API: the replay of a kept one, and a sample of a route.

use axum::extract::{Path, State};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::json;

use super::{
    Actions,
    answer::{Answered, Problem, done, input},
};
use crate::{
    gateway::KeptEvent,
    journal::{Exchange, Journal},
    project::ApiRequest,
};

/// Headers of the connection and of the gateway, which the new request gets anew.
const NOT_SENT: [&str; 7] = [
    "content-length",
    "host",
    "x-amzn-trace-id",
    "x-forwarded-for",
    "x-forwarded-port",
    "x-forwarded-proto",
    "transfer-encoding",
];

/// The body of a sample.
#[derive(Deserialize)]
struct Sample {
    /// The route, such as `POST /orders`.
    #[serde(default)]
    route: String,
}

pub(super) async fn replay(State((actions, journal)): State<(Actions, Journal)>, Path(id): Path<String>) -> Answered {
    let unknown = "No message with this id was seen since the local stack started.";
    let message = journal.message(&id).ok_or_else(|| Problem::unknown("message_unknown", unknown))?;
    let kept = message.content.exchange.as_deref().and_then(|exchange| Some((exchange, kept(exchange)?)));
    let not_kept = "The request of this message was not kept: it is too large, or newer ones needed the memory.";
    let (exchange, request) = kept.ok_or_else(|| Problem::conflict("request_not_kept", not_kept))?;
    let at_unix_s = exchange.at.unix_timestamp();
    let request = match actions.project.clone() {
        Some(project) => {
            let url = actions.api.url().to_owned();
            blocking(move || project.project.renew(request, at_unix_s, &url)).await?
        }
        None => request,
    };
    send(&actions, request).await
}

pub(super) async fn sample(State(actions): State<Actions>, body: Bytes) -> Answered {
    let Sample { route } = input(&body)?;
    let none = "The stack was started without a contract.";
    let project = actions.project.clone().ok_or_else(|| Problem::unknown("contract_unknown", none))?;
    let url = actions.api.url().to_owned();
    let request = blocking(move || project.project.sample(&route, &url)).await?.map_err(Problem::invalid)?;
    send(&actions, request).await
}

/// Runs what reads files on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Problem::conflict("contract_unreadable", format!("the contract was not read: {error}")))
}

async fn send(actions: &Actions, request: ApiRequest) -> Answered {
    let sent = actions.api.send(request).await;
    let answer = sent.map_err(|error| Problem::broker("api_unreached", error))?;
    // A refused request is listed by its own id.
    let message = match answer.status.is_success() {
        true => answer.body["id"].as_str().map(str::to_owned),
        false => answer.request_id,
    };
    Ok(done(json!({ "status": answer.status.as_u16(), "message": message, "answer": answer.body })))
}

/// Returns the kept request as it is sent again; `None` if its body was not kept.
fn kept(exchange: &Exchange) -> Option<ApiRequest> {
    let event = KeptEvent::parse(exchange.event.as_deref()?)?;
    let separator = if event.raw_query_string.is_empty() { "" } else { "?" };
    let mut headers = HeaderMap::new();
    let cookies = (!event.cookies.is_empty()).then(|| ("cookie".to_owned(), event.cookies.join("; ")));
    for (name, value) in event.headers.clone().into_iter().chain(cookies) {
        if !NOT_SENT.contains(&name.as_str()) {
            headers.insert(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
        }
    }
    Some(ApiRequest {
        method: exchange.method.to_string(),
        target: format!("{}{separator}{}", exchange.path, event.raw_query_string),
        headers,
        body: event.payload(),
    })
}
