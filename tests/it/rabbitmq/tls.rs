//! Certificate checks of `amqps://` and of `https://` to the management API.
//!
//! The process reads its root certificates from `SSL_CERT_FILE`, so each case runs this test again as a child process.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_queue::SendError;
use sluicegate_queue::rabbitmq::{Broker, BrokerConfig};
use sluicegate_topology::Management;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::child;
use crate::support::rabbitmq::{MANAGEMENT_PORT_OFFSET, Vhost};

/// The variables with the broker URL and the management URL of the child process.
const CHILD_URL: &str = "SLUICEGATE_TEST_AMQPS_URL";
const CHILD_MANAGEMENT_URL: &str = "SLUICEGATE_TEST_MANAGEMENT_URL";
const CONNECTED: &str = "outcome: connected";

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_broker_is_trusted_by_the_systems_certificates_and_its_name() {
    if let Ok(url) = std::env::var(CHILD_URL) {
        let config = BrokerConfig::from_env(|name| (name == "RABBITMQ_URL").then(|| url.clone()));
        let broker = Broker::new(config.expect("a configuration").expect("a URL"));
        match broker.connect(Instant::now() + Duration::from_secs(20)).await {
            Ok(()) => println!("{CONNECTED}"),
            Err(SendError::NotSent { reason }) => println!("outcome: {reason}"),
            Err(error) => println!("outcome: not as expected: {error}"),
        }
        let management = Management::at(&std::env::var(CHILD_MANAGEMENT_URL).expect("both are set"), "guest", "guest");
        match management.get::<serde_json::Value>(&["overview"], "").await {
            Ok(_) => println!("{CONNECTED}"),
            Err(error) => println!("outcome: {error}"),
        }
        return;
    }
    let vhost = Vhost::create().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (trusted, other) = (issue(folder.path(), "trusted", None), issue(folder.path(), "other", None));
    let leaf = issue(folder.path(), "localhost", Some("trusted"));
    let key = folder.path().join("localhost.key");
    let port = terminate_tls(&leaf, &key, vhost.port()).await;
    let management = terminate_tls(&leaf, &key, vhost.port() + MANAGEMENT_PORT_OFFSET).await;
    for (host, roots, expected) in [
        ("localhost", &trusted, CONNECTED),
        ("localhost", &other, "UnknownIssuer"),
        // The certificate is valid only for localhost.
        ("127.0.0.1", &trusted, "not valid for"),
    ] {
        let url = format!("amqps://guest:guest@{host}:{port}/{}", vhost.name());
        let management = format!("https://{host}:{management}");
        let roots = roots.to_str().expect("UTF-8");
        let environment = [(CHILD_URL, url.as_str()), (CHILD_MANAGEMENT_URL, &management), ("SSL_CERT_FILE", roots)];
        let said = child::run(
            concat!(module_path!(), "::a_broker_is_trusted_by_the_systems_certificates_and_its_name"),
            &environment,
        )
        .await;
        let outcomes = said.lines().filter(|line| line.contains("outcome: ") && line.contains(expected)).count();
        assert_eq!(outcomes, 2, "{host}: expected {expected} twice, got {said}");
    }
    vhost.delete().await;
}

/// Creates a certificate for `name`, self-signed or signed by another. Returns the path of its PEM file, with the key
/// beside it.
pub(crate) fn issue(folder: &Path, name: &str, issuer: Option<&str>) -> std::path::PathBuf {
    let mut command = Command::new("openssl");
    command.current_dir(folder).args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]);
    command.args(["-subj", &format!("/CN={name}"), "-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")]);
    if let Some(issuer) = issuer {
        command.args(["-CA", &format!("{issuer}.pem"), "-CAkey", &format!("{issuer}.key")]);
        command.args(["-addext", "basicConstraints=CA:FALSE", "-addext", &format!("subjectAltName=DNS:{name}")]);
    }
    let output = command.output().expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder.join(format!("{name}.pem"))
}

/// Starts a TLS proxy before the broker on a loopback port.
async fn terminate_tls(certificate: &Path, key: &Path, broker: u16) -> u16 {
    let chain = CertificateDer::pem_file_iter(certificate).expect("PEM").collect::<Result<Vec<_>, _>>().expect("PEM");
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("a certificate");
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await);
    let listener = listener.expect("a free loopback port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let Ok(mut broker) = TcpStream::connect(("127.0.0.1", broker)).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut client, &mut broker).await;
            });
        }
    });
    port
}
