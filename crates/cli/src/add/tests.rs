//! Tests of add and remove on a small project: what each command changes, and that its counterpart undoes it.

mod files;
mod handlers;
mod queues;
mod refusals;
mod routes;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use clap::{Parser, Subcommand};
use tempfile::TempDir;

use crate::{add, remove};

/// The command line, with the two commands under test.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Add(add::Arguments),
    Remove(remove::Arguments),
}

/// The files of a project, by their paths.
type Files = BTreeMap<String, String>;

/// A project in a folder that is removed with it.
struct Project(TempDir);

impl Project {
    /// Makes a project of these files.
    fn new(files: &Files) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        }
        Self(folder)
    }

    /// Runs a command; a word in single quotes may have spaces.
    fn run(&self, line: &str) -> Result<String, String> {
        let words = line.split('\'').enumerate().flat_map(|(index, part)| match index % 2 {
            0 => part.split_whitespace().collect(),
            _ => vec![part],
        });
        let folder = self.0.path().to_str().expect("UTF-8");
        let words = ["sluicegate"].into_iter().chain(words).chain(["--project", folder]);
        let lines = match Cli::try_parse_from(words).map_err(|error| error.to_string())?.command {
            Command::Add(arguments) => add::work(&arguments),
            Command::Remove(arguments) => remove::work(&arguments),
        };
        lines.map(|lines| lines.join("\n")).map_err(|error| error.to_string())
    }

    fn succeed(&self, line: &str) -> String {
        self.run(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn files(&self) -> Files {
        fn collect(root: &Path, folder: &Path, files: &mut Files) {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path: PathBuf = entry.expect("an entry").path();
                if path.is_dir() {
                    collect(root, &path, files);
                } else {
                    let name = path.strip_prefix(root).expect("below").to_str().expect("UTF-8").to_owned();
                    files.insert(name, fs::read_to_string(&path).expect("text"));
                }
            }
        }
        let mut files = Files::new();
        collect(self.0.path(), self.0.path(), &mut files);
        files
    }
}

/// Returns the lines that come (`+`) and go (`-`), without the places.
fn changed_lines(before: &Files, after: &Files) -> String {
    let paths: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut lines = String::new();
    for path in paths {
        let text = |files: &Files| files.get(path).cloned().unwrap_or_default();
        let (before, after) = (text(before), text(after));
        if before == after {
            continue;
        }
        lines += &format!("{path}\n");
        for change in similar::TextDiff::from_lines(&before, &after).iter_all_changes() {
            match change.tag() {
                similar::ChangeTag::Insert => lines += &format!("+{change}"),
                similar::ChangeTag::Delete => lines += &format!("-{change}"),
                similar::ChangeTag::Equal => {}
            }
        }
    }
    lines
}

/// Runs commands in order, and again, which changes nothing. Returns the changed lines. The other commands undo them.
fn check_there_and_back(files: &Files, there: &[&str], back: &[&str]) -> String {
    let project = Project::new(files);
    there.iter().for_each(|line| drop(project.succeed(line)));
    let after = project.files();
    for line in there {
        let said = project.succeed(line);
        assert!(said.contains("nothing to change"), "{line} again: {said}");
        assert_eq!(project.files(), after, "{line} again");
    }
    back.iter().for_each(|line| drop(project.succeed(line)));
    assert_eq!(changed_lines(files, &project.files()), "", "{there:?}, then {back:?}");
    assert_eq!(&project.files(), files);
    for line in back {
        let said = project.succeed(line);
        assert!(said.contains("nothing to change"), "{line} again: {said}");
    }
    changed_lines(files, &after)
}

/// Returns the files with another text in one of them.
fn with(mut files: Files, path: &str, from: &str, to: &str) -> Files {
    let text = files.get_mut(path).expect("a file");
    assert!(text.contains(from), "{path} has no {from:?}");
    *text = text.replacen(from, to, 1);
    files
}
