//! Queues that are nested stacks (`tests/nested/`): an order goes through both functions, and what is nested and not
//! run is one line.

use super::{WAY_TIME_MAX, placed};
use crate::support::root;
use crate::support::stack::{Stack, steps};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_goes_through_a_nested_queue() {
    let template = root().join("tests/nested/template.yaml");
    let stack = Stack::start(&["--template", template.to_str().expect("UTF-8")], &[]).await;
    let id = placed(&stack, "o-1", "c-1").await;
    let timeline = stack.until_state(&id, "done", WAY_TIME_MAX).await;
    assert_eq!(steps(&timeline), ["accepted", "delivered", "done"]);

    let queues = stack.http.get(format!("{}/queues", stack.admin)).send().await.expect("admin answers");
    let queues = queues.text().await.expect("text");
    for name in ["orders.fifo", "orders-dlq.fifo", "webhooks.fifo", "webhooks-dlq.fifo"] {
        assert!(queues.contains(&format!("sluicegate-{name}")), "{name}: {queues}");
    }
    let printed = stack.printed();
    assert!(printed.contains("not run locally: AWS::CloudFormation::Stack (AlarmStack)\n"), "{printed}");
    assert!(!printed.contains("AWS::SNS"), "{printed}");
    stack.stop().await;
}
