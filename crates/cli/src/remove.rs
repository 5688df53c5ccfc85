//! `sluicegate remove`: removes what `sluicegate add` wrote.

use std::{path::Path, process::ExitCode};

use clap::{Args, Subcommand};

use crate::{
    CommandError,
    add::{
        self, Common, Ready, contract,
        handler::NewHandler,
        names,
        project::{CONSUMER, HANDLERS, Project, QUEUE_TEMPLATE},
        queue::{self, State},
        register,
    },
    paths::{CONTRACT, TEMPLATE},
};

/// Remove a route, a queue or a handler from the files of the project
///
/// The files get the content that they had before `sluicegate add`. Edited parts are kept or refused, unless --force is
/// set.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Route(RouteArguments),
    Queue(QueueArguments),
    Handler(HandlerArguments),
}

/// Remove a route, with the components that only it used, and its queue if that has no other route
///
/// A component or a queue that differs from what `add` writes stays, and is reported. A removed queue stays at SQS with
/// its messages, which are then not processed: docs/deploy.md says how to delete it.
#[derive(Args)]
struct RouteArguments {
    /// Method and path in one argument: 'POST /invoices'
    #[arg(value_name = "METHOD /path", value_parser = names::RouteName::parse)]
    route: names::RouteName,
    /// Keep the queue although no other route uses it
    #[arg(long)]
    keep_queue: bool,
    /// Remove components and the queue that were edited, too
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    common: Common,
}

/// Remove a queue that no route uses: its declaration and its variable
///
/// The queue stays at SQS with its messages: docs/deploy.md says how to delete it.
#[derive(Args)]
struct QueueArguments {
    /// The queue's name
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    common: Common,
}

/// Remove a handler: its file, its module and its registration
#[derive(Args)]
struct HandlerArguments {
    /// The event type for which the handler is registered
    #[arg(value_name = "TYPE", value_parser = names::handled_type)]
    event_type: String,
    /// Delete the file even if it differs from what `sluicegate add handler` writes
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    add::print(work(arguments))
}

/// Runs the command; returns the lines to print.
pub(crate) fn work(arguments: &Arguments) -> Result<Vec<String>, CommandError> {
    match &arguments.what {
        What::Route(arguments) => route(arguments)?.finish(&arguments.common),
        What::Queue(arguments) => queue(arguments)?.finish(&arguments.common),
        What::Handler(arguments) => handler(arguments)?.finish(&arguments.common),
    }
}

/// Removes a route of the example from the new project in this folder, with all that only it used.
pub(crate) fn example_route(folder: &Path, name: &str) -> Result<(), CommandError> {
    let arguments = RouteArguments {
        route: names::RouteName::parse(name)?,
        keep_queue: false,
        force: true,
        common: Common { dry_run: false, project: Some(folder.to_owned()) },
    };
    route(&arguments)?.finish(&arguments.common).map(drop)
}

fn route(arguments: &RouteArguments) -> Result<Ready, CommandError> {
    let RouteArguments { route: name, keep_queue, force, .. } = arguments;
    let mut project = Project::open(arguments.common.project.as_deref())?;
    let before = project.text(CONTRACT)?;
    let unchanged = format!("{CONTRACT} has no {name}");
    let Some(removed) = contract::remove(CONTRACT, &before, name, *force)? else {
        return Ok(Ready { project, notes: Vec::new(), unchanged });
    };
    if !contract::has_operations(CONTRACT, &removed.text)? {
        return Err(format!("{name} is the last route, and a contract has one at least: add another first").into());
    }
    let after = add::parsed(&before, &removed.text)?;
    project.set(CONTRACT, Some(removed.text.clone()))?;
    add::synced(&mut project, &after)?;
    let mut notes: Vec<String> = removed.left.iter().map(|left| left_over(CONTRACT, left)).collect();
    for queue in removed.queues.iter().filter(|_| !keep_queue) {
        if contract::routes_of(CONTRACT, &removed.text, queue)?.is_empty() {
            take_queue(&mut project, queue, *force, &mut notes)?;
        }
    }
    add::check(&mut project)?;
    let event_type = &removed.event_type;
    if !event_type.contains('{') && project.optional(&add::handler_path(&names::snake(event_type)))?.is_some() {
        notes.push(format!("its handler stays: `sluicegate remove handler {event_type}`"));
    }
    Ok(Ready { project, notes, unchanged })
}

fn left_over(file: &str, what: &str) -> String {
    format!("{what} in {file} is not used any more and stays, because it was edited; --force removes it")
}

/// Removes a queue without a route. An edited queue stays, unless `force` is set.
fn take_queue(project: &mut Project, name: &str, force: bool, notes: &mut Vec<String>) -> Result<(), CommandError> {
    let template = project.text(TEMPLATE)?;
    let State::Declared { fifo } = queue::state(TEMPLATE, &template, name)? else { return Ok(()) };
    let removed = match queue::remove(TEMPLATE, &template, name) {
        Ok(removed) => removed,
        Err(reason) => {
            notes.push(format!("the queue {name} has no route now and stays: {reason}"));
            return Ok(());
        }
    };
    if !force && queue::add(TEMPLATE, &removed, name, fifo)? != template {
        notes.push(format!(
            "the queue {name} has no route now and stays, because it was edited: `sluicegate remove queue {name}`"
        ));
        return Ok(());
    }
    project.set(TEMPLATE, Some(removed))?;
    notes.push(format!("the queue {name} is removed with its last route; at SQS it stays, and is not read any more"));
    Ok(())
}

fn queue(arguments: &QueueArguments) -> Result<Ready, CommandError> {
    let name = &arguments.name;
    let mut project = Project::open(arguments.common.project.as_deref())?;
    let routes = contract::routes_of(CONTRACT, &project.text(CONTRACT)?, name)?;
    if !routes.is_empty() {
        return Err(format!(
            "the queue {name} is used by {}: `sluicegate remove route` removes the queue with its last route",
            routes.join(", ")
        )
        .into());
    }
    let template = project.text(TEMPLATE)?;
    let mut notes = Vec::new();
    match queue::state(TEMPLATE, &template, name)? {
        State::Foreign => {
            return Err(format!("{TEMPLATE} declares {name} without {QUEUE_TEMPLATE}: remove it by hand").into());
        }
        State::Declared { .. } => notes.push(format!("at SQS the queue {name} stays, and is not read any more")),
        State::Absent => {}
    }
    project.set(TEMPLATE, Some(queue::remove(TEMPLATE, &template, name)?))?;
    add::check(&mut project)?;
    Ok(Ready { project, notes, unchanged: format!("there is no queue {name}") })
}

fn handler(arguments: &HandlerArguments) -> Result<Ready, CommandError> {
    let HandlerArguments { event_type, force, .. } = arguments;
    let mut project = Project::open(arguments.common.project.as_deref())?;
    let module = names::snake(event_type);
    let path = add::handler_path(&module);
    if let Some(source) = project.optional(&path)? {
        // The route, and the schema with it, may have been removed before the handler.
        let contracts = [project.text(CONTRACT)?, contract::with_skeleton(event_type), "openapi: 3.1.1\n".to_owned()];
        let widths = add::widths(&mut project)?;
        let is_as_added = |contract: &String| {
            let written = [true, false].map(|is_json| NewHandler { event_type: event_type.clone(), is_json });
            written.iter().any(|handler| handler.source(CONTRACT, contract, widths).is_ok_and(|text| text == source))
        };
        if !force && !contracts.iter().any(is_as_added) {
            return Err(format!(
                "{path} is not as `sluicegate add handler` writes it, or its schema changed: --force deletes it"
            )
            .into());
        }
        project.set(&path, None)?;
    }
    let (handlers, main) = (project.text(HANDLERS)?, project.text(CONSUMER)?);
    let undeclared = register::with_unix_lines(&handlers, |text| Ok(register::undeclare(text, &module)))?;
    project.set(HANDLERS, Some(undeclared))?;
    let widths = add::widths(&mut project)?;
    let unregistered = register::with_unix_lines(&main, |text| register::unregister(CONSUMER, text, &module, widths))?;
    project.set(CONSUMER, Some(unregistered))?;
    Ok(Ready { project, notes: Vec::new(), unchanged: format!("there is no handler of {event_type}") })
}
