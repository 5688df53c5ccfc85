//! `sluicegate new`: writes a project that depends on the crates of this one.
//!
//! The files are those a user of this repository owns, with the project's name and settings. The folder is written
//! beside its place and renamed when it is complete, so a failure leaves nothing behind. At a terminal, the command
//! asks for what the flags leave open.

mod files;
mod questions;
#[cfg(test)]
mod tests;
mod text;
mod webhooks;

use std::{
    fs,
    io::{self, BufRead, IsTerminal as _, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};

use crate::{CommandError, fail, output::say};
use files::File;
use questions::Questions;
use webhooks::Webhooks;

/// The longest name. Names of the stack's resources begin with it; an SQS queue's name has at most 80 characters.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html>
const NAME_CHARACTERS_MAX: usize = 40;

/// Write a project of your own: contract, handlers, template, checks
///
/// The project depends on the crates of Sluicegate and has no copy of them. Its folder has its name. At a terminal, the
/// name, the broker, the webhooks and the region are asked, unless their flags are given.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
Example:
  sluicegate new my-api --region eu-west-1 --webhook github
  cd my-api && cargo local")]
pub(crate) struct Arguments {
    /// The name of the project, its folder and its stacks: lower-case letters, digits and hyphens
    #[arg(value_name = "NAME", value_parser = name)]
    name: Option<String>,
    /// Take the crates from a checkout of Sluicegate
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["git", "rev", "branch"])]
    path: Option<PathBuf>,
    /// Take the crates from a Git repository
    #[arg(long, value_name = "URL", value_parser = quotable, default_value = env!("CARGO_PKG_REPOSITORY"))]
    git: String,
    /// The commit or tag of the Git repository [default: the newest of its default branch]
    #[arg(long, value_name = "REVISION", value_parser = quotable, conflicts_with = "branch")]
    rev: Option<String>,
    /// The branch of the Git repository
    #[arg(long, value_name = "NAME", value_parser = quotable)]
    branch: Option<String>,
    /// The broker that the template uses by default [default: sqs]
    #[arg(long, value_enum)]
    broker: Option<Broker>,
    /// A webhook to receive, with its route, queue and secret: a provider of docs/schemes.md, such as github or stripe;
    /// repeat for several [default: none]
    #[arg(long = "webhook", value_name = "PROVIDER", value_parser = Webhooks::parse)]
    webhooks: Vec<Webhooks>,
    /// The AWS region of the stacks [default: that of your AWS settings]
    #[arg(long, value_name = "REGION", value_parser = region)]
    region: Option<String>,
    /// Do not ask: options that are not given have their defaults
    #[arg(long)]
    yes: bool,
}

/// The value of the template's parameter `Broker`.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Broker {
    Sqs,
    Rabbitmq,
    Kafka,
}

impl Broker {
    /// Returns its name as a value of `Broker`, which is that of its cargo feature too; none for SQS, the default.
    fn feature(self) -> Option<&'static str> {
        match self {
            Self::Sqs => None,
            Self::Rabbitmq => Some("rabbitmq"),
            Self::Kafka => Some("kafka"),
        }
    }
}

/// The place of the crates.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// A checkout, as an absolute path.
    Path(String),
    Git {
        url: String,
        revision: Option<Revision>,
    },
}

/// A revision of a Git repository. Cargo finds a branch by its own key alone.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Revision {
    Rev(String),
    Branch(String),
}

/// A project to write.
#[derive(Debug, Clone)]
struct NewProject {
    name: String,
    source: Source,
    broker: Broker,
    webhooks: Webhooks,
    region: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match work(arguments) {
        Ok(lines) => {
            lines.iter().all(say);
            ExitCode::SUCCESS
        }
        Err(reason) => fail(reason),
    }
}

/// Writes the project below the current folder; returns the lines to print.
fn work(arguments: &Arguments) -> Result<Vec<String>, CommandError> {
    let is_asked = !arguments.yes && io::stdin().is_terminal() && io::stdout().is_terminal();
    let questions = is_asked.then(|| Questions::new(io::stdin().lock(), io::stdout()));
    let project = completed(arguments, questions)?;
    let files = project.files()?;
    write(Path::new(&project.name), &files, |folder| project.webhooks.write(folder))?;
    Ok(next_steps(&project, files.len()))
}

/// Returns the project of the flags; what they leave open is asked, or has its default.
fn completed<R: BufRead, W: Write>(
    arguments: &Arguments,
    mut questions: Option<Questions<R, W>>,
) -> Result<NewProject, CommandError> {
    let source = source(arguments)?;
    let free = |text: &str| name(text).and_then(|name| unused(Path::new(&name)).map(|()| name));
    let name = match (&arguments.name, &mut questions) {
        (Some(name), _) => free(name)?,
        (None, Some(questions)) => questions.ask("Name of the project", None, free)?,
        (None, None) => return Err("the project has no name: pass one, such as `sluicegate new my-api`".into()),
    };
    let broker = match (arguments.broker, &mut questions) {
        (Some(broker), _) => broker,
        (None, Some(questions)) => questions.ask("Broker: sqs, rabbitmq or kafka", Some("sqs"), broker)?,
        (None, None) => Broker::Sqs,
    };
    let webhooks = match &mut questions {
        Some(questions) if arguments.webhooks.is_empty() => {
            let question = "Webhooks, such as github or stripe, with commas between";
            questions.ask(question, Some(webhooks::NONE), Webhooks::parse)?
        }
        _ => Webhooks::union(&arguments.webhooks),
    };
    let region = match (&arguments.region, &mut questions) {
        (None, Some(questions)) => questions.ask("AWS region", Some("that of your AWS settings"), |text| {
            if text.is_empty() { Ok(None) } else { region(text).map(Some) }
        })?,
        (region, _) => region.clone(),
    };
    Ok(NewProject { name, source, broker, webhooks, region })
}

/// Parses the answer; an empty one is SQS.
fn broker(text: &str) -> Result<Broker, CommandError> {
    match text {
        "" => Ok(Broker::Sqs),
        text => Broker::from_str(text, true).map_err(|_| "the broker is sqs, rabbitmq or kafka".into()),
    }
}

fn source(arguments: &Arguments) -> Result<Source, CommandError> {
    Ok(match &arguments.path {
        Some(path) => Source::Path(checkout(path)?),
        None => {
            let rev = arguments.rev.clone().map(Revision::Rev);
            let revision = rev.or_else(|| arguments.branch.clone().map(Revision::Branch));
            Source::Git { url: arguments.git.clone(), revision }
        }
    })
}

fn next_steps(project: &NewProject, files: usize) -> Vec<String> {
    let NewProject { name, broker, webhooks, .. } = project;
    let local = match broker {
        Broker::Sqs => "cargo local",
        Broker::Rabbitmq => "cargo local --rabbitmq",
        Broker::Kafka => "cargo local --kafka",
    };
    let mut lines = vec![
        format!("{name}: {files} files written. Next:"),
        String::new(),
        format!("  cd {name}"),
        format!("  {local}"),
        "  cargo sluicegate add route 'POST /invoices' --type invoice.submitted --queue invoices".to_owned(),
        "  cargo sluicegate add handler invoice.submitted".to_owned(),
    ];
    lines.extend(webhooks.handled_types().map(|handled| format!("  cargo sluicegate add handler '{handled}'")));
    lines.extend([
        "  ./tests/run".to_owned(),
        String::new(),
        "The first build compiles about 300 crates: 2 to 3 minutes on 2 cores. README.md has more.".to_owned(),
    ]);
    lines
}

/// Checks that the folder does not exist or is empty.
fn unused(folder: &Path) -> Result<(), CommandError> {
    let shown = folder.display();
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("{shown} is not empty: choose another name, or remove it").into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("{shown} is not a folder to write to: {error}").into()),
    }
}

/// Writes the files into a new folder and edits them there, all or nothing.
fn write(
    folder: &Path,
    files: &[File],
    edit: impl FnOnce(&Path) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let shown = folder.display();
    unused(folder)?;
    let incomplete = {
        let name = folder.file_name().unwrap_or_default().display();
        folder.with_file_name(format!(".{name}.{}", std::process::id()))
    };
    let failed = |error: io::Error| CommandError::from(format!("cannot write {shown}: {error}; nothing was written"));
    let files = files.iter().try_for_each(|file| file.write(&incomplete)).map_err(failed);
    let written = files.and_then(|()| edit(&incomplete)).and_then(|()| fs::rename(&incomplete, folder).map_err(failed));
    if written.is_err() {
        // The folder may not exist; the first failure is reported.
        let _ = fs::remove_dir_all(&incomplete);
    }
    written
}

/// Returns the absolute path of a checkout of this project.
fn checkout(path: &Path) -> Result<String, CommandError> {
    let shown = path.display();
    let absolute = path.canonicalize().map_err(|error| format!("--path {shown}: {error}"))?;
    if !absolute.join("crates/cli/Cargo.toml").is_file() {
        return Err(format!("--path {shown}: not a checkout of Sluicegate: it has no crates/cli/Cargo.toml").into());
    }
    let text = absolute.to_str().ok_or_else(|| format!("--path {shown}: the path is not UTF-8"))?;
    quotable(text).map_err(|reason| format!("--path {shown}: {reason}").into())
}

/// Checks a name of a project. It is the start of stack names, so it has their letters:
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-using-console-create-stack-parameters.html>
fn name(text: &str) -> Result<String, CommandError> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(is_plain)
        && !text.ends_with('-')
        && !text.contains("--")
        && text.len() <= NAME_CHARACTERS_MAX;
    match is_name {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "a name starts with a letter and is lower-case letters, digits and single hyphens, at most \
             {NAME_CHARACTERS_MAX}, such as my-api"
        )
        .into()),
    }
}

fn region(text: &str) -> Result<String, CommandError> {
    let parts: Vec<&str> = text.split('-').collect();
    let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    match parts.split_last() {
        Some((number, words))
            if words.len() >= 2 && words.iter().all(is_word) && number.parse::<u8>().is_ok() && text.len() <= 32 =>
        {
            Ok(text.to_owned())
        }
        _ => Err("expected a region, such as eu-west-1".into()),
    }
}

/// Checks a text that is quoted in a manifest.
fn quotable(text: &str) -> Result<String, CommandError> {
    match text.is_empty() || text.contains(['"', '\\']) || text.contains(char::is_control) {
        true => Err("must be one line without quotes and backslashes".into()),
        false => Ok(text.to_owned()),
    }
}
