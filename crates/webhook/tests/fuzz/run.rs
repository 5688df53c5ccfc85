//! [`Target`]: a property and its inputs. And the loop of `cargo test`: a few inputs, or as many as fit into the time.

use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};

/// The inputs of a target without a time.
const CASES: u32 = 64;

/// The longest time for one input: far above the slowest, which takes milliseconds, also on a busy machine.
const INPUT_TIME_MAX: Duration = Duration::from_secs(30);

/// What follows the bytes of an input. Each alternative of a `prop_oneof` leaves half of the rest to its other cases.
const PADDING_BYTES: u32 = 65_536;

/// A property, and the inputs that it is checked with.
pub(crate) struct Target(Box<Check>);

/// Checks the property for inputs. The error has the smallest input found for which it does not hold.
type Check = dyn Fn(Inputs<'_>) -> Result<(), String>;

/// Where inputs come from.
enum Inputs<'i> {
    Random(&'i mut TestRunner),
    /// libFuzzer's bytes: one input.
    Bytes(&'i [u8]),
}

impl Target {
    /// Returns a target whose inputs have a structure. The strategy makes one from bytes as from random numbers.
    pub(crate) fn new<S>(strategy: S, check: impl Fn(S::Value) -> TestCaseResult + 'static) -> Self
    where
        S: Strategy + 'static,
        S::Value: Debug,
    {
        // After the end of the bytes proptest reads zeros, of which rand's rejection sampling has never enough.
        let padding: Vec<u8> = (0..PADDING_BYTES).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        let check = move |inputs: Inputs<'_>| match inputs {
            Inputs::Random(runner) => runner.run(&strategy, timed(&check)).map_err(|error| error.to_string()),
            Inputs::Bytes(bytes) => {
                let mut runner = runner(RngAlgorithm::PassThrough, &[bytes, &padding].concat(), 1);
                // An error: the strategy makes nothing of the bytes.
                let Ok(tree) = strategy.new_tree(&mut runner) else { return Ok(()) };
                check(tree.current()).map_err(|error| format!("{error}: {:?}", tree.current()))
            }
        };
        Self(Box::new(check))
    }

    /// Returns a target whose inputs are bytes, which are taken as they are. The strategy is for `cargo test`.
    pub(crate) fn of_bytes(
        strategy: impl Strategy<Value = Vec<u8>> + 'static,
        check: impl Fn(&[u8]) -> TestCaseResult + 'static,
    ) -> Self {
        let check = move |inputs: Inputs<'_>| match inputs {
            Inputs::Random(runner) => {
                runner.run(&strategy, timed(|bytes: Vec<u8>| check(&bytes))).map_err(|error| error.to_string())
            }
            Inputs::Bytes(bytes) => check(bytes).map_err(|error| error.to_string()),
        };
        Self(Box::new(check))
    }

    /// Checks the input that bytes make.
    #[allow(dead_code, reason = "for libFuzzer")]
    pub(crate) fn check(&self, bytes: &[u8]) {
        if let Err(error) = (self.0)(Inputs::Bytes(bytes)) {
            panic!("{error}");
        }
    }

    /// Checks [`CASES`] inputs, or inputs for `FUZZ_SECONDS`.
    pub(crate) fn run(&self, name: &str) {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let seconds = number("FUZZ_SECONDS");
        // Without a time the inputs are always the same: a test that fails, fails again.
        let fresh = || u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        let mut seed = number("FUZZ_SEED").unwrap_or_else(|| if seconds.is_some() { fresh() } else { 0 });
        let (first, started) = (seed, Instant::now());
        loop {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&seed.to_le_bytes());
            if let Err(error) = (self.0)(Inputs::Random(&mut runner(RngAlgorithm::ChaCha, &bytes, CASES))) {
                panic!("{name}: FUZZ_SEED={seed}: {error}");
            }
            seed = seed.wrapping_add(1);
            if seconds.is_none_or(|seconds| started.elapsed() >= Duration::from_secs(seconds)) {
                break;
            }
        }
        let inputs = (seed - first) * u64::from(CASES);
        println!("{name}: {inputs} inputs in {} s from seed {first}", started.elapsed().as_secs());
    }
}

/// Returns a check that fails if an input takes too long.
fn timed<V>(check: impl Fn(V) -> TestCaseResult) -> impl Fn(V) -> TestCaseResult {
    move |input| {
        let at = Instant::now();
        let result = check(input);
        assert!(at.elapsed() < INPUT_TIME_MAX, "an input took {:?}", at.elapsed());
        result
    }
}

fn runner(algorithm: RngAlgorithm, seed: &[u8], cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(algorithm, seed))
}
