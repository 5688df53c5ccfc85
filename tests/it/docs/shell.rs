//! The shell in which the commands of a page run one after another. It keeps variables between commands and replaces
//! the addresses on the page by those of the test.

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use crate::support::{command::BINARY, like_a_shell, root};

/// The variable with the folder of the AWS CLI, set by `./tests/run`.
const PYTHON_BIN: &str = "SLUICEGATE_PYTHON_BIN";

/// A shell. A file keeps its variables between commands.
pub(super) struct Shell {
    folder: tempfile::TempDir,
    replacements: Vec<(String, String)>,
    variables: Vec<(String, String)>,
}

/// The result of a command.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) error: String,
}

impl Shell {
    /// Returns a shell in the project's root with the AWS CLI, test credentials and the built `sluicegate`.
    pub(super) fn new() -> Self {
        let python = std::env::var(PYTHON_BIN);
        let python = python.unwrap_or_else(|_| panic!("{PYTHON_BIN} is not set: run ./tests/run, which sets it"));
        let folder = tempfile::tempdir().expect("a folder");
        // Not target/debug/sluicegate, which `cargo local` of another test builds with fewer features.
        symlink(&*BINARY, folder.path().join("sluicegate")).expect("a link");
        let path = format!("{}:{python}:{}", folder.path().display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Self { folder, replacements: Vec::new(), variables: Vec::new() };
        shell.set("PATH", &path);
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_PAGER", ""),
        ] {
            shell.set(name, value);
        }
        shell
    }

    /// Sets a variable for the commands that follow.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Replaces `written` by `here` in the commands that follow.
    pub(super) fn replace(&mut self, written: &str, here: &str) {
        self.replacements.retain(|(known, _)| known != written);
        self.replacements.push((written.to_owned(), here.to_owned()));
    }

    /// Returns the command with every replacement applied, from left to right and the longest first. A replacement is
    /// not replaced again: the test's port may be 30017, which begins with the documented 3001.
    pub(super) fn here(&self, command: &str) -> String {
        let (mut done, mut rest) = (String::new(), command);
        while let Some(next) = rest.chars().next() {
            let written = self.replacements.iter().filter(|(written, _)| begins_with(rest, written));
            let length = match written.max_by_key(|(written, _)| written.len()) {
                Some((written, here)) => {
                    done.push_str(here);
                    written.len()
                }
                None => {
                    done.push(next);
                    next.len_utf8()
                }
            };
            rest = &rest[length..];
        }
        done
    }

    /// Runs a command to its end.
    pub(super) async fn run(&mut self, command: &str) -> Answer {
        let state = self.folder.path().join("variables");
        let mut known = std::fs::read_to_string(&state).unwrap_or_default();
        known.extend(self.variables.drain(..).map(|(name, value)| format!("export {name}='{value}'\n")));
        std::fs::write(&state, known).expect("written");
        // The command on PATH, which is compiled already, in place of the alias.
        let command = self.here(command).replace("cargo sluicegate ", "sluicegate ");
        let state = state.display();
        let script = format!("set -a\n. {state}\n{command}\nended=$?\nexport -p >{state}\nexit $ended\n");
        let mut shell = Command::new("sh");
        like_a_shell(shell.args(["-c", &script]).current_dir(root()).stdin(Stdio::null()));
        // Without the AWS settings of this machine.
        shell
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env_remove("AWS_PROFILE");
        let output = tokio::process::Command::from(shell).kill_on_drop(true).output().await.expect("sh");
        Answer {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            error: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Returns whether `text` begins with `written`, and not with a longer number.
fn begins_with(text: &str, written: &str) -> bool {
    let after = text.strip_prefix(written).map(|rest| rest.starts_with(|next: char| next.is_ascii_digit()));
    after.is_some_and(|digit| !(digit && written.ends_with(|last: char| last.is_ascii_digit())))
}

impl Answer {
    /// Returns the difference from the documented output. `expected` has words, or `exits N` and words.
    pub(super) fn differs(&self, expected: Option<&str>) -> Option<String> {
        let expected = expected.unwrap_or_default();
        let (code, words) = match expected.strip_prefix("exits ").and_then(|rest| rest.split_at_checked(1)) {
            Some((code, words)) => (code.parse().expect("exits and a number"), words),
            None => (0, expected),
        };
        if self.code != code {
            return Some(format!("the exit code is {} instead of {code}", self.code));
        }
        let mut words =
            words.split(|c: char| !(c.is_alphanumeric() || "/_-.".contains(c))).map(|word| word.trim_matches('.'));
        let missing = words.find(|word| !self.out.contains(word) && !self.error.contains(word))?;
        Some(format!("the output lacks {missing:?}"))
    }

    /// Returns the `id` of the JSON object on the last line of the output.
    pub(super) fn id(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_str(self.out.lines().last()?).ok()?;
        Some(body["id"].as_str()?.to_owned())
    }
}

#[test]
fn each_address_is_replaced_once() {
    let pairs = [
        ("http://127.0.0.1:3000", "http://127.0.0.1:30017"),
        ("http://127.0.0.1:3001", "http://127.0.0.1:39595"),
        ("<Url>", "amqp://127.0.0.1:3000/a"),
        ("<Url>/%2F", "amqp://127.0.0.1:5672/b"),
    ];
    let pairs = pairs.map(|(written, here)| (written.to_owned(), here.to_owned())).to_vec();
    let shell = Shell { folder: tempfile::tempdir().expect("a folder"), replacements: pairs, variables: Vec::new() };
    for (written, here) in [
        ("curl http://127.0.0.1:3000/orders", "curl http://127.0.0.1:30017/orders"),
        ("http://127.0.0.1:3001 http://127.0.0.1:3000", "http://127.0.0.1:39595 http://127.0.0.1:30017"),
        ("http://127.0.0.1:30001/ä", "http://127.0.0.1:30001/ä"),
        ("<Url>/%2F <Url>/c", "amqp://127.0.0.1:5672/b amqp://127.0.0.1:3000/a/c"),
    ] {
        assert_eq!(shell.here(written), here);
    }
}
