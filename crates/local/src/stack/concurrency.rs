//! How many environments of a function may work at once, by the memory there is.

/// How many environments of a function work at once at most, unless the template reserves a number or [`Options`](super::Options) do: as many
/// as Lambda runs in an account by default. <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const CONCURRENCY_MAX: usize = 1_000;
/// How much memory an environment is taken to need. The project's own functions have 28 MB resident, of which 3 MB are their
/// own and the rest is shared with the other environments.
const ENVIRONMENT_BYTES: u64 = 48 * 1024 * 1024;
/// How many environments of a function may work at once on a machine without that much memory.
pub const CONCURRENCY_MIN: usize = 50;

/// How many environments of one of so many functions half of the free memory has room for, from [`CONCURRENCY_MIN`] to
/// [`CONCURRENCY_MAX`].
/// Without `/proc/meminfo`, as on macOS, 100.
#[must_use]
pub(crate) fn concurrency_default(functions: usize) -> usize {
    let available = std::fs::read_to_string("/proc/meminfo").ok().and_then(|memory| available_bytes(&memory));
    available.map_or(100, |bytes| concurrency_in(bytes, functions))
}

pub(super) fn concurrency_in(available_bytes: u64, functions: usize) -> usize {
    let each = available_bytes / 2 / ENVIRONMENT_BYTES / u64::try_from(functions).unwrap_or(u64::MAX).max(1);
    usize::try_from(each).unwrap_or(usize::MAX).clamp(CONCURRENCY_MIN, CONCURRENCY_MAX)
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
pub(super) fn available_bytes(memory: &str) -> Option<u64> {
    let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
