//! The parser of a documentation page: blocks, commands, headings, links.

use std::collections::BTreeSet;
use std::fs;

use crate::support::root;

/// The pages outside docs.
const ROOT_PAGES: &[&str] = &["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"];

/// A page of docs, or one of [`ROOT_PAGES`].
pub(super) struct Page {
    /// The path from the project's root.
    pub(super) path: String,
    pub(super) text: String,
}

/// A fenced block.
pub(super) struct Block {
    /// The info string of the fence, such as `sh rabbitmq`.
    pub(super) info: String,
    /// The line of its fence.
    pub(super) line: usize,
    pub(super) text: String,
}

/// A command of a block and its output according to the comments below it.
#[derive(Debug, PartialEq)]
pub(super) struct Command {
    pub(super) text: String,
    pub(super) expected: Option<String>,
    pub(super) line: usize,
}

impl Page {
    /// Returns every page, README.md first.
    pub(super) fn all() -> Vec<Self> {
        let mut paths: Vec<String> = fs::read_dir(root().join("docs"))
            .expect("a folder")
            .map(|entry| format!("docs/{}", entry.expect("an entry").file_name().to_string_lossy()))
            .filter(|path| path.ends_with(".md"))
            .collect();
        paths.sort();
        ROOT_PAGES.iter().map(|path| (*path).to_owned()).chain(paths).map(|path| Self::read(&path)).collect()
    }

    /// Reads the page at this path from the project's root.
    pub(super) fn read(path: &str) -> Self {
        let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { path: path.to_owned(), text }
    }

    pub(super) fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut open = false;
        for (number, line) in (1..).zip(self.text.lines()) {
            match (line.strip_prefix("```"), open) {
                (Some(info), false) => {
                    blocks.push(Block { info: info.trim().to_owned(), line: number, text: String::new() });
                    open = true;
                }
                (Some(_), true) => open = false,
                (None, true) => {
                    let text = &mut blocks.last_mut().expect("one is open").text;
                    text.push_str(line);
                    text.push('\n');
                }
                (None, false) => {}
            }
        }
        assert!(!open, "{}: a block is not closed", self.path);
        blocks
    }

    /// Returns the text without fenced blocks and code spans.
    fn prose(&self) -> String {
        let mut prose = String::new();
        let mut open = false;
        for line in self.text.lines() {
            if line.starts_with("```") {
                open = !open;
            } else if !open && !line.starts_with("    ") {
                let outside = line.split('`').step_by(2);
                prose.extend(outside.flat_map(|part| [part, " "]));
                prose.push('\n');
            }
        }
        prose
    }

    /// Returns the targets of the links, unresolved.
    pub(super) fn links(&self) -> Vec<String> {
        let prose = self.prose();
        let targets = prose.split("](").skip(1);
        targets.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
    }

    /// Returns the anchors of the headings: lower case, `-` for spaces, no punctuation.
    pub(super) fn anchors(&self) -> BTreeSet<String> {
        let mut open = false;
        let headings = self.text.lines().filter(|line| {
            open ^= line.starts_with("```");
            !open && line.starts_with('#')
        });
        let anchor = |heading: &str| {
            let kept = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        };
        headings.map(anchor).collect()
    }
}

impl Block {
    /// Returns the commands of a shell block. A command continues after a backslash, within quotes and on indented
    /// lines.
    pub(super) fn commands(&self) -> Vec<Command> {
        let mut commands: Vec<Command> = Vec::new();
        let mut goes_on = false;
        for (number, line) in (self.line + 1..).zip(self.text.lines()) {
            match (commands.last_mut(), line.strip_prefix("# ")) {
                (Some(above), _) if goes_on || line.starts_with(' ') => {
                    above.text.push('\n');
                    above.text.push_str(line);
                }
                (Some(above), Some(said)) => {
                    let expected = above.expected.get_or_insert_default();
                    expected.push_str(said);
                    expected.push('\n');
                }
                _ => commands.push(Command { text: line.to_owned(), expected: None, line: number }),
            }
            let text = &commands.last().expect("one is there").text;
            goes_on = text.ends_with('\\') || text.matches('\'').count() % 2 == 1;
        }
        commands
    }
}

#[test]
fn commands_are_separated_from_each_other_and_from_their_output() {
    let check = |text: &str, expected: &[(&str, Option<&str>)]| {
        let block = Block { info: "sh".to_owned(), line: 0, text: text.to_owned() };
        let commands = block.commands();
        let found: Vec<_> = commands.iter().map(|each| (each.text.as_str(), each.expected.as_deref())).collect();
        assert_eq!(found, expected);
    };
    check("one\ntwo\n", &[("one", None), ("two", None)]);
    check(
        "one \\\n  more\n# 202 id\n# and this\ntwo\n",
        &[("one \\\n  more", Some("202 id\nand this\n")), ("two", None)],
    );
    check("one '{\n# no answer\n}'\n# 1\n", &[("one '{\n# no answer\n}'", Some("1\n"))]);
}
