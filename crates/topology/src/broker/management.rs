//! The management API: what a virtual host has, and policies, which AMQP does not know.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lapin::uri::AMQPScheme;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use ureq::http::{Request, StatusCode};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::address::{Address, Management, is_loopback};
use crate::error::Error;
use crate::topology::Policy;

/// How long one answer may take: lists of thousands of queues take seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may take. A private broker's port is often dropped silently.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer read.
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What a virtual host has.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    pub(crate) exchanges: Vec<ThereExchange>,
    pub(crate) queues: Vec<ThereQueue>,
    pub(crate) bindings: Vec<ThereBinding>,
    pub(crate) policies: Vec<TherePolicy>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ThereExchange {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) exchange_type: String,
    #[serde(default)]
    pub(crate) durable: bool,
    #[serde(default)]
    pub(crate) auto_delete: bool,
    #[serde(default)]
    pub(crate) internal: bool,
    #[serde(default)]
    pub(crate) arguments: Arguments,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ThereQueue {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) durable: bool,
    #[serde(default)]
    pub(crate) auto_delete: bool,
    #[serde(default)]
    pub(crate) exclusive: bool,
    #[serde(default)]
    pub(crate) arguments: Arguments,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ThereBinding {
    pub(crate) source: String,
    pub(crate) destination: String,
    pub(crate) destination_type: String,
    #[serde(default)]
    pub(crate) routing_key: String,
    #[serde(default)]
    pub(crate) arguments: Arguments,
}

#[derive(Debug, Deserialize)]
pub(crate) struct TherePolicy {
    pub(crate) name: String,
    pub(crate) pattern: String,
    #[serde(rename = "apply-to")]
    pub(crate) apply_to: String,
    #[serde(default)]
    pub(crate) priority: i64,
    #[serde(default)]
    pub(crate) definition: Arguments,
}

/// A queue as those see it who want to know what becomes of its messages.
#[derive(Debug, Deserialize)]
pub(crate) struct KeptQueue {
    pub(crate) name: String,
    #[serde(rename = "type", default)]
    pub(crate) queue_type: String,
    #[serde(default)]
    pub(crate) arguments: Arguments,
    /// The policy's name; at once, but for an operator's.
    #[serde(default)]
    pub(crate) policy: Option<String>,
    /// All that policies say; on some versions a few seconds late.
    #[serde(default)]
    pub(crate) effective_policy_definition: Arguments,
}

/// What there is to know about queues.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) version: String,
    pub(crate) queues: Vec<KeptQueue>,
    pub(crate) bindings: Vec<ThereBinding>,
    pub(crate) policies: Vec<TherePolicy>,
}

/// An object; the API writes an empty one as `[]` at times.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Value")]
pub(crate) struct Arguments(pub(crate) BTreeMap<String, Value>);

impl From<Value> for Arguments {
    fn from(value: Value) -> Self {
        match value {
            Value::Object(members) => Self(members.into_iter().collect()),
            _ => Self::default(),
        }
    }
}

/// What the API had to say.
pub(crate) enum Looked {
    /// All of it.
    At(Inventory),
    /// Nothing: it is not to be asked, or nothing listens where it would be.
    Nowhere(String),
}

/// Lists everything that the virtual host has.
pub(crate) async fn inventory(address: &Address) -> Result<Looked, Error> {
    let Some(client) = Client::new(address)? else { return Ok(Looked::Nowhere("there is none, it was said".into())) };
    let perhaps = matches!(address.management, Management::Perhaps(_));
    let read = blocking(move || client.inventory()).await;
    match read {
        Err(Error::Unreachable { place, reason }) if perhaps => Ok(Looked::Nowhere(format!("{place}: {reason}"))),
        other => other.map(Looked::At),
    }
}

/// Lists what becomes of the messages of every queue.
pub(crate) async fn kept(address: &Address) -> Result<Kept, Error> {
    let absent = || Error::Unreachable { place: "the management API".into(), reason: "nobody said where it is".into() };
    let client = Client::new(address)?.ok_or_else(absent)?;
    blocking(move || client.kept()).await
}

/// Makes policies, or changes them.
pub(crate) async fn put_policies(address: &Address, policies: Vec<Policy>) -> Result<(), Error> {
    let Some(client) = Client::new(address)?.filter(|_| !policies.is_empty()) else { return Ok(()) };
    blocking(move || policies.iter().try_for_each(|policy| client.put(policy))).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|error| {
        Err(Error::Unreachable { place: "the management API".into(), reason: error.to_string() })
    })
}

struct Client {
    agent: ureq::Agent,
    url: String,
    vhost: String,
    authorization: String,
}

impl Client {
    fn new(address: &Address) -> Result<Option<Self>, Error> {
        let (Management::At(url) | Management::Perhaps(url)) = &address.management else { return Ok(None) };
        let (username, password) = address.credentials()?;
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // A redirection would take the password along.
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(ANSWER_TIMEOUT));
        if is_loopback(&address.uri.authority.host) {
            // A proxy of the environment cannot reach this machine.
            config = config.proxy(None);
        }
        if url.starts_with("https://") || address.uri.scheme == AMQPScheme::AMQPS {
            // Those of the machine (or SSL_CERT_FILE), as for AMQP.
            let found = rustls_native_certs::load_native_certs().certs;
            let certificates = found.iter().map(|certificate| Certificate::from_der(certificate).to_owned());
            let roots = RootCerts::Specific(Arc::new(certificates.collect()));
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        Ok(Some(Self {
            agent: config.build().new_agent(),
            url: url.clone(),
            vhost: address.vhost().to_owned(),
            authorization: format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}"))),
        }))
    }

    fn inventory(&self) -> Result<Inventory, Error> {
        let columns = "columns=name,durable,auto_delete,exclusive,arguments";
        Ok(Inventory {
            exchanges: self.get("exchanges", "")?,
            queues: self.get("queues", columns)?,
            bindings: self.get("bindings", "")?,
            policies: self.get("policies", "")?,
        })
    }

    fn kept(&self) -> Result<Kept, Error> {
        #[derive(Deserialize)]
        struct Overview {
            rabbitmq_version: String,
        }
        let overview: Overview = self.read(format!("{}/api/overview", self.url), "columns=rabbitmq_version")?;
        // Without its statistics the API knows of a queue, and of its policy, from the first moment on.
        let columns = "disable_stats=true&columns=name,type,arguments,policy,effective_policy_definition";
        Ok(Kept {
            version: overview.rabbitmq_version,
            queues: self.get("queues", columns)?,
            bindings: self.get("bindings", "")?,
            policies: self.get("policies", "")?,
        })
    }

    fn get<T: DeserializeOwned>(&self, kind: &str, query: &str) -> Result<Vec<T>, Error> {
        self.read(format!("{}/api/{kind}/{}", self.url, encode(&self.vhost)), query)
    }

    fn read<T: DeserializeOwned>(&self, place: String, query: &str) -> Result<T, Error> {
        let target = if query.is_empty() { place.clone() } else { format!("{place}?{query}") };
        let (status, body) = self.exchange(&place, Request::get(target), Vec::new())?;
        match status {
            StatusCode::OK => serde_json::from_slice(&body).map_err(|error| Error::Refused {
                place,
                reason: format!("the answer is not the management API's: {error}"),
            }),
            _ => Err(self.refusal(place, status, &body)),
        }
    }

    fn put(&self, policy: &Policy) -> Result<(), Error> {
        let place = format!("{}/api/policies/{}/{}", self.url, encode(&self.vhost), encode(&policy.name));
        let body = json!({
            "pattern": policy.pattern,
            "apply-to": policy.apply_to.name(),
            "priority": policy.priority,
            "definition": policy.definition,
        });
        let request = Request::put(&place).header("content-type", "application/json");
        let (status, body) = self.exchange(&place, request, body.to_string().into_bytes())?;
        if status.is_success() { Ok(()) } else { Err(self.refusal(place, status, &body)) }
    }

    fn exchange(
        &self,
        place: &str,
        request: ureq::http::request::Builder,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Vec<u8>), Error> {
        let unreachable = |reason: String| Error::Unreachable { place: place.to_owned(), reason };
        let request = request.header("authorization", &self.authorization).body(body);
        let request = request.map_err(|error| unreachable(error.to_string()))?;
        let mut answer = self.agent.run(request).map_err(|error| unreachable(error.to_string()))?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        Ok((answer.status(), body.map_err(|error| unreachable(error.to_string()))?))
    }

    fn refusal(&self, place: String, status: StatusCode, body: &[u8]) -> Error {
        let told: Option<Value> = serde_json::from_slice(body).ok();
        let told = told.as_ref().and_then(|told| told["reason"].as_str()).unwrap_or_default();
        let reason = match status {
            StatusCode::UNAUTHORIZED => {
                format!(
                    "{status} {told}: wrong credentials, or the user lacks the tag `management` (`policymaker` for policies)"
                )
            }
            StatusCode::NOT_FOUND => format!("{status}: there is no virtual host {}", self.vhost),
            _ => format!("{status} {told}"),
        };
        Error::Refused { place, reason }
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
