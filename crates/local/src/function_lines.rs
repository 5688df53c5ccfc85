//! [`FunctionLines`]: the latest lines of the functions' logs, to find those of a message.
//!
//! A line of Sluicegate has the id of the request or of the message. A handler's own line has neither: it belongs to an
//! invocation, by the `requestId` that the Lambda runtime puts in front of each line, and so perhaps to another message
//! of the same batch.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use time::OffsetDateTime;

/// Largest number of bytes of the lines that are kept. An order has three lines, 800 bytes in all, so they are those of
/// as many orders as the journal keeps.
const LINES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest number of lines of one message: more than a page can be read with.
const LINES_MAX: usize = 200;

/// One line of a function's log.
#[derive(Debug, Clone)]
pub(crate) struct FunctionLine {
    pub at: OffsetDateTime,
    pub function: Arc<str>,
    pub text: Arc<str>,
}

/// The latest lines of all functions. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct FunctionLines(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    lines: VecDeque<FunctionLine>,
    bytes: usize,
}

impl FunctionLines {
    /// Keeps a line.
    pub(crate) fn push(&self, function: &Arc<str>, line: &str) {
        let mut kept = self.kept();
        kept.bytes += line.len();
        let (at, function) = (OffsetDateTime::now_utc(), Arc::clone(function));
        kept.lines.push_back(FunctionLine { at, function, text: line.into() });
        while kept.bytes > LINES_BYTES_MAX
            && let Some(oldest) = kept.lines.pop_front()
        {
            kept.bytes -= oldest.text.len();
        }
    }

    /// Returns the lines with one of these ids, and those of the same invocations that have no other message's id.
    pub(crate) fn of(&self, ids: &[&str]) -> Vec<FunctionLine> {
        let kept = self.kept();
        let has_id = |text: &str| ids.iter().any(|id| text.contains(id));
        let own: Vec<_> = kept.lines.iter().filter(|line| has_id(&line.text)).take(LINES_MAX).collect();
        let invocations: BTreeSet<_> = own.iter().filter_map(|line| invocation(&line.text)).collect();
        let is_own = |line: &&FunctionLine| {
            has_id(&line.text)
                || (invocation(&line.text).is_some_and(|id| invocations.contains(id)) && !has_message(&line.text))
        };
        kept.lines.iter().filter(is_own).take(LINES_MAX).cloned().collect()
    }

    /// Returns the latest lines of a function, oldest first.
    pub(crate) fn latest(&self, function: &str, count: usize) -> Vec<FunctionLine> {
        let kept = self.kept();
        let newest = kept.lines.iter().rev().filter(|line| *line.function == *function);
        let mut latest: Vec<_> = newest.take(count).cloned().collect();
        latest.reverse();
        latest
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the number after `name=` in a line of text, or after `"name":` in one of JSON.
pub(crate) fn number(line: &str, name: &str) -> Option<f64> {
    let rest = line.split_once(&format!("{name}=")).or_else(|| line.split_once(&format!("\"{name}\":")))?.1;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// Returns the id of a line's invocation.
fn invocation(line: &str) -> Option<&str> {
    let rest = line.split_once("requestId=\"").or_else(|| line.split_once("\"requestId\":\""))?.1;
    rest.split_once('"').map(|(id, _)| id)
}

/// Returns whether a line names a message.
fn has_message(line: &str) -> bool {
    line.contains("message_id=") || line.contains("\"message_id\":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_message_are_those_with_its_ids_and_of_its_invocations() {
        let lines = FunctionLines::default();
        let text = |line: &str| format!(" INFO Lambda runtime invoke{{requestId=\"{line}");
        for line in [
            text("1\"}: accepted request_id=\"r-1\" message_id=\"m-1\" enqueue_ms=2.5"),
            text("2\"}: reserve the stock"),
            text("2\"}: delivery message_id=\"m-1\" handler_ms=3.25"),
            text("2\"}: delivery message_id=\"m-2\" handler_ms=1"),
            text("3\"}: of another invocation"),
            r#"{"message":"delivery","message_id":"m-1","handler_ms":7.5,"requestId":"4"}"#.to_owned(),
            r#"{"message":"in JSON","requestId":"4"}"#.to_owned(),
            "without an id".to_owned(),
        ] {
            lines.push(&"f".into(), &line);
        }
        let found = lines.of(&["m-1", "r-1"]);
        let ends: Vec<_> = found.iter().map(|line| line.text.split("}: ").last().unwrap_or_default()).collect();
        assert_eq!(ends.len(), 5, "{ends:?}");
        assert_eq!(ends[1], "reserve the stock");
        assert!(ends[4].contains("in JSON"), "{ends:?}");
        assert_eq!(number(ends[0], "enqueue_ms"), Some(2.5));
        assert_eq!(number(ends[3], "handler_ms"), Some(7.5));
        assert_eq!(number(ends[1], "handler_ms"), None);
        let latest: Vec<_> = lines.latest("f", 2).into_iter().map(|line| line.text).collect();
        assert!(latest[0].contains("in JSON") && &*latest[1] == "without an id" && latest.len() == 2, "{latest:?}");
        assert!(lines.latest("g", 2).is_empty());
    }

    #[test]
    fn the_oldest_lines_are_dropped() {
        let lines = FunctionLines::default();
        let line = "x".repeat(1024);
        for number in 0..=LINES_BYTES_MAX / 1024 {
            lines.push(&"f".into(), &format!("{number:04}{}", &line[4..]));
        }
        assert!(lines.of(&["0000x"]).is_empty());
        assert_eq!(lines.of(&["0001x"]).len(), 1);
    }
}
