//! Kafka: producer, consumer and reader with a broker, a cluster whose leaders change, and the clients of others.

pub(crate) mod consumer;
mod interop;
mod leaders;
mod login;
mod producer;
pub(crate) mod proxy;
mod reader;

use std::time::Duration;

use sluicegate_envelope::Envelope;
use sluicegate_queue::kafka::{Cluster, ClusterConfig, KafkaProducer};
use sluicegate_queue::{Message, Producer as _, Receipt, SendError};
use tokio::time::Instant;

use crate::support::conclusion::conclusion;

/// The deadline of a send that is expected to succeed.
pub(crate) const AMPLE: Duration = Duration::from_secs(20);

/// Returns the cluster at these addresses, without encryption or login.
pub(crate) fn cluster(servers: &str) -> Cluster {
    let lookup = |name: &str| match name {
        "KAFKA_BOOTSTRAP_SERVERS" => Some(servers.to_owned()),
        "KAFKA_SECURITY_PROTOCOL" => Some("PLAINTEXT".to_owned()),
        _ => None,
    };
    Cluster::new(ClusterConfig::from_env(lookup).expect("a configuration").expect("the servers are set"))
}

fn envelope(id: &str, group: &str) -> Envelope {
    let envelope = Envelope::builder(id, "/orders", "order.placed").group(group);
    envelope.payload(Some("application/json"), r#"{"n":1}"#).build().expect("an envelope")
}

async fn send(producer: &KafkaProducer, id: &str) -> Result<Receipt, SendError> {
    send_within(producer, id, AMPLE).await
}

async fn send_within(producer: &KafkaProducer, id: &str, time_max: Duration) -> Result<Receipt, SendError> {
    producer.send(&Message::new(&envelope(id, "g")), Instant::now() + time_max).await
}
