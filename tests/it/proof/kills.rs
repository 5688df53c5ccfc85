//! Brokers and functions killed with SIGKILL while orders are placed and handled.

use std::collections::BTreeMap;
use std::time::Duration;

use sluicegate_local::RabbitmqNode;
use tempfile::TempDir;

use super::path::Path;
use super::producers::Load;
use super::{count, pause, report};
use crate::support::processes;
use crate::support::rabbitmq::Vhost;

/// The longest pause between the path working again and the next kill.
const PAUSE_MAX: Duration = Duration::from_millis(400);
/// Messages that must arrive before the broker is killed again.
const MESSAGES_BETWEEN: usize = 50;
/// The least age of a quorum queue at the first kill of its broker. RabbitMQ saves the list of its quorum queues twice
/// a second and not at their declaration, so a younger queue has no leader after the restart and never confirms again
/// (seen on 3.10.8: `names.dets`). That loses no message and is outside the scope of the proof.
const QUEUE_AGE_MIN: Duration = Duration::from_secs(3);
/// The number of kills of a broker in each of two proofs.
const BROKER_KILLS: &str = "SLUICEGATE_PROOF_BROKER_KILLS";
const BROKER_KILLS_SHORT: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn nothing_confirmed_is_lost_when_the_broker_is_killed() {
    let kills = count(BROKER_KILLS, BROKER_KILLS_SHORT);
    let (mut node, folder) = node().await;
    let vhost = Vhost::at(&node.amqp_url()).await;
    vhost.declare_queue("orders").await;
    let load = Load::start(&vhost.url(), "orders");
    tokio::time::sleep(QUEUE_AGE_MIN).await;
    for _ in 0..kills {
        load.until_confirmed(MESSAGES_BETWEEN).await;
        kill(&mut node).await;
    }
    load.until_confirmed(MESSAGES_BETWEEN).await;
    report(&format!("{kills} kills of the broker under producers"), load.finish(&vhost).await);
    end(node, folder).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn nothing_answered_202_is_lost_when_the_broker_is_killed() {
    let kills = count(BROKER_KILLS, BROKER_KILLS_SHORT);
    let (mut node, folder) = node().await;
    let vhost = Vhost::at(&node.amqp_url()).await;
    let path = Path::start(&vhost.url(), &[]).await;
    tokio::time::sleep(QUEUE_AGE_MIN).await;
    for _ in 0..kills {
        path.until_accepted(MESSAGES_BETWEEN).await;
        kill(&mut node).await;
    }
    path.until_accepted(MESSAGES_BETWEEN).await;
    report(&format!("{kills} kills of the broker under the whole path"), path.settle(&vhost).await);
    end(node, folder).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn nothing_answered_202_is_lost_when_functions_are_killed() {
    let kills = count("SLUICEGATE_PROOF_FUNCTION_KILLS", 20);
    let vhost = Vhost::create().await;
    let path = Path::start(&vhost.url(), &[]).await;
    let mut killed = BTreeMap::<&str, usize>::new();
    while killed.values().sum::<usize>() < kills {
        path.until_accepted(1).await;
        pause(PAUSE_MAX).await;
        // Equally many kills of each function, although one has more processes.
        let function = ["ingress", "consumer"][fastrand::usize(..2)];
        let processes: Vec<_> =
            path.stack.functions().into_iter().filter(|each| each.name.starts_with(function)).collect();
        if processes.is_empty() {
            continue;
        }
        let victim = &processes[fastrand::usize(..processes.len())];
        processes::signal(victim.id, "KILL");
        *killed.entry(function).or_default() += 1;
    }
    let figures = path.settle(&vhost).await;
    report(&format!("{kills} kills of functions ({killed:?})"), figures);
    vhost.delete().await;
}

/// Starts a private node, without messages of other tests.
async fn node() -> (RabbitmqNode, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let node = RabbitmqNode::start(folder.path(), None).await.expect("RabbitMQ is installed");
    (node, folder)
}

/// Kills the node with SIGKILL at a random moment and restarts it with its data.
async fn kill(node: &mut RabbitmqNode) {
    pause(PAUSE_MAX).await;
    node.kill().await;
    node.restart().await.expect("the node comes back");
}

async fn end(mut node: RabbitmqNode, folder: TempDir) {
    node.kill().await;
    folder.close().expect("the folder is deleted");
}
