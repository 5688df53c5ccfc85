//! Processes die without warning, the broker's and the functions', while orders are placed and worked off.

use std::time::Duration;

use sluicegate_local::rabbitmq::node::Node;

use super::path::Path;
use super::producers::Load;
use super::{count, pause, tell};
use crate::support::processes;
use crate::support::rabbitmq::Vhost;

/// A kill comes up to this long after the path was seen to work.
const PAUSE_MAX: Duration = Duration::from_millis(400);
/// Orders accepted before the next kill: the path works, and messages are everywhere on it.
const ORDERS_BETWEEN: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn nothing_answered_202_is_lost_when_the_broker_is_killed() {
    let kills = count("SLUICEGATE_PROOF_BROKER_KILLS", 2);
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Node::start(folder.path(), None).await.expect("RabbitMQ is installed");
    let vhost = Vhost::at(&node.amqp_url()).await;
    vhost.declare_queue("kept").await;
    let kept = Load::start(&vhost.url(), "kept");
    let path = Path::start(&vhost.url(), &[]).await;
    for _ in 0..kills {
        kept.until_confirmed(ORDERS_BETWEEN).await;
        path.until_accepted(ORDERS_BETWEEN).await;
        pause(PAUSE_MAX).await;
        node.kill().await;
        node.restart().await.expect("the node comes back with its data");
    }
    kept.until_confirmed(ORDERS_BETWEEN).await;
    path.until_accepted(ORDERS_BETWEEN).await;
    tell(&format!("{kills} kills of the broker, messages that stay"), kept.finish(&vhost).await);
    tell(&format!("{kills} kills of the broker, orders"), path.settle(&vhost).await);
    node.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn nothing_answered_202_is_lost_when_functions_are_killed() {
    let kills = count("SLUICEGATE_PROOF_FUNCTION_KILLS", 20);
    let vhost = Vhost::create().await;
    let path = Path::start(&vhost.url(), &[]).await;
    let mut killed = std::collections::BTreeMap::<String, usize>::new();
    while killed.values().sum::<usize>() < kills {
        path.until_accepted(1).await;
        pause(PAUSE_MAX).await;
        let functions = path.stack.functions();
        if functions.is_empty() {
            continue;
        }
        let victim = &functions[fastrand::usize(..functions.len())];
        processes::signal(victim.id, "KILL");
        *killed.entry(victim.name.clone()).or_default() += 1;
    }
    let figures = path.settle(&vhost).await;
    tell(&format!("{kills} kills of functions ({killed:?})"), figures);
    vhost.delete().await;
}
