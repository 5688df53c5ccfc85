//! The files of a project, edited together: all are checked before one is written.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use similar::TextDiff;
pub(crate) use sluicegate_sam::QUEUE_TEMPLATE;

use crate::CommandError;
use crate::paths;

/// The consumer's `main`, in which handlers are registered.
pub(crate) const CONSUMER: &str = "functions/consumer/src/main.rs";
/// The consumer's list of handlers.
pub(crate) const HANDLERS: &str = "functions/consumer/src/handlers.rs";
/// The folder of the handlers.
pub(crate) const HANDLER_FOLDER: &str = "functions/consumer/src/handlers";

/// Lines of context in a diff.
const CONTEXT_LINES: usize = 3;

/// A project and the changes to its files, none of which is written yet.
#[derive(Debug)]
pub(crate) struct Project {
    pub root: PathBuf,
    files: BTreeMap<String, Change>,
}

/// The text of a file; `None` if there is no such file.
#[derive(Debug)]
struct Change {
    before: Option<String>,
    after: Option<String>,
}

impl Project {
    /// Opens the project at `root`, or the one around the current folder.
    pub(crate) fn open(root: Option<&Path>) -> Result<Self, CommandError> {
        let root = match root {
            Some(root) => root.to_owned(),
            None => {
                let template = paths::or_default(None, paths::TEMPLATE);
                template.parent().map(Path::to_owned).unwrap_or_default()
            }
        };
        if !root.join(paths::TEMPLATE).is_file() {
            let folder =
                if root.as_os_str().is_empty() { "this folder".to_owned() } else { root.display().to_string() };
            return Err(format!(
                "{folder} has no {}: run this in a project, or name one with --project",
                paths::TEMPLATE
            )
            .into());
        }
        Ok(Self { root, files: BTreeMap::new() })
    }

    /// Returns the text of a file, changes included; `None` if there is no such file.
    pub(crate) fn optional(&mut self, path: &str) -> Result<Option<String>, CommandError> {
        if !self.files.contains_key(path) {
            let text = match fs::read_to_string(self.root.join(path)) {
                Ok(text) => Some(text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(format!("cannot read {path}: {error}").into()),
            };
            self.files.insert(path.to_owned(), Change { before: text.clone(), after: text });
        }
        Ok(self.files.get(path).and_then(|file| file.after.clone()))
    }

    /// Returns the text of a file, changes included.
    pub(crate) fn text(&mut self, path: &str) -> Result<String, CommandError> {
        self.optional(path)?.ok_or_else(|| format!("there is no {path}").into())
    }

    /// Returns the text of a file that was read, without the changes.
    pub(crate) fn before(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.before.as_deref()
    }

    /// Sets the new text of a file; `None` removes the file.
    pub(crate) fn set(&mut self, path: &str, text: Option<String>) -> Result<(), CommandError> {
        self.optional(path)?;
        if let Some(file) = self.files.get_mut(path) {
            file.after = text;
        }
        Ok(())
    }

    fn changed(&self) -> impl Iterator<Item = (&str, &Change)> {
        self.files.iter().map(|(path, change)| (path.as_str(), change)).filter(|(_, it)| it.before != it.after)
    }

    /// Returns whether no file changes.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.changed().next().is_none()
    }

    /// Returns the changes as a unified diff, which `git apply` and `patch -p1` read.
    pub(crate) fn diff(&self) -> String {
        let name = |side: &str, path: &str, text: Option<&String>| match text {
            Some(_) => format!("{side}/{path}"),
            None => "/dev/null".to_owned(),
        };
        let diffs = self.changed().map(|(path, change)| {
            let (before, after) = (change.before.as_ref(), change.after.as_ref());
            let empty = String::new();
            let diff = TextDiff::from_lines(before.unwrap_or(&empty), after.unwrap_or(&empty));
            let mut diff = diff.unified_diff();
            diff.context_radius(CONTEXT_LINES).header(&name("a", path, before), &name("b", path, after)).to_string()
        });
        diffs.collect()
    }

    /// Returns a line for each changed file: its path and the numbers of added and removed lines.
    pub(crate) fn summary(&self) -> Vec<String> {
        let line = |(path, change): (&str, &Change)| {
            let empty = String::new();
            let (before, after) = (change.before.as_ref(), change.after.as_ref());
            let diff = TextDiff::from_lines(before.unwrap_or(&empty), after.unwrap_or(&empty));
            let count = |tag| diff.iter_all_changes().filter(|change| change.tag() == tag).count();
            let (more, less) = (count(similar::ChangeTag::Insert), count(similar::ChangeTag::Delete));
            let what = if before.is_none() {
                ", new"
            } else if after.is_none() {
                ", removed"
            } else {
                ""
            };
            format!("{path}: +{more} -{less}{what}")
        };
        self.changed().map(line).collect()
    }

    /// Writes every change, or none: new texts are first written to temporary files beside their targets, and targets
    /// that were replaced before an error are restored.
    pub(crate) fn write(&self) -> Result<(), CommandError> {
        let mut ready = Vec::new();
        let mut made = Vec::new();
        let result = self.prepare(&mut ready, &mut made).and_then(|()| self.replace());
        if result.is_err() {
            for file in &ready {
                let _ = fs::remove_file(file);
            }
            for folder in made.iter().rev() {
                let _ = fs::remove_dir(folder);
            }
        }
        result
    }

    fn prepare(&self, ready: &mut Vec<PathBuf>, made: &mut Vec<PathBuf>) -> Result<(), CommandError> {
        for (path, change) in self.changed() {
            let target = target(&self.root, path);
            let Some(text) = &change.after else { continue };
            if let Some(folder) = target.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
                fs::create_dir(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
                made.push(folder.to_owned());
            }
            let beside = beside(&target);
            ready.push(beside.clone());
            let cannot = |error| format!("cannot write {}: {error}", beside.display());
            fs::write(&beside, text).map_err(cannot)?;
            if change.before.is_some() {
                let permissions = fs::metadata(&target).map_err(cannot)?.permissions();
                fs::set_permissions(&beside, permissions).map_err(cannot)?;
            }
        }
        Ok(())
    }

    fn replace(&self) -> Result<(), CommandError> {
        let mut done: Vec<(PathBuf, Option<&String>)> = Vec::new();
        for (path, change) in self.changed() {
            let target = target(&self.root, path);
            let replaced = match &change.after {
                Some(_) => fs::rename(beside(&target), &target),
                None => fs::remove_file(&target),
            };
            if let Err(error) = replaced {
                let mut reason = format!("cannot write {path}: {error}");
                for (target, before) in done.iter().rev() {
                    let restored = before.map_or_else(|| fs::remove_file(target), |text| fs::write(target, text));
                    if let Err(error) = restored {
                        reason += &format!("\ncannot restore {}: {error}", target.display());
                    }
                }
                return Err(reason.into());
            }
            done.push((target, change.before.as_ref()));
        }
        // Fails unless the folder is empty: the folder of the handlers goes with its last file.
        for (path, _) in self.changed().filter(|(_, change)| change.after.is_none()) {
            if let Some(folder) = self.root.join(path).parent() {
                let _ = fs::remove_dir(folder);
            }
        }
        Ok(())
    }
}

/// Returns the path of a file with links resolved, so that a linked file is written and the link stays.
fn target(root: &Path, path: &str) -> PathBuf {
    let path = root.join(path);
    fs::canonicalize(&path).unwrap_or(path)
}

/// Returns the path of the temporary file, beside its target, that holds the new text.
fn beside(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.sluicegate-new"))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, path::Path};

    use super::Project;

    /// The files of a project before and after its changes, in the order in which they are written.
    const CHANGES: &[(&str, Option<&str>, Option<&str>)] = &[
        ("a.txt", Some("old"), Some("new")),
        ("b/new.txt", None, Some("new")),
        ("c.txt", Some("old"), None),
        ("template.yaml", Some("old"), Some("new")),
        ("z.txt", Some("old"), Some("new")),
    ];

    /// Returns every file and folder with its text; a folder has none.
    fn everything(folder: &Path) -> BTreeMap<String, Option<String>> {
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() {
                all.extend(everything(&entry.path()).into_iter().map(|(path, text)| (format!("{name}/{path}"), text)));
                all.insert(name, None);
            } else {
                all.insert(name, Some(fs::read_to_string(entry.path()).expect("text")));
            }
        }
        all
    }

    #[test]
    fn a_change_that_fails_leaves_every_file_as_it_was() {
        for fails in [None, Some("a.txt"), Some("c.txt"), Some("template.yaml"), Some("z.txt")] {
            let folder = tempfile::tempdir().expect("a folder");
            for (path, before, _) in CHANGES {
                before.iter().for_each(|text| fs::write(folder.path().join(path), text).expect("written"));
            }
            let mut project = Project::open(Some(folder.path())).expect("a project");
            for (path, _, after) in CHANGES {
                project.set(path, after.map(str::to_owned)).expect("readable");
            }
            // A folder in the place of a file, which a rename does not replace and a removal does not remove, even for
            // root.
            if let Some(path) = fails {
                fs::remove_file(folder.path().join(path)).expect("removed");
                fs::create_dir(folder.path().join(path)).expect("made");
            }
            let before = everything(folder.path());
            match (project.write(), fails) {
                (Ok(()), None) => {
                    let expected = CHANGES.iter().filter_map(|(path, _, after)| Some((*path, (*after)?)));
                    let mut found = everything(folder.path());
                    assert_eq!(found.remove("b"), Some(None));
                    let found = found.iter().filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)));
                    assert!(found.eq(expected), "{:?}", everything(folder.path()));
                }
                (Err(error), Some(path)) => {
                    let reason = error.to_string();
                    assert!(reason.starts_with(&format!("cannot write {path}: ")), "{reason}");
                    assert!(!reason.contains("cannot restore"), "{reason}");
                    assert_eq!(everything(folder.path()), before, "{path}");
                }
                (result, _) => panic!("{fails:?}: {result:?}"),
            }
        }
    }
}
