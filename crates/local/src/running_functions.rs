//! The functions of a stack as the admin port shows them: state, environments, restarts, failed build, last log lines.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};
use sluicegate_lambda_emulator::Function;

use crate::{function_lines::FunctionLines, journal::time_text};

/// Log lines of a function that are shown: some screens of text.
const LOG_LINES_MAX: usize = 200;

/// The functions, by name. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct RunningFunctions {
    all: Arc<Mutex<BTreeMap<String, RunningFunction>>>,
    lines: FunctionLines,
}

#[derive(Default)]
struct RunningFunction {
    /// `None` until its first environment is ready.
    function: Option<Function>,
    restarts: u64,
    /// Why the latest build failed; the code before it still runs.
    build_error: Option<String>,
}

impl RunningFunctions {
    /// Creates an empty list; `lines` are those of the functions' logs.
    pub(crate) fn new(lines: FunctionLines) -> Self {
        Self { all: Arc::default(), lines }
    }

    /// Adds the names of the functions, before they are built.
    pub(crate) fn expect<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        self.all().extend(names.into_iter().map(|name| (name.to_owned(), RunningFunction::default())));
    }

    /// Records that a function has started.
    pub(crate) fn started(&self, function: &Function) {
        self.change(function.name(), |running| running.function = Some(function.clone()));
    }

    /// Records that a function was started again with new code.
    pub(crate) fn restarted(&self, name: &str) {
        self.change(name, |running| running.restarts += 1);
    }

    /// Records the result of a build: the error's text, or `None`.
    pub(crate) fn built(&self, name: &str, error: Option<String>) {
        self.change(name, |running| running.build_error = error);
    }

    /// Sets whether a function's processes are frozen between invocations. `None` if the function is not running.
    pub(crate) fn set_frozen_when_idle(&self, name: &str, freeze: bool) -> Option<Value> {
        let function = self.all().get(name)?.function.clone()?;
        function.set_frozen_when_idle(freeze);
        Some(json!({ "name": name, "frozen_when_idle": function.is_frozen_when_idle() }))
    }

    /// Returns the functions without their logs; `reasons` are those of the functions that are not running.
    pub(crate) fn list(&self, reasons: &BTreeMap<String, String>) -> Vec<Value> {
        self.all().iter().map(|(name, running)| running.describe(name, reasons)).collect()
    }

    /// Returns a function with its log; `None` if there is no such function.
    pub(crate) fn show(&self, name: &str, reasons: &BTreeMap<String, String>) -> Option<Value> {
        let all = self.all();
        Some(self.with_log(name, all.get(name)?, reasons))
    }

    /// Returns the functions with their logs.
    pub(crate) fn list_with_logs(&self, reasons: &BTreeMap<String, String>) -> Vec<Value> {
        self.all().iter().map(|(name, running)| self.with_log(name, running, reasons)).collect()
    }

    fn with_log(&self, name: &str, running: &RunningFunction, reasons: &BTreeMap<String, String>) -> Value {
        let mut shown = running.describe(name, reasons);
        let lines = self.lines.latest(name, LOG_LINES_MAX);
        shown["log"] = lines.iter().map(|line| json!({ "at": time_text(line.at), "line": &*line.text })).collect();
        shown
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut RunningFunction)) {
        if let Some(running) = self.all().get_mut(name) {
            change(running);
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, RunningFunction>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunningFunction {
    fn describe(&self, name: &str, reasons: &BTreeMap<String, String>) -> Value {
        let mut shown = json!({
            "name": name,
            "state": if reasons.contains_key(name) { "not ready" } else { "ready" },
            "reason": reasons.get(name),
            "build_error": self.build_error,
            "restarts": self.restarts,
        });
        if let Some(function) = &self.function {
            let counts = function.counts();
            shown["environments"] = counts.environments().into();
            shown["busy"] = function.busy_environments().into();
            shown["invocations"] = counts.invocations().into();
            shown["errors"] = counts.errors().into();
            shown["throttles"] = counts.throttles().into();
            shown["frozen_when_idle"] = function.is_frozen_when_idle().into();
        }
        shown
    }
}
