//! What a check says, and all that was found.

use std::fmt;

use serde::Serialize;

use crate::{checks::checks, inventory::Origin, model::Model};

/// How bad it is. The order is from worst to least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Messages are lost or blocked, or the stack cannot be deployed.
    Error,
    /// Messages are delayed, cost more than they need, or what happens to them stays hidden.
    Warning,
    /// Worth knowing; may well be as wanted.
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

/// One thing that is looked for.
#[derive(Debug, Serialize)]
pub struct Check {
    /// Its name, which stays the same: kebab-case.
    pub id: &'static str,
    /// How bad it is wherever it is found.
    pub severity: Severity,
    /// What is looked for, in a line.
    pub title: &'static str,
    /// What happens then.
    pub why: &'static str,
    /// How it is mended.
    pub mend: &'static str,
    /// Where this is written.
    pub source: &'static str,
    #[serde(skip)]
    pub(crate) find: fn(&Model<'_>, &mut Hits),
}

/// Where a check found something, and what.
#[derive(Debug, Default)]
pub(crate) struct Hits(Vec<(Origin, String, String)>);

impl Hits {
    /// Something about a property (or, if that is empty, about the whole) of what is written at `origin`.
    pub(crate) fn add(&mut self, origin: &Origin, property: &str, what: impl Into<String>) {
        self.0.push((origin.clone(), property.to_owned(), what.into()));
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The [`Check::id`].
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The resource's name in the template, behind those of the stacks it is nested in.
    pub resource: String,
    /// The template's file; none for what is deployed.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What happens then.
    pub why: &'static str,
    /// How it is mended.
    pub mend: &'static str,
    /// Where this is written.
    pub source: &'static str,
}

/// All that was found, worst first.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How many of them are errors.
    pub errors: usize,
    /// How many are warnings.
    pub warnings: usize,
    /// How many are merely worth knowing.
    pub infos: usize,
    /// What was found.
    pub findings: Vec<Finding>,
    /// What could not be looked at, and why.
    pub notes: Vec<String>,
}

impl Report {
    pub(crate) fn of(model: &Model<'_>, notes: Vec<String>) -> Self {
        let mut findings = Vec::new();
        for check in checks() {
            let mut hits = Hits::default();
            (check.find)(model, &mut hits);
            findings.extend(hits.0.into_iter().map(|(origin, property, what)| {
                let place = origin.place(&property);
                Finding {
                    check: check.id,
                    severity: check.severity,
                    file: place.map(|(file, _)| file.to_owned()),
                    line: place.map(|(_, line)| line),
                    resource: origin.id,
                    what,
                    why: check.why,
                    mend: check.mend,
                    source: check.source,
                }
            }));
        }
        findings.sort_by_key(|finding| finding.severity);
        let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
        let (errors, warnings, infos) = (count(Severity::Error), count(Severity::Warning), count(Severity::Info));
        Self { errors, warnings, infos, findings, notes }
    }
}

/// The findings of each check together, and then the counts.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in self.findings.chunk_by(|one, next| one.check == next.check) {
            let [first, ..] = group else { continue };
            writeln!(f, "{} {}", first.severity, first.check)?;
            for Finding { resource, file, line, what, .. } in group {
                match (file, line) {
                    (Some(file), Some(line)) => writeln!(f, "  {file}:{line}: {resource}: {what}")?,
                    _ => writeln!(f, "  {resource}: {what}")?,
                }
            }
            writeln!(f, "  why:  {}\n  mend: {}\n  see:  {}\n", first.why, first.mend, first.source)?;
        }
        for note in &self.notes {
            writeln!(f, "not looked at: {note}")?;
        }
        let Self { errors, warnings, infos, .. } = self;
        write!(f, "{errors} error(s), {warnings} warning(s), {infos} worth knowing")
    }
}
