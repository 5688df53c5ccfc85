//! Logins by SCRAM with a user in Secrets Manager, by the role of the function and by a certificate, and the check of
//! the broker's certificate.
//!
//! The process reads its root certificates from `SSL_CERT_FILE`, so each case with TLS runs its test again as a child
//! process.

use std::sync::{Arc, Mutex};

use serde_json::json;
use sluicegate_queue::SendError;
use sluicegate_queue::kafka::{Cluster, ClusterConfig, KafkaProducer};
use tokio::time::Instant;

use super::{AMPLE, send};
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
    cluster_with(&[
        ("KAFKA_BOOTSTRAP_SERVERS", servers),
        ("KAFKA_SECURITY_PROTOCOL", protocol),
        ("KAFKA_SASL_MECHANISM", mechanism),
        ("KAFKA_SECRET_ARN", "kafka"),
        ("AWS_ENDPOINT_URL", endpoint),
    ])
}

/// Returns a cluster of these variables and of a function's credentials.
fn cluster_with(variables: &[(&str, &str)]) -> Cluster {
    const FUNCTION: [(&str, &str); 4] = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", USER),
        ("AWS_SECRET_ACCESS_KEY", PASSWORD),
        ("AWS_SESSION_TOKEN", "session+token/="),
    ];
    let lookup = |wanted: &str| {
        let found = variables.iter().chain(&FUNCTION).find(|(name, _)| *name == wanted);
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
        let login = Login::start(&broker, mechanism, &[]).await;
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
    let login = Login::start(&broker, "SCRAM-SHA-512", &[&leaf, &key]).await;
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

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn a_role_logs_in_with_the_token_of_awss_signer_and_again_before_its_session_ends() {
    let broker = Broker::start(&["orders:1"]).await;
    let login = Login::start(&broker, "OAUTHBEARER", &[]).await;
    let servers = login.servers("127.0.0.1");
    let variables = [
        ("KAFKA_BOOTSTRAP_SERVERS", &*servers),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
        ("KAFKA_SASL_MECHANISM", "AWS_MSK_IAM"),
    ];
    for (other, expected) in [
        ([("AWS_SECRET_ACCESS_KEY", "stale")], "the signature is wrong"),
        ([("AWS_SESSION_TOKEN", "another")], "AWS's signer makes another token"),
    ] {
        let refused = connect(&cluster_with(&[&variables[..], &other].concat())).await.unwrap_err();
        assert!(matches!(refused, SendError::Refused { message_at_fault: false, .. }), "{refused}");
        assert!(refused.to_string().contains(&format!("SASL_AUTHENTICATION_FAILED (58): Access denied: {expected}")));
    }
    assert!(login.log().is_empty());

    let producer = KafkaProducer::new(cluster_with(&variables), "orders");
    let mut sent = 0;
    // The second login of the connection that carries the messages. The last line is of it.
    while login.log().last().is_none_or(|last| login.log().iter().filter(|line| *line == last).count() < 2) {
        send(&producer, &format!("e-{sent}")).await.expect("stored before, during and after a session");
        sent += 1;
    }
    send(&producer, "last").await.expect("stored in the second session");
    let records = broker.records("orders").await;
    assert_eq!(records.len(), sent + 1);
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn a_broker_that_requires_a_certificate_accepts_that_of_the_secret_alone() {
    if let Ok(servers) = std::env::var(CHILD_SERVERS) {
        let endpoint = std::env::var(CHILD_ENDPOINT).expect("both are set");
        let mut variables = vec![("KAFKA_BOOTSTRAP_SERVERS", &*servers), ("AWS_ENDPOINT_URL", &endpoint)];
        let without = connect(&cluster_with(&variables)).await.unwrap_err();
        println!("outcome: without {without}");
        for secret in ["other", "trusted", "rotated"] {
            variables.push(("KAFKA_CLIENT_CERTIFICATE_SECRET_ARN", secret));
            println!("outcome: {secret} {:?}", connect(&cluster_with(&variables)).await);
            variables.pop();
        }
        return;
    }
    let broker = Broker::start(&["orders:2"]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let [roots, _] = ["roots", "strangers"].map(|name| tls::issue(folder.path(), name, None));
    let leaf = tls::issue(folder.path(), "localhost", Some("roots"));
    let login = Login::start(&broker, "NONE", &[&leaf, &folder.path().join("localhost.key"), &roots]).await;
    let certificate = |name: &str, issuer| {
        let path = tls::issue(folder.path(), name, Some(issuer));
        let read = |path: &std::path::Path| std::fs::read_to_string(path).expect("PEM");
        json!({ "certificate": read(&path), "privateKey": read(&path.with_extension("key")) }).to_string()
    };
    let (trusted, other) = (certificate("trusted", "roots"), certificate("other", "strangers"));
    // The first read of this secret has the certificate that the broker no longer accepts.
    let is_rotated = std::sync::atomic::AtomicBool::new(false);
    let secrets = move |name: &str| match name {
        "trusted" => Some(trusted.clone()),
        "other" => Some(other.clone()),
        "rotated" if is_rotated.swap(true, std::sync::atomic::Ordering::Relaxed) => Some(trusted.clone()),
        "rotated" => Some(other.clone()),
        _ => None,
    };
    let endpoint = emulator_with(Arc::new(secrets)).await;
    let (servers, roots) = (login.servers("localhost"), roots.to_str().expect("UTF-8"));
    let environment = [(CHILD_SERVERS, &*servers), (CHILD_ENDPOINT, &endpoint), ("SSL_CERT_FILE", roots)];
    let test = concat!(module_path!(), "::a_broker_that_requires_a_certificate_accepts_that_of_the_secret_alone");
    let said = child::run(test, &environment).await;
    for expected in [
        // The broker closes the connection, which may come as its reset.
        &["outcome: without not sent: localhost"][..],
        &["outcome: other Err(Refused", "KAFKA_CLIENT_CERTIFICATE_SECRET_ARN"],
        &["outcome: trusted Ok(())"],
        &["outcome: rotated Ok(())"],
    ] {
        let has_all = |line: &str| expected.iter().all(|part| line.contains(part));
        assert!(said.lines().any(has_all), "{expected:?}: {said}");
    }
}
