//! Logins by SCRAM with a user in Secrets Manager, and certificate checks.
//!
//! The process reads its root certificates from `SSL_CERT_FILE`, so each case with TLS runs its test again as a child
//! process.

use std::sync::{Arc, Mutex};

use serde_json::json;
use sluicegate_queue::SendError;
use sluicegate_queue::kafka::{Cluster, ClusterConfig};
use tokio::time::Instant;

use super::AMPLE;
use crate::rabbitmq::{child, tls};
use crate::support::kafka::{Broker, Login, PASSWORD, USER};
use crate::support::service::emulator_with;

/// The variables with the addresses of the cluster and of Secrets Manager of the child process.
const CHILD_SERVERS: &str = "SLUICEGATE_TEST_KAFKA_SERVERS";
const CHILD_ENDPOINT: &str = "SLUICEGATE_TEST_AWS_ENDPOINT";

fn secret(password: &str) -> String {
    json!({ "username": USER, "password": password }).to_string()
}

fn cluster(servers: &str, endpoint: &str, protocol: &str, mechanism: &str) -> Cluster {
    let environment = [
        ("KAFKA_BOOTSTRAP_SERVERS", servers),
        ("KAFKA_SECURITY_PROTOCOL", protocol),
        ("KAFKA_SASL_MECHANISM", mechanism),
        ("KAFKA_SECRET_ARN", "kafka"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_ENDPOINT_URL", endpoint),
    ];
    let lookup = |wanted: &str| {
        let found = environment.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| (*value).to_owned())
    };
    Cluster::new(ClusterConfig::from_env(lookup).expect("a configuration").expect("the servers are set"))
}

/// Reads the partitions of the topic and connects to their leaders.
async fn connect(cluster: &Cluster) -> Result<(), SendError> {
    cluster.connect(&["orders"], Instant::now() + AMPLE).await
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn a_login_is_refused_until_the_secret_has_the_password() {
    let broker = Broker::start(&["orders:2"]).await;
    let text = Arc::new(Mutex::new(secret("stale")));
    let held = Arc::clone(&text);
    let lookup = move |name: &str| (name == "kafka").then(|| held.lock().expect("no panic").clone());
    let endpoint = emulator_with(Arc::new(lookup)).await;
    for (mechanism, other) in [("SCRAM-SHA-256", "SCRAM-SHA-512"), ("SCRAM-SHA-512", "PLAIN")] {
        secret("stale").clone_into(&mut text.lock().expect("no panic"));
        let login = Login::start(&broker, mechanism, None).await;
        let cluster_by = |mechanism| cluster(&login.servers("127.0.0.1"), &endpoint, "SASL_PLAINTEXT", mechanism);
        let cluster = cluster_by(mechanism);
        let refused = connect(&cluster).await.unwrap_err();
        assert!(matches!(refused, SendError::Refused { message_at_fault: false, .. }), "{refused}");
        assert!(refused.to_string().contains("SASL_AUTHENTICATION_FAILED"), "{refused}");
        assert!(!refused.to_string().contains("stale"), "{refused}");

        secret(PASSWORD).clone_into(&mut text.lock().expect("no panic"));
        assert_eq!(connect(&cluster).await, Ok(()), "{mechanism}");

        let unknown = connect(&cluster_by(other)).await.unwrap_err().to_string();
        assert!(unknown.contains(&format!("the broker offers {mechanism}, and not {other}")), "{unknown}");
    }
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn a_broker_is_trusted_by_the_systems_certificates_and_its_name() {
    if let Ok(servers) = std::env::var(CHILD_SERVERS) {
        let endpoint = std::env::var(CHILD_ENDPOINT).expect("both are set");
        match connect(&cluster(&servers, &endpoint, "SASL_SSL", "SCRAM-SHA-512")).await {
            Ok(()) => println!("outcome: connected"),
            Err(error) => println!("outcome: {error}"),
        }
        return;
    }
    let broker = Broker::start(&["orders:2"]).await;
    let endpoint = emulator_with(Arc::new(|name: &str| (name == "kafka").then(|| secret(PASSWORD)))).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (trusted, other) = (tls::issue(folder.path(), "trusted", None), tls::issue(folder.path(), "other", None));
    let leaf = tls::issue(folder.path(), "localhost", Some("trusted"));
    let key = folder.path().join("localhost.key");
    let login = Login::start(&broker, "SCRAM-SHA-512", Some([&leaf, &key])).await;
    for (host, roots, expected) in [
        ("localhost", &trusted, "outcome: connected"),
        ("localhost", &other, "UnknownIssuer"),
        // The certificate is valid only for localhost.
        ("127.0.0.1", &trusted, "not valid for"),
    ] {
        let (servers, roots) = (login.servers(host), roots.to_str().expect("UTF-8"));
        let environment = [(CHILD_SERVERS, &*servers), (CHILD_ENDPOINT, &endpoint), ("SSL_CERT_FILE", roots)];
        let test = concat!(module_path!(), "::a_broker_is_trusted_by_the_systems_certificates_and_its_name");
        let said = child::run(test, &environment).await;
        assert!(said.lines().any(|line| line.contains("outcome: ") && line.contains(expected)), "{host}: {said}");
    }
}
