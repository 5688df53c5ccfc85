//! Helpers to read a request: required members, numbers in a range, the queue of a URL.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde::Deserialize;

use crate::engine::Engine;
use crate::error::ApiError;

/// A request that names only a queue.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct QueueInput {
    pub(super) queue_url: Option<String>,
}

pub(super) fn required<T>(value: Option<T>, parameter: &str) -> Result<T, ApiError> {
    value.ok_or_else(|| ApiError::missing(parameter))
}

/// Returns the name of the request's queue.
pub(super) fn queue_name(engine: &Engine, queue_url: Option<&str>) -> Result<String, ApiError> {
    let url = required(queue_url.filter(|url| !url.is_empty()), "QueueUrl")?;
    engine.name_in_url(url).map(str::to_owned)
}

/// Checks that a number is in its range.
pub(super) fn in_range<T>(parameter: &str, value: i64, range: &RangeInclusive<T>) -> Result<T, ApiError>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    T::try_from(value).ok().filter(|number| range.contains(number)).ok_or_else(|| {
        let (start, end) = (range.start(), range.end());
        let reason = match parameter {
            "WaitTimeSeconds" => format!("Must be >= {start} and <= {end}, if provided."),
            "DelaySeconds" => format!("DelaySeconds must be >= {start} and <= {end}."),
            _ => format!("Must be between {start} and {end}, if provided."),
        };
        ApiError::invalid_parameter(format!("Value {value} for parameter {parameter} is invalid. Reason: {reason}"))
    })
}
