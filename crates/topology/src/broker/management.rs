//! The management API: what a virtual host has, and policies, which AMQP does not know.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::address::{Address, Whereabouts};
use crate::error::Error;
use crate::management::{Management, ManagementError};
use crate::topology::Policy;

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
    let Some(door) = Door::of(address)? else { return Ok(Looked::Nowhere("there is none, it was said".into())) };
    match door.inventory().await {
        Err(Error::Unreachable { place, reason }) if matches!(address.management, Whereabouts::Perhaps(_)) => {
            Ok(Looked::Nowhere(format!("{place}: {reason}")))
        }
        other => other.map(Looked::At),
    }
}

/// Lists what becomes of the messages of every queue.
pub(crate) async fn kept(address: &Address) -> Result<Kept, Error> {
    let absent = || Error::Unreachable { place: "the management API".into(), reason: "nobody said where it is".into() };
    Door::of(address)?.ok_or_else(absent)?.kept().await
}

/// Makes policies, or changes them.
pub(crate) async fn put_policies(address: &Address, policies: &[Policy]) -> Result<(), Error> {
    let Some(door) = Door::of(address)? else { return Ok(()) };
    for policy in policies {
        door.put(policy).await?;
    }
    Ok(())
}

struct Door<'a> {
    api: Management,
    vhost: &'a str,
}

impl<'a> Door<'a> {
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

    async fn kept(&self) -> Result<Kept, Error> {
        #[derive(Deserialize)]
        struct Overview {
            rabbitmq_version: String,
        }
        let overview: Overview = self.api.get(&["overview"], "columns=rabbitmq_version").await?;
        // Without its statistics the API knows of a queue, and of its policy, from the first moment on.
        let columns = "disable_stats=true&columns=name,type,arguments,policy,effective_policy_definition";
        Ok(Kept {
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
