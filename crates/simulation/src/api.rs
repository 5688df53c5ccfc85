//! [`Api`]: the contract of a scenario, with one route for messages and one for batches of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_contract::Contract;

use crate::BoxError;
use crate::credentials::{API_KEYS, Scheme, WEBHOOK_SECRETS};
use crate::issuer::{AUDIENCE, ISSUER};

/// The route for messages.
pub(crate) const ROUTE: &str = "/work";

/// The route for batches.
pub(crate) const BATCH_ROUTE: &str = "/work/batch";

/// The name of the queue of both routes.
pub(crate) const QUEUE: &str = "work";

/// The names of the queue that gets a copy of every message.
pub(crate) const COPIES: &str = "copies";
pub(crate) const ARCHIVE: &str = "archive";

/// The largest payload, in bytes.
const PAYLOAD_BYTES_MAX: u32 = 1_048_576;

/// `rateLimit` of each route, which all environments count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RateLimit {
    pub(crate) requests: u32,
    pub(crate) window_s: u32,
    /// Whether it admits requests while the store is away.
    pub(crate) is_open: bool,
}

impl RateLimit {
    /// Returns the time between two requests that come evenly spaced.
    pub(crate) fn period(self) -> Duration {
        Duration::from_secs(u64::from(self.window_s)) / self.requests
    }

    /// Returns how much earlier than that a request may come.
    pub(crate) fn tolerance(self) -> Duration {
        self.period() * (self.requests - 1)
    }
}

/// What the routes of a scenario have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Api {
    /// `idempotency` with `store: dynamodb`, and what the route does while the store is away: admit if `is_open`.
    pub(crate) has_keys: bool,
    pub(crate) is_open: bool,
    /// `rateLimit` with `store: dynamodb`.
    pub(crate) rate_limit: Option<RateLimit>,
    /// How single messages are authenticated.
    pub(crate) scheme: Scheme,
    /// `largePayloads: s3`.
    pub(crate) has_payloads: bool,
    /// `status: true`.
    pub(crate) has_statuses: bool,
    /// A second queue: with `archive: true`, or else `copyTo`.
    pub(crate) has_copies: bool,
    pub(crate) has_archive: bool,
}

impl Api {
    /// Returns the versions of the contract, which every simulation of the process shares. The second has a stricter
    /// schema, which every request of the workload fits.
    pub(crate) fn contracts(self) -> Result<[&'static Contract; 2], BoxError> {
        static CONTRACTS: Mutex<BTreeMap<Api, [&'static Contract; 2]>> = Mutex::new(BTreeMap::new());
        let mut contracts = CONTRACTS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(contracts) = contracts.get(&self) {
            return Ok(*contracts);
        }
        let parse = |required: &[&str]| {
            let contract = Contract::parse("openapi.yaml", &self.document(required).to_string())?;
            Ok::<&Contract, BoxError>(Box::leak(Box::new(contract)))
        };
        let parsed = [parse(&["n"])?, parse(&["n", "group", "padding"])?];
        contracts.insert(self, parsed);
        Ok(parsed)
    }

    fn document(self, required: &[&str]) -> Value {
        let text = json!({ "type": "string" });
        let work = json!({
            "type": "object",
            "required": required,
            "properties": { "n": text, "group": text, "key": text },
        });
        let batch = json!({ "type": "array", "items": work });
        let header =
            |name: &str, list: &str| json!({ "type": "apiKey", "in": "header", "name": name, "x-secret": list });
        let api_key = header("x-api-key", API_KEYS);
        let mut webhook = header("webhook-signature", WEBHOOK_SECRETS);
        webhook["x-signature"] = "standard-webhooks".into();
        let token = json!({ "type": "http", "scheme": "bearer", "x-jwt": { "issuer": ISSUER, "audience": AUDIENCE } });
        let scheme = match self.scheme {
            Scheme::ApiKey => "apiKey",
            Scheme::Webhook => "webhook",
            Scheme::Token => "token",
        };
        let route = |id: &str, scheme: &str, schema: &Value, enqueue: Value| {
            json!({
                "post": {
                    "operationId": id,
                    "security": [{ scheme: [] }],
                    "requestBody": { "required": true, "content": { "application/json": { "schema": schema } } },
                    "responses": { "202": { "description": "Accepted" } },
                    "x-sluicegate": enqueue,
                },
            })
        };
        json!({
            "openapi": "3.1.1",
            "info": { "title": "Simulation", "version": "1.0.0" },
            "paths": {
                ROUTE: route("send", scheme, &work, self.enqueue()),
                BATCH_ROUTE: route("sendBatch", "apiKey", &batch, self.enqueue_batch()),
            },
            "components": { "securitySchemes": { "apiKey": api_key, "webhook": webhook, "token": token } },
        })
    }

    /// Returns `x-sluicegate` of the route for messages.
    fn enqueue(self) -> Value {
        let is_webhook = self.scheme == Scheme::Webhook;
        let mut enqueue =
            self.enqueue_from(if is_webhook { "{header.webhook-id}" } else { "{header.idempotency-key}" });
        if self.has_keys {
            enqueue["idempotency"]["store"] = "dynamodb".into();
            enqueue["idempotency"]["onStoreFailure"] = on_store_failure(self.is_open).into();
        }
        if self.has_payloads {
            enqueue["payloadBytes"] = (2 * PAYLOAD_BYTES_MAX).into();
            enqueue["largePayloads"] = "s3".into();
        }
        if self.has_statuses {
            enqueue["status"] = true.into();
        }
        enqueue
    }

    /// Returns `x-sluicegate` of the route for batches, which have no stored keys, payloads in S3 or statuses.
    fn enqueue_batch(self) -> Value {
        let mut enqueue = self.enqueue_from("{body#/key}");
        enqueue["batch"] = true.into();
        enqueue
    }

    /// Returns what both routes have; `key` is where their idempotency keys are.
    fn enqueue_from(self, key: &str) -> Value {
        let mut enqueue = json!({
            "queue": QUEUE,
            "type": "sim.work",
            "group": "{body#/group}",
            "payloadBytes": PAYLOAD_BYTES_MAX,
            "idempotency": { "key": key, "required": true },
        });
        if let Some(RateLimit { requests, window_s, is_open }) = self.rate_limit {
            enqueue["rateLimit"] = json!({
                "limit": requests,
                "window": format!("{window_s}s"),
                "by": "principal",
                "store": "dynamodb",
                "onStoreFailure": on_store_failure(is_open),
            });
        }
        if self.has_archive {
            enqueue["archive"] = true.into();
        } else if self.has_copies {
            enqueue["copyTo"] = json!([COPIES]);
        }
        enqueue
    }
}

fn on_store_failure(is_open: bool) -> &'static str {
    if is_open { "open" } else { "closed" }
}
