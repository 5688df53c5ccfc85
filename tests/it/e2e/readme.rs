//! The README's commands, run as they stand but for the ports.

use std::process::Command;

use super::WAY_TIME_MAX;
use crate::support::stack::Stack;
use crate::support::{like_a_shell, root};

/// Commands that other checks run (`cargo local` is every test of this suite), or that need an AWS account.
const NOT_HERE: &[&str] = &["cargo local", "sam build && sam deploy --guided", "aws secretsmanager put-secret-value"];

/// The commands of the README's `sh` blocks, each with the comment below it: the answer's status, and words it has.
fn commands(readme: &str) -> Vec<(String, Option<String>)> {
    let mut commands: Vec<(String, Option<String>)> = Vec::new();
    for block in readme.split("```sh\n").skip(1) {
        let block = block.split("```").next().expect("a block").replace("\\\n", " ");
        for line in block.lines() {
            match line.strip_prefix("# ") {
                Some(expected) => commands.last_mut().expect("a command above").1 = Some(expected.to_owned()),
                None if line.starts_with(' ') => {
                    let command = &mut commands.last_mut().expect("a first line").0;
                    command.push('\n');
                    command.push_str(line);
                }
                None => commands.push((line.to_owned(), None)),
            }
        }
    }
    commands
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs curl and a shell, beside Rust; ./tests/run runs it"]
async fn every_command_of_the_readme_answers_what_it_says() {
    let stack = Stack::start(&[], &[]).await;
    let readme = std::fs::read_to_string(root().join("README.md")).expect("a README");
    let mut id = String::new();
    let mut run = 0;
    for (command, expected) in commands(&readme) {
        let Some(expected) = expected else {
            assert!(
                NOT_HERE.iter().any(|known| command.starts_with(known)),
                "nothing is said of its answer: {command}"
            );
            continue;
        };
        if command.contains("$id") {
            stack.until_state(&id, "done", WAY_TIME_MAX).await;
        }
        let mut script = command.replace("http://127.0.0.1:3000", &stack.gateway);
        script = script.replace("http://127.0.0.1:3001", &stack.admin);
        if script.starts_with("cargo sluicegate send") {
            script = format!("{script} --to {}", stack.gateway);
        }
        let mut shell = Command::new("sh");
        like_a_shell(shell.args(["-c", &script]).env("id", &id).current_dir(root()));
        let output = shell.output().expect("sh");
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        for word in
            expected.split(|c: char| !(c.is_alphanumeric() || "/_-".contains(c))).filter(|word| !word.is_empty())
        {
            assert!(answer.contains(word), "{command}\nis said to answer {expected:?}, and answered\n{answer}");
        }
        if let (true, Some(body)) = (id.is_empty(), answer.lines().last()) {
            let body: serde_json::Value = serde_json::from_str(body).expect("the first answer is JSON");
            id = body["id"].as_str().expect("an id").to_owned();
        }
        run += 1;
    }
    assert!(run >= 6, "only {run} commands were run");
    stack.stop().await;
}
