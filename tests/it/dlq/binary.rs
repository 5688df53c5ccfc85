//! The command as a person starts it: a process of its own.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::LazyLock;

use tokio::process::Command;

use crate::support::{cargo, root};

/// What a run came to.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

/// Where the command is, once it is built: beside the folder of this very binary. Cargo may make it wait.
pub(super) static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let mut build = cargo();
    build.args(["build", "--quiet", "--package", "sluicegate-cli"]);
    assert!(build.status().expect("cargo runs").success(), "the command is built");
    let this = std::env::current_exe().expect("a path");
    this.ancestors().nth(2).expect("target/debug").join("sluicegate")
});

/// `sluicegate dlq` with these arguments, not yet started. Nothing of this machine's own set-up gets in.
pub(super) fn dlq(arguments: &[&str]) -> Command {
    let mut command = Command::new(&*BINARY);
    command.arg("dlq").args(arguments).current_dir(root()).kill_on_drop(true);
    for name in ["AWS_PROFILE", "AWS_ENDPOINT_URL", "RABBITMQ_URL", "EDITOR", "VISUAL"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end.
pub(super) async fn ran(mut command: Command) -> Ran {
    let output = command.output().await.expect("the command runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

impl Ran {
    /// It ended with this code and said all of that, on either stream.
    pub(super) fn expect(self, code: i32, says: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for text in says {
            assert!(self.out.contains(text) || self.err.contains(text), "it does not say {text:?}: {self:#?}");
        }
        self
    }
}
