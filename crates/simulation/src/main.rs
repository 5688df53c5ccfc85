//! The command `simulate`: simulates seeds until a time is over or a property does not hold.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use sluicegate_simulation::{BoxError, Run, Settings, run, shrink};

/// The most memory of the process, in MiB. It had 38 in 19 simulations; a leak of the product adds up over the seeds.
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
    /// The messages of a simulation.
    #[arg(long, default_value_t = 400)]
    messages: u32,
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

    /// Prints the sums; returns whether the memory of the process was bounded.
    fn print(&self, took: Duration) -> Result<bool, BoxError> {
        let memory_mib = memory_mib()?;
        let Self { runs, stored, handled, dead, receives, faults, lasted } = self;
        println!(
            "{runs} simulations: {stored} messages, {handled} handled, {dead} dead letters, {receives} receives, \
             {faults} faults, {:.0} h of virtual time in {:.1} s: {:.0} messages per second, {memory_mib} MiB at most",
            lasted.as_secs_f64() / 3_600.0,
            took.as_secs_f64(),
            f64::from(u32::try_from(*stored).unwrap_or(u32::MAX)) / took.as_secs_f64(),
        );
        if memory_mib > MEMORY_MIB_MAX {
            println!(
                "the process had {memory_mib} MiB, more than {MEMORY_MIB_MAX} MiB: look for what grows with the seeds"
            );
        }
        Ok(memory_mib <= MEMORY_MIB_MAX)
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
    if let Some(seed) = arguments.seed {
        let settings = Settings::new(seed, arguments.messages).printed();
        let settings = settings.only(arguments.only_messages.clone(), arguments.only_faults.clone())?;
        let run = run(&settings)?;
        println!("seed {seed}: schedule {:016x}, {} violations", run.hash, run.violations.len());
        return Ok(run.violations.is_empty());
    }
    let from = arguments.from.unwrap_or_else(|| fastrand::u64(..u64::from(u32::MAX)));
    println!("simulating seeds from {from}");
    let (started, mut totals) = (Instant::now(), Totals::default());
    for seed in from.. {
        let settings = Settings::new(seed, arguments.messages);
        let run = run(&settings).map_err(|error| format!("seed {seed}: {error}"))?;
        totals.add(&run);
        if !run.violations.is_empty() {
            totals.print(started.elapsed())?;
            report(&settings, &run);
            return Ok(false);
        }
        if started.elapsed() >= Duration::from_secs(arguments.seconds) {
            break;
        }
    }
    totals.print(started.elapsed())
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
    println!(
        "simulate --seed {seed} --messages {messages} --only-messages '{}' --only-faults '{}'",
        kept.join(","),
        shrunk.faults.join(",")
    );
}
