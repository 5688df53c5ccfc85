//! Virtual wall and monotonic clocks: while a thread simulates, `SystemTime::now` and `Instant::now` follow tokio's
//! paused clock on it.
//!
//! The product reads the wall clock where a user would, and is simulated unmodified. So the function of the C library
//! below these calls, `clock_gettime`, is replaced in programs that link this crate, as madsim does
//! (<https://github.com/madsim-rs/madsim>). Other threads, and this one outside of a simulation, get the time of the
//! system. The threads of the client of RabbitMQ follow the simulation that they belong to.
//!
//! `getrandom` is replaced as well: the seeds of hash tables come from it, and with them the order of their entries.

#![expect(unsafe_code, reason = "replaces a function of the C library")]

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use nix::libc::{
    self, CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_REALTIME, c_int, c_long, c_uint, c_void, clockid_t, size_t, ssize_t,
    time_t, timespec,
};
use tokio::time::Instant;

/// The wall clock at the start of every simulation, in seconds since 1970: 2026-01-01T00:00:00Z.
pub(crate) const START_UNIX_S: u64 = 1_767_225_600;

/// The monotonic clock at the start of every simulation, in seconds.
const START_MONOTONIC_S: u64 = 1_000_000;

thread_local! {
    /// The start of the simulation that runs on this thread.
    static STARTED: Cell<Option<Instant>> = const { Cell::new(None) };
    /// The time since the start of the simulation that this thread belongs to, which runs on another one.
    static FOLLOWED: Cell<Option<Duration>> = const { Cell::new(None) };
    /// Whether random bytes are the same in every simulation on this thread.
    static REPEATS: Cell<bool> = const { Cell::new(false) };
    /// How wrong the wall clock is at present.
    static SKEW: Cell<Skew> = const { Cell::new(Skew::NONE) };
}

/// Makes random bytes of the system the same on every thread that calls this first of all.
pub(crate) fn repeat_random_bytes() {
    REPEATS.set(true);
}

/// Sets the clocks of this thread to those of the simulation that it belongs to.
pub(crate) fn follow(elapsed: Duration) {
    FOLLOWED.set(Some(elapsed));
}

/// The virtual clocks of this thread, until it is dropped.
pub(crate) struct VirtualClock(());

impl VirtualClock {
    /// Starts the clocks. Tokio's clock must be paused.
    pub(crate) fn start() -> Self {
        STARTED.set(Some(Instant::now()));
        Self(())
    }
}

impl Drop for VirtualClock {
    fn drop(&mut self) {
        STARTED.set(None);
    }
}

/// How wrong a wall clock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Skew {
    Ahead(Duration),
    Behind(Duration),
}

impl Skew {
    pub(crate) const NONE: Self = Self::Ahead(Duration::ZERO);

    /// Returns one of at most `max`.
    pub(crate) fn new(rng: &mut Rng, max: Duration) -> Self {
        let by = max.mul_f64(rng.f64());
        if rng.bool() { Self::Ahead(by) } else { Self::Behind(by) }
    }

    /// Returns the wall clock that is so wrong.
    pub(crate) fn now(self) -> SystemTime {
        let now = SystemTime::now();
        match self {
            Self::Ahead(by) => now + by,
            Self::Behind(by) => now - by,
        }
    }
}

/// A future whose wall clock is wrong. What it starts in another task has the right one.
pub(crate) struct Skewed<F> {
    future: Pin<Box<F>>,
    skew: Skew,
}

impl<F: Future> Skewed<F> {
    pub(crate) fn new(future: F, skew: Skew) -> Self {
        Self { future: Box::pin(future), skew }
    }
}

impl<F: Future> Future for Skewed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let before = SKEW.replace(self.skew);
        let polled = self.future.as_mut().poll(context);
        SKEW.set(before);
        polled
    }
}

/// Calls a function that waits for another thread, with the clocks of the system.
pub(crate) fn in_real_time<T>(wait: impl FnOnce() -> T) -> T {
    let started = STARTED.take();
    let result = wait();
    STARTED.set(started);
    result
}

/// Returns the time since the start of the simulation of this thread.
pub(crate) fn elapsed() -> Option<Duration> {
    if let Ok(Some(followed)) = FOLLOWED.try_with(Cell::get) {
        return Some(followed);
    }
    // Taken meanwhile, because tokio itself asks the system if its clock is not paused.
    let started = STARTED.try_with(Cell::take).ok().flatten()?;
    let elapsed = started.elapsed();
    STARTED.set(Some(started));
    Some(elapsed)
}

/// Replaces the function of the C library.
///
/// # Safety
/// As of that function: `out` is null or points to a `timespec`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn clock_gettime(clock: clockid_t, out: *mut timespec) -> c_int {
    let start_s = match clock {
        CLOCK_REALTIME => Some(START_UNIX_S),
        CLOCK_MONOTONIC | CLOCK_BOOTTIME => Some(START_MONOTONIC_S),
        _ => None,
    };
    if let Some(start_s) = start_s
        && !out.is_null()
        && let Some(elapsed) = elapsed()
    {
        let now = Duration::from_secs(start_s) + elapsed;
        let now = match SKEW.get() {
            Skew::Ahead(by) if clock == CLOCK_REALTIME => now + by,
            Skew::Behind(by) if clock == CLOCK_REALTIME => now.saturating_sub(by),
            _ => now,
        };
        let time = timespec {
            tv_sec: time_t::try_from(now.as_secs()).unwrap_or(time_t::MAX),
            tv_nsec: c_long::from(now.subsec_nanos().cast_signed()),
        };
        // SAFETY: it is not null, and the caller keeps to the rules of the function.
        unsafe { out.write(time) };
        return 0;
    }
    // SAFETY: the arguments are those of the caller.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, out) };
    c_int::try_from(result).unwrap_or(-1)
}

/// Replaces the function of the C library.
///
/// # Safety
/// As of that function: `buffer` points to as many bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getrandom(buffer: *mut c_void, bytes: size_t, flags: c_uint) -> ssize_t {
    if REPEATS.try_with(Cell::get) == Ok(true) && !buffer.is_null() {
        // SAFETY: the caller keeps to the rules of the function.
        unsafe { buffer.cast::<u8>().write_bytes(7, bytes) };
        return ssize_t::try_from(bytes).unwrap_or(ssize_t::MAX);
    }
    // SAFETY: the arguments are those of the caller.
    let result = unsafe { libc::syscall(libc::SYS_getrandom, buffer, bytes, flags) };
    ssize_t::try_from(result).unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clocks_of_the_standard_library_follow_tokios() {
        let real = SystemTime::now();
        let clock = VirtualClock::start();
        let (wall, monotonic) = (SystemTime::now(), std::time::Instant::now());
        assert_eq!(wall, SystemTime::UNIX_EPOCH + Duration::from_secs(START_UNIX_S));
        tokio::time::advance(Duration::from_millis(90_061)).await;
        assert_eq!(wall.elapsed().unwrap(), Duration::from_millis(90_061));
        assert_eq!(monotonic.elapsed(), Duration::from_millis(90_061));
        let beside = std::thread::spawn(SystemTime::now).join().unwrap();
        assert!(beside >= real && beside < real + Duration::from_secs(60), "{beside:?}");
        let by = Duration::from_secs(5);
        for (skew, expected) in [(Skew::Ahead(by), SystemTime::now() + by), (Skew::Behind(by), SystemTime::now() - by)]
        {
            let (wrong, still) = Skewed::new(async { (SystemTime::now(), std::time::Instant::now()) }, skew).await;
            assert_eq!((wrong, still), (expected, std::time::Instant::now()));
            assert_eq!(skew.now(), expected);
        }
        drop(clock);
        assert!(SystemTime::now() >= beside);
    }
}
