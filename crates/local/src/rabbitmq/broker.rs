//! The broker of a stack: a private node, or one that runs already; with the template's topology on it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sluicegate_lambda_emulator::Endpoint;
use sluicegate_topology::{AddressError, Topology, apply};

use super::node::{self, Node, NodeError};

/// The topology, from the folder of the template.
const TOPOLOGY: &str = "infra/topology.yaml";

/// How often the folder of a node that was just killed is tried to be removed.
const REMOVE_ATTEMPTS: usize = 10;
/// And how long apart.
const REMOVE_PAUSE: Duration = Duration::from_millis(20);

/// Which broker to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerChoice {
    /// A node of one's own, gone with the stack.
    Private,
    /// The one at this URL: `amqp[s]://USER:PASSWORD@HOST:PORT/VHOST`.
    At(String),
}

/// There is no broker to work with.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The URL cannot be used.
    #[error(transparent)]
    Url(#[from] AddressError),
    /// The private node did not start.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The topology is wrong, or the broker has it otherwise.
    #[error("{0}")]
    Topology(String),
}

/// A broker before anything is done to it: its address is known.
pub(crate) struct Broker {
    endpoint: Endpoint,
    private: Option<(u16, Folder)>,
}

/// A broker that serves.
pub(crate) struct RunningBroker {
    /// None if it was there before.
    node: Option<(Node, Folder)>,
}

impl Broker {
    /// Reads the URL, or finds free ports.
    ///
    /// # Errors
    /// The URL is none, no ports are free.
    pub(crate) fn choose(choice: &BrokerChoice) -> Result<Self, BrokerError> {
        match choice {
            BrokerChoice::At(url) => Ok(Self { endpoint: Endpoint::parse(url)?, private: None }),
            BrokerChoice::Private => {
                let port = node::free_port()?;
                let endpoint = Endpoint::parse(&node::amqp_url(port))?;
                Ok(Self { endpoint, private: Some((port, Folder::new())) })
            }
        }
    }

    /// Where it is, or will be.
    #[must_use]
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether it is a node of one's own.
    #[must_use]
    pub(crate) fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// The URL for people and scripts: with the password only if that is no secret.
    #[must_use]
    pub(crate) fn public_url(&self) -> String {
        if self.is_private() { self.endpoint.url() } else { self.endpoint.to_string() }
    }

    /// Starts it if it is to be started.
    ///
    /// # Errors
    /// The private node does not start.
    pub(crate) async fn start(self) -> Result<RunningBroker, BrokerError> {
        let Some((port, folder)) = self.private else { return Ok(RunningBroker { node: None }) };
        let node = Node::start(&folder.0, Some(port)).await?;
        Ok(RunningBroker { node: Some((node, folder)) })
    }
}

impl RunningBroker {
    /// Ends the private node and removes what it stored.
    pub(crate) async fn stop(self) {
        if let Some((mut node, _folder)) = self.node {
            node.kill().await;
        }
    }
}

/// What the file `infra/topology.yaml` beside the template says.
///
/// # Errors
/// It is wrong, or cannot be read. No file is no error: then there is nothing to declare.
pub(crate) fn read_topology(template: &Path) -> Result<Option<Topology>, BrokerError> {
    let path = template.parent().unwrap_or(Path::new("")).join(TOPOLOGY);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(BrokerError::Topology(format!("{}: {error}", path.display()))),
    };
    let topology = Topology::parse(&path.display().to_string(), &text);
    topology.map(Some).map_err(|faults| BrokerError::Topology(faults.to_string()))
}

/// Makes the broker have the topology, and says what was made.
///
/// # Errors
/// The broker cannot be reached, refuses, or has something of the same name that is different.
pub(crate) async fn declare(topology: &Topology, endpoint: &Endpoint) -> Result<Vec<String>, BrokerError> {
    let applied = apply(topology, endpoint.address()).await;
    let applied = applied.map_err(|error| BrokerError::Topology(format!("the topology: {error}")))?;
    Ok(applied.made().map(ToString::to_string).collect())
}

/// A folder of its own among the temporary ones, removed with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("sluicegate-rabbitmq-{}", uuid::Uuid::now_v7())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A node that is being killed may still write for a moment. What then stays harms nobody.
        for _ in 0..REMOVE_ATTEMPTS {
            if std::fs::remove_dir_all(&self.0).is_ok() || !self.0.exists() {
                return;
            }
            std::thread::sleep(REMOVE_PAUSE);
        }
    }
}
