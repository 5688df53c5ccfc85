//! The `sluicegate` binary, run as a process.

use std::process::Stdio;

use tokio::process::Command;

use crate::support::root;

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) use crate::support::command::BINARY;

/// Returns `sluicegate dlq` with these arguments, without the AWS settings of this machine.
pub(crate) fn dlq(arguments: &[&str]) -> Command {
    sluicegate("dlq", arguments)
}

/// Returns a subcommand with these arguments, without the AWS settings of this machine.
pub(crate) fn sluicegate(subcommand: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(&*BINARY);
    command.arg(subcommand).args(arguments).current_dir(root()).kill_on_drop(true);
    for name in ["AWS_PROFILE", "AWS_ENDPOINT_URL", "KAFKA_BOOTSTRAP_SERVERS", "RABBITMQ_URL", "EDITOR", "VISUAL"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end.
pub(crate) async fn ran(mut command: Command) -> Ran {
    let output = command.output().await.expect("the command runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

impl Ran {
    /// Checks the exit code, and that each text is on stdout or stderr.
    pub(crate) fn expect(self, code: i32, says: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for text in says {
            assert!(self.out.contains(text) || self.err.contains(text), "the output lacks {text:?}: {self:#?}");
        }
        self
    }
}
