//! Tests of a node. They need RabbitMQ on the machine, so plain `cargo test` ignores them.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::*;

/// Returns the processes of the node in this folder.
fn processes(folder: &Path) -> usize {
    let folder = folder.to_str().unwrap();
    let environments = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.ok()?.path();
        // A zombie has no environment.
        std::fs::read(path.join("environ")).ok()
    });
    let home = format!("HOME={folder}\0");
    environments.filter(|environment| environment.windows(home.len()).any(|window| window == home.as_bytes())).count()
}

/// Waits until the node in this folder has no process left.
async fn all_ended(folder: &Path) {
    let ended = timeout(Duration::from_secs(20), async {
        while processes(folder) > 0 {
            sleep(CHECK_INTERVAL).await;
        }
    });
    ended.await.unwrap();
}

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_node_keeps_its_data_through_a_kill_and_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = RabbitmqNode::start(folder.path(), None).await.unwrap();
    assert!(processes(folder.path()) >= 2, "the node and its port mapper");
    let queue = ["queues", "/", "kept"];
    let declaration = json!({ "durable": true, "arguments": { "x-queue-type": "quorum" } });
    node.management().put(&queue, &declaration).await.unwrap();
    assert!(node.ctl(&["-q", "list_queues", "name"]).await.unwrap().contains("kept"));
    assert!(node.ctl(&["dance"]).await.unwrap_err().to_string().contains("dance"));

    node.kill().await;
    assert!(!node.is_running());
    assert_eq!(taken(node.port()), None);
    node.restart().await.unwrap();
    assert_eq!(node.management().get::<Value>(&queue, "").await.unwrap()["type"], "quorum");

    let error = RabbitmqNode::start(&folder.path().join("other"), Some(node.port())).await.err().unwrap();
    assert!(error.to_string().contains("is taken"), "{error}");

    let port = node.port();
    node.stop().await;
    assert_eq!(taken(port), None);
    all_ended(folder.path()).await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_frozen_node_answers_once_it_runs_again() {
    let folder = tempfile::tempdir().unwrap();
    let node = RabbitmqNode::start(folder.path(), None).await.unwrap();
    let management = node.management();
    let overview = async || management.get::<IgnoredAny>(&["overview"], "").await;
    node.freeze();
    // The kernel stops the processes when they are scheduled.
    while timeout(Duration::from_secs(2), overview()).await.is_ok() {}
    assert!(node.is_running());
    node.thaw();
    timeout(START_TIME_MAX, overview()).await.unwrap().unwrap();
    node.stop().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_node_ends_with_the_program_that_started_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("bash");
    command.args(["-c", SCRIPT, "node.sh", "attend"]).arg(folder.path()).arg(free_port().unwrap().to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().unwrap();
    // The start is in progress.
    BufReader::new(child.stdout.take().unwrap()).lines().next_line().await.unwrap();
    drop(child.stdin.take());
    let status = timeout(Duration::from_secs(20), child.wait()).await.unwrap().unwrap();
    assert!(!status.success());
    all_ended(folder.path()).await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_node_that_does_not_start_reports_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    // A file instead of the node's folder.
    std::fs::write(folder.path().join("mnesia"), "").unwrap();
    let error = RabbitmqNode::start(folder.path(), None).await.err().unwrap().to_string();
    assert!(error.starts_with("RabbitMQ did not start: ") && error.contains("\n  | "), "{error}");
}
