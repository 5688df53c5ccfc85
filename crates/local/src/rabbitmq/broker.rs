//! The broker of a stack: a private node or an existing broker, with the template's topology.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_lambda_emulator::BrokerEndpoint;
use sluicegate_topology::{Management, Topology, apply};

use super::choice::{BrokerChoice, BrokerError};
use super::node::{self, RabbitmqNode};
use crate::broker_faults::FreezeNode;

/// Attempts to remove the folder of a killed node.
const REMOVE_ATTEMPTS: usize = 10;
/// Pause between two such attempts.
const REMOVE_PAUSE: Duration = Duration::from_millis(20);

/// A broker before its start, with a known address.
pub(crate) struct PlannedBroker {
    endpoint: BrokerEndpoint,
    private: Option<(u16, Folder)>,
}

/// A running broker.
pub(crate) struct RunningBroker {
    /// The private node; `None` for an existing broker.
    node: Option<(Arc<RabbitmqNode>, Folder)>,
}

impl PlannedBroker {
    /// Reads the URL, or finds free ports.
    ///
    /// # Errors
    /// The URL is invalid, or no ports are free.
    pub(crate) fn choose(choice: &BrokerChoice) -> Result<Self, BrokerError> {
        match choice {
            BrokerChoice::At(url) => Ok(Self { endpoint: BrokerEndpoint::parse(url)?, private: None }),
            BrokerChoice::Private => {
                let port = node::free_port()?;
                let endpoint = BrokerEndpoint::parse(&node::amqp_url(port))?;
                Ok(Self { endpoint, private: Some((port, Folder::new())) })
            }
        }
    }

    /// Returns its endpoint.
    #[must_use]
    pub(crate) fn endpoint(&self) -> &BrokerEndpoint {
        &self.endpoint
    }

    /// Returns whether it is a private node.
    #[must_use]
    pub(crate) fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// Returns the URL with its credentials.
    #[must_use]
    pub(crate) fn url(&self) -> String {
        self.endpoint.url()
    }

    /// Returns the URL of the management API, if its port is known.
    #[must_use]
    pub(crate) fn management_url(&self) -> Option<String> {
        self.endpoint.management().map(Management::url).map(str::to_owned)
    }

    /// Returns the URL to print: with the password only for a private node.
    #[must_use]
    pub(crate) fn public_url(&self) -> String {
        if self.is_private() { self.url() } else { self.endpoint.to_string() }
    }

    /// Starts the private node, if that was chosen.
    ///
    /// # Errors
    /// The private node does not start.
    pub(crate) async fn start(self) -> Result<RunningBroker, BrokerError> {
        let Some((port, folder)) = self.private else { return Ok(RunningBroker { node: None }) };
        let node = RabbitmqNode::start(&folder.0, Some(port)).await?;
        Ok(RunningBroker { node: Some((Arc::new(node), folder)) })
    }
}

impl RunningBroker {
    /// Returns what freezes the private node, and false when the node is not running; `None` for an existing broker.
    pub(crate) fn freeze(&self) -> Option<FreezeNode> {
        let node = Arc::downgrade(&self.node.as_ref()?.0);
        Some(Arc::new(move |freeze| {
            let Some(node) = node.upgrade().filter(|node| node.is_running()) else { return false };
            if freeze {
                node.freeze()
            } else {
                node.thaw()
            }
            true
        }))
    }

    /// Kills the private node and removes its data.
    pub(crate) async fn stop(self) {
        if let Some((node, _folder)) = self.node
            && let Some(mut node) = Arc::into_inner(node)
        {
            node.kill().await;
        }
    }
}

/// Declares the topology on the broker; returns the changes.
///
/// # Errors
/// The broker cannot be reached, refuses, or has a different object of the same name.
pub(crate) async fn declare(topology: &Topology, endpoint: &BrokerEndpoint) -> Result<Vec<String>, BrokerError> {
    let applied = apply(topology, endpoint.address()).await;
    let applied = applied.map_err(|error| BrokerError::Topology(format!("the topology: {error}")))?;
    Ok(applied.made().map(ToString::to_string).collect())
}

/// A temporary folder, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("sluicegate-rabbitmq-{}", uuid::Uuid::now_v7())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A node that is ending may still write files. Files that remain are harmless.
        for _ in 0..REMOVE_ATTEMPTS {
            if std::fs::remove_dir_all(&self.0).is_ok() || !self.0.exists() {
                return;
            }
            std::thread::sleep(REMOVE_PAUSE);
        }
    }
}
