//! `sluicegate add`: writes a route, a queue or a handler into the files of the project.
//!
//! Files are edited by position: comments, order and line ends stay. Every edit is made in memory, and the contract and
//! the template are read again as a build reads them, before the first file is written. Running a command twice
//! changes nothing; `sluicegate remove` undoes it.

pub(crate) mod contract;
pub(crate) mod handler;
pub(crate) mod members;
pub(crate) mod names;
pub(crate) mod payload;
pub(crate) mod project;
pub(crate) mod queue;
pub(crate) mod register;
pub(crate) mod scheme;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use sluicegate_contract::Contract;
use sluicegate_sam::{Faults, Node, Settings, StackPlan, TemplateDocument};

use crate::{
    CommandError, fail,
    output::say,
    paths::{CONTRACT, TEMPLATE},
    sync,
};
use contract::NewRoute;
use handler::NewHandler;
use names::RouteName;
use project::{CONSUMER, HANDLER_FOLDER, HANDLERS, Project, QUEUE_TEMPLATE};
use queue::State;
use register::{Call, Widths};
use scheme::Auth;

/// Write a route, a queue or a handler into the files of the project
///
/// The contract (functions/ingress/openapi.yaml), the template (template.yaml) and the consumer's sources are edited in
/// place; comments and layout stay. Nothing is written if a file would be faulty afterwards. Running a command twice
/// changes nothing; `sluicegate remove` undoes it.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

/// Flags of all commands that edit a project.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Common {
    /// Print the changes as a unified diff and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The project's folder [default: the nearest one with a template.yaml]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) project: Option<PathBuf>,
}

#[derive(Subcommand)]
enum What {
    Route(RouteArguments),
    Queue(QueueArguments),
    Handler(HandlerArguments),
}

/// Add a route: its operation in the contract, its event in the template, and its queue if that is new
#[derive(Args)]
#[command(after_help = "\
Example:
  sluicegate add route 'POST /invoices' --type invoice.submitted --queue invoices --scope invoices.write
  sluicegate add handler invoice.submitted")]
struct RouteArguments {
    /// Method and path in one argument: 'POST /invoices'
    #[arg(value_name = "METHOD /path", value_parser = RouteName::parse)]
    route: RouteName,
    /// The type of the event, by which the consumer finds the handler: invoice.submitted [default: a provider's own]
    #[arg(long = "type", value_name = "TYPE", value_parser = names::route_type)]
    event_type: Option<String>,
    /// The queue; it is declared if the template does not have it
    #[arg(long, value_name = "NAME", value_parser = names::queue)]
    queue: String,
    /// The new queue is FIFO: messages of one ordering group are processed in their order
    #[arg(long)]
    fifo: bool,
    /// How callers prove who they are: api-key, basic, bearer (a token that ingress checks), jwt (one that API Gateway
    /// checks), none, or a provider of docs/schemes.md, such as stripe
    #[arg(long, default_value = "api-key", value_parser = Auth::parse)]
    auth: Auth,
    /// A scope that the caller must have, unless it signs or is anyone; repeat for several
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    scopes: Vec<String>,
    /// The operationId [default: the method and the words of the path, such as postInvoices]
    #[arg(long, value_name = "ID", value_parser = operation_id)]
    operation_id: Option<String>,
    /// One line about the operation, for the API's documentation
    #[arg(long, value_name = "TEXT", value_parser = summary)]
    summary: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Add a queue: its declaration and its variable in the template
#[derive(Args)]
struct QueueArguments {
    /// The queue's name: lower-case letters, digits and hyphens
    #[arg(value_name = "NAME", value_parser = names::queue)]
    name: String,
    /// A FIFO queue: messages of one ordering group are processed in their order
    #[arg(long)]
    fifo: bool,
    #[command(flatten)]
    common: Common,
}

/// Add a handler: its file with a type for the payload and a test, its module and its registration
///
/// The type has the fields of the schema that the contract gives for the event type.
#[derive(Args)]
struct HandlerArguments {
    /// The type of the events, such as invoice.submitted; github.* takes every type that starts with github.
    #[arg(value_name = "TYPE", value_parser = names::handled_type)]
    event_type: String,
    /// The handler gets the payload as a Rust type, read from JSON. This is the default
    #[arg(long)]
    json: bool,
    /// The handler gets the payload as bytes
    #[arg(long, conflicts_with = "json")]
    bytes: bool,
    #[command(flatten)]
    common: Common,
}

fn scope(text: &str) -> Result<String, CommandError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("a scope is letters, digits and ._:/-, such as invoices.write".into()),
    }
}

fn operation_id(text: &str) -> Result<String, CommandError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("an operationId starts with a letter and is letters, digits and ._-".into()),
    }
}

fn summary(text: &str) -> Result<String, CommandError> {
    match text.trim().is_empty() || text.contains(char::is_control) {
        true => Err("must be one line of text".into()),
        false => Ok(text.trim().to_owned()),
    }
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    print(work(arguments))
}

/// Runs the command; returns the lines to print.
fn work(arguments: &Arguments) -> Result<Vec<String>, CommandError> {
    match &arguments.what {
        What::Route(arguments) => route(arguments)?.finish(&arguments.common),
        What::Queue(arguments) => add_queue(arguments)?.finish(&arguments.common),
        What::Handler(arguments) => add_handler(arguments)?.finish(&arguments.common),
    }
}

/// Prepared edits of a project, with notes for the user.
pub(crate) struct Ready {
    pub(crate) project: Project,
    pub(crate) notes: Vec<String>,
    /// The line to print if no file changes, up to its colon.
    pub(crate) unchanged: String,
}

impl Ready {
    /// Writes the edits unless `--dry-run` is set; returns the lines to print.
    pub(crate) fn finish(self, common: &Common) -> Result<Vec<String>, CommandError> {
        let Self { project, notes, unchanged } = self;
        let notes = notes.into_iter().map(|note| format!("note: {note}"));
        if project.is_unchanged() {
            return Ok(std::iter::once(format!("{unchanged}: nothing to change")).chain(notes).collect());
        }
        if common.dry_run {
            return Ok(vec![project.diff().trim_end().to_owned()]);
        }
        project.write()?;
        Ok(project.summary().into_iter().chain(notes).collect())
    }
}

/// Prints the lines of a command.
pub(crate) fn print(lines: Result<Vec<String>, CommandError>) -> ExitCode {
    match lines {
        Ok(lines) => {
            say(lines.join("\n"));
            ExitCode::SUCCESS
        }
        Err(reason) => fail(reason),
    }
}

/// Adds the route of a webhook to the project in this folder.
pub(crate) fn webhook(
    folder: &Path,
    name: &str,
    event_type: Option<&str>,
    queue: &str,
    auth: Auth,
) -> Result<(), CommandError> {
    let arguments = RouteArguments {
        route: RouteName::parse(name)?,
        event_type: event_type.map(str::to_owned),
        queue: queue.to_owned(),
        fifo: false,
        auth,
        scopes: Vec::new(),
        operation_id: None,
        summary: None,
        common: Common { dry_run: false, project: Some(folder.to_owned()) },
    };
    route(&arguments)?.finish(&arguments.common).map(drop)
}

/// The end of the placeholders of a new scheme.
const REPLACE_THIS: &str = "replace-this";

fn route(arguments: &RouteArguments) -> Result<Ready, CommandError> {
    let RouteArguments { route: name, event_type, queue, fifo, auth, scopes, .. } = arguments;
    if !scopes.is_empty() && !auth.scheme().has_scopes {
        return Err(
            "--scope goes with --auth api-key, basic, bearer or jwt: a signature and a public route have no scopes"
                .into(),
        );
    }
    let Some(event_type) = event_type.clone().or_else(|| auth.event_type().map(str::to_owned)) else {
        return Err("--type is needed, unless --auth is a provider of webhooks".into());
    };
    let mut project = Project::open(arguments.common.project.as_deref())?;
    let fifo = match queue::state(TEMPLATE, &project.text(TEMPLATE)?, queue)? {
        // An existing queue keeps its kind.
        State::Declared { fifo: is_fifo } if !fifo => is_fifo,
        _ => *fifo,
    };
    let operation_id = arguments.operation_id.clone().unwrap_or_else(|| name.operation_id());
    let summary = arguments.summary.clone().unwrap_or_else(|| format!("Accept {event_type}"));
    let route = NewRoute {
        name: name.clone(),
        event_type: event_type.clone(),
        queue: queue.clone(),
        fifo,
        auth: *auth,
        scopes: scopes.clone(),
        operation_id,
        summary,
    };
    let before = project.text(CONTRACT)?;
    let added = contract::add(CONTRACT, &before, &route)?;
    let contract = parsed(&before, &added.text)?;
    let mut notes = added.notes;
    if *auth == Auth::Bearer && added.text.contains(REPLACE_THIS) {
        notes.push(format!("write the issuer and the audience of your tokens into {CONTRACT}, at {REPLACE_THIS}"));
    }
    project.set(CONTRACT, Some(added.text))?;
    declare(&mut project, queue, fifo, &mut notes)?;
    synced(&mut project, &contract)?;
    if *auth == Auth::Jwt {
        let authorized = sync::with_authorizer(TEMPLATE, &project.text(TEMPLATE)?, &name.to_string(), scopes)?;
        project.set(TEMPLATE, Some(authorized.text))?;
        if let Some(event) = authorized.catch_all {
            notes.push(format!("remove the event {event} from {TEMPLATE}: infra/jwt-authorizer.yaml says why"));
        }
    }
    check(&mut project)?;
    // If values of the request are part of the type, the handler is registered for the prefix before them.
    let handled = match event_type.split_once('{') {
        None => Some(event_type.clone()),
        Some((prefix, _)) => prefix.strip_suffix('.').map(|prefix| format!("{prefix}.*")),
    };
    if let Some(handled) = handled.filter(|handled| names::handled_type(handled).is_ok())
        && project.optional(&handler_path(&names::snake(&handled)))?.is_none()
    {
        notes.push(format!("next: `sluicegate add handler '{handled}'`"));
    }
    Ok(Ready { project, notes, unchanged: format!("{name} is there") })
}

fn add_queue(arguments: &QueueArguments) -> Result<Ready, CommandError> {
    let mut project = Project::open(arguments.common.project.as_deref())?;
    let mut notes = Vec::new();
    declare(&mut project, &arguments.name, arguments.fifo, &mut notes)?;
    check(&mut project)?;
    Ok(Ready { project, notes, unchanged: format!("the queue {} is there", arguments.name) })
}

fn add_handler(arguments: &HandlerArguments) -> Result<Ready, CommandError> {
    let mut project = Project::open(arguments.common.project.as_deref())?;
    let handler = NewHandler { event_type: arguments.event_type.clone(), is_json: !arguments.bytes };
    let (module, path) = (handler.module(), handler_path(&handler.module()));
    let is_new = project.optional(&path)?.is_none();
    let handlers = project.text(HANDLERS)?;
    if is_new && register::is_declared(&handlers, &module) {
        return Err(format!(
            "{HANDLERS}: declares the module {module}, and {path} is not there: remove that line first"
        )
        .into());
    }
    if is_new {
        let contract = project.text(CONTRACT)?;
        let widths = widths(&mut project)?;
        project.set(&path, Some(handler.source(CONTRACT, &contract, widths)?))?;
    }
    let declared = register::with_unix_lines(&handlers, |text| register::declare(HANDLERS, text, &module))?;
    project.set(HANDLERS, Some(declared))?;
    let method = if handler.is_json { "on_json" } else { "on" };
    let call = Call { method, event_type: handler.event_type.clone(), module };
    let (main, widths) = (project.text(CONSUMER)?, widths(&mut project)?);
    let registered = register::with_unix_lines(&main, |text| register::register(CONSUMER, text, &call, widths))?;
    project.set(CONSUMER, Some(registered))?;
    let mut notes = Vec::new();
    if is_new {
        notes.push(format!("your work goes into {path}"));
        if handler.is_json && !handler.has_schema(CONTRACT, &project.text(CONTRACT)?)? {
            notes.push(format!("the contract has no schema for {}: write the fields of its type", handler.event_type));
        }
    }
    Ok(Ready { project, notes, unchanged: format!("the handler of {} is there", handler.event_type) })
}

/// Declares the queue, unless the template has it.
fn declare(project: &mut Project, name: &str, fifo: bool, notes: &mut Vec<String>) -> Result<(), CommandError> {
    let template = project.text(TEMPLATE)?;
    if queue::state(TEMPLATE, &template, name)? == State::Foreign {
        notes.push(format!("the template binds the queue {name} by a declaration of its own, which stays"));
        return Ok(());
    }
    if project.optional(QUEUE_TEMPLATE)?.is_none() {
        return Err(format!("there is no {QUEUE_TEMPLATE}, which declares a queue: copy it from a new project").into());
    }
    names::check_length(&project.root, name, fifo)?;
    project.set(TEMPLATE, Some(queue::add(TEMPLATE, &template, name, fifo)?))
}

/// Reads the contract after an edit. Faults that were there before are reported as such.
pub(crate) fn parsed(before: &str, after: &str) -> Result<Contract, CommandError> {
    Contract::parse(CONTRACT, after).map_err(|faults| match Contract::parse(CONTRACT, before) {
        // A contract without an operation is faulty, and the first route fixes it.
        Err(faults) if before == after || contract::has_operations(CONTRACT, before).unwrap_or(true) => {
            format!("{CONTRACT} has {} fault(s); correct them first\n{faults}", faults.len()).into()
        }
        _ => format!("nothing was written, because {CONTRACT} would have faults\n{faults}").into(),
    })
}

/// Writes the routes of the contract into the template.
pub(crate) fn synced(project: &mut Project, contract: &Contract) -> Result<(), CommandError> {
    let text = project.text(TEMPLATE)?;
    match sync::sync(TEMPLATE, &text, contract)? {
        Some(synced) => project.set(TEMPLATE, Some(synced.text)),
        None => Ok(()),
    }
}

/// Reads the template, for every broker, as `cargo local` does.
pub(crate) fn check(project: &mut Project) -> Result<(), CommandError> {
    let (before, after) = (project.before(TEMPLATE).unwrap_or_default().to_owned(), project.text(TEMPLATE)?);
    // Nested templates are read beside it.
    let file = project.root.join(TEMPLATE).display().to_string();
    if let Err(faults) = planned(&file, &after) {
        return Err(match planned(&file, &before) {
            Err(faults) => format!("{TEMPLATE} has {} fault(s); correct them first\n{faults}", faults.len()).into(),
            Ok(()) => format!("nothing was written, because {TEMPLATE} would have faults\n{faults}").into(),
        });
    }
    Ok(())
}

fn planned(file: &str, template: &str) -> Result<(), Faults> {
    let document = TemplateDocument::parse(file, template)?;
    let brokers = document.root.follow("/Parameters/Broker/AllowedValues").map_or(&[][..], Node::items);
    let broker = |broker: &str| Settings {
        parameters: [("Broker".to_owned(), broker.to_owned())].into(),
        ..Settings::default()
    };
    let all = brokers.iter().filter_map(Node::text).map(broker).chain([Settings::default()]);
    all.into_iter().try_for_each(|settings| StackPlan::read(file, template, &settings).map(drop))
}

pub(crate) fn handler_path(module: &str) -> String {
    format!("{HANDLER_FOLDER}/{module}.rs")
}

pub(crate) fn widths(project: &mut Project) -> Result<Widths, CommandError> {
    Ok(Widths::of(&project.optional("rustfmt.toml")?.unwrap_or_default()))
}
