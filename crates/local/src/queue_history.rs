//! The counts of each queue in the last minutes, one sample a second.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::{
    activity::{Activity, Interval},
    queues::Queues,
};

/// Time between two samples.
const INTERVAL: Duration = Duration::from_secs(1);
/// Samples that are kept of each queue: ten minutes, some 40 KB.
const SAMPLES_MAX: usize = 600;
/// Samples between two readings of RabbitMQ's counts, which it computes every five seconds.
/// <https://www.rabbitmq.com/docs/management#statistics-interval>
const RABBITMQ_EVERY: u32 = 5;
/// Age at which a count is sure to contain an arrival: twice RabbitMQ's interval.
const COUNT_LAG_MAX: Duration = Duration::from_secs(10);

/// The history of all queues. Clones share it.
#[derive(Clone)]
pub(crate) struct QueueHistory {
    queues: Queues,
    activity: Activity,
    rings: Arc<Mutex<BTreeMap<String, VecDeque<Sample>>>>,
}

/// The figures of a queue at one time.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at_unix_s: u64,
    visible: Option<u64>,
    in_flight: Option<u64>,
    delayed: Option<u64>,
    interval: Interval,
}

impl QueueHistory {
    /// Creates an empty history.
    pub(crate) fn new(queues: Queues, activity: Activity) -> Self {
        Self { queues, activity, rings: Arc::default() }
    }

    /// Samples until the future is dropped.
    pub(crate) async fn sample(self) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut of_broker = Vec::new();
        for round in 0_u32.. {
            ticks.tick().await;
            if round % RABBITMQ_EVERY == 0 {
                of_broker = self.queues.broker_counts().await;
            }
            let sqs = self.queues.sqs_counts().await;
            let at_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            sqs.iter().chain(&of_broker).for_each(|queue| self.add(queue, at_unix_s, Instant::now()));
        }
    }

    /// Adds a sample of a queue, as `GET /queues` shows it.
    fn add(&self, queue: &Value, at_unix_s: u64, now: Instant) {
        let Some(name) = queue["name"].as_str() else { return };
        let count = |state: &str| queue[state].as_u64();
        let [visible, in_flight, delayed] = ["visible", "in_flight", "delayed"].map(count);
        let is_empty = [visible, in_flight, delayed].iter().all(|count| *count == Some(0));
        if is_empty && let Some(counted) = now.checked_sub(COUNT_LAG_MAX) {
            self.activity.found_empty(name, counted);
        }
        let interval = self.activity.take(name, now);
        let mut rings = self.rings();
        let ring = rings.entry(name.to_owned()).or_default();
        if ring.len() == SAMPLES_MAX {
            ring.pop_front();
        }
        ring.push_back(Sample { at_unix_s, visible, in_flight, delayed, interval });
    }

    /// Returns the samples of a queue, oldest first, one list for each figure; `None` if there is no such queue.
    pub(crate) fn of(&self, queue: &str) -> Option<Value> {
        let rings = self.rings();
        let ring = rings.get(queue)?;
        let column = |of: &dyn Fn(&Sample) -> Value| -> Value { ring.iter().map(of).collect() };
        Some(json!({
            "queue": queue,
            "interval_s": INTERVAL.as_secs(),
            "at_unix_s": column(&|sample| sample.at_unix_s.into()),
            "visible": column(&|sample| sample.visible.into()),
            "in_flight": column(&|sample| sample.in_flight.into()),
            "delayed": column(&|sample| sample.delayed.into()),
            "accepted": column(&|sample| sample.interval.accepted.into()),
            "done": column(&|sample| sample.interval.done.into()),
            "dead_lettered": column(&|sample| sample.interval.dead_lettered.into()),
            "latency_p50_ms": column(&|sample| sample.interval.latency_p50_ms.into()),
            "latency_p95_ms": column(&|sample| sample.interval.latency_p95_ms.into()),
            "oldest_s": column(&|sample| oldest_s(sample).into()),
        }))
    }

    /// Adds to the counts of queues the age of the oldest message and, to a dead-letter queue, the reasons.
    pub(crate) fn with_latest(&self, mut queues: Vec<Value>) -> Vec<Value> {
        let rings = self.rings();
        for queue in &mut queues {
            let Some(name) = queue["name"].as_str().map(str::to_owned) else { continue };
            queue["oldest_s"] = rings.get(&name).and_then(|ring| oldest_s(ring.back()?)).into();
            if queue["dead_letters"] == true {
                let causes = self.activity.causes(&name).into_iter();
                queue["reasons"] = causes
                    .map(|(cause, count)| json!({ "code": cause.code, "reason": cause.reason, "count": count }))
                    .collect();
            }
        }
        queues
    }

    fn rings(&self) -> MutexGuard<'_, BTreeMap<String, VecDeque<Sample>>> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn oldest_s(sample: &Sample) -> Option<u64> {
    sample.interval.oldest.map(|age| age.as_secs())
}
