//! How Lambda runs a function: its loops of the Runtime API, how many invocations it has at a time, and its end.
//!
//! [`max_concurrency`] is 1 on Lambda, and more on Lambda Managed Instances, where a process has several invocations at
//! a time. [`Loops`] are the loops of a function that has them, and [`Invocations`] ends it at SIGTERM. [`EventText`]
//! gives a function the text of its events.

mod event_text;
mod invocations;
mod loops;

pub use event_text::{EventText, WithoutText};
pub use invocations::{Counted, CountedCall, Invocations};
pub use loops::{Loops, all};

/// The environment variable with the invocations that Lambda Managed Instances send to a process at a time.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances-rust.html>
pub const MAX_CONCURRENCY: &str = "AWS_LAMBDA_MAX_CONCURRENCY";

/// The largest [`MAX_CONCURRENCY`]: that of `PerExecutionEnvironmentMaxConcurrency`.
///
/// <https://docs.aws.amazon.com/lambda/latest/api/API_LambdaManagedInstancesCapacityProviderConfig.html>
const CONCURRENCY_MAX: usize = 1_600;

/// Returns how many invocations Lambda sends to the process at a time, from 1 to 1,600.
pub fn max_concurrency(lookup: impl Fn(&str) -> Option<String>) -> usize {
    lookup(MAX_CONCURRENCY).and_then(|text| text.parse().ok()).unwrap_or(1).clamp(1, CONCURRENCY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_one_invocation_at_a_time_unless_lambda_says_more() {
        let (at_least, at_most) = ((Some("0"), 1), (Some("99999"), CONCURRENCY_MAX));
        for (value, expected) in [(None, 1), (Some("8"), 8), at_least, at_most, (Some(""), 1), (Some("many"), 1)] {
            assert_eq!(max_concurrency(|name| value.filter(|_| name == MAX_CONCURRENCY).map(str::to_owned)), expected);
        }
    }
}
