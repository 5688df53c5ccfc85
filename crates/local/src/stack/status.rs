//! Keeps the status line of the terminal up to date.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    admin::Admin,
    terminal::{Rates, Snapshot, Status},
};

/// Pause between two status lines: five in a second are as many as one can read.
const LINE_INTERVAL: Duration = Duration::from_millis(200);
/// Pause between two counts of the queues. A remote endpoint answers a request for each queue.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// Shows the status until aborted. A count that takes long does not delay the line.
pub(super) async fn show(status: Arc<Status>, admin: Admin) {
    let queues = Mutex::new(Vec::new());
    let count = async {
        loop {
            let counts = admin.actions.queues.counts().await;
            *queues.lock().unwrap_or_else(PoisonError::into_inner) = counts;
            tokio::time::sleep(COUNT_INTERVAL).await;
        }
    };
    let draw = async {
        let mut rates = Rates::default();
        loop {
            {
                let queues = queues.lock().unwrap_or_else(PoisonError::into_inner);
                let snapshot = Snapshot { waiting: admin.health.reasons(), queues: &queues };
                status.show(&mut rates, Instant::now(), &snapshot);
            }
            tokio::time::sleep(LINE_INTERVAL).await;
        }
    };
    tokio::join!(count, draw);
}
