//! The text format of Prometheus, version 0.0.4.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::fmt::Write;

/// The kind of a family of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

/// A page under construction.
#[derive(Default)]
pub(super) struct Page {
    text: String,
}

// Writing to a String cannot fail, so the results of `write!` are dropped.
impl Page {
    /// Opens a family, which its samples follow.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        };
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Writes a sample of the family opened last.
    pub(super) fn sample(&mut self, name: &str, labels: &[(impl AsRef<str>, impl AsRef<str>)], value: f64) {
        self.text.push_str(name);
        let mut opening = '{';
        for (name, value) in labels {
            let value = value.as_ref().replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            let _ = write!(self.text, "{opening}{}=\"{value}\"", name.as_ref());
            opening = ',';
        }
        let closing = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{closing} {value}");
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// Converts any text to a valid metric name.
/// <https://prometheus.io/docs/concepts/data_model/#metric-names-and-labels>
pub(super) fn metric_name(text: &str) -> String {
    let mut name: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() {
        name.insert(0, '_');
    }
    name
}

/// Converts any text to a valid label name. Reserved names (`le`, `quantile`, and names with two leading underscores)
/// get the prefix that Prometheus gives to conflicting labels.
pub(super) fn label_name(text: &str) -> String {
    let name = metric_name(text);
    let reserved = name == "le" || name == "quantile" || name.starts_with("__");
    if reserved { format!("exported_{name}") } else { name }
}
