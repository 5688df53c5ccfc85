//! The progress of a build, read from the bar that cargo draws.
//!
//! Cargo's JSON messages name what is compiled, but neither how much there is nor what is being compiled; the bar has
//! both, and the variables that ask for it are stable. The bar's text is not. If a line cannot be read as a bar, it is
//! printed, and the build goes on.
//! <https://doc.rust-lang.org/cargo/reference/config.html#termprogresswhen>

use std::{
    fmt,
    io::IsTerminal as _,
    process::Stdio,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::{
    io::AsyncReadExt as _,
    process::{ChildStderr, Command},
};

use crate::terminal::Terminal;

/// The width of cargo's bar. It has room for the names of all crates that are compiled at a time.
const BAR_COLUMNS: &str = "200";
/// The longest text in memory that is not yet a line. Longer ones are printed in parts.
const PENDING_BYTES_MAX: usize = 64 * 1024;
/// A rate over less time, or over fewer units, says little about the rest of a build.
const ESTIMATE_AFTER: Duration = Duration::from_secs(3);
const ESTIMATE_UNITS_MIN: u64 = 5;

/// The progress of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuildProgress {
    /// The units that are up to date. A unit is a crate or a build script, compiled or run.
    pub built: u64,
    /// All units, as cargo counts them.
    pub units: u64,
    /// The names of the crates that are being compiled.
    pub crates: String,
    /// The time that the rest takes, in seconds, at the rate so far. Too short if the largest crates come last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_s: Option<u64>,
}

impl fmt::Display for BuildProgress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "building {} of {}", self.built, self.units)?;
        if let Some(seconds) = self.remaining_s {
            write!(out, ", about {seconds} s left")?;
        }
        if self.crates.is_empty() { Ok(()) } else { write!(out, ": {}", self.crates) }
    }
}

/// Redirects cargo's standard error if the terminal shows the progress of builds; returns the pause between two
/// reports. Otherwise cargo writes there itself.
pub(super) fn capture(command: &mut Command, terminal: &Terminal) -> Option<Duration> {
    let interval = terminal.progress_interval();
    let interval = interval.filter(|_| terminal.is_json() || std::io::stderr().is_terminal());
    if interval.is_none() {
        command.stderr(Stdio::inherit());
        return None;
    }
    command.stderr(Stdio::piped());
    command.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", BAR_COLUMNS);
    if terminal.is_coloured() && std::env::var_os("CARGO_TERM_COLOR").is_none() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    interval
}

/// Reads what [`capture`] redirected until its end.
pub(super) async fn show(interval: Option<Duration>, stderr: Option<ChildStderr>, terminal: &Terminal) {
    let (Some(interval), Some(mut stderr)) = (interval, stderr) else { return };
    let (mut pending, mut estimate, mut reported) = (Vec::new(), Estimate::default(), None::<Instant>);
    loop {
        let read = stderr.read_buf(&mut pending).await.unwrap_or(0);
        let is_end = read == 0;
        for part in parts(&mut pending, is_end) {
            match bar(&part) {
                Some((built, units, crates)) => {
                    let now = Instant::now();
                    let remaining_s = estimate.remaining(now, built, units);
                    if reported.is_none_or(|at| now.duration_since(at) >= interval) {
                        reported = Some(now);
                        let crates = crates.to_owned();
                        terminal.progress(&BuildProgress { built, units, crates, remaining_s });
                    }
                }
                None => terminal.cargo(&part),
            }
        }
        if is_end {
            return;
        }
    }
}

/// Takes the complete lines from the bytes: each ends with a line feed, or with the carriage return of a bar.
fn parts(pending: &mut Vec<u8>, is_end: bool) -> Vec<String> {
    // A bar is padded with spaces, and a line after it begins with the code that clears it.
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_start_matches("\x1b[K").trim_end().to_owned();
    let (mut parts, mut start) = (Vec::new(), 0);
    while let Some(length) = pending[start..].iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        let end = start + length;
        let part = text(&pending[start..end]);
        if pending[end] == b'\n' || !part.is_empty() {
            parts.push(part);
        }
        start = end + 1;
    }
    pending.drain(..start);
    if is_end || pending.len() > PENDING_BYTES_MAX {
        parts.extend(Some(text(pending)).filter(|part| !part.is_empty()));
        pending.clear();
    }
    parts
}

/// Reads a bar, `Building [==>  ] 12/34: names`: the units that are built, all units, and the names.
fn bar(text: &str) -> Option<(u64, u64, &str)> {
    let (before, rest) = text.split_once("] ")?;
    let (verb, _) = before.split_once(" [")?;
    if !verb.contains("Building") {
        return None;
    }
    let (counts, crates) = rest.split_once(": ").unwrap_or((rest, ""));
    let (built, units) = counts.trim().split_once('/')?;
    Some((built.parse().ok()?, units.parse().ok()?, crates.trim()))
}

/// The time of the first report with the units that were built by then, which are mostly those of an earlier build.
#[derive(Default)]
struct Estimate(Option<(Instant, u64)>);

impl Estimate {
    /// Returns the seconds that the rest takes at the rate since the first report.
    fn remaining(&mut self, now: Instant, built: u64, units: u64) -> Option<u64> {
        let (began, before) = *self.0.get_or_insert((now, built));
        let (took, done) = (now.duration_since(began), built.saturating_sub(before));
        if took < ESTIMATE_AFTER || done < ESTIMATE_UNITS_MIN {
            return None;
        }
        Some(took.as_secs().saturating_mul(units.saturating_sub(built)) / done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_bars_are_taken_apart_wherever_the_output_is_cut() {
        // As cargo 1.94 writes it, with colours.
        let output = "\x1b[1m\x1b[92m   Compiling\x1b[0m itoa v1.0.19\n\
            \x1b[1m\x1b[96m    Building\x1b[0m [       ] 0/4: itoa          \r\x1b[K\x1b[1m\x1b[92m   Compiling\x1b[0m p\n\
            \x1b[1m\x1b[96m    Building\x1b[0m [==>    ] 2/4: a, p(bin)     \r\
            \x1b[1m\x1b[96m    Building\x1b[0m [======>] 3/4                \r\x1b[Kerror: no\n\n  --> a.rs\nend";
        let expected = [
            Err("\x1b[1m\x1b[92m   Compiling\x1b[0m itoa v1.0.19"),
            Ok((0, 4, "itoa")),
            Err("\x1b[1m\x1b[92m   Compiling\x1b[0m p"),
            Ok((2, 4, "a, p(bin)")),
            Ok((3, 4, "")),
            Err("error: no"),
            Err(""),
            Err("  --> a.rs"),
            Err("end"),
        ];
        for size in [1, 7, output.len()] {
            let (mut pending, mut found) = (Vec::new(), Vec::new());
            for chunk in output.as_bytes().chunks(size) {
                pending.extend_from_slice(chunk);
                found.extend(parts(&mut pending, false));
            }
            found.extend(parts(&mut pending, true));
            let found: Vec<_> = found.iter().map(|part| bar(part).ok_or(part.as_str())).collect();
            assert_eq!(found, expected, "{size}");
        }
    }

    #[test]
    fn only_a_bar_is_a_bar() {
        for line in ["warning: `x` [E0] 1/2: y", "    Building [=> ] x/2: y", "Building", "", "   Blocking [=> ] 1/2"] {
            assert_eq!(bar(line), None, "{line}");
        }
    }

    #[test]
    fn text_without_an_end_is_bounded() {
        let mut pending = vec![b'x'; PENDING_BYTES_MAX + 1];
        assert_eq!(parts(&mut pending, false), ["x".repeat(PENDING_BYTES_MAX + 1)]);
        assert!(pending.is_empty());
    }

    #[test]
    fn the_estimate_leaves_out_what_was_built_before() {
        let (start, mut estimate) = (Instant::now(), Estimate::default());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(estimate.remaining(start, 100, 200), None);
        assert_eq!(estimate.remaining(after(2), 120, 200), None, "too early");
        assert_eq!(estimate.remaining(after(10), 104, 200), None, "too few");
        assert_eq!(estimate.remaining(after(10), 150, 200), Some(10));
        assert_eq!(estimate.remaining(after(20), 200, 200), Some(0));
    }

    #[test]
    fn progress_is_one_line() {
        let mut progress = BuildProgress { built: 1, units: 2, crates: "a, b".to_owned(), remaining_s: Some(9) };
        assert_eq!(progress.to_string(), "building 1 of 2, about 9 s left: a, b");
        (progress.crates, progress.remaining_s) = (String::new(), None);
        assert_eq!(progress.to_string(), "building 1 of 2");
    }
}
