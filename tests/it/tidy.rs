//! The rules of CONTRIBUTING.md that a program can check: module docs, the width of comments, words, names of files.

use std::path::Path;

use crate::support::files;

/// Columns of a line that is a comment, indentation included.
const COMMENT_COLUMNS_MAX: usize = 120;

/// Words that name persons or obscure a fact, each with the words to write instead.
const BANNED: &[(&str, &str)] = &[
    ("told", "say what happens: reported, printed, passed in"),
    ("tells", "say what happens: reports, prints, says"),
    ("whoever", "name the caller, user or program"),
    ("somebody", "name the caller, user or program"),
    ("nobody", "say what does not happen"),
    ("anybody", "name the caller, user or program"),
    ("is no", "is not"),
];

/// Files whose words are checked, by the end of their names. Scripts without an extension are recognized by their first
/// line.
const PROSE: &[&str] = &[".rs", ".md", ".yaml", ".yml", ".toml", ".py", ".sh", ".mjs", ".js"];

/// Files that break a rule on purpose: where their path starts, a part of the message, the reason.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("tests/it/tidy.rs", "says", "holds the words and the planted faults"),
    ("CONTRIBUTING.md", "says", "lists the words"),
    ("CHANGELOG.md", "\"nobody\"", "names the old id of a check"),
    ("Cargo.lock", "", "written by cargo"),
];

#[test]
fn every_file_is_tidy() {
    let faults: Vec<_> = files::all()
        .iter()
        .flat_map(|(path, text)| faults(path, text))
        .filter(|fault| !ALLOWED.iter().any(|(path, part, _)| fault.starts_with(path) && fault.contains(part)))
        .collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn a_planted_fault_of_each_kind_is_found() {
    let check = |path: &str, text: &str, expected: &[&str]| {
        let found = faults(path, text);
        let as_expected = found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| f.contains(e));
        assert!(as_expected, "{path}: {found:?} is not {expected:?}");
    };
    let wide = format!("//! A module.\n{:116}// {}\n", "", "x".repeat(20));
    check("crates/a/src/lib.rs", "//! A module.\n", &[]);
    check("crates/a/src/lib.rs", "mod a;\n", &["does not open with //!"]);
    check("crates/a/src/lib.rs", "", &["does not open with //!"]);
    check("crates/a/src/b/mod.rs", "//! A module.\n", &["b/mod.rs: is called mod.rs"]);
    check("crates/a/src/lib.rs", &wide.replace("xxx", "://"), &[]);
    check("crates/a/src/lib.rs", &wide, &["lib.rs:2: the comment has 139 columns"]);
    check("crates/a/src/lib.rs", "//! Every error is told at once.\n", &["lib.rs:1: says \"told\""]);
    check("docs/a.md", "Nobody reads\nwhat Tells whoever.\n", &["a.md:1: says", "a.md:2: says", "a.md:2: says"]);
    check("a.yaml", "# It is no queue. He is noble.\n", &["a.yaml:1: says \"is no\": write \"is not\""]);
    check("docs/a.md", "A foretold story, retells, Nobodys, NoBody. There is no queue.\n", &[]);
    check("tests/run", "#!/usr/bin/env bash\n# somebody\n", &["run:2: says"]);
    check("docs/path.svg", "<text>told</text>", &[]);
}

/// Returns what is wrong with one file, each as `path:line: what`.
pub(crate) fn faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let name = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.ends_with(".rs") {
        if !text.starts_with("//! ") {
            faults.push(format!("{path}: does not open with //! and what the module is"));
        }
        if name == "mod.rs" {
            faults.push(format!("{path}: is called mod.rs; name the file after its module, beside the folder"));
        }
    }
    let is_prose = PROSE.iter().any(|end| name.ends_with(end)) || text.starts_with("#!");
    for (index, line) in text.lines().enumerate().filter(|_| is_prose) {
        let columns = line.chars().count();
        let is_comment = name.ends_with(".rs") && line.trim_start().starts_with("//");
        // A link cannot be broken.
        if is_comment && columns > COMMENT_COLUMNS_MAX && !line.contains("://") {
            faults.push(format!("{path}:{}: the comment has {columns} columns, of {COMMENT_COLUMNS_MAX}", index + 1));
        }
        // "There is no queue" is plain; "it is no queue" is not.
        let line = line.replace("here is no ", "");
        let banned = BANNED.iter().filter(|(word, _)| has_word(&line, word) || has_word(&line, &capitalized(word)));
        faults.extend(banned.map(|(word, instead)| format!("{path}:{}: says {word:?}: write {instead:?}", index + 1)));
    }
    faults
}

fn capitalized(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}

/// Returns whether the text has the word, not as a part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(word).any(|(start, _)| {
        !is_part(text[..start].chars().next_back()) && !is_part(text[start + word.len()..].chars().next())
    })
}
