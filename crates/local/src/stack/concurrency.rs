//! The concurrency limit of a function, by the available memory.

/// The upper limit, unless the template reserves a number or [`Options`](super::Options) sets one: Lambda's default
/// quota of an account. <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const CONCURRENCY_MAX: usize = 1_000;
/// Assumed memory of an environment. The project's own functions have 28 MB resident, of which 3 MB are private and
/// the rest is shared with the other environments.
const ENVIRONMENT_BYTES: u64 = 48 * 1024 * 1024;
/// The lower limit, on a machine with little memory.
pub const CONCURRENCY_MIN: usize = 50;

/// Returns the limit for each of `functions` functions: the environments that fit into half of the free memory, from
/// [`CONCURRENCY_MIN`] to [`CONCURRENCY_MAX`]. Without `/proc/meminfo`, as on macOS, 100.
#[must_use]
pub(super) fn concurrency_default(functions: usize) -> usize {
    let available = std::fs::read_to_string("/proc/meminfo").ok().and_then(|memory| available_bytes(&memory));
    available.map_or(100, |bytes| concurrency_in(bytes, functions))
}

pub(super) fn concurrency_in(available_bytes: u64, functions: usize) -> usize {
    let each = available_bytes / 2 / ENVIRONMENT_BYTES / u64::try_from(functions).unwrap_or(u64::MAX).max(1);
    usize::try_from(each).unwrap_or(usize::MAX).clamp(CONCURRENCY_MIN, CONCURRENCY_MAX)
}

/// Reads `MemAvailable` of `/proc/meminfo`, in bytes.
pub(super) fn available_bytes(memory: &str) -> Option<u64> {
    let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
