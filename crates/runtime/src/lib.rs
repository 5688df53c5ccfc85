//! How Lambda runs a function: its loops of the Runtime API, how many invocations it has at a time, and its end.
//!
//! [`max_concurrency`] is 1 on Lambda, and more on Lambda Managed Instances, where a process has several invocations at
//! a time. [`Loops`] are the loops of a function that has them, and [`Invocations`] ends it at SIGTERM.

mod invocations;
mod loops;

pub use invocations::{Counted, CountedCall, Invocations};
pub use loops::{Loops, all};

/// The environment variable with the invocations that Lambda Managed Instances send to a process at a time.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances-rust.html>
pub const MAX_CONCURRENCY: &str = "AWS_LAMBDA_MAX_CONCURRENCY";

/// Returns how many invocations Lambda sends to the process at a time, at least 1.
pub fn max_concurrency(lookup: impl Fn(&str) -> Option<String>) -> usize {
    lookup(MAX_CONCURRENCY).and_then(|text| text.parse().ok()).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_one_invocation_at_a_time_unless_lambda_says_more() {
        for (value, expected) in [(None, 1), (Some("8"), 8), (Some("0"), 1), (Some(""), 1), (Some("many"), 1)] {
            assert_eq!(max_concurrency(|name| value.filter(|_| name == MAX_CONCURRENCY).map(str::to_owned)), expected);
        }
    }
}
