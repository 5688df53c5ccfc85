//! A terminal with lines that scroll and a status line that stays below them.
//!
//! A thread draws. Lines are written at once, except those within [`REDRAW_INTERVAL`] of the last drawing, which are
//! written together after it. The cursor stays visible and the terminal in its usual mode, so a process that is killed
//! leaves nothing behind but the text.

use std::{
    io::Write,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use sluicegate_local::StatusLine;

/// Pause between two drawings: at most five in a second.
const REDRAW_INTERVAL: Duration = Duration::from_millis(200);
/// Largest text that waits to be drawn. Above it, a line waits for the terminal, as without this screen.
const PENDING_BYTES_MAX: usize = 1024 * 1024;
/// The width that is assumed if the terminal does not say its own.
pub(super) const COLUMNS_DEFAULT: usize = 80;

/// The name of the thread that draws.
const THREAD: &str = "screen";

/// The screen. It is cleared of the status line when this is dropped.
pub(super) struct Screen {
    shared: Arc<Shared>,
    drawing: Option<JoinHandle<()>>,
}

struct Shared {
    pending: Mutex<Pending>,
    changed: Condvar,
    drawn: Condvar,
    canvas: Mutex<Canvas>,
    columns: fn() -> usize,
}

/// What is not drawn yet.
#[derive(Default)]
struct Pending {
    lines: String,
    /// The status line to show from now on.
    status: Option<StatusLine>,
    /// The width that it was last drawn for.
    columns: usize,
    is_changed: bool,
    is_ended: bool,
}

struct Canvas {
    out: Box<dyn Write + Send>,
    /// Whether a status line is on the terminal.
    has_status: bool,
}

impl Screen {
    /// Starts a screen on `out`, with `columns` as it is at each drawing.
    pub(super) fn new(out: impl Write + Send + 'static, columns: fn() -> usize) -> std::io::Result<Self> {
        let canvas = Mutex::new(Canvas { out: Box::new(out), has_status: false });
        let shared =
            Shared { pending: Mutex::default(), changed: Condvar::new(), drawn: Condvar::new(), canvas, columns };
        let shared = Arc::new(shared);
        let drawing = std::thread::Builder::new().name(THREAD.to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.draw_until_ended()
        })?;
        Ok(Self { shared, drawing: Some(drawing) })
    }

    /// Returns a function that writes a line.
    pub(super) fn lines(&self) -> impl Fn(&str) + Send + Sync + use<> {
        let shared = Arc::clone(&self.shared);
        move |line| shared.line(line)
    }

    /// Returns a function that replaces the status line.
    pub(super) fn status(&self) -> impl Fn(StatusLine) + Send + Sync + use<> {
        let shared = Arc::clone(&self.shared);
        move |status| shared.status(status)
    }

    /// Clears the status line before the message of a panic, which is printed beside this screen.
    pub(super) fn clear_before_panics(&self) {
        let shared = Arc::downgrade(&self.shared);
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if let Some(shared) = shared.upgrade() {
                shared.clear();
            }
            print(panic);
        }));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.shared.pending().is_ended = true;
        self.shared.changed.notify_all();
        if let Some(drawing) = self.drawing.take() {
            let _ = drawing.join();
        }
    }
}

impl Shared {
    fn line(&self, line: &str) {
        let mut pending = self.pending();
        while pending.lines.len() > PENDING_BYTES_MAX && !pending.is_ended {
            pending = self.drawn.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
        let is_first = pending.lines.is_empty();
        pending.lines.push_str(line);
        pending.lines.push('\n');
        let is_late = pending.is_ended;
        drop(pending);
        if is_late {
            self.clear();
        } else if is_first {
            self.changed.notify_all();
        }
    }

    fn status(&self, status: StatusLine) {
        let mut pending = self.pending();
        let is_new = pending.status.as_ref() != Some(&status) || pending.columns != (self.columns)();
        if is_new && !pending.is_ended {
            (pending.status, pending.is_changed) = (Some(status), true);
            self.changed.notify_all();
        }
    }

    fn draw_until_ended(&self) {
        loop {
            let is_idle = |pending: &mut Pending| !pending.is_changed && pending.lines.is_empty() && !pending.is_ended;
            let mut pending = self.changed.wait_while(self.pending(), is_idle).unwrap_or_else(PoisonError::into_inner);
            let (lines, is_ended) = (std::mem::take(&mut pending.lines), pending.is_ended);
            (pending.is_changed, pending.columns) = (false, (self.columns)());
            // The last column stays free: a character there makes some terminals begin a new row.
            let columns = pending.columns.saturating_sub(1);
            let status = pending.status.as_ref().filter(|_| !is_ended).map(|status| status.fit(columns));
            // Locked before the lines are released, so that lines are drawn in their order.
            let mut canvas = self.canvas.lock().unwrap_or_else(PoisonError::into_inner);
            drop(pending);
            self.drawn.notify_all();
            canvas.draw(&lines, &status.unwrap_or_default());
            drop(canvas);
            if is_ended {
                return;
            }
            let until = Instant::now() + REDRAW_INTERVAL;
            let mut pending = self.pending();
            while let Some(rest) = until.checked_duration_since(Instant::now()).filter(|_| !pending.is_ended) {
                pending = self.changed.wait_timeout(pending, rest).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Writes the pending lines, without a status line until the next drawing.
    fn clear(&self) {
        // The thread that draws has the locks when it panics.
        if std::thread::current().name() == Some(THREAD) {
            return;
        }
        let mut pending = self.pending();
        pending.is_changed = true;
        let mut canvas = self.canvas.lock().unwrap_or_else(PoisonError::into_inner);
        canvas.draw(&std::mem::take(&mut pending.lines), "");
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Canvas {
    /// Replaces the status line by the lines and the new status line, in one write. The cursor waits on its first
    /// character: a terminal that breaks lines anew after a narrowing moves the cursor with that character, so clearing
    /// from there to the end of the screen clears every row of the status line, and no log line on any terminal.
    fn draw(&mut self, lines: &str, status: &str) {
        let clear = if self.has_status { "\r\x1b[J" } else { "" };
        self.has_status = !status.is_empty();
        let back = if self.has_status { "\r" } else { "" };
        // A closed terminal is not an error.
        let _ = self.out.write_all(format!("{clear}{lines}{status}{back}").as_bytes()).and_then(|()| self.out.flush());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        num::NonZero,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    /// The bytes that a screen wrote, each drawing apart.
    #[derive(Clone, Default)]
    struct Drawings(Arc<(Mutex<Vec<String>>, Condvar)>);

    impl Write for Drawings {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.0.lock().unwrap().push(String::from_utf8(bytes.to_vec()).unwrap());
            self.0.1.notify_all();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Drawings {
        /// Waits until a drawing has the text; returns all drawings so far.
        fn until(&self, text: &str) -> Vec<String> {
            let lacks = |drawings: &mut Vec<String>| !drawings.iter().any(|drawing| drawing.contains(text));
            self.0.1.wait_while(self.0.0.lock().unwrap(), lacks).unwrap().clone()
        }

        /// Returns what a terminal of this width shows of the drawings, without trailing spaces.
        fn on(&self, columns: u16) -> String {
            let (rows, columns) = (NonZero::new(20).unwrap(), NonZero::new(columns).unwrap());
            let mut terminal = vt100::Parser::new(rows, columns, 0);
            // The kernel's line discipline adds the carriage returns.
            self.0.0.lock().unwrap().iter().for_each(|text| terminal.process(text.replace('\n', "\r\n").as_bytes()));
            terminal.screen().rows(0, columns.get()).collect::<Vec<_>>().join("\n").trim_end().to_owned()
        }
    }

    fn status(text: &str) -> StatusLine {
        StatusLine::plain(text)
    }

    #[test]
    fn lines_scroll_above_the_status_line_which_goes_with_the_screen() {
        let drawings = Drawings::default();
        let screen = Screen::new(drawings.clone(), || 20).unwrap();
        let (line, show) = (screen.lines(), screen.status());
        show(status("3 requests/s and more than fits"));
        drawings.until("3 requests/s");
        line("one");
        drawings.until("one");
        assert_eq!(drawings.on(20), "one\n3 requests/s and mo");
        show(status("4"));
        line("two");
        line("three");
        drawings.until("three");
        drop(screen);
        assert_eq!(drawings.on(20), "one\ntwo\nthree");
        line("late");
        assert_eq!(drawings.on(20), "one\ntwo\nthree\nlate");
    }

    #[test]
    fn many_lines_are_drawn_at_once_in_their_order() {
        let drawings = Drawings::default();
        let began = Instant::now();
        let screen = Screen::new(drawings.clone(), || 80).unwrap();
        let (line, show) = (screen.lines(), screen.status());
        for number in 0..10_000 {
            line(&format!("line {number}"));
            show(status(&number.to_string()));
        }
        let took = began.elapsed();
        drop(screen);
        let written = drawings.0.0.lock().unwrap().clone();
        let at_most = 3 + took.as_millis() / REDRAW_INTERVAL.as_millis();
        assert!(written.len() as u128 <= at_most, "{} drawings in {took:?}", written.len());
        let lines: Vec<_> = written.iter().flat_map(|drawing| drawing.lines()).collect();
        let lines = lines.iter().filter_map(|line| Some(&line[line.find("line ")?..]));
        assert!(lines.eq((0..10_000).map(|number| format!("line {number}")).collect::<Vec<_>>().iter()));
    }

    #[test]
    fn a_new_width_draws_the_same_status_again() {
        static COLUMNS: AtomicUsize = AtomicUsize::new(20);
        let drawings = Drawings::default();
        let screen = Screen::new(drawings.clone(), || COLUMNS.load(Ordering::Relaxed)).unwrap();
        let show = screen.status();
        show(status("3 requests/s and more"));
        drawings.until("3 requests/s and mo");
        COLUMNS.store(11, Ordering::Relaxed);
        show(status("3 requests/s and more"));
        drawings.until("\r\x1b[J3 requests");
        drop(screen);
        assert_eq!(drawings.on(20), "");
    }

    #[test]
    fn a_terminal_that_breaks_lines_anew_keeps_no_part_of_the_status_line() {
        let drawings = Drawings::default();
        let screen = Screen::new(drawings.clone(), || 20).unwrap();
        let (line, show) = (screen.lines(), screen.status());
        line("one");
        show(status("3 requests/s and more"));
        drawings.until("3 requests/s and mo\r");
        line("two");
        show(status("4"));
        drawings.until("two");
        drop(screen);
        let mut terminal = vt100::Parser::new(NonZero::new(9).unwrap(), NonZero::new(10).unwrap(), 0);
        for drawing in drawings.0.0.lock().unwrap().iter() {
            terminal.process(drawing.replace('\n', "\r\n").as_bytes());
            // The cursor stays on the first character, whose row is that of the line's begin.
            if drawing.ends_with("mo\r") {
                assert_eq!(terminal.screen().cursor_position(), (2, 0), "the status line has two rows");
                terminal.process(b"\x1b[A");
            }
        }
        assert_eq!(terminal.screen().contents().trim_end(), "one\ntwo");
    }

    #[test]
    fn a_panic_prints_its_message_on_a_line_of_its_own() {
        let drawings = Drawings::default();
        let screen = Screen::new(drawings.clone(), || 20).unwrap();
        screen.status()(status("status"));
        drawings.until("status");
        let printed = {
            let drawings = drawings.clone();
            std::panic::set_hook(Box::new(move |_| drawings.clone().write_all(b"panicked\n").unwrap()));
            screen.clear_before_panics();
            let ended = std::thread::spawn(|| panic!("planned")).join();
            drop(std::panic::take_hook());
            ended.is_err()
        };
        assert!(printed);
        assert_eq!(drawings.on(20).lines().next(), Some("panicked"));
        drop(screen);
        assert_eq!(drawings.on(20), "panicked");
    }
}
