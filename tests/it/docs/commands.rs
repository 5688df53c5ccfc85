//! The commands of the pages. Each is run, or is on the list of exceptions with a reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use sluicegate_contract::Contract;
use sluicegate_ingress::testing::TestIngress;

use super::account::Account;
use super::page::{Command, Page};
use super::shell::{Answer, Shell};
use crate::support::project::Project;
use crate::support::rabbitmq::Vhost;
use crate::support::root;
use crate::support::stack::Stack;

/// Prefixes of commands that cannot run in a test, each with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "cargo sluicegate doctor --stack",
        "the stand-in account lacks most of the template's resources; crates/doctor/src/stack/tests.rs deploys a stack for it",
    ),
    ("aws kafka", "the stand-in account has no Amazon MSK"),
    ("bin/kafka-topics.sh", "no package registry has Apache Kafka's tools"),
];

/// The time limit for a message to arrive.
const WAY_TIME_MAX: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The place where the commands of a block run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Local,
    Rabbitmq,
    Project,
    Route,
    Aws,
    Build,
}

/// Returns the commands of a page that run at `place`.
fn commands(page: &Page, place: Place) -> Vec<Command> {
    commands_at(page, &[place]).into_iter().map(|(_, command)| command).collect()
}

/// Returns the commands of a page that run at one of `places`, in order.
fn commands_at(page: &Page, places: &[Place]) -> Vec<(Place, Command)> {
    let mut found = Vec::new();
    for block in page.blocks() {
        if let Ok(Some(place)) = place(&block.info)
            && places.contains(&place)
        {
            found.extend(block.commands().into_iter().map(|command| (place, command)));
        }
    }
    found.retain(|(_, command)| !EXCEPTIONS.iter().any(|(start, _)| command.text.starts_with(start)));
    found
}

/// Parses the info string of a block; `None` if the block has no commands.
fn place(info: &str) -> Result<Option<Place>, String> {
    let (language, rest) = info.split_once(' ').unwrap_or((info, ""));
    match (language, rest) {
        ("sh", "") => Ok(Some(Place::Local)),
        ("sh", "rabbitmq") => Ok(Some(Place::Rabbitmq)),
        ("sh", "project") => Ok(Some(Place::Project)),
        ("sh", "route") => Ok(Some(Place::Route)),
        ("sh", "aws") => Ok(Some(Place::Aws)),
        ("sh", "build") => Ok(Some(Place::Build)),
        // crate::archive runs the SQL.
        ("rust" | "yaml" | "json" | "toml" | "text" | "sql", _) => Ok(None),
        _ => Err(format!("no place is known for ```{info}")),
    }
}

#[test]
fn every_block_says_where_it_runs_and_every_exception_is_needed() {
    let mut wrong = Vec::new();
    let mut unused: BTreeSet<&str> = EXCEPTIONS.iter().map(|(start, _)| *start).collect();
    for page in Page::all() {
        for block in page.blocks() {
            match place(&block.info) {
                Ok(None) => {}
                Ok(Some(_)) => {
                    for command in block.commands() {
                        unused.retain(|start| !command.text.starts_with(start));
                    }
                }
                Err(reason) => wrong.push(format!("{}:{}: {reason}", page.path, block.line)),
            }
        }
    }
    assert!(wrong.is_empty() && unused.is_empty(), "{wrong:#?}\nexceptions without a command: {unused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs curl and the AWS CLI, which ./tests/run installs"]
async fn on_the_local_stack() {
    for page in Page::all() {
        let commands = commands(&page, Place::Local);
        if !commands.is_empty() {
            run_beside_a_stack(&page, &commands, Shell::new()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn on_rabbitmq() {
    for page in Page::all() {
        let commands = commands(&page, Place::Rabbitmq);
        if !commands.is_empty() {
            let (vhost, mut shell) = (Vhost::create().await, Shell::new());
            shell.replace("amqp://127.0.0.1:5672", &vhost.url());
            shell.replace("amqp://guest:guest@127.0.0.1:5672", &vhost.url());
            run_beside_a_stack(&page, &commands, shell).await;
            vhost.delete().await;
        }
    }
}

#[tokio::test]
async fn on_a_copy_of_the_project() {
    let (mut shown, mut requested) = (0, 0);
    for page in Page::all() {
        let commands = commands_at(&page, &[Place::Project, Place::Route]);
        if commands.is_empty() {
            continue;
        }
        let project = Project::copy();
        // A project that has added the example of the page has these already.
        for undo in ["handler invoice.submitted --force", "route 'POST /invoices' --force"] {
            project.run(&format!("cargo sluicegate remove {undo}"));
        }
        let mut folder = ".";
        for (place, Command { text, expected, line }) in &commands {
            let answer = if *place == Place::Route {
                requested += 1;
                request(&project.text(&format!("{folder}/functions/ingress/openapi.yaml")), text).await
            } else {
                let (code, out) = project.run(&format!("cd {folder} && {text}"));
                Answer { code, out, error: String::new() }
            };
            let reason = answer.differs(expected.as_deref());
            assert!(reason.is_none(), "{}:{line}: {text}: {reason:?}; it printed\n{}", page.path, answer.out);
            folder = text.strip_prefix("cd ").unwrap_or(folder);
            shown += 1;
        }
    }
    assert!(shown > requested && requested > 0, "no page has a command for a copy, or a request to its route");
}

/// Sends the request of a curl command to an ingress with this contract. The key `dev-key` has every scope, as on the
/// local stack. Prints status and body.
async fn request(contract: &str, curl: &str) -> Answer {
    let contract = Contract::parse("openapi.yaml", contract).unwrap_or_else(|faults| panic!("{faults}"));
    let ingress = TestIngress::new(contract).api_key("api-keys", "dev-key", "dev", &["*"]);
    let event = fs::read_to_string(root().join("tests/events/place-order.json")).expect("the captured event");
    let mut event: Value = serde_json::from_str(&event).expect("JSON");
    let (_, path) = curl.split_once("http://127.0.0.1:3000").expect("the address of the local stack");
    let path = path.split_whitespace().next().unwrap_or_default();
    let mut headers = Map::new();
    // Quoted arguments are the odd parts; the option is the last word before each.
    let parts: Vec<&str> = curl.split('\'').collect();
    for option in parts.chunks_exact(2) {
        match (option[0].split_whitespace().last(), option[1].split_once(": ")) {
            (Some("-H"), Some((name, value))) => drop(headers.insert(name.to_owned(), value.into())),
            (Some("-d"), _) => event["body"] = option[1].into(),
            (other, _) => panic!("{other:?} is an option that this test does not know"),
        }
    }
    event["headers"] = headers.into();
    (event["rawPath"], event["requestContext"]["http"]["path"]) = (path.into(), path.into());
    let answer = ingress.handle(&event.to_string()).await.expect("an answer");
    Answer { code: 0, out: format!("{}\n{}", answer["statusCode"], answer["body"]), error: String::new() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs LocalStack, which ./tests/run starts"]
async fn on_an_account() {
    for page in Page::all() {
        let commands = commands(&page, Place::Aws);
        if !commands.is_empty() {
            let mut shell = Shell::new();
            let account = Account::open(&mut shell).await;
            for command in &commands {
                run(&page, command, &mut shell).await;
            }
            account.close(&mut shell).await;
        }
    }
}

#[test]
fn commands_that_take_minutes_are_run_by_a_script() {
    let scripts = scripts();
    let mut wrong = Vec::new();
    for page in Page::all() {
        for command in commands(&page, Place::Build) {
            for part in command.text.split("&&").map(str::trim) {
                let words: Vec<&str> = part.split_whitespace().collect();
                // A script of this project, or another program and its first argument.
                let known = match words.first() {
                    Some(path) if path.contains('/') => scripts.contains(path.trim_start_matches("./")),
                    _ => scripts.contains(&words[..words.len().min(2)].join(" ")),
                };
                if !known {
                    wrong.push(format!("{}:{}: {part}", page.path, command.line));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "no script contains {wrong:#?}");
}

/// Returns the text of the scripts that tests/run and CI run, without quotes and commas.
fn scripts() -> String {
    fn collect(path: &Path, files: &mut Vec<PathBuf>) {
        if path.is_dir() {
            let entries = fs::read_dir(path).expect("a folder");
            entries.for_each(|entry| collect(&entry.expect("an entry").path(), files));
        } else if path.extension().is_none_or(|extension| ["py", "sh", "yml"].iter().any(|known| extension == *known)) {
            files.push(path.to_owned());
        }
    }
    let mut files = Vec::new();
    for path in ["tests/run", "tests/bench/cold-start", "tests/prove-rabbitmq", "tests/peers", ".github/workflows"] {
        collect(&root().join(path), &mut files);
    }
    let text: String =
        files.iter().flat_map(|file| [fs::read_to_string(file).unwrap_or_default(), " ".to_owned()]).collect();
    let text = text.replace(['"', '\'', ',', '[', ']'], " ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Runs the commands of a page in order. They use the stack of the last `cargo local` on the page.
async fn run_beside_a_stack(page: &Page, commands: &[Command], mut shell: Shell) {
    let mut running: Option<Stack> = None;
    for command in commands {
        let starts = command.text.split(" #").next().unwrap_or_default().split_once("cargo local");
        if let Some((environment, arguments)) = starts {
            if let Some(stack) = running.take() {
                stack.stop().await;
            }
            let (environment, arguments) = (shell.here(environment), shell.here(arguments));
            let environment: Vec<_> = environment.split_whitespace().filter_map(|word| word.split_once('=')).collect();
            running = Some(Stack::start(&arguments.split_whitespace().collect::<Vec<_>>(), &environment).await);
        } else {
            if running.is_none() {
                running = Some(Stack::start(&[], &[]).await);
            }
            let stack = running.as_ref().expect("it runs");
            for (written, here) in [("3000", &stack.gateway), ("3001", &stack.admin), ("4566", &stack.aws)] {
                shell.replace(&format!("http://127.0.0.1:{written}"), here);
            }
            // The default address of the command.
            shell.replace("sluicegate send ", &format!("sluicegate send --to {} ", stack.gateway));
            run(page, command, &mut shell).await;
        }
    }
    if let Some(stack) = running {
        stack.stop().await;
    }
}

async fn run(page: &Page, command: &Command, shell: &mut Shell) {
    let Command { text, expected, line } = command;
    let (started, expected) = (Instant::now(), expected.as_ref().map(|expected| shell.here(expected)));
    loop {
        let answer = shell.run(text).await;
        let Some(reason) = answer.differs(expected.as_deref()) else {
            if let Some(id) = answer.id() {
                shell.set("id", &id);
            }
            return;
        };
        assert!(
            only_reads(text) && started.elapsed() < WAY_TIME_MAX,
            "{}:{line}: {reason}\n{}\nis documented to print {expected:?}, but printed\n{}{}",
            page.path,
            shell.here(text),
            answer.out,
            answer.error
        );
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Returns whether a command only reads. It is repeated until the message it reads has arrived.
fn only_reads(command: &str) -> bool {
    let says = |words: &[&str]| words.iter().any(|word| command.contains(word));
    match command.split_whitespace().next() {
        Some("curl") => !says(&[" -d ", " -X "]),
        Some("aws") => says(&[" list-", " get-", " describe-", " receive-"]),
        _ => says(&["sluicegate dlq list", "sluicegate dlq show"]),
    }
}
