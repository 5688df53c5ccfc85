//! [`shrink`]: the fewest messages and faults of a simulation with which a property still does not hold.

use std::collections::BTreeSet;

use crate::simulation::{Run, Settings, run};

/// The most runs that are made to shrink one simulation.
const RUNS_MAX: u32 = 400;

/// What is left of a simulation.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The messages.
    pub messages: Vec<u32>,
    /// The faults.
    pub faults: Vec<String>,
    /// What it violates.
    pub violations: Vec<String>,
}

/// Leaves out messages and faults in turn, larger parts first, as long as the property that failed first still fails.
#[must_use]
pub fn shrink(settings: &Settings, failed: &Run) -> Shrunk {
    let property = failed.violations.first().and_then(|violation| violation.split(' ').next());
    let mut shrinking = Shrinking {
        settings: settings.clone(),
        property: property.unwrap_or_default().to_owned(),
        violations: failed.violations.clone(),
        runs: 0,
    };
    let mut faults: Vec<_> = failed.faults.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let mut messages: Vec<u32> = (0..settings.messages).collect();
    loop {
        let before = (messages.len(), faults.len());
        faults = shrinking.fewest(faults, |settings, left| settings.only.faults = Some(left.iter().copied().collect()));
        shrinking.settings.only.faults = Some(faults.iter().copied().collect());
        messages =
            shrinking.fewest(messages, |settings, left| settings.only.messages = Some(left.iter().copied().collect()));
        shrinking.settings.only.messages = Some(messages.iter().copied().collect());
        if (messages.len(), faults.len()) == before || shrinking.runs >= RUNS_MAX {
            break;
        }
    }
    let faults = faults.iter().map(ToString::to_string).collect();
    Shrunk { messages, faults, violations: shrinking.violations }
}

struct Shrinking {
    settings: Settings,
    property: String,
    violations: Vec<String>,
    runs: u32,
}

impl Shrinking {
    /// Returns few of `all` with which the property still fails, by halving what is left out (delta debugging).
    fn fewest<T: Copy + PartialEq>(&mut self, all: Vec<T>, set: impl Fn(&mut Settings, &[T])) -> Vec<T> {
        let mut left = all;
        let mut part = left.len().div_ceil(2);
        while part > 0 && self.runs < RUNS_MAX {
            let mut start = 0;
            while start < left.len() && self.runs < RUNS_MAX {
                let end = (start + part).min(left.len());
                let without: Vec<T> = [&left[..start], &left[end..]].concat();
                if self.still_fails(|settings| set(settings, &without)) {
                    left = without;
                } else {
                    start = end;
                }
            }
            part = if part == 1 { 0 } else { part.div_ceil(2) };
        }
        left
    }

    fn still_fails(&mut self, change: impl Fn(&mut Settings)) -> bool {
        self.runs += 1;
        let mut settings = Settings { is_printed: false, ..self.settings.clone() };
        change(&mut settings);
        let Ok(run) = run(&settings) else { return false };
        let fails = run.violations.iter().any(|violation| violation.starts_with(&self.property));
        if fails {
            self.violations = run.violations;
        }
        fails
    }
}
