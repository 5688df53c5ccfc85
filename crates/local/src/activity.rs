//! What passes through each queue: messages accepted, done and dead-lettered, their latency, the age of the oldest, and
//! the reasons of the dead letters. It follows the steps of messages, so both brokers have the same figures.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::journal::MessageStep;

/// Largest number of messages that are followed at a time, as many as have a log. Later ones are counted, but have no
/// latency, age or reason.
const OPEN_MAX: usize = 10_000;
/// Largest number of latencies of one interval: some more than the local stack processes in a second.
const LATENCIES_MAX: usize = 10_000;
/// Largest number of causes of a queue; further ones are counted as [`OTHER`].
const CAUSES_MAX: usize = 50;
/// The reason that stands for all other causes.
const OTHER: &str = "other reasons";

/// The figures of all queues. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Activity {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    queues: BTreeMap<Arc<str>, QueueActivity>,
    open: HashMap<String, OpenMessage>,
}

/// A message on a queue.
struct OpenMessage {
    queue: Arc<str>,
    since: Instant,
    /// Why it was dead-lettered.
    cause: Option<Arc<Cause>>,
}

#[derive(Default)]
struct QueueActivity {
    interval: Interval,
    latencies_ms: Vec<u32>,
    /// The messages in the order of their arrival, with those that have left meanwhile.
    arrivals: VecDeque<(Instant, String)>,
    causes: BTreeMap<Arc<Cause>, u64>,
}

/// Why a message was dead-lettered.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cause {
    /// The code of the rejection, if it has one.
    pub(crate) code: Option<String>,
    /// The reason.
    pub(crate) reason: String,
}

/// The figures of a queue in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interval {
    /// Messages that arrived.
    pub(crate) accepted: u32,
    /// Messages that a function processed.
    pub(crate) done: u32,
    /// Messages that left for the dead-letter queue.
    pub(crate) dead_lettered: u32,
    /// The median time from the arrival of a message until it was done.
    pub(crate) latency_p50_ms: Option<u32>,
    /// The time that 95 of 100 messages do not exceed.
    pub(crate) latency_p95_ms: Option<u32>,
    /// The age of the oldest message at the end of the interval.
    pub(crate) oldest: Option<Duration>,
}

impl Activity {
    /// Follows a step of a message.
    pub(crate) fn record(&self, id: &str, step: &MessageStep, now: Instant) {
        match step {
            MessageStep::Accepted { queue } | MessageStep::Redriven { queue, .. } => {
                self.state().arrive(id, queue, None, now)
            }
            MessageStep::DeadLettered { queue, reason, code } => {
                let cause = Cause { code: code.clone(), reason: reason.clone() };
                self.state().arrive(id, queue, Some(cause), now);
            }
            MessageStep::Done => self.state().done(id, now),
            MessageStep::FilteredOut { .. }
            | MessageStep::Dropped { .. }
            | MessageStep::Expired { .. }
            | MessageStep::Replaced { .. }
            | MessageStep::Purged { .. } => drop(self.state().leave(id)),
            MessageStep::Repeated
            | MessageStep::Refused { .. }
            | MessageStep::Delivered { .. }
            | MessageStep::Retrying { .. }
            | MessageStep::Returned { .. } => {}
        }
    }

    /// Returns the figures of a queue since the last call.
    pub(crate) fn take(&self, queue: &str, now: Instant) -> Interval {
        let mut state = self.state();
        let State { queues, open } = &mut *state;
        let Some(activity) = queues.get_mut(queue) else { return Interval::default() };
        let is_here = |(since, id): &(Instant, String)| {
            open.get(id).is_some_and(|open| open.since == *since && *open.queue == *queue)
        };
        while activity.arrivals.front().is_some_and(|first| !is_here(first)) {
            activity.arrivals.pop_front();
        }
        let mut interval = std::mem::take(&mut activity.interval);
        activity.latencies_ms.sort_unstable();
        interval.latency_p50_ms = quantile(&activity.latencies_ms, 50);
        interval.latency_p95_ms = quantile(&activity.latencies_ms, 95);
        activity.latencies_ms.clear();
        interval.oldest = activity.arrivals.front().map(|(since, _)| now.saturating_duration_since(*since));
        interval
    }

    /// Returns the causes of the dead letters on a queue with their numbers.
    pub(crate) fn causes(&self, queue: &str) -> Vec<(Arc<Cause>, u64)> {
        let state = self.state();
        let causes = state.queues.get(queue).map(|activity| &activity.causes);
        causes.into_iter().flatten().map(|(cause, count)| (Arc::clone(cause), *count)).collect()
    }

    /// Forgets the messages of a queue that was found empty, unless one arrived after `counted`: no step reports that a
    /// dead letter was deleted.
    pub(crate) fn found_empty(&self, queue: &str, counted: Instant) {
        let mut state = self.state();
        let State { queues, open } = &mut *state;
        let Some(activity) = queues.get_mut(queue) else { return };
        if activity.arrivals.back().is_some_and(|(since, _)| *since > counted) {
            return;
        }
        for (_, id) in activity.arrivals.drain(..) {
            if open.get(&id).is_some_and(|open| *open.queue == *queue) {
                open.remove(&id);
            }
        }
        activity.causes.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Puts a message on a queue, or on several with their names separated by a comma, of which the first is taken.
    fn arrive(&mut self, id: &str, queues: &str, cause: Option<Cause>, now: Instant) {
        let left = self.leave(id);
        let queue = queues.split(", ").next().unwrap_or(queues);
        if let Some(from) = left.filter(|_| cause.is_some()).and_then(|left| self.queues.get_mut(&left.queue)) {
            from.interval.dead_lettered += 1;
        }
        if !self.queues.contains_key(queue) {
            self.queues.insert(queue.into(), QueueActivity::default());
        }
        let Some((name, _)) = self.queues.get_key_value(queue) else { return };
        let name = Arc::clone(name);
        let Some(activity) = self.queues.get_mut(queue) else { return };
        activity.interval.accepted += 1;
        if self.open.len() >= OPEN_MAX {
            return;
        }
        let cause = cause.map(|cause| activity.count(cause));
        activity.arrivals.push_back((now, id.to_owned()));
        self.open.insert(id.to_owned(), OpenMessage { queue: name, since: now, cause });
    }

    fn done(&mut self, id: &str, now: Instant) {
        let Some(message) = self.leave(id) else { return };
        let Some(activity) = self.queues.get_mut(&message.queue) else { return };
        activity.interval.done += 1;
        if activity.latencies_ms.len() < LATENCIES_MAX {
            let latency = now.saturating_duration_since(message.since).as_millis();
            activity.latencies_ms.push(u32::try_from(latency).unwrap_or(u32::MAX));
        }
    }

    fn leave(&mut self, id: &str) -> Option<OpenMessage> {
        let message = self.open.remove(id)?;
        if let Some(cause) = &message.cause
            && let Some(activity) = self.queues.get_mut(&message.queue)
            && let Some(count) = activity.causes.get_mut(cause)
        {
            *count -= 1;
            if *count == 0 {
                activity.causes.remove(cause);
            }
        }
        Some(message)
    }
}

impl QueueActivity {
    /// Counts a cause and returns it, or [`OTHER`] for one too many.
    fn count(&mut self, cause: Cause) -> Arc<Cause> {
        let is_full = self.causes.len() >= CAUSES_MAX && !self.causes.contains_key(&cause);
        let cause = if is_full { Cause { code: None, reason: OTHER.to_owned() } } else { cause };
        let known = self.causes.get_key_value(&cause).map(|(known, _)| Arc::clone(known));
        let cause = known.unwrap_or_else(|| cause.into());
        *self.causes.entry(Arc::clone(&cause)).or_default() += 1;
        cause
    }
}

/// Returns the value that `percent` of the sorted values do not exceed.
fn quantile(sorted: &[u32], percent: usize) -> Option<u32> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn accepted(queue: &str) -> MessageStep {
        MessageStep::Accepted { queue: queue.to_owned() }
    }

    fn dead(reason: &str) -> MessageStep {
        MessageStep::DeadLettered { queue: "q-dlq".to_owned(), reason: reason.to_owned(), code: None }
    }

    /// The code, the reason and the number of each cause.
    fn causes(activity: &Activity) -> Vec<(Option<String>, String, u64)> {
        let causes = activity.causes("q-dlq").into_iter();
        causes.map(|(cause, count)| (cause.code.clone(), cause.reason.clone(), count)).collect()
    }

    #[test]
    fn latencies_and_the_oldest_message_follow_the_steps() {
        let (activity, start) = (Activity::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        for id in 0..20 {
            activity.record(&id.to_string(), &accepted("q"), at(id));
        }
        // All but the first are done, after 100 to 118 ms.
        for id in 1..20 {
            activity.record(&id.to_string(), &MessageStep::Done, at(2 * id + 99));
        }
        let expected = Interval {
            accepted: 20,
            done: 19,
            dead_lettered: 0,
            latency_p50_ms: Some(109),
            latency_p95_ms: Some(118),
            oldest: Some(MINUTE),
        };
        assert_eq!(activity.take("q", start + MINUTE), expected);
        activity.record("0", &MessageStep::Done, start + MINUTE);
        let interval = activity.take("q", start + MINUTE);
        assert_eq!((interval.accepted, interval.done, interval.latency_p50_ms), (0, 1, Some(60_000)));
        assert_eq!(interval.oldest, None);
        assert_eq!(activity.take("other", start), Interval::default());
    }

    #[test]
    fn dead_letters_are_counted_by_code_and_reason_until_they_leave() {
        let (activity, now) = (Activity::default(), Instant::now());
        for (id, reason) in [("a", "invalid"), ("b", "invalid"), ("c", "late"), ("d", "late")] {
            activity.record(id, &accepted("q"), now);
            activity.record(id, &dead(reason), now);
        }
        assert_eq!(activity.take("q", now).dead_lettered, 4);
        activity.record("a", &MessageStep::Redriven { queue: "q".to_owned(), from: None }, now);
        // `sluicegate dlq` stores a copy on the source queue.
        activity.record("c", &accepted("q"), now);
        activity.record("d", &MessageStep::Purged { queue: "q-dlq".to_owned() }, now);
        assert_eq!(causes(&activity), [(None, "invalid".to_owned(), 1)]);
        let (queue, reason, code) = ("q-dlq".to_owned(), "invalid".to_owned(), Some("order_invalid".to_owned()));
        activity.record("e", &MessageStep::DeadLettered { queue, reason, code: code.clone() }, now);
        assert_eq!(causes(&activity)[1], (code, "invalid".to_owned(), 1), "another code is another cause");
        activity.found_empty("q-dlq", now - MINUTE);
        assert_eq!(causes(&activity).len(), 2, "counted before the arrival");
        activity.found_empty("q-dlq", now + MINUTE);
        assert_eq!(causes(&activity), []);
        assert_eq!(activity.take("q-dlq", now).oldest, None);
        assert_eq!(activity.take("q", now).oldest, Some(Duration::ZERO));
    }

    #[test]
    fn messages_and_causes_are_bounded() {
        let (activity, now) = (Activity::default(), Instant::now());
        for id in 0..=OPEN_MAX {
            activity.record(&id.to_string(), &dead(&format!("reason {id}")), now);
        }
        let causes = causes(&activity);
        let others = causes.iter().find(|(_, reason, _)| reason == OTHER).map(|(_, _, count)| *count);
        assert_eq!((causes.len(), others), (CAUSES_MAX + 1, Some((OPEN_MAX - CAUSES_MAX) as u64)));
        assert_eq!(activity.take("q-dlq", now).accepted as usize, OPEN_MAX + 1);
        assert_eq!(activity.state().open.len(), OPEN_MAX);
    }
}
