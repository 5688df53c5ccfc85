//! `sluicegate new`: writes a project that depends on the crates of this one.
//!
//! The files are those a user of this repository owns, with the project's name and settings. The folder is written
//! beside its place and renamed when it is complete, so a failure leaves nothing behind.

mod files;
#[cfg(test)]
mod tests;
mod text;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};

use crate::{fail, output::say};
use files::File;

/// The longest name. Names of the stack's resources begin with it; an SQS queue's name has at most 80 characters.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html>
const NAME_CHARACTERS_MAX: usize = 40;

/// Write a project of your own: contract, handlers, template, checks
///
/// The project depends on the crates of Sluicegate and has no copy of them. Its folder has its name.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
Example:
  sluicegate new my-api --region eu-west-1
  cd my-api && cargo local")]
pub(crate) struct Arguments {
    /// The name of the project, its folder and its stacks: lower-case letters, digits and hyphens
    #[arg(value_name = "NAME", value_parser = name)]
    name: String,
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
    /// The broker that the template uses by default
    #[arg(long, value_enum, default_value = "sqs")]
    broker: Broker,
    /// The AWS region of the stacks [default: that of your AWS settings]
    #[arg(long, value_name = "REGION", value_parser = region)]
    region: Option<String>,
}

/// The value of the template's parameter `Broker`.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Broker {
    Sqs,
    Rabbitmq,
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
fn work(arguments: &Arguments) -> Result<Vec<String>, String> {
    let project = NewProject {
        name: arguments.name.clone(),
        source: match &arguments.path {
            Some(path) => Source::Path(checkout(path)?),
            None => {
                let rev = arguments.rev.clone().map(Revision::Rev);
                let revision = rev.or_else(|| arguments.branch.clone().map(Revision::Branch));
                Source::Git { url: arguments.git.clone(), revision }
            }
        },
        broker: arguments.broker,
        region: arguments.region.clone(),
    };
    let files = project.files()?;
    write(Path::new(&project.name), &files)?;
    Ok(next_steps(&project, files.len()))
}

fn next_steps(project: &NewProject, files: usize) -> Vec<String> {
    let NewProject { name, broker, .. } = project;
    let local = match broker {
        Broker::Sqs => "cargo local",
        Broker::Rabbitmq => "cargo local --rabbitmq",
    };
    vec![
        format!("{name}: {files} files written. Next:"),
        String::new(),
        format!("  cd {name}"),
        format!("  {local}"),
        "  cargo sluicegate add route 'POST /invoices' --type invoice.submitted --queue invoices".to_owned(),
        "  cargo sluicegate add handler invoice.submitted".to_owned(),
        "  ./tests/run".to_owned(),
        String::new(),
        "README.md has more.".to_owned(),
    ]
}

/// Writes the files into a new folder, all or none.
fn write(folder: &Path, files: &[File]) -> Result<(), String> {
    let shown = folder.display();
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Ok(false) => return Err(format!("{shown} is not empty: choose another name, or remove it")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(format!("{shown} is not a folder to write to: {error}")),
    }
    let incomplete = {
        let name = folder.file_name().unwrap_or_default().display();
        folder.with_file_name(format!(".{name}.{}", std::process::id()))
    };
    let written = files
        .iter()
        .try_for_each(|file| file.write(&incomplete))
        .and_then(|()| fs::rename(&incomplete, folder))
        .map_err(|error| format!("cannot write {shown}: {error}; nothing was written"));
    if written.is_err() {
        // It may not exist, and the first failure is the one to report.
        let _ = fs::remove_dir_all(&incomplete);
    }
    written
}

/// Returns the absolute path of a checkout of this project.
fn checkout(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let absolute = path.canonicalize().map_err(|error| format!("--path {shown}: {error}"))?;
    if !absolute.join("crates/cli/Cargo.toml").is_file() {
        return Err(format!("--path {shown}: not a checkout of Sluicegate: it has no crates/cli/Cargo.toml"));
    }
    let text = absolute.to_str().ok_or_else(|| format!("--path {shown}: the path is not UTF-8"))?;
    quotable(text).map_err(|reason| format!("--path {shown}: {reason}"))
}

/// Checks a name of a project. It is the start of stack names, so it has their letters:
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-using-console-create-stack-parameters.html>
fn name(text: &str) -> Result<String, String> {
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
        )),
    }
}

fn region(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('-').collect();
    let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    match parts.split_last() {
        Some((number, words))
            if words.len() >= 2 && words.iter().all(is_word) && number.parse::<u8>().is_ok() && text.len() <= 32 =>
        {
            Ok(text.to_owned())
        }
        _ => Err("expected a region, such as eu-west-1".to_owned()),
    }
}

/// Checks a text that stands between quotes in a manifest.
fn quotable(text: &str) -> Result<String, String> {
    match text.is_empty() || text.contains(['"', '\\']) || text.contains(char::is_control) {
        true => Err("must be one line without quotes and backslashes".to_owned()),
        false => Ok(text.to_owned()),
    }
}
