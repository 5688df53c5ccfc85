//! The command `simulate`: simulates seeds until a time is over or a property does not hold.

use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant};

use clap::Parser;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use sluicegate_simulation::{BoxError, Run, Settings, run, shrink};
use tikv_jemallocator::Jemalloc;

/// A third quicker than glibc's for this many small allocations. Of threads that end, such as those of the AMQP client,
/// it keeps less memory.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// How often a run says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_mins(1);

/// The seeds of `--failed`.
const FAILED: &str = include_str!("../failed-seeds");

/// The most memory of the process for each simulation at a time, in MiB. It was 266 in 768 simulations, two at a time:
/// few have large payloads, of which a batch has many copies. A leak of the product adds up over the seeds.
const MEMORY_MIB_MAX: u64 = 512;

/// Simulates the whole path under faults, and shrinks what it finds.
#[derive(Parser)]
struct Arguments {
    /// Simulates this seed alone, and prints its schedule.
    #[arg(long)]
    seed: Option<u64>,
    /// The first seed; without it, one that the clock chooses.
    #[arg(long, conflicts_with = "seed")]
    from: Option<u64>,
    /// How long to simulate seeds, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many seeds to simulate, however long it takes.
    #[arg(long, conflicts_with = "seconds")]
    seeds: Option<u64>,
    /// How many seeds to simulate at a time; without it, one on each processor.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// The messages of a simulation.
    #[arg(long, default_value_t = 400)]
    messages: u32,
    /// Simulates the seeds in which a fault was found before.
    #[arg(long, exclusive = true)]
    failed: bool,
    /// Simulates RabbitMQ only, instead of in every third seed.
    #[arg(long)]
    rabbitmq: bool,
    /// Simulates SQS only.
    #[arg(long, conflicts_with = "rabbitmq")]
    sqs: bool,
    /// Sends these messages alone: 3,17
    #[arg(long, value_delimiter = ',', requires = "seed")]
    only_messages: Option<Vec<u32>>,
    /// Lets these faults alone happen: send/3/0,consumer/17/1
    #[arg(long, value_delimiter = ',', requires = "seed")]
    only_faults: Option<Vec<String>>,
    /// Prints the properties that are checked.
    #[arg(long)]
    properties: bool,
}

impl Arguments {
    /// Returns the whole simulation of a seed.
    fn settings(&self, seed: u64) -> Settings {
        let settings = Settings::new(seed, self.messages);
        if self.rabbitmq || self.sqs { settings.on_rabbitmq(self.rabbitmq) } else { settings }
    }
}

/// The sums of many simulations.
#[derive(Default)]
struct Totals {
    runs: u64,
    stored: u64,
    handled: u64,
    dead: u64,
    receives: u64,
    faults: usize,
    lasted: Duration,
}

impl Totals {
    fn add(&mut self, run: &Run) {
        self.runs += 1;
        self.stored += run.stored;
        self.handled += run.handled;
        self.dead += run.dead;
        self.receives += run.receives;
        self.faults += run.faults();
        self.lasted += run.lasted;
    }

    /// Prints the sums of simulations of which `at_once` ran at a time; returns whether the memory of the process was
    /// bounded.
    fn print(&self, took: Duration, at_once: usize) -> Result<bool, BoxError> {
        let (memory_mib, most_mib) = (memory_mib()?, MEMORY_MIB_MAX * u64::try_from(at_once)?);
        let Self { runs, stored, handled, dead, receives, faults, lasted } = self;
        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        let cpu = usage.user_time() + usage.system_time();
        let cpu = Duration::from_millis(u64::try_from(cpu.num_milliseconds())?);
        println!(
            "{runs} simulations: {stored} messages, {handled} handled, {dead} dead letters, {receives} receives, \
             {faults} faults, {:.0} h of virtual time in {:.1} s with {:.1} s of processor time: {} messages in each, \
             {memory_mib} MiB at most",
            lasted.as_secs_f64() / 3_600.0,
            took.as_secs_f64(),
            cpu.as_secs_f64(),
            u128::from(*stored) * 1_000 / cpu.as_millis().max(1),
        );
        if memory_mib > most_mib {
            println!("the process had {memory_mib} MiB, more than {most_mib} MiB: look for what grows with the seeds");
        }
        Ok(memory_mib <= most_mib)
    }
}

/// Returns the most memory that the process has had.
///
/// <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>
fn memory_mib() -> Result<u64, BoxError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("/proc/self/status has no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1_024)
}

fn main() -> ExitCode {
    match simulate(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("simulate: the simulation itself failed: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether every property held.
fn simulate(arguments: &Arguments) -> Result<bool, BoxError> {
    if arguments.properties {
        for (name, words) in sluicegate_simulation::properties() {
            println!("{name}: {words}");
        }
        return Ok(true);
    }
    if arguments.failed {
        return simulate_failed();
    }
    if let Some(seed) = arguments.seed {
        let settings = arguments.settings(seed).printed();
        let settings = settings.only(arguments.only_messages.clone(), arguments.only_faults.clone())?;
        let run = run(&settings)?;
        // The reader of the schedule may have ended.
        let _ = writeln!(io::stdout(), "seed {seed}: schedule {:016x}, {} violations", run.hash, run.violations.len());
        return Ok(run.violations.is_empty());
    }
    let from = arguments.from.unwrap_or_else(|| fastrand::u64(..u64::from(u32::MAX)));
    println!("simulating seeds from {from}");
    let threads = arguments.threads.map_or_else(available_parallelism, Ok)?;
    let started = Instant::now();
    let seeds = Seeds {
        next: AtomicU64::new(from),
        from,
        end: arguments.seeds.map(|seeds| from.saturating_add(seeds)),
        until: started + Duration::from_secs(arguments.seconds),
        is_over: AtomicBool::new(false),
        progress: Mutex::new(Progress { totals: Totals::default(), printed: started }),
        started,
        threads: threads.get(),
        arguments,
    };
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.get()).map(|_| scope.spawn(|| seeds.simulate())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    let mut found = Vec::new();
    for result in results {
        found.extend(result?);
    }
    let progress = seeds.progress.into_inner().unwrap_or_else(PoisonError::into_inner);
    let is_bounded = progress.totals.print(started.elapsed(), threads.get())?;
    found.sort_unstable_by_key(|(settings, _): &(Settings, Run)| settings.seed);
    for (settings, run) in &found {
        report(settings, run);
    }
    Ok(found.is_empty() && is_bounded)
}

/// Simulates the seeds in which a fault was found before; returns whether every property held.
fn simulate_failed() -> Result<bool, BoxError> {
    let (mut count, mut holds) = (0, true);
    for line in FAILED.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<_> = line.split_whitespace().collect();
        let [broker @ ("rabbitmq" | "sqs"), seed, messages, ..] = words[..] else {
            return Err(
                format!("failed-seeds: {line:?} is not a broker, a seed, a count of messages and a subject").into()
            );
        };
        let settings = Settings::new(seed.parse()?, messages.parse()?).on_rabbitmq(broker == "rabbitmq");
        let run = run(&settings)?;
        count += 1;
        if !run.violations.is_empty() {
            holds = false;
            report(&settings, &run);
        }
    }
    println!("{count} seeds that failed before");
    Ok(holds)
}

/// The seeds that threads take in turn.
struct Seeds<'a> {
    next: AtomicU64,
    /// The first seed that is not simulated; without it, [`until`](Self::until) counts.
    end: Option<u64>,
    until: Instant,
    from: u64,
    /// Whether a property did not hold, or a simulation failed.
    is_over: AtomicBool,
    progress: Mutex<Progress>,
    started: Instant,
    threads: usize,
    arguments: &'a Arguments,
}

/// How far a run is.
struct Progress {
    totals: Totals,
    /// When the sums were printed last.
    printed: Instant,
}

impl Seeds<'_> {
    /// Simulates seeds until the end; returns the one in which a property did not hold.
    fn simulate(&self) -> Result<Option<(Settings, Run)>, String> {
        while let Some(seed) = self.next() {
            let settings = self.arguments.settings(seed);
            let result = run(&settings);
            let run = result.inspect_err(|_| self.end()).map_err(|error| format!("seed {seed}: {error}"))?;
            self.add(&run).map_err(|error| error.to_string())?;
            if !run.violations.is_empty() {
                self.end();
                return Ok(Some((settings, run)));
            }
        }
        Ok(None)
    }

    /// Adds a simulation to the sums, and prints them if it is time.
    fn add(&self, run: &Run) -> Result<(), BoxError> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.totals.add(run);
        let is_last = self.end.is_none() && Instant::now() >= self.until;
        if !is_last && progress.printed.elapsed() >= PROGRESS_EVERY {
            progress.printed = Instant::now();
            progress.totals.print(self.started.elapsed(), self.threads)?;
        }
        Ok(())
    }

    /// Returns the next seed; the first also if the time is over.
    fn next(&self) -> Option<u64> {
        let seed = self.next.fetch_add(1, Ordering::Relaxed);
        let is_over = match self.end {
            Some(end) => seed >= end,
            None => Instant::now() >= self.until && seed > self.from,
        };
        (!is_over && !self.is_over.load(Ordering::Relaxed)).then_some(seed)
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Prints what a simulation found, and the smallest one that still finds it.
fn report(settings: &Settings, run: &Run) {
    let Settings { seed, messages, .. } = settings;
    println!("seed {seed} of {messages} messages, {} faults:", run.faults());
    for violation in &run.violations {
        println!("  {violation}");
    }
    let shrunk = shrink(settings, run);
    println!("shrunk to {} messages and {} faults:", shrunk.messages.len(), shrunk.faults.len());
    for violation in &shrunk.violations {
        println!("  {violation}");
    }
    let kept: Vec<_> = shrunk.messages.iter().map(ToString::to_string).collect();
    let broker = if settings.is_rabbitmq { "rabbitmq" } else { "sqs" };
    println!(
        "simulate --{broker} --seed {seed} --messages {messages} --only-messages '{}' --only-faults '{}'",
        kept.join(","),
        shrunk.faults.join(",")
    );
}
