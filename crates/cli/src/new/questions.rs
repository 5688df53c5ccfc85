//! Questions at a terminal, about settings that the flags leave open.

use std::io::{BufRead, Write};

use crate::CommandError;

/// The input and output of a terminal.
pub(super) struct Questions<R, W> {
    input: R,
    output: W,
}

impl<R: BufRead, W: Write> Questions<R, W> {
    pub(super) fn new(input: R, output: W) -> Self {
        Self { input, output }
    }

    /// Asks until an answer can be parsed. An empty answer is parsed too; `default` is shown as its meaning.
    ///
    /// # Errors
    /// The terminal is closed.
    pub(super) fn ask<T>(
        &mut self,
        question: &str,
        default: Option<&str>,
        parse: impl Fn(&str) -> Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        let closed = |error| format!("the terminal does not answer: {error}; nothing was written");
        let shown = default.map(|default| format!(" [{default}]")).unwrap_or_default();
        loop {
            write!(self.output, "{question}{shown}: ").and_then(|()| self.output.flush()).map_err(closed)?;
            let mut line = String::new();
            if self.input.read_line(&mut line).map_err(closed)? == 0 {
                return Err("the input ended before the last question; nothing was written".into());
            }
            match parse(line.trim()) {
                Ok(answer) => return Ok(answer),
                Err(reason) => writeln!(self.output, "  {reason}").map_err(closed)?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Questions;

    #[test]
    fn a_question_is_asked_until_its_answer_fits() {
        let number =
            |text: &str| if text.is_empty() { Ok(7) } else { text.parse::<u8>().map_err(|it| it.to_string().into()) };
        for (typed, expected, asked) in
            [("3\n", Ok(3), 1), ("\n", Ok(7), 1), ("x\n 300 \n 12\r\n", Ok(12), 3), ("", Err("input ended"), 1)]
        {
            let mut printed = Vec::new();
            let found = Questions::new(typed.as_bytes(), &mut printed).ask("How many", Some("7"), number);
            let printed = String::from_utf8(printed).expect("UTF-8");
            assert_eq!(printed.matches("How many [7]: ").count(), asked, "{typed:?}: {printed}");
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{typed:?}"),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{typed:?}: {error}"),
                (found, expected) => panic!("{typed:?}: {found:?}, not {expected:?}"),
            }
        }
    }
}
