//! [`json_lines`]: JSON as written, on a line for each value, with the JSON pointer of each line.
//!
//! Numbers, escapes and the order of members stay as they are: the text is laid out anew, not written anew.

use serde::de::IgnoredAny;

/// One line of laid out JSON.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The depth of the value.
    pub depth: usize,
    pub text: String,
    /// The pointer (RFC 6901) of the value that begins on the line; `None` for the end of an object or array.
    pub pointer: Option<String>,
}

/// Returns the lines of a JSON text, or `None` if it is not JSON.
pub(super) fn json_lines(text: &str) -> Option<Vec<Line>> {
    // It also limits the depth, and with it the recursion below.
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut layout = Layout { rest: text, lines: Vec::new() };
    layout.value(0, String::new(), String::new());
    Some(layout.lines)
}

/// The text that is left, which is valid, and the lines so far.
struct Layout<'a> {
    rest: &'a str,
    lines: Vec<Line>,
}

impl<'a> Layout<'a> {
    fn value(&mut self, depth: usize, pointer: String, mut text: String) {
        let close = match self.peek() {
            Some('{') => '}',
            Some('[') => ']',
            _ => {
                text.push_str(self.scalar());
                return self.push(depth, text, Some(pointer));
            }
        };
        text.push_str(self.take(1));
        if self.peek() == Some(close) {
            text.push_str(self.take(1));
            return self.push(depth, text, Some(pointer));
        }
        self.push(depth, text, Some(pointer.clone()));
        let mut index = 0;
        loop {
            self.peek();
            let (name, text) = match close {
                '}' => {
                    let literal = self.scalar();
                    self.peek();
                    self.take(1);
                    let name = serde_json::from_str::<String>(literal).unwrap_or_default();
                    (name.replace('~', "~0").replace('/', "~1"), format!("{literal}: "))
                }
                _ => (index.to_string(), String::new()),
            };
            self.value(depth + 1, format!("{pointer}/{name}"), text);
            index += 1;
            if self.peek() != Some(',') {
                break;
            }
            self.take(1);
            if let Some(line) = self.lines.last_mut() {
                line.text.push(',');
            }
        }
        let end = self.take(1).to_owned();
        self.push(depth, end, None);
    }

    fn push(&mut self, depth: usize, text: String, pointer: Option<String>) {
        self.lines.push(Line { depth, text, pointer });
    }

    /// Skips white space. Returns the next character.
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.rest.chars().next()
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    /// Takes a string with its quotes, a number or a literal.
    fn scalar(&mut self) -> &'a str {
        if !self.rest.starts_with('"') {
            let end = self.rest.find([',', ']', '}', ' ', '\t', '\r', '\n']).unwrap_or(self.rest.len());
            return self.take(end);
        }
        let mut is_escaped = false;
        let end = self.rest.char_indices().skip(1).find(|(_, c)| {
            let is_end = *c == '"' && !is_escaped;
            is_escaped = *c == '\\' && !is_escaped;
            is_end
        });
        self.take(end.map_or(self.rest.len(), |(at, _)| at + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_laid_out_as_written() {
        let check = |text: &str, expected: &[&str]| {
            let lines = json_lines(text).expect("JSON");
            let found: Vec<_> = lines
                .iter()
                .map(|line| {
                    format!("{}{} {}", "  ".repeat(line.depth), line.text, line.pointer.as_deref().unwrap_or("-"))
                })
                .collect();
            assert_eq!(found, expected);
        };
        check(" 1.10 ", &["1.10 "]);
        check(r#""a\"b\\""#, &[r#""a\"b\\" "#]);
        check("[ ]", &["[] "]);
        check(
            r#"{"b/~":[1.0,{}, "x,]"],"a":{"é\u00e9":18446744073709551616}}"#,
            &[
                "{ ",
                r#"  "b/~": [ /b~1~0"#,
                "    1.0, /b~1~0/0",
                "    {}, /b~1~0/1",
                "    \"x,]\" /b~1~0/2",
                "  ], -",
                r#"  "a": { /a"#,
                r#"    "é\u00e9": 18446744073709551616 /a/éé"#,
                "  } -",
                "} -",
            ],
        );
        for text in ["", "{", "a", "{\"a\":1}x", &"[".repeat(100_000)] {
            assert_eq!(json_lines(text), None);
        }
    }
}
