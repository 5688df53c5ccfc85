//! The loop of a fuzz target: a few inputs, or as many as fit into the time.

use std::cell::Cell;
use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};

/// The inputs of a target without a time.
const CASES: u32 = 64;

/// The longest time for one input: far above the slowest, which takes milliseconds, also on a busy machine.
const INPUT_TIME_MAX: Duration = Duration::from_secs(30);

/// Runs a target with the inputs of `strategy`: [`CASES`] of them, or for `FUZZ_SECONDS`.
pub(crate) fn fuzz<S: Strategy>(target: &str, strategy: &S, check: impl Fn(S::Value) -> TestCaseResult)
where
    S::Value: Debug,
{
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = number("FUZZ_SECONDS");
    // Without a time the inputs are always the same: a test that fails, fails again.
    let fresh = || u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let mut seed = number("FUZZ_SEED").unwrap_or_else(|| if seconds.is_some() { fresh() } else { 0 });
    let (started, executions, slowest) = (Instant::now(), Cell::new(0_u64), Cell::new(Duration::ZERO));
    let first = seed;
    loop {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let result = runner.run(strategy, |input| {
            let at = Instant::now();
            let result = check(input);
            executions.set(executions.get() + 1);
            slowest.set(slowest.get().max(at.elapsed()));
            assert!(at.elapsed() < INPUT_TIME_MAX, "an input took {:?}", at.elapsed());
            result
        });
        if let Err(error) = result {
            panic!("{target}: FUZZ_SEED={seed}: {error}");
        }
        seed = seed.wrapping_add(1);
        if seconds.is_none_or(|seconds| started.elapsed() >= Duration::from_secs(seconds)) {
            break;
        }
    }
    println!(
        "{target}: {} inputs in {} s from seed {first}, the slowest in {:?}",
        executions.get(),
        started.elapsed().as_secs(),
        slowest.get()
    );
}
