//! A program on a pseudo-terminal, and what its user sees.

use std::fs::File;
use std::io::Read;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::support::processes;

/// The height. The banner at the start fits.
const ROWS: u16 = 60;
/// The interval at which a condition is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What a terminal shows.
#[derive(Debug)]
pub(super) struct Shown {
    rows: Vec<String>,
    /// Whether the cursor is visible and the screen the usual one, not the alternate screen of a full-screen program.
    pub(super) is_plain: bool,
}

impl Shown {
    /// Returns whether a row has the text.
    pub(super) fn contains(&self, text: &str) -> bool {
        self.rows.iter().any(|row| row.contains(text))
    }

    /// Returns the last row with text.
    pub(super) fn last(&self) -> &str {
        self.rows.iter().rfind(|row| !row.is_empty()).map_or("", |row| row)
    }
}

/// The program, which ends with this.
pub(super) struct PseudoTerminal {
    child: Child,
    user: OwnedFd,
    screen: Arc<Mutex<(vt100::Parser, String)>>,
}

impl PseudoTerminal {
    /// Runs the command on a terminal of this width.
    pub(super) fn run(mut command: Command, columns: u16) -> Self {
        let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pseudo-terminal");
        grantpt(&user).and_then(|()| unlockpt(&user)).expect("its other end");
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let program = ioctl_tiocgptpeer(&user, flags).expect("its other end");
        tcsetwinsize(&user, size(columns)).expect("a size");
        let end = || program.try_clone().expect("a copy");
        let child = command.stdin(end()).stdout(end()).stderr(end()).process_group(0).spawn().expect("it starts");
        // The command has copies of the program's end, without which reading fails at the program's end.
        drop(command);
        let parser = vt100::Parser::new(nonzero(ROWS), nonzero(columns), 0);
        let screen = Arc::new(Mutex::new((parser, String::new())));
        let mut output = File::from(user.try_clone().expect("a copy"));
        let shared = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                let (parser, raw) = &mut *shared.lock().expect("no panic");
                parser.process(&bytes[..length]);
                raw.push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        });
        Self { child, user, screen }
    }

    /// Changes the width, as a user who drags the window does.
    pub(super) fn resize(&self, columns: u16) {
        self.screen.lock().expect("no panic").0.screen_mut().set_size(nonzero(ROWS), nonzero(columns));
        tcsetwinsize(&self.user, size(columns)).expect("a size");
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the rest of the word that begins with `start`.
    pub(super) fn word(&self, start: &str) -> String {
        let screen = self.screen.lock().expect("no panic");
        let (_, rest) = screen.1.split_once(start).unwrap_or_else(|| panic!("no {start}"));
        rest.split_whitespace().next().unwrap_or_default().to_owned()
    }

    /// Waits until the terminal shows a fact.
    pub(super) async fn until(&self, fact: &str, time_max: Duration, is_shown: impl Fn(&Shown) -> bool) -> Shown {
        let started = Instant::now();
        loop {
            let shown = self.shown();
            if is_shown(&shown) {
                return shown;
            }
            assert!(started.elapsed() < time_max, "not within {time_max:?}: {fact}\n{shown:#?}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits for the end; returns the exit code and what is left on the terminal.
    pub(super) async fn ended(&mut self, time_max: Duration) -> (Option<i32>, Shown) {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("its status") {
                // Its last bytes may still be read.
                let shown = self.until("Stopping", time_max, |shown| shown.contains("Stopping")).await;
                return (status.code(), shown);
            }
            assert!(started.elapsed() < time_max, "it does not end within {time_max:?}: {:#?}", self.shown());
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn shown(&self) -> Shown {
        let screen = self.screen.lock().expect("no panic");
        let screen = screen.0.screen();
        let rows = screen.rows(0, screen.size().1.get()).map(|row| row.trim_end().to_owned());
        Shown { rows: rows.collect(), is_plain: !screen.hide_cursor() && !screen.alternate_screen() }
    }
}

impl Drop for PseudoTerminal {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            processes::signal(self.child.id(), "TERM");
            let _ = self.child.wait();
        }
    }
}

fn size(columns: u16) -> Winsize {
    Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn nonzero(number: u16) -> NonZero<u16> {
    NonZero::new(number).expect("more than 0")
}
