//! Rebuilds when sources change, and restarts the functions whose executable changed.
//!
//! After a failed build the old functions keep running.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use sluicegate_lambda_emulator::Function;
use sluicegate_sam::FunctionPlan;
use tokio::time::sleep;

use super::{
    functions::{build_group, folder, groups, of_functions},
    options::Options,
};
use crate::{
    admin::Health,
    cargo_build::{BuildError, Folders},
    running_functions::RunningFunctions,
    sources::{self, Fingerprint},
    terminal::Terminal,
};

/// Pause between two scans of the sources.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// Scans the sources of the functions; returns the fingerprints by the root of the sources.
pub(super) fn fingerprints(template: &Path, plans: &[FunctionPlan]) -> BTreeMap<PathBuf, Fingerprint> {
    let roots = groups(template, plans).into_keys();
    roots.map(|root| (root.clone(), sources::fingerprint(&root))).collect()
}

/// What is restarted, and where that is recorded.
pub(super) struct Watched {
    pub(super) functions: BTreeMap<String, Function>,
    pub(super) running: RunningFunctions,
    pub(super) health: Health,
}

/// Watches until aborted. `seen` holds the fingerprints from before the first build, so that no change is missed.
pub(super) async fn watch(
    options: Options,
    plans: Vec<FunctionPlan>,
    mut seen: BTreeMap<PathBuf, Fingerprint>,
    mut executables: BTreeMap<String, PathBuf>,
    watched: Watched,
) {
    let terminal = &options.terminal;
    let groups = groups(&options.template, &plans);
    let mut template = sources::written(&options.template);
    let mut running: BTreeMap<&str, Option<SystemTime>> = BTreeMap::new();
    for plan in &plans {
        running.insert(&plan.name, executables.get(&plan.name).and_then(|path| sources::written(path)));
    }
    loop {
        sleep(WATCH_INTERVAL).await;
        for (root, folders) in &groups {
            let now = look(root).await;
            if seen.insert(root.clone(), now) == Some(now) {
                continue;
            }
            match build_group(&options, folders, true).await {
                Ok(built) => {
                    watched.built(&plans, &options.template, folders, None);
                    for (folder, built) in &built {
                        executables.extend(of_functions(&options.template, &plans, folder, built));
                    }
                }
                Err(error) => {
                    terminal.error(format_args!("{error}; the old functions keep running"));
                    let errors = match &error {
                        BuildError::Compile(failed) => failed.errors().await,
                        error => error.to_string(),
                    };
                    watched.built(&plans, &options.template, folders, Some(&errors));
                    continue;
                }
            }
            // Restarts the functions of this root before the next one is built.
            for plan in &plans {
                let (Some(function), Some(binary)) = (watched.functions.get(&plan.name), executables.get(&plan.name))
                else {
                    continue;
                };
                let written = sources::written(binary);
                if running.insert(&plan.name, written) != Some(written) {
                    watched.restart(terminal, function, binary).await;
                }
            }
        }
        if sources::written(&options.template) != template {
            template = sources::written(&options.template);
            terminal.warn(format_args!("{} changed: restart to use it", options.template.display()));
        }
    }
}

impl Watched {
    /// Records the result of a build of these folders.
    fn built(&self, plans: &[FunctionPlan], template: &Path, folders: &Folders, errors: Option<&str>) {
        for plan in plans.iter().filter(|plan| folders.contains_key(&folder(template, plan))) {
            self.running.built(&plan.name, errors.map(str::to_owned));
        }
    }

    async fn restart(&self, terminal: &Terminal, function: &Function, binary: &Path) {
        let name = function.name();
        match function.replace(binary.to_owned()).await {
            Ok(()) => {
                self.running.restarted(name);
                self.health.up(name);
                terminal.line(format_args!("Restarted {name}"));
            }
            Err(error) => {
                self.health.down(name, &error.to_string());
                terminal.error(error);
            }
        }
    }
}

async fn look(folder: &Path) -> Fingerprint {
    let folder = folder.to_owned();
    tokio::task::spawn_blocking(move || sources::fingerprint(&folder)).await.unwrap_or_default()
}
