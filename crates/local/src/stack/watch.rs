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
    functions::{build_group, groups, of_functions},
    options::Options,
};
use crate::{
    admin::Health,
    sources::{self, Fingerprint},
};

/// Pause between two scans of the sources.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// Scans the sources of the functions; returns the fingerprints by the root of the sources.
pub(super) fn fingerprints(template: &Path, plans: &[FunctionPlan]) -> BTreeMap<PathBuf, Fingerprint> {
    let roots = groups(template, plans).into_keys();
    roots.map(|root| (root.clone(), sources::fingerprint(&root))).collect()
}

/// Watches until aborted. `seen` holds the fingerprints from before the first build, so that no change is missed.
pub(super) async fn watch(
    options: Options,
    plans: Vec<FunctionPlan>,
    mut seen: BTreeMap<PathBuf, Fingerprint>,
    functions: BTreeMap<String, Function>,
    mut executables: BTreeMap<String, PathBuf>,
    health: Health,
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
                    for (folder, built) in &built {
                        executables.extend(of_functions(&options.template, &plans, folder, built));
                    }
                }
                Err(error) => {
                    terminal.error(format_args!("{error}; the old functions keep running"));
                    continue;
                }
            }
            // Restarts the functions of this root before the next one is built.
            for plan in &plans {
                let (Some(function), Some(binary)) = (functions.get(&plan.name), executables.get(&plan.name)) else {
                    continue;
                };
                let written = sources::written(binary);
                if running.insert(&plan.name, written) != Some(written) {
                    restart(&options, &health, function, binary).await;
                }
            }
        }
        if sources::written(&options.template) != template {
            template = sources::written(&options.template);
            terminal.warn(format_args!("{} changed: restart to use it", options.template.display()));
        }
    }
}

async fn restart(options: &Options, health: &Health, function: &Function, binary: &Path) {
    let (name, terminal) = (function.name(), &options.terminal);
    match function.replace(binary.to_owned()).await {
        Ok(()) => {
            health.up(name);
            terminal.line(format_args!("Restarted {name}"));
        }
        Err(error) => {
            health.down(name, &error.to_string());
            terminal.error(error);
        }
    }
}

async fn look(folder: &Path) -> Fingerprint {
    let folder = folder.to_owned();
    tokio::task::spawn_blocking(move || sources::fingerprint(&folder)).await.unwrap_or_default()
}
