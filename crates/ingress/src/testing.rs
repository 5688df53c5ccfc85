//! An ingress for tests: secrets in memory, and queues that record what they store.
//!
//! ```
//! use sluicegate_ingress::testing::TestIngress;
//! # use sluicegate_contract::Contract;
//!
//! # let contract = Contract::parse("openapi.yaml", include_str!("../../../functions/ingress/openapi.yaml"))?;
//! # let event = include_str!("../../../tests/events/place-order.json");
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! // In a function: let contract = sluicegate_ingress::embedded_contract!().load()?;
//! let ingress = TestIngress::new(contract).api_key("api-keys", "acme-key", "acme", &["orders.write"]);
//! let answer = ingress.handle(event).await?;
//! assert_eq!(answer["statusCode"], 202);
//! let stored = ingress.stored();
//! assert_eq!((stored[0].queue.as_str(), stored[0].envelope.event_type()), ("orders", "order.placed"));
//! # Ok::<(), lambda_http::Error>(())
//! # })?;
//! # Ok::<(), lambda_http::Error>(())
//! ```

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use lambda_http::{Context, LambdaEvent};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use sluicegate_contract::{
    Contract,
    secret_entry::{ApiKey, SigningSecret},
};
use sluicegate_envelope::Envelope;
use sluicegate_queue::{Message, Producer, Receipt, SendError};
use tokio::time::Instant;

use crate::{FetchError, Ingress, SecretSource, https_get::Endpoints, published_keys::KeyCache};

/// The time limit of a request.
const DEADLINE_AFTER: Duration = Duration::from_secs(10);

/// A message that a queue has stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The logical queue of the contract.
    pub queue: String,
    /// The message.
    pub envelope: Envelope,
    /// Its ordering group.
    pub group: Option<String>,
    /// How long it is delayed.
    pub delay: Duration,
}

/// An ingress whose secret has only the values that are added, and whose queues store every message in memory.
pub struct TestIngress {
    ingress: Ingress<Recorder, Secret>,
    secret: Secret,
    stored: Arc<Mutex<Vec<Stored>>>,
}

impl TestIngress {
    /// Returns an ingress for the contract. A secret without values is answered as on a first deployment, with 503
    /// `secrets_missing`.
    #[must_use]
    pub fn new(contract: Contract) -> Self {
        // An ingress keeps its contract for the life of the process.
        let contract: &'static Contract = Box::leak(Box::new(contract));
        let (secret, stored) = (Secret::default(), Arc::<Mutex<Vec<Stored>>>::default());
        let recorder = |queue: &str| Recorder { queue: queue.to_owned(), stored: Arc::clone(&stored) };
        let producers: BTreeMap<_, _> =
            contract.queues().into_iter().map(|queue| (queue.to_owned(), recorder(queue))).collect();
        let ingress = Ingress::new(contract, producers, secret.clone());
        #[cfg(feature = "dynamodb")]
        let ingress = ingress.with_store(Some(crate::AnyStore::Memory(sluicegate_idempotency::MemoryStore::default())));
        Self { ingress, secret, stored }
    }

    /// Adds an API key to the list of this `x-secret` name. Add values before the first request, which reads them.
    #[must_use]
    pub fn api_key(self, list: &str, key: &str, principal: &str, scopes: &[&str]) -> Self {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let key = ApiKey { sha256: Sha256::digest(key).into(), principal: principal.to_owned(), scopes };
        self.secret.add(list, key.entry());
        self
    }

    /// Adds a signing secret to the list of this `x-secret` name.
    #[must_use]
    pub fn signing_secret(self, list: &str, secret: &str) -> Self {
        self.secret.add(list, secret.into());
        self
    }

    /// Adds a signing secret that a signature names with this `keyid`.
    #[must_use]
    pub fn named_secret(self, list: &str, keyid: &str, secret: &str) -> Self {
        self.secret.add(list, SigningSecret { keyid: Some(keyid), text: secret }.entry());
        self
    }

    /// Sets the present to seconds since 1970, for a webhook that was signed at that time.
    #[must_use]
    pub fn at(mut self, now_unix_s: u64) -> Self {
        self.ingress.clock = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(now_unix_s));
        self
    }

    /// Fetches the keys that providers publish, and confirms subscriptions, at this server in place of the provider's
    /// hosts: `http://127.0.0.1:8080`.
    #[must_use]
    pub fn published_keys_at(mut self, endpoint: &str) -> Self {
        self.ingress.secrets.published = KeyCache::to(Endpoints::All(endpoint.to_owned()));
        self
    }

    /// Gives the ingress an event as Lambda sends it, and returns the answer as Lambda receives it: `statusCode`,
    /// `headers` and `body`.
    ///
    /// # Errors
    /// The event is not JSON, or not an HTTP request.
    pub async fn handle(&self, event: &str) -> Result<Value, lambda_http::Error> {
        let arrival = serde_json::from_str(event)?;
        let mut context = Context::default();
        let deadline = (SystemTime::now() + DEADLINE_AFTER).duration_since(SystemTime::UNIX_EPOCH)?;
        context.deadline = u64::try_from(deadline.as_millis())?;
        Ok(serde_json::to_value(self.ingress.handle(LambdaEvent::new(arrival, context)).await)?)
    }

    /// Returns the stored messages, the oldest first.
    #[must_use]
    pub fn stored(&self) -> Vec<Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A queue that records its messages.
struct Recorder {
    queue: String,
    stored: Arc<Mutex<Vec<Stored>>>,
}

impl Producer for Recorder {
    async fn send(&self, message: &Message<'_>, _deadline: Instant) -> Result<Receipt, SendError> {
        let Message { envelope, group, delay, .. } = *message;
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = self.queue.clone();
        stored.push(Stored { queue, envelope: envelope.clone(), group: group.map(str::to_owned), delay });
        Ok(Receipt { id: envelope.id().to_owned(), broker_id: stored.len().to_string() })
    }
}

/// The secret's lists.
#[derive(Clone, Default)]
struct Secret(Arc<Mutex<Map<String, Value>>>);

impl Secret {
    fn add(&self, list: &str, entry: Value) {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Value::Array(entries) = lists.entry(list).or_insert_with(|| json!([])) {
            entries.push(entry);
        }
    }
}

impl SecretSource for Secret {
    async fn fetch(&self) -> Result<String, FetchError> {
        Ok(Value::Object(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).to_string())
    }
}
