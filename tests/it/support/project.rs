//! A copy of the files that a user of the project owns, for the commands that edit them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{command::BINARY, like_a_shell, root};

/// The files and folders of a user.
const OWNED: &[&str] = &["functions", "infra", "rustfmt.toml", "samconfig.toml", "template.yaml"];

/// Returns the target folder of this test.
pub(crate) fn target() -> PathBuf {
    let this = std::env::current_exe().expect("a path");
    this.ancestors().nth(3).expect("target/debug/deps").to_owned()
}

/// A copy in a folder that is removed with it.
pub(crate) struct Project(tempfile::TempDir);

impl Project {
    /// Copies the files as they are in the repository.
    pub(crate) fn copy() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in OWNED {
            copy(&root().join(name), &folder.path().join(name));
        }
        Self(folder)
    }

    /// Makes an empty folder.
    pub(crate) fn empty() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Runs a command line in the copy, with `cargo sluicegate` replaced by the built binary. Returns the exit code and
    /// the output.
    pub(crate) fn run(&self, line: &str) -> (i32, String) {
        let line = line.replace("cargo sluicegate", BINARY.to_str().expect("UTF-8"));
        let mut shell = Command::new("sh");
        like_a_shell(shell.args(["-c", &line]).current_dir(self.path()));
        let output = shell.output().expect("sh");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout) + &text(&output.stderr))
    }

    /// Runs a command line that must succeed.
    pub(crate) fn succeed(&self, line: &str) -> String {
        let (code, printed) = self.run(line);
        assert_eq!(code, 0, "{line} printed\n{printed}");
        printed
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("made");
        for entry in fs::read_dir(from).expect("a folder") {
            let entry = entry.expect("an entry");
            if entry.file_name() != "target" {
                copy(&entry.path(), &to.join(entry.file_name()));
            }
        }
    } else {
        fs::copy(from, to).expect("copied");
    }
}
