//! Redrives by SQS message move tasks: complete, cancelled, and not supported by the endpoint.

use super::*;
use crate::dlq::faults::{Fate, Faults};
use crate::support::processes;

pub(super) async fn a_move_task_moves_every_message(service: &Service) {
    let queues = Queues::create(service, false).await;
    dead_letter_orders(service, &queues, 30).await;
    let moved = on(service, &["redrive", name(&queues.dead), "--rate", "500/s"]).await;
    moved.expect(0, &["SQS moves the messages", &format!("30 messages moved to {}", name(&queues.source))]);
    let arrived = drained(service, &queues.source).await;
    assert_eq!((bodies(&arrived), arrived.len()), (orders(0..30), 30));
    assert_eq!(attribute(&arrived[0], "sluicegate-redrives"), None);
    // To a named queue.
    let other = service.queue(&[]).await;
    dead_letter_orders(service, &queues, 3).await;
    on(service, &["redrive", name(&queues.dead), "--to", name(&other)]).await.expect(0, &["3 messages moved to"]);
    assert_eq!(drained(service, &other).await.len(), 3);
    // A queue that no redrive policy names cannot be the source of a move.
    dead_letter(service, &Queues { dead: other.clone(), ..queues }, "one", HashMap::new()).await;
    let to = service.queue(&[]).await;
    on(service, &["redrive", name(&other), "--to", &to]).await.expect(0, &["one by one instead", "1 redriven of 1"]);
}

pub(super) async fn a_move_is_cancelled_by_ctrl_c(service: &Service) {
    let queues = Queues::create(service, false).await;
    dead_letter_orders(service, &queues, 20).await;
    let arguments = ["redrive", name(&queues.dead), "--rate", "1/s", "--endpoint-url", &service.url];
    let child = dlq(&arguments).spawn().expect("it starts");
    while service.depth(&queues.source).await == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    processes::signal(child.id().expect("it runs"), "INT");
    let output = child.wait_with_output().await.expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("cancelled, the rest stays"), "{output:?}");
    let all = [drained(service, &queues.dead).await, drained(service, &queues.source).await].concat();
    assert_eq!((bodies(&all), all.len()), (orders(0..20), 20));
}

pub(super) async fn an_endpoint_without_move_tasks_is_redriven_one_by_one(service: &Service) {
    let queues = Queues::create(service, false).await;
    dead_letter_orders(service, &queues, 3).await;
    let faults = Faults::start(&service.url, |operation, _| match operation {
        // ministack supports neither operation.
        "StartMessageMoveTask" | "ListDeadLetterSourceQueues" => Fate::Unknown,
        _ => Fate::Fine,
    })
    .await;
    let redriven = ran(dlq(&["redrive", name(&queues.dead), "--endpoint-url", &faults.url])).await;
    redriven.expect(0, &["one by one instead", "3 redriven of 3"]);
    assert_eq!(bodies(&drained(service, &queues.source).await), orders(0..3));
}
