//! One line of the embedded metric format, checked against the limits of CloudWatch, which silently drops a line that
//! exceeds them.
//!
//! The format: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::ser::{Serialize, SerializeMap, Serializer};

/// The namespace of the metrics.
pub const NAMESPACE: &str = "Sluicegate";
/// Largest number of metrics in one line (specification, "MetricDirective object").
pub const METRICS_MAX: usize = 100;
/// Largest number of values of one metric in one line (specification, "Target members").
pub const VALUES_MAX: usize = 100;
/// Largest number of dimensions in one set (specification, "DimensionSet array").
pub const DIMENSIONS_MAX: usize = 30;
/// Longest value of a dimension, in characters (specification, "DimensionSet array").
const DIMENSION_CHARS_MAX: usize = 1_024;
/// Largest log event, in bytes.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html>
pub const LINE_BYTES_MAX: usize = 1_048_576;

/// A metric line before it is written.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The time of the measurement.
    pub at: SystemTime,
    /// The dimensions, name and value: printable ASCII, not blank.
    pub dimensions: &'a [(&'a str, &'a str)],
    /// The sets of dimensions. CloudWatch keeps each metric once for each set.
    pub sets: &'a [&'a [&'a str]],
    /// The metrics; their names are unique and differ from those of the dimensions.
    pub metrics: &'a [Metric<'a>],
}

/// A metric and its value.
#[derive(Clone, Copy, Debug)]
pub struct Metric<'a> {
    /// The name.
    pub name: &'static str,
    /// The value, which determines the unit.
    pub value: Value<'a>,
}

/// The value of a metric.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Unit Count.
    Count(u64),
    /// Unit Milliseconds.
    Millis(f64),
    /// Unit Milliseconds, [`VALUES_MAX`] values at most.
    MillisEach(&'a [f64]),
}

/// A line that exceeds a limit of CloudWatch, or that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More items than the format allows.
    #[error("{count} {what}: the format allows {max}")]
    TooMany {
        /// The kind of item.
        what: &'static str,
        /// The number in this line.
        count: usize,
        /// The number allowed.
        max: usize,
    },
    /// NaN or infinity, which JSON cannot express.
    #[error("{0} is not a finite number")]
    NotFinite(&'static str),
    /// A dimension with a value that CloudWatch refuses.
    #[error("the dimension {0} is empty, longer than {DIMENSION_CHARS_MAX} characters, or not printable ASCII")]
    Dimension(String),
    /// A set names a missing dimension, or a name appears twice.
    #[error("{0} is missing or appears twice")]
    Name(String),
    /// The standard output refused the line.
    #[error("cannot write the metric line: {0}")]
    Write(#[from] std::io::Error),
}

impl Line<'_> {
    /// Appends the line and a line feed.
    ///
    /// # Errors
    /// The line breaks a limit; nothing is appended then.
    pub fn write_to(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.check()?;
        let start = out.len();
        serde_json::to_writer(&mut *out, self).map_err(std::io::Error::from)?;
        let bytes = out.len() - start;
        if bytes > LINE_BYTES_MAX {
            out.truncate(start);
        }
        at_most("bytes", bytes, LINE_BYTES_MAX)?;
        out.push(b'\n');
        Ok(())
    }

    fn check(&self) -> Result<(), Error> {
        at_most("metrics", self.metrics.len(), METRICS_MAX)?;
        for set in self.sets {
            at_most("dimensions", set.len(), DIMENSIONS_MAX)?;
            let missing = set.iter().find(|name| !self.dimensions.iter().any(|(known, _)| known == *name));
            missing.map_or(Ok(()), |name| Err(Error::Name((*name).to_owned())))?;
        }
        for (name, value) in self.dimensions {
            let printable = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            if !printable || value.trim().is_empty() || value.len() > DIMENSION_CHARS_MAX {
                return Err(Error::Dimension((*name).to_owned()));
            }
        }
        for metric in self.metrics {
            let (finite, values) = match metric.value {
                Value::Count(_) => (true, 1),
                Value::Millis(value) => (value.is_finite(), 1),
                Value::MillisEach(values) => (values.iter().all(|value| value.is_finite()), values.len()),
            };
            at_most("values", values, VALUES_MAX)?;
            if !finite {
                return Err(Error::NotFinite(metric.name));
            }
        }
        let names = || self.dimensions.iter().map(|(name, _)| *name).chain(self.metrics.iter().map(|each| each.name));
        let twice = names()
            .enumerate()
            .find(|(index, name)| *name == "_aws" || names().skip(index + 1).any(|other| other == *name));
        twice.map_or(Ok(()), |(_, name)| Err(Error::Name(name.to_owned())))
    }
}

fn at_most(what: &'static str, count: usize, max: usize) -> Result<(), Error> {
    if count > max { Err(Error::TooMany { what, count, max }) } else { Ok(()) }
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("_aws", &Metadata(self))?;
        for (name, value) in self.dimensions {
            line.serialize_entry(name, value)?;
        }
        for metric in self.metrics {
            match metric.value {
                Value::Count(value) => line.serialize_entry(metric.name, &value)?,
                Value::Millis(value) => line.serialize_entry(metric.name, &value)?,
                Value::MillisEach(values) => line.serialize_entry(metric.name, values)?,
            }
        }
        line.end()
    }
}

struct Metadata<'a>(&'a Line<'a>);

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Metadata<'a> {
            timestamp: u64,
            cloud_watch_metrics: [Directive<'a>; 1],
        }
        #[derive(serde::Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Directive<'a> {
            namespace: &'static str,
            dimensions: &'a [&'a [&'a str]],
            metrics: Definitions<'a>,
        }
        let since_1970 = self.0.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let directive =
            Directive { namespace: NAMESPACE, dimensions: self.0.sets, metrics: Definitions(self.0.metrics) };
        let timestamp = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
        Metadata { timestamp, cloud_watch_metrics: [directive] }.serialize(serializer)
    }
}

struct Definitions<'a>(&'a [Metric<'a>]);

impl Serialize for Definitions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Definition {
            name: &'static str,
            unit: &'static str,
        }
        serializer.collect_seq(self.0.iter().map(|metric| {
            let unit = match metric.value {
                Value::Count(_) => "Count",
                Value::Millis(_) | Value::MillisEach(_) => "Milliseconds",
            };
            Definition { name: metric.name, unit }
        }))
    }
}
