//! Edits of the repository's files: exact replacements that fail if the text is not there.

use crate::CommandError;

/// The text of a repository's file, to be edited for a new project.
pub(super) struct Text {
    /// The path of the file, for errors.
    path: &'static str,
    text: String,
}

impl Text {
    pub(super) fn of(path: &'static str, text: &str) -> Self {
        Self { path, text: text.to_owned() }
    }

    /// Replaces each occurrence.
    pub(super) fn replace(mut self, from: &str, to: &str) -> Result<Self, CommandError> {
        if !self.text.contains(from) {
            return Err(self.lacks(from));
        }
        self.text = self.text.replace(from, to);
        Ok(self)
    }

    /// Removes the text from `start` to the next `end`, which stays.
    pub(super) fn cut(mut self, start: &str, end: &str) -> Result<Self, CommandError> {
        let first = self.text.find(start).ok_or_else(|| self.lacks(start))?;
        let length = self.text[first..].find(end).ok_or_else(|| self.lacks(end))?;
        self.text.replace_range(first..first + length, "");
        Ok(self)
    }

    /// Returns the text between `start` and the next `end`.
    pub(super) fn between(&self, start: &str, end: &str) -> Result<&str, CommandError> {
        let rest = self.text.split_once(start).ok_or_else(|| self.lacks(start))?.1;
        rest.split_once(end).map(|(between, _)| between).ok_or_else(|| self.lacks(end))
    }

    /// Keeps the text from `start` on.
    pub(super) fn starting_at(mut self, start: &str) -> Result<Self, CommandError> {
        let first = self.text.find(start).ok_or_else(|| self.lacks(start))?;
        self.text.replace_range(..first, "");
        Ok(self)
    }

    /// Returns the first line that starts with `start`, without the space before it.
    pub(super) fn line(&self, start: &str) -> Result<&str, CommandError> {
        self.text.lines().map(str::trim_start).find(|line| line.starts_with(start)).ok_or_else(|| self.lacks(start))
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn lacks(&self, missing: &str) -> CommandError {
        format!("{} of this version of Sluicegate does not have {missing:?}: please report it", self.path).into()
    }
}

#[cfg(test)]
mod tests {
    use super::{CommandError, Text};

    #[test]
    fn an_edit_changes_the_text_or_fails() {
        let text = || Text::of("a.txt", "one two\n  three two\n");
        let done = |edited: Result<Text, CommandError>| edited.map(Text::into_text);
        for (edited, expected) in [
            (done(text().replace("two", "2")), Ok("one 2\n  three 2\n")),
            (done(text().cut("one", "  three")), Ok("  three two\n")),
            (done(text().starting_at("three")), Ok("three two\n")),
            (text().between("one ", " ").map(str::to_owned), Ok("two\n")),
            (text().between("one", "four").map(str::to_owned), Err("\"four\"")),
            (text().line("three").map(str::to_owned), Ok("three two")),
            (done(text().replace("four", "")), Err("\"four\"")),
            (done(text().cut("four", "two")), Err("\"four\"")),
            (done(text().cut("three", "one")), Err("\"one\"")),
            (done(text().starting_at("four")), Err("\"four\"")),
            (text().line("two").map(str::to_owned), Err("\"two\"")),
        ] {
            match (edited, expected) {
                (Ok(edited), Ok(expected)) => assert_eq!(edited, expected),
                (Err(reason), Err(part)) => {
                    let reason = reason.to_string();
                    assert!(reason.contains(part) && reason.contains("a.txt"), "{reason}");
                }
                (edited, expected) => panic!("{edited:?}, not {expected:?}"),
            }
        }
    }
}
