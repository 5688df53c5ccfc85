//! The management API: the content of a virtual host, and policies, which AMQP does not have.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::address::{Address, ManagementEndpoint};
use crate::error::Error;
use crate::management::{Management, ManagementError};
use crate::topology::Policy;

/// The content of a virtual host.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    pub(crate) exchanges: Vec<ActualExchange>,
    pub(crate) queues: Vec<ActualQueue>,
    pub(crate) bindings: Vec<ActualBinding>,
    pub(crate) policies: Vec<ActualPolicy>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ActualExchange {
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
pub(crate) struct ActualQueue {
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
pub(crate) struct ActualBinding {
    pub(crate) source: String,
    pub(crate) destination: String,
    pub(crate) destination_type: String,
    #[serde(default)]
    pub(crate) routing_key: String,
    #[serde(default)]
    pub(crate) arguments: Arguments,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ActualPolicy {
    pub(crate) name: String,
    pub(crate) pattern: String,
    #[serde(rename = "apply-to")]
    pub(crate) apply_to: String,
    #[serde(default)]
    pub(crate) priority: i64,
    #[serde(default)]
    pub(crate) definition: Arguments,
}

/// The properties of a queue that decide the fate of its messages.
#[derive(Debug, Deserialize)]
pub(crate) struct QueueWithPolicies {
    pub(crate) name: String,
    #[serde(rename = "type", default)]
    pub(crate) queue_type: String,
    #[serde(default)]
    pub(crate) arguments: Arguments,
    /// The name of the policy that applies; immediate, without operator policies.
    #[serde(default)]
    pub(crate) policy: Option<String>,
    /// The merged policies; some versions report a change a few seconds late.
    #[serde(default)]
    pub(crate) effective_policy_definition: Arguments,
}

/// The queues, and everything else that decides the fate of their messages.
#[derive(Debug)]
pub(crate) struct QueueListing {
    pub(crate) version: String,
    pub(crate) queues: Vec<QueueWithPolicies>,
    pub(crate) bindings: Vec<ActualBinding>,
    pub(crate) policies: Vec<ActualPolicy>,
}

/// An object; the API sometimes writes an empty one as `[]`.
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

/// The answer of an API that may be absent.
pub(crate) enum Listing {
    /// All objects of the virtual host.
    Complete(Inventory),
    /// The API is disabled, or does not listen at its derived URL; the reason.
    Unavailable(String),
}

/// Lists all objects of the virtual host.
pub(crate) async fn inventory(address: &Address) -> Result<Listing, Error> {
    let Some(client) = ManagementClient::of(address)? else { return Ok(Listing::Unavailable("disabled".into())) };
    match client.inventory().await {
        Err(Error::Unreachable { place, reason }) if matches!(address.management, ManagementEndpoint::Derived(_)) => {
            Ok(Listing::Unavailable(format!("{place}: {reason}")))
        }
        other => other.map(Listing::Complete),
    }
}

/// Lists the queues with their bindings and policies.
pub(crate) async fn queue_listing(address: &Address) -> Result<QueueListing, Error> {
    let absent =
        || Error::Unreachable { place: "the management API".into(), reason: "no URL is known; give one".into() };
    ManagementClient::of(address)?.ok_or_else(absent)?.queue_listing().await
}

/// Creates or replaces policies.
pub(crate) async fn put_policies(address: &Address, policies: &[Policy]) -> Result<(), Error> {
    let Some(client) = ManagementClient::of(address)? else { return Ok(()) };
    for policy in policies {
        client.put(policy).await?;
    }
    Ok(())
}

/// The management API of one virtual host.
struct ManagementClient<'a> {
    api: Management,
    vhost: &'a str,
}

impl<'a> ManagementClient<'a> {
    fn of(address: &'a Address) -> Result<Option<Self>, Error> {
        Ok(address.management()?.map(|api| Self { api, vhost: address.vhost() }))
    }

    async fn inventory(&self) -> Result<Inventory, Error> {
        Ok(Inventory {
            exchanges: self.list("exchanges", "").await?,
            queues: self.list("queues", "columns=name,durable,auto_delete,exclusive,arguments").await?,
            bindings: self.list("bindings", "").await?,
            policies: self.list("policies", "").await?,
        })
    }

    async fn queue_listing(&self) -> Result<QueueListing, Error> {
        #[derive(Deserialize)]
        struct Overview {
            rabbitmq_version: String,
        }
        let overview: Overview = self.api.get(&["overview"], "columns=rabbitmq_version").await?;
        // Without statistics, the API lists a new queue and its policy immediately.
        let columns = "disable_stats=true&columns=name,type,arguments,policy,effective_policy_definition";
        Ok(QueueListing {
            version: overview.rabbitmq_version,
            queues: self.list("queues", columns).await?,
            bindings: self.list("bindings", "").await?,
            policies: self.list("policies", "").await?,
        })
    }

    async fn list<T: DeserializeOwned>(&self, kind: &str, query: &str) -> Result<Vec<T>, Error> {
        self.api.get(&[kind, self.vhost], query).await.map_err(|error| self.explained(error))
    }

    async fn put(&self, policy: &Policy) -> Result<(), Error> {
        let body = json!({
            "pattern": policy.pattern,
            "apply-to": policy.apply_to.name(),
            "priority": policy.priority,
            "definition": policy.definition,
        });
        let put = self.api.put(&["policies", self.vhost, &policy.name], &body).await;
        put.map_err(|error| self.explained(error))
    }

    fn explained(&self, mut error: ManagementError) -> Error {
        if error.status == Some(404) {
            error.reason = format!("there is no virtual host {}", self.vhost);
        }
        error.into()
    }
}
