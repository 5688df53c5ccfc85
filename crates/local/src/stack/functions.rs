//! The functions of a stack: their executables and their start.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use sluicegate_lambda_emulator::{Concurrency, Function, FunctionSpec};
use sluicegate_sam::FunctionPlan;
use tokio::task::JoinSet;

use super::{
    Addresses,
    concurrency::concurrency_default,
    error::StackError,
    options::Options,
    planning::{KAFKA_CONNECTION, KAFKA_SERVERS},
    shared::Shared,
};
use crate::cargo_build::{self, BuildError, Executable, Folders};
use crate::{sources, terminal::Terminal};

/// Sets the binary of each function without `Binary`, by SAM's rule.
pub(super) async fn name_binaries(
    template: &Path,
    functions: &mut [FunctionPlan],
    terminal: &Terminal,
) -> Result<(), BuildError> {
    for function in functions.iter_mut().filter(|function| function.binary.is_none()) {
        function.binary = Some(cargo_build::only_binary(&folder(template, function), terminal).await?);
    }
    Ok(())
}

/// Builds the functions; returns the executable of each by the function's name.
pub(super) async fn build(
    options: &Options,
    functions: &[FunctionPlan],
) -> Result<BTreeMap<String, PathBuf>, StackError> {
    let mut executables = BTreeMap::new();
    if let Some(binaries) = &options.binaries {
        for function in functions {
            let binary = function.binary.as_deref().unwrap_or(&function.logical_id);
            let path = binaries.get(binary).ok_or_else(|| BuildError::Missing(binary.to_owned()))?;
            executables.insert(function.name.clone(), path.clone());
        }
        return Ok(executables);
    }
    let mut package_of: BTreeMap<PathBuf, String> = BTreeMap::new();
    for group in groups(&options.template, functions).into_values() {
        let built = build_group(options, &group, false).await?;
        for Executable { path, package } in built.values().flat_map(BTreeMap::values) {
            if package_of.insert(path.clone(), package.clone()).is_some_and(|other| other != *package) {
                return Err(BuildError::SamePath { path: path.clone() }.into());
            }
        }
        for (folder, built) in &built {
            executables.extend(of_functions(&options.template, functions, folder, built));
        }
    }
    Ok(executables)
}

/// Builds the folders of one group, because their sources changed if `is_changed`, and reports the build.
pub(super) async fn build_group(
    options: &Options,
    group: &Folders,
    is_changed: bool,
) -> Result<BTreeMap<PathBuf, BTreeMap<String, Executable>>, BuildError> {
    let terminal = &options.terminal;
    for (folder, names) in group {
        terminal.building(is_changed, names, folder);
    }
    let built = cargo_build::build_all(group, options.release, options.command.as_ref(), terminal).await;
    terminal.built(built.is_ok());
    built
}

/// Returns the executables of the functions built in `folder`, by the functions' names.
pub(super) fn of_functions<'a>(
    template: &'a Path,
    functions: &'a [FunctionPlan],
    folder: &'a Path,
    built: &'a BTreeMap<String, Executable>,
) -> impl Iterator<Item = (String, PathBuf)> + 'a {
    let here = functions.iter().filter(move |function| self::folder(template, function) == folder);
    here.filter_map(|function| Some((function.name.clone(), built.get(function.binary.as_deref()?)?.path.clone())))
}

/// Returns the folder that a function is built in.
pub(super) fn folder(template: &Path, function: &FunctionPlan) -> PathBuf {
    let base = template.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // `./.` and `.` are the same folder, so one build.
    base.join(&function.code_uri).components().collect()
}

/// Returns the folders to build, by the root of their sources.
pub(super) fn groups(template: &Path, functions: &[FunctionPlan]) -> BTreeMap<PathBuf, Folders> {
    let mut groups: BTreeMap<PathBuf, Folders> = BTreeMap::new();
    for (folder, names) in folders(template, functions) {
        groups.entry(sources::root(&folder)).or_default().insert(folder, names);
    }
    groups
}

/// Returns the binaries to build, by folder.
fn folders(template: &Path, functions: &[FunctionPlan]) -> Folders {
    let mut folders: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for function in functions {
        folders.entry(folder(template, function)).or_default().extend(function.binary.clone());
    }
    folders.into_iter().map(|(folder, names)| (folder, names.into_iter().collect())).collect()
}

/// Returns the settings of the functions.
pub(super) fn specs(
    options: &Options,
    functions: &[FunctionPlan],
    executables: &BTreeMap<String, PathBuf>,
    addresses: &Addresses,
) -> Result<Vec<FunctionSpec>, StackError> {
    let mut services = BTreeMap::from([("AWS_ENDPOINT_URL", addresses.aws.clone())]);
    if !options.published.is_empty() {
        let hosts: BTreeSet<&str> = options.published.iter().map(|document| document.host.as_str()).collect();
        let endpoints = hosts.iter().map(|host| format!("{host}={}", addresses.admin.trim_end_matches('/')));
        services.insert("KEYS_ENDPOINTS", endpoints.collect::<Vec<_>>().join(" "));
    }
    let unreserved = options.concurrency.unwrap_or_else(|| concurrency_default(functions.len()));
    let spec = |function| spec(function, executables, &services, options, unreserved);
    functions.iter().map(spec).collect()
}

fn spec(
    function: &FunctionPlan,
    executables: &BTreeMap<String, PathBuf>,
    services: &BTreeMap<&str, String>,
    options: &Options,
    unreserved: usize,
) -> Result<FunctionSpec, StackError> {
    let missing = || BuildError::Missing(function.binary.clone().unwrap_or_default());
    let binary = executables.get(&function.name).ok_or_else(missing)?;
    let mut environment = function.environment.clone();
    for (name, value) in services {
        environment.entry((*name).to_owned()).or_insert_with(|| value.clone());
    }
    if options.kafka.is_some() && environment.contains_key(KAFKA_SERVERS) {
        environment.extend(KAFKA_CONNECTION.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    Ok(FunctionSpec {
        name: function.name.clone(),
        arn: function.arn.clone(),
        // The process has another working directory, so the path must be absolute.
        binary: std::path::absolute(binary).unwrap_or_else(|_| binary.clone()),
        environment,
        memory_mb: function.memory_mb,
        timeout: function.timeout,
        concurrency: match function.reserved_concurrency {
            Some(reserved) => Concurrency::Reserved(reserved),
            None => Concurrency::Unreserved(unreserved),
        },
        freeze: options.freeze,
    })
}

/// Starts all functions at once; the first failure stops the others.
pub(super) async fn start(specs: Vec<FunctionSpec>, shared: &Shared) -> Result<BTreeMap<String, Function>, StackError> {
    let mut starting = JoinSet::new();
    for spec in specs {
        let (terminal, health, metrics) = (shared.terminal.clone(), shared.health.clone(), shared.metrics.clone());
        let (running, lines) = (shared.functions.clone(), shared.lines.clone());
        health.down(&spec.name, "starting");
        starting.spawn(async move {
            let name = spec.name.clone();
            let log = {
                let (metrics, name) = (metrics.clone(), Arc::from(name.as_str()));
                Arc::new(move |function: &str, line: &str| match metrics.take(line) {
                    true => {}
                    false => {
                        lines.push(&name, line);
                        terminal.function(function, line);
                    }
                })
            };
            match Function::start(spec, log).await {
                Ok(function) => {
                    metrics.function(&name, function.counts());
                    running.started(&function);
                    health.up(&name);
                    Ok((name, function))
                }
                Err(error) => Err(StackError::Start { error }),
            }
        });
    }
    let mut functions = BTreeMap::new();
    while let Some(started) = starting.join_next().await {
        // The function of a panicked task is left out; its routes and mappings then report the missing function.
        if let Ok(started) = started {
            functions.extend([started?]);
        }
    }
    Ok(functions)
}
