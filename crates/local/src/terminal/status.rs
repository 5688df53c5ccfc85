//! The status line: a build, the functions that are not ready, requests and finished messages per second, queues.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;

use super::text::{Colour, Text};
use crate::cargo_build::BuildProgress;

/// The time over which a rate is measured: short enough to follow a load, long enough not to flicker.
const RATE_WINDOW: Duration = Duration::from_secs(2);

/// Receives each new status line.
pub type StatusSink = Arc<dyn Fn(StatusLine) + Send + Sync>;

/// What the status line is made of.
pub(crate) struct Status {
    sink: StatusSink,
    text: Text,
    requests: AtomicU64,
    done: AtomicU64,
    build: Mutex<Option<BuildProgress>>,
}

/// What a stack knows about itself at one time.
#[derive(Default)]
pub(crate) struct Snapshot<'a> {
    /// The parts that are not ready, with the reasons.
    pub(crate) waiting: BTreeMap<String, String>,
    /// The queues, as `GET /queues` lists them.
    pub(crate) queues: &'a [Value],
}

impl Status {
    pub(super) fn new(sink: StatusSink, coloured: bool) -> Self {
        let text = Text { coloured };
        Self { sink, text, requests: AtomicU64::default(), done: AtomicU64::default(), build: Mutex::default() }
    }

    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_done(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets the progress of the running build; `None` is its end.
    pub(super) fn build(&self, progress: Option<BuildProgress>) {
        *self.build.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }

    /// Passes the line of this moment to the sink.
    pub(crate) fn show(&self, rates: &mut Rates, now: Instant, snapshot: &Snapshot<'_>) {
        let counts = [&self.requests, &self.done].map(|count| count.load(Ordering::Relaxed));
        let build = self.build.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (self.sink)(StatusLine { parts: parts(build.as_ref(), rates.measure(now, counts), snapshot), text: self.text });
    }
}

/// A status line, for a terminal of any width.
#[derive(Clone)]
pub struct StatusLine {
    /// The most important ones first, because a narrow terminal has only these.
    parts: Vec<(Colour, String)>,
    text: Text,
}

impl StatusLine {
    /// Creates a line of one part, without colours.
    #[must_use]
    pub fn plain(text: &str) -> Self {
        Self { parts: vec![(Colour::Grey, text.to_owned())], text: Text { coloured: false } }
    }

    /// Returns the text, of at most `columns` characters that are printed.
    #[must_use]
    pub fn fit(&self, columns: usize) -> String {
        let (mut fitted, mut used) = (String::new(), 0);
        for (colour, part) in &self.parts {
            if used == columns {
                break;
            }
            let gap = if used == 0 { "" } else { "  " };
            let text: String = gap.chars().chain(part.chars()).take(columns.saturating_sub(used)).collect();
            used += text.chars().count();
            fitted.push_str(&self.text.paint(*colour, &text));
        }
        fitted
    }
}

impl PartialEq for StatusLine {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

/// Counts of the last [`RATE_WINDOW`].
#[derive(Default)]
pub(crate) struct Rates(VecDeque<(Instant, [u64; 2])>);

impl Rates {
    /// Adds the counts of this moment; returns how much each grew per second.
    fn measure(&mut self, now: Instant, counts: [u64; 2]) -> [f64; 2] {
        self.0.push_back((now, counts));
        // The oldest is at least as old as the window.
        while self.0.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= RATE_WINDOW) {
            self.0.pop_front();
        }
        let Some((at, before)) = self.0.front() else { return [0.0; 2] };
        let seconds = now.duration_since(*at).as_secs_f64();
        let rate = |index: usize| (counts[index] - before[index]) as f64 / seconds;
        if seconds > 0.0 { [rate(0), rate(1)] } else { [0.0; 2] }
    }
}

fn parts(build: Option<&BuildProgress>, rates: [f64; 2], snapshot: &Snapshot<'_>) -> Vec<(Colour, String)> {
    let mut parts = Vec::new();
    match build {
        Some(build) => parts.push((Colour::Blue, build.to_string())),
        None => {
            let waiting = snapshot.waiting.iter();
            let waiting: Vec<_> =
                waiting.map(|(part, reason)| format!("{} ({})", plain(part), plain(reason))).collect();
            if !waiting.is_empty() {
                parts.push((Colour::Yellow, format!("not ready: {}", waiting.join(", "))));
            }
        }
    }
    for (rate, name) in rates.into_iter().zip(["requests/s", "done/s"]) {
        parts.push((Colour::Grey, format!("{} {name}", rate_text(rate))));
    }
    let (dead, live): (Vec<_>, Vec<_>) =
        snapshot.queues.iter().partition(|queue| queue["dead_letters"].as_bool().unwrap_or_default());
    let dead: u64 = dead.iter().filter_map(|queue| depth(queue)).sum();
    let colour = if dead > 0 { Colour::Red } else { Colour::Grey };
    parts.push((colour, format!("{dead} dead letter{}", if dead == 1 { "" } else { "s" })));
    for queue in live {
        let name = plain(queue["name"].as_str().unwrap_or_default());
        match depth(queue) {
            Some(depth) => parts.push((Colour::Grey, format!("{name} {depth}"))),
            None => parts.push((Colour::Yellow, format!("{name} unknown"))),
        }
    }
    parts
}

/// Returns all messages of a queue: visible, in flight and delayed.
fn depth(queue: &Value) -> Option<u64> {
    let count = |state: &str| queue[state].as_u64();
    Some(count("visible")? + count("in_flight").unwrap_or_default() + count("delayed").unwrap_or_default())
}

fn rate_text(rate: f64) -> String {
    if rate == 0.0 || rate >= 10.0 { format!("{rate:.0}") } else { format!("{rate:.1}") }
}

/// Returns the first line of a text, without control characters.
fn plain(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(build: Option<&BuildProgress>, rates: [f64; 2], snapshot: &Snapshot<'_>) -> StatusLine {
        StatusLine { parts: parts(build, rates, snapshot), text: Text { coloured: false } }
    }

    #[test]
    fn a_line_has_rates_dead_letters_and_the_depth_of_each_queue() {
        let queue = |name: &str, dead: bool, visible: u64| json!({ "name": name, "dead_letters": dead, "visible": visible, "in_flight": 2, "delayed": 1 });
        let broken = json!({ "name": "far", "dead_letters": false, "error": "no answer" });
        let queues = [queue("orders", false, 4), queue("orders-dlq", true, 0), broken];
        let snapshot = Snapshot { waiting: BTreeMap::new(), queues: &queues };
        let text = line(None, [12.4, 0.5], &snapshot).fit(200);
        assert_eq!(text, "12 requests/s  0.5 done/s  3 dead letters  orders 7  far unknown");
    }

    #[test]
    fn what_is_not_ready_comes_first_and_a_narrow_terminal_cuts_the_end() {
        let waiting = BTreeMap::from([("Consumer".to_owned(), "exit 1\n  | \x1b[2Jpanicked".to_owned())]);
        let snapshot = Snapshot { waiting, queues: &[] };
        let line = line(None, [0.0, 0.0], &snapshot);
        for (columns, expected) in [
            (200, "not ready: Consumer (exit 1)  0 requests/s  0 done/s  0 dead letters"),
            (30, "not ready: Consumer (exit 1)  "),
            (3, "not"),
            (0, ""),
        ] {
            assert_eq!(line.fit(columns), expected, "{columns}");
        }
    }

    #[test]
    fn colours_take_no_columns() {
        let mut line = line(None, [0.0, 0.0], &Snapshot::default());
        line.text.coloured = true;
        assert_eq!(line.fit(20), "\x1b[90m0 requests/s\x1b[0m\x1b[90m  0 done\x1b[0m");
    }

    #[test]
    fn a_build_is_shown_in_the_place_of_the_functions_that_wait_for_it() {
        let waiting = BTreeMap::from([("Consumer".to_owned(), "being built".to_owned())]);
        let build = BuildProgress { built: 3, units: 9, crates: "serde".to_owned(), remaining_s: None };
        let text = line(Some(&build), [0.0, 0.0], &Snapshot { waiting, queues: &[] }).fit(29);
        assert_eq!(text, "building 3 of 9: serde  0 req");
    }

    #[test]
    fn a_rate_is_the_growth_over_the_window() {
        let (start, mut rates) = (Instant::now(), Rates::default());
        let at = |millis: u64| start + Duration::from_millis(millis);
        assert_eq!(rates.measure(at(0), [100, 0]), [0.0, 0.0]);
        assert_eq!(rates.measure(at(500), [105, 0]), [10.0, 0.0]);
        assert_eq!(rates.measure(at(2_000), [120, 4]), [10.0, 2.0]);
        // From 0.5 s to 2.5 s, then from 2.0 s.
        assert_eq!(rates.measure(at(2_500), [125, 4]), [10.0, 2.0]);
        assert_eq!(rates.measure(at(4_000), [125, 4]), [2.5, 0.0]);
        assert_eq!(rates.measure(at(9_000), [125, 4]), [0.0, 0.0]);
    }
}
