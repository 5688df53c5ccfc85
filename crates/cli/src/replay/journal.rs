//! [`Journal`]: a file with what a replay has sent, so that another run goes on where it stopped.
//!
//! The first line is JSON: the command, and what the first run chose. Each other line is an event, written after the
//! queue has stored it. A line without an end is that of a run that was killed, and is ignored.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use serde_json::{Value, json};
use sluicegate_envelope::Envelope;

use crate::CommandError;

/// What was sent; without a file, in this run.
#[derive(Default)]
pub(super) struct Journal {
    file: Option<File>,
    sent: HashSet<String>,
}

impl Journal {
    /// Opens the journal of a command, or starts it. Returns it with what its first run chose, which is `run` if this
    /// is the first.
    ///
    /// # Errors
    /// The file cannot be read or written, or is the journal of another command.
    pub(super) fn open(path: &Path, command: &Value, run: &Value) -> Result<(Self, Value), CommandError> {
        let shown = path.display();
        let failed = |error: std::io::Error| CommandError::from(format!("{shown}: {error}"));
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = options.map_err(failed)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut lines = text.get(..whole).unwrap_or_default().lines();
        let first = lines.next();
        let head = match first {
            None if text.is_empty() || text.starts_with("{\"command\"") => {
                let head = json!({ "command": command, "run": run });
                file.set_len(0).map_err(failed)?;
                file.seek(SeekFrom::Start(0)).map_err(failed)?;
                file.write_all(format!("{head}\n").as_bytes()).map_err(failed)?;
                head
            }
            _ => {
                file.set_len(whole as u64).map_err(failed)?;
                file.seek(SeekFrom::End(0)).map_err(failed)?;
                serde_json::from_str(first.unwrap_or_default()).unwrap_or_default()
            }
        };
        if head["command"] != *command {
            let reason = "is not the journal of this command: name another file, or repeat the command as it was";
            return Err(format!("{shown} {reason}").into());
        }
        Ok((Self { file: Some(file), sent: lines.map(str::to_owned).collect() }, head["run"].clone()))
    }

    /// Returns whether an event was sent.
    pub(super) fn has(&self, event: &Envelope) -> bool {
        self.sent.contains(&name(event))
    }

    /// Records events as sent.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn record<'e>(&mut self, events: impl Iterator<Item = &'e Envelope>) -> std::io::Result<()> {
        let mut lines = String::new();
        for event in events {
            let name = name(event);
            lines.extend([&*name, "\n"]);
            self.sent.insert(name);
        }
        match &mut self.file {
            Some(file) => file.write_all(lines.as_bytes()),
            None => Ok(()),
        }
    }
}

/// Returns `id` and `source`, which together name an event. No attribute has a tab.
fn name(event: &Envelope) -> String {
    format!("{}\t{}", event.id(), event.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str) -> Envelope {
        Envelope::builder(id, "/a", "t").build().unwrap()
    }

    #[test]
    fn a_journal_has_what_earlier_runs_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (command, first, second) = (json!({ "queue": "q" }), json!({ "replay": "1" }), json!({ "replay": "2" }));
        let (mut journal, run) = Journal::open(&path, &command, &first).unwrap();
        assert_eq!((journal.has(&event("e-1")), run), (false, first.clone()));
        journal.record([event("e-1"), event("e-2")].iter()).unwrap();
        // A run was killed while it wrote.
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "e-3").unwrap();
        let (mut journal, run) = Journal::open(&path, &command, &second).unwrap();
        let has = ["e-1", "e-2", "e-3"].map(|id| journal.has(&event(id)));
        assert_eq!((has, run), ([true, true, false], first));
        journal.record([event("e-3")].iter()).unwrap();
        let (journal, _) = Journal::open(&path, &command, &second).unwrap();
        assert!(journal.has(&event("e-3")));
        let other = Journal::open(&path, &json!({ "queue": "p" }), &second).err().unwrap().to_string();
        assert!(other.contains("is not the journal of this command"), "{other}");
    }

    #[test]
    fn another_file_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for text in ["a text", "a text\nof two lines\n", "{}\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(Journal::open(&path, &json!({ "queue": "q" }), &json!({})).is_err(), "{text}");
        }
        // The first line of a run that was killed while it wrote it.
        std::fs::write(&path, "{\"command\":{").unwrap();
        assert!(Journal::open(&path, &json!({ "queue": "q" }), &json!({})).is_ok());
    }
}
