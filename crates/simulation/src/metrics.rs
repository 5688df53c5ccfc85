//! [`Metrics`]: the sums of metric lines.

use std::collections::BTreeMap;

use serde_json::{Deserializer, Map, Value};

/// The sums by name. Those of a line with a code have it behind the name. A metric with several values in a line counts
/// them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Metrics(BTreeMap<String, u64>);

impl Metrics {
    /// Adds lines of the embedded metric format.
    pub(crate) fn add(&mut self, lines: &[u8]) -> serde_json::Result<()> {
        for line in Deserializer::from_slice(lines).into_iter::<Map<String, Value>>() {
            let line = line?;
            let code = line.get("code").and_then(Value::as_str);
            for (name, value) in &line {
                // Times are floating-point numbers.
                let count = value.as_u64().or_else(|| value.as_array().map(|values| values.len() as u64));
                if let Some(count) = count {
                    self.count(name, code, count);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn count(&mut self, name: &str, code: Option<&str>, count: u64) {
        let name = code.map_or_else(|| name.to_owned(), |code| format!("{name} {code}"));
        *self.0.entry(name).or_default() += count;
    }

    pub(crate) fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }
}
