//! The ingress of an AWS Lambda function: admits the HTTPS requests that an OpenAPI document describes onto a queue.
//! A 202 means that the broker has stored the message.
//!
//! A function is its contract and a main:
//!
//! ```no_run
//! # async fn run(contract: sluicegate_ingress::EmbeddedContract) -> std::process::ExitCode {
//! // `contract` is `sluicegate_ingress::embedded_contract!()`.
//! sluicegate_ingress::serve(contract).await
//! # }
//! ```
//!
//! Its `build.rs` is `sluicegate_contract::build("openapi.yaml")`: a fault in the document is a build error, and the
//! function embeds the checked document. The environment variable `QUEUE_<NAME>` binds a logical queue, and
//! `SECRET_ARN` is the ARN of the secret with the API keys and signing secrets; [`serve()`] reports every configuration
//! error at startup.
//!
//! [`Ingress::admit`] runs the stages in order. Each stage is a type, in a separate file, that only the previous stage
//! can construct: [`Arrival`], [`Routed`], [`Authenticated`], [`Validated`], then the envelope and its receipt.
//! [`testing`] has an ingress for tests of a contract, without AWS.
//!
//! # Guarantees
//!
//! - A 202 requires the receipt of the broker. Otherwise the answer is a 503 with `Retry-After`, within the deadline.
//! - Authentication is decided on the bytes that arrived, in constant time, before anything is parsed. The body is
//!   parsed first only for a provider that signs values within it.
//! - A refusal is an RFC 9457 problem with a stable [`Code`]; schema errors have the JSON pointer of each fault.
//!   Answers and logs contain no payload, no secret and no internal detail.
//! - The same request with the same idempotency key has the same message id.
//! - The payload is enqueued byte for byte.
//! - At SIGTERM, [`serve()`] answers the running requests, and then ends.
//!
//! # Features
//!
//! `sqs` (default), `rabbitmq` and `kafka`: the brokers that are built in. At least one is needed. `dynamodb`: routes
//! whose idempotency keys or rate limits are in a store, or whose messages have a status. `s3`: routes whose large
//! payloads go to S3. `otlp`: spans of OpenTelemetry, exported before each answer if `OTEL_EXPORTER_OTLP_ENDPOINT` is
//! set.

#[cfg(not(any(feature = "kafka", feature = "rabbitmq", feature = "sqs")))]
compile_error!("no broker is enabled: enable the feature `sqs`, `rabbitmq` or `kafka` of sluicegate-ingress");

mod answer;
mod any_producer;
mod authenticate;
mod batch;
mod breaker;
mod cloud_event;
mod compile;
mod config;
mod content_coding;
mod cors;
mod enqueue;
mod event;
mod explain;
mod form;
mod gateway_context;
mod handshake;
mod https_get;
mod idempotency_key;
mod json;
mod limit;
mod media_type;
mod pointer;
mod published_keys;
mod rejection;
mod request_record;
#[cfg(feature = "otlp")]
mod request_trace;
mod route;
mod schemas;
mod secrets;
mod send;
mod serve;
#[cfg(feature = "dynamodb")]
mod status;
#[cfg(feature = "dynamodb")]
mod store;
pub mod testing;
mod validate;
mod webhook_origin;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use http::StatusCode;
use lambda_http::{Context, LambdaEvent};
use sluicegate_contract::{Contract, DOCUMENT_PATH, Operation, RouteError};
use sluicegate_queue::{Producer, Receipt};
use sluicegate_telemetry::Emitter;
use time::OffsetDateTime;
use tokio::time::Instant;

pub use sluicegate_contract::EmbeddedContract;

#[cfg(feature = "otlp")]
use crate::request_trace::RequestTrace;
pub use crate::{
    answer::{Answer, LambdaAnswer},
    any_producer::AnyProducer,
    authenticate::Authenticated,
    config::{Config, ConfigError},
    event::{Arrival, Origin},
    rejection::{ANSWER_BYTES_MAX, BodyFault, Code, Destination, Destinations, IsStored, Rejection},
    request_record::RequestRecord,
    route::Routed,
    secrets::{FETCH_TIMEOUT, FetchError, OUTAGE_GRACE, REFRESH_AFTER, SecretSource, Secrets, SecretsManager},
    serve::{from_env, serve},
    validate::Validated,
};
use crate::{
    limit::RateLimits,
    published_keys::Now,
    schemas::Schemas,
    secrets::Moment,
    send::{Queues, SendOptions},
};
#[cfg(feature = "dynamodb")]
pub use sluicegate_idempotency::AnyStore;
#[cfg(feature = "otlp")]
pub use sluicegate_otlp::Tracer;

/// The time reserved for the answer after the broker has timed out.
pub const DEADLINE_MARGIN: Duration = Duration::from_millis(300);

/// Embeds the contract that `sluicegate_contract::build` has checked, as an [`EmbeddedContract`] for [`serve()`].
#[macro_export]
macro_rules! embedded_contract {
    () => {
        $crate::EmbeddedContract::new(
            include_str!(concat!(env!("OUT_DIR"), "/contract.json")),
            include_str!(concat!(env!("OUT_DIR"), "/openapi.json")),
        )
    };
}

/// Admits requests onto queues.
pub struct Ingress<P, S> {
    contract: &'static Contract,
    queues: Queues<P>,
    secrets: Secrets<S>,
    schemas: Schemas,
    limits: RateLimits,
    emitter: Option<Emitter>,
    public_url: Option<String>,
    #[cfg(feature = "dynamodb")]
    store: Option<AnyStore>,
    #[cfg(feature = "otlp")]
    tracer: Option<sluicegate_otlp::Tracer>,
    has_unsigned_handshakes: bool,
    /// For tests: the present.
    clock: Option<SystemTime>,
}

impl<P: Producer, S: SecretSource> Ingress<P, S> {
    /// Returns an ingress for the contract, with a producer for each of its queues. Performs no I/O.
    pub fn new(contract: &'static Contract, producers: BTreeMap<String, P>, secrets: S) -> Self {
        Self {
            contract,
            queues: Queues::new(producers),
            secrets: Secrets::new(secrets, contract),
            schemas: Schemas::new(contract),
            limits: RateLimits::new(contract),
            emitter: None,
            public_url: None,
            #[cfg(feature = "dynamodb")]
            store: None,
            #[cfg(feature = "otlp")]
            tracer: None,
            has_unsigned_handshakes: handshake::any_unsigned(contract),
            clock: None,
        }
    }

    /// Writes a line of metrics for each request.
    #[must_use]
    pub fn with_metrics(mut self, emitter: Option<Emitter>) -> Self {
        self.emitter = emitter;
        self
    }

    /// Sets the URL under which providers know this API, such as `https://api.example.com`, for schemes that sign the
    /// URL. Without it, it is made of the host of the request.
    #[must_use]
    pub fn with_public_url(mut self, url: Option<String>) -> Self {
        self.public_url = url;
        self
    }

    /// Sets how long secrets are used beyond [`REFRESH_AFTER`] while their store does not answer, in place of
    /// [`OUTAGE_GRACE`].
    #[must_use]
    pub fn with_secrets_grace(mut self, grace: Duration) -> Self {
        self.secrets.set_outage_grace(grace);
        self
    }

    /// Sets the store of the routes that have one. Without it, those with keys or limits in a store answer 500, and
    /// those with statuses accept messages without one.
    #[cfg(feature = "dynamodb")]
    #[must_use]
    pub fn with_store(mut self, store: Option<AnyStore>) -> Self {
        self.store = store;
        self
    }

    /// Fetches published keys from a peer in this process.
    #[cfg(feature = "in-process")]
    #[must_use]
    pub fn with_key_server(mut self, dialer: sluicegate_aws_client::http_client::Dialer) -> Self {
        self.secrets.published = published_keys::KeyCache::in_process(dialer);
        self
    }

    /// Exports the spans of each request before its answer.
    #[cfg(feature = "otlp")]
    #[must_use]
    pub fn with_tracer(mut self, tracer: Option<sluicegate_otlp::Tracer>) -> Self {
        self.tracer = tracer;
        self
    }

    /// Answers the request of a Lambda event. A rejection is an answer.
    pub async fn handle(&self, event: LambdaEvent<Arrival>) -> LambdaAnswer {
        let LambdaEvent { payload: arrival, context } = event;
        let (origin, is_head) = (arrival.origin, arrival.method == "HEAD");
        let answer = self.answer(arrival, &context).await;
        let answer = if is_head { answer.without_body() } else { answer };
        answer.for_origin(origin)
    }

    async fn answer(&self, arrival: Arrival, context: &Context) -> Answer {
        let caller = cors::Caller::of(self.contract, &arrival);
        if let Some(answer) = cors::preflight(self.contract, &arrival) {
            RequestRecord::new(&arrival, context).described(answer.status);
            return answer;
        }
        let mut answer = self.answer_same_origin(arrival, context).await;
        if let Some(caller) = caller {
            caller.admit(&mut answer);
        }
        answer
    }

    async fn answer_same_origin(&self, arrival: Arrival, context: &Context) -> Answer {
        let mut record = RequestRecord::new(&arrival, context);
        #[cfg(feature = "otlp")]
        if let Some(tracer) = &self.tracer {
            record.trace = Some(Box::new(RequestTrace::new(tracer, &arrival, context)));
            let answer = Box::pin(self.answer_recorded(arrival, context, &mut record)).await;
            if let Some(trace) = record.trace.take() {
                let deadline = Instant::now() + time_left(context, SystemTime::now());
                tracer.export(trace.end(&record, answer.status), deadline).await;
            }
            return answer;
        }
        self.answer_recorded(arrival, context, &mut record).await
    }

    async fn answer_recorded(&self, arrival: Arrival, context: &Context, record: &mut RequestRecord) -> Answer {
        let mut accept: fn(&Receipt) -> Answer = accepted;
        #[cfg(feature = "dynamodb")]
        if self.contract.has_status()
            && let Some(id) = status::id_in(&arrival)
        {
            // In a box, because the future of every other request would have room for it.
            return Box::pin(self.answer_status(&arrival, id, context, record)).await;
        }
        let result = match self.describe(&arrival) {
            Some(Ok(answer)) => {
                record.described(answer.status);
                return answer;
            }
            Some(Err(rejection)) => Err(rejection),
            None => match self.admit(arrival, context, record).await {
                Ok(Admitted::Stored(receipt)) => Ok(receipt),
                Ok(Admitted::Replayed(receipt)) => {
                    record.replayed();
                    accept = replayed;
                    Ok(receipt)
                }
                Ok(Admitted::Batch(results)) => {
                    for result in &results {
                        record.emit(result, self.emitter.as_ref());
                    }
                    return record.complete(batch::answer(&results));
                }
                Ok(Admitted::Handshake(answer)) => {
                    record.handshake_answered(answer.status);
                    return answer;
                }
                Err(rejection) => Err(rejection),
            },
        };
        record.emit(&result, self.emitter.as_ref());
        record.complete(match result {
            Ok(receipt) => accept(&receipt),
            Err(rejection) => refused(&rejection),
        })
    }

    /// Answers a request for the status of a message.
    #[cfg(feature = "dynamodb")]
    async fn answer_status(
        &self,
        arrival: &Arrival,
        id: &str,
        context: &Context,
        record: &mut RequestRecord,
    ) -> Answer {
        record.asks_for_status(&arrival.method);
        let now = SystemTime::now();
        let deadline = Instant::now() + time_left(context, now);
        let query = status::Query {
            contract: self.contract,
            secrets: &self.secrets,
            public_url: self.public_url.as_deref(),
            store: self.store.as_ref(),
            now: self.clock.unwrap_or(now),
            deadline,
        };
        let answer = query.answer(arrival, id, context).await;
        record.described(answer.status);
        answer
    }

    /// Admits a request, from its route to the receipt of the broker, or answers the handshake that it is. Each stage
    /// adds to `record`.
    ///
    /// # Errors
    /// The [`Rejection`] of the first stage that refuses.
    pub async fn admit(
        &self,
        arrival: Arrival,
        context: &Context,
        record: &mut RequestRecord,
    ) -> Result<Admitted, Rejection> {
        let now = SystemTime::now();
        let deadline = Instant::now() + time_left(context, now);
        let now = self.clock.unwrap_or(now);

        if self.has_unsigned_handshakes
            && let Some(handshake) = handshake::unsigned(self.contract, &arrival)
        {
            self.limits.check_handshake(&arrival)?;
            let secrets = match &handshake.list {
                Some(list) => authenticate::signing_secrets(&self.secrets, list, Moment::now(now)).await?,
                None => Vec::new(),
            };
            return handshake.answer(&arrival, &secrets).map(Admitted::Handshake);
        }
        let routed = Routed::new(self.contract, arrival)?;
        let operation = routed.operation();
        record.routed(operation);
        let (public_url, arrived) = (self.public_url.as_deref(), Moment::now(now));
        let authenticated = Authenticated::new(routed, self.contract, &self.secrets, public_url, now, deadline).await?;
        record.authenticated(&authenticated);
        let now = OffsetDateTime::from(now);
        if let Some(handshake) = handshake::signed(&authenticated) {
            if let Some(url) = handshake.visit()? {
                let now = Now { moment: arrived.present(), unix_s: arrived.unix_s(), deadline };
                handshake::visit(&self.secrets.published, &url, now).await?;
            }
            return handshake.answer().map(Admitted::Handshake);
        }
        self.limits.check(&authenticated, &mut record.allowances)?;
        #[cfg(feature = "dynamodb")]
        if operation.enqueue.has_shared_limit() {
            let (store, left) = (self.store.as_ref(), &mut record.allowances);
            // In a box, because the future of every other request would have room for it.
            Box::pin(self.limits.check_shared(&authenticated, store, context, deadline, left)).await?;
        }
        let validated = Validated::new(authenticated, &self.schemas)?;
        let options = SendOptions {
            delay: enqueue::delay(validated.authenticated())?,
            trace_header: context.xray_trace_id.as_deref(),
            may_be_pointer: operation.enqueue.large_payloads,
            deadline,
        };
        let Some(draft) = validated.one() else {
            return self.admit_batch(&validated, operation, now, &options, record).await.map(Admitted::Batch);
        };
        let queue = enqueue::queue(operation, &draft)?;
        let (envelope, identity) = enqueue::envelope(&draft, queue, now, record.traceparent())?;
        record.typed(envelope.event_type());
        record.chosen(queue);

        let permitted = self.queues.permit(queue, operation)?;
        #[cfg(feature = "dynamodb")]
        let held = match store::claim(self.store.as_ref(), operation, identity, context, deadline).await? {
            store::Claimed::Replay(receipt) => {
                if operation.enqueue.status {
                    record.has_status(status::location(validated.authenticated(), &receipt.id));
                }
                return Ok(Admitted::Replayed(receipt));
            }
            store::Claimed::Enqueue(held) => held,
        };
        #[cfg(not(feature = "dynamodb"))]
        drop(identity);
        #[cfg(feature = "dynamodb")]
        let opened = if operation.enqueue.status {
            let authenticated = validated.authenticated();
            Box::pin(status::open(self.store.as_ref(), authenticated, envelope.id(), context, deadline)).await
        } else {
            None
        };
        let receipt = permitted.send(&envelope, &options, record).await;
        #[cfg(feature = "dynamodb")]
        if let Some(opened) = opened {
            opened.settle(&receipt, context, deadline).await;
            if receipt.is_ok() {
                record.has_status(status::location(validated.authenticated(), envelope.id()));
            }
        }
        #[cfg(feature = "dynamodb")]
        if let Some(held) = held {
            held.settle(&receipt, context, deadline).await;
        }
        receipt.map(Admitted::Stored)
    }

    /// Enqueues the items of a batch that are in order; returns the result of each. The contract gives no batch a store
    /// of idempotency keys.
    async fn admit_batch(
        &self,
        validated: &Validated<'static>,
        operation: &Operation,
        now: OffsetDateTime,
        options: &SendOptions<'_>,
        record: &mut RequestRecord,
    ) -> Result<Vec<Result<Receipt, Rejection>>, Rejection> {
        let queue = enqueue::queue_of_batch(validated)?;
        record.chosen(queue);
        let envelope = |draft| Ok(enqueue::envelope(&draft, queue, now, record.traceparent())?.0);
        let envelopes = validated.items().map(|draft| draft.and_then(envelope)).collect();
        Ok(self.queues.send_all(queue, operation, envelopes, options, record).await)
    }

    /// Answers a request for the API document or for the methods of a route; `None` for any other request.
    fn describe(&self, arrival: &Arrival) -> Option<Result<Answer, Rejection>> {
        const DOCUMENT_ALLOW: &str = "GET, HEAD, OPTIONS";
        if [Some(arrival.path.as_str()), arrival.unstaged_path()].contains(&Some(DOCUMENT_PATH)) {
            return Some(match arrival.method.as_str() {
                "GET" | "HEAD" => {
                    Ok(Answer::new(StatusCode::OK, "application/json", self.contract.public_document().to_owned()))
                }
                "OPTIONS" => Ok(allowed(DOCUMENT_ALLOW.to_owned())),
                _ => Err(only(DOCUMENT_ALLOW)),
            });
        }
        if let Some(answer) = webhook_origin::answer(self.contract, arrival) {
            return Some(Ok(answer));
        }
        let is_handshake = || self.has_unsigned_handshakes && handshake::unsigned(self.contract, arrival).is_some();
        if arrival.method != "OPTIONS" || is_handshake() {
            return None;
        }
        match route::find(self.contract, arrival) {
            Err(RouteError::MethodNotAllowed { allow }) => Some(Ok(allowed(route::allow_header(&allow)))),
            _ => None,
        }
    }
}

/// An admitted request.
#[derive(Debug)]
pub enum Admitted {
    /// The broker stored its message.
    Stored(Receipt),
    /// The broker stored its message for an earlier request with the same idempotency key.
    Replayed(Receipt),
    /// The broker stored the messages of its batch that are `Ok`, in the order of the items.
    Batch(Vec<Result<Receipt, Rejection>>),
    /// It is a provider's check of the endpoint, with this answer; nothing is enqueued.
    Handshake(Answer),
}

fn time_left(context: &Context, now: SystemTime) -> Duration {
    context.deadline().duration_since(now).unwrap_or_default().saturating_sub(DEADLINE_MARGIN)
}

fn accepted(receipt: &Receipt) -> Answer {
    #[derive(serde::Serialize)]
    struct Accepted<'a> {
        id: &'a str,
    }
    let body = serde_json::to_string(&Accepted { id: &receipt.id }).unwrap_or_default();
    Answer::new(StatusCode::ACCEPTED, "application/json", body)
}

fn replayed(receipt: &Receipt) -> Answer {
    let mut answer = accepted(receipt);
    answer.headers.push(("idempotency-replayed".into(), "true".to_owned()));
    answer
}

fn refused(rejection: &Rejection) -> Answer {
    let mut answer = Answer::new(rejection.code.status(), "application/problem+json", rejection.body());
    answer.headers.extend(rejection.headers.iter().map(|(name, value)| ((*name).into(), value.clone())));
    answer
}

/// Returns the rejection of a method that a route does not accept.
fn only(allow: &'static str) -> Rejection {
    Rejection::new(Code::MethodNotAllowed, format!("This route accepts {allow}.")).header("allow", allow)
}

fn allowed(allow: String) -> Answer {
    Answer { status: StatusCode::NO_CONTENT, headers: vec![("allow".into(), allow)], body: String::new() }
}
