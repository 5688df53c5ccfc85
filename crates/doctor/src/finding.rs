//! Checks, their findings and the report of all findings.

use std::fmt;

use serde::Serialize;

use crate::{
    inventory::Origin,
    model::{Function, Model},
};

/// The severity of a finding, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Messages are lost or blocked, or the stack cannot be deployed.
    Error,
    /// Messages are delayed or cost more than necessary, or their loss goes unnoticed.
    Warning,
    /// Worth knowing; may be intended.
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

/// A check.
#[derive(Debug, Serialize)]
pub struct Check {
    /// The stable name, in kebab-case.
    pub id: &'static str,
    /// The severity of its findings.
    pub severity: Severity,
    /// The condition it finds, in one line.
    pub title: &'static str,
    /// The consequence.
    pub why: &'static str,
    /// The fix.
    pub fix: &'static str,
    /// The page that documents this.
    pub source: &'static str,
    #[serde(skip)]
    pub(crate) find: fn(&Model<'_>, &mut Findings),
}

/// The findings of one check: origin, property and text.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<(Origin, String, String)>);

impl Findings {
    /// Adds a finding about a property of the resource at `origin`; an empty property means the whole resource.
    pub(crate) fn add(&mut self, origin: &Origin, property: &str, what: impl Into<String>) {
        self.0.push((origin.clone(), property.to_owned(), what.into()));
    }

    /// Adds a finding about a variable of the function's environment.
    pub(crate) fn add_variable(&mut self, function: &Function, variable: &str, what: impl Into<String>) {
        self.add(&function.origin, &format!("Environment/Variables/{variable}"), what);
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The [`Check::id`].
    pub check: &'static str,
    /// The severity.
    pub severity: Severity,
    /// The resource's name in the template, after those of the stacks around it.
    pub resource: String,
    /// The template's file; `None` for a deployed resource.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// The consequence.
    pub why: &'static str,
    /// The fix.
    pub fix: &'static str,
    /// The page that documents this.
    pub source: &'static str,
}

/// All findings, worst first.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The number of errors.
    pub errors: usize,
    /// The number of warnings.
    pub warnings: usize,
    /// The number of findings that are only worth knowing.
    pub infos: usize,
    /// The findings.
    pub findings: Vec<Finding>,
    /// What was not checked.
    pub notes: Vec<String>,
}

impl Report {
    /// Runs the checks.
    pub(crate) fn of(checks: impl Iterator<Item = &'static Check>, model: &Model<'_>, notes: Vec<String>) -> Self {
        let mut findings = Vec::new();
        for check in checks {
            let mut found = Findings::default();
            (check.find)(model, &mut found);
            findings.extend(found.0.into_iter().map(|(origin, property, what)| {
                let place = origin.place(&property);
                Finding {
                    check: check.id,
                    severity: check.severity,
                    file: place.map(|(file, _)| file.to_owned()),
                    line: place.map(|(_, line)| line),
                    resource: origin.id,
                    what,
                    why: check.why,
                    fix: check.fix,
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

/// The findings, grouped by check, then the counts.
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
            writeln!(f, "  why:  {}\n  fix:  {}\n  see:  {}\n", first.why, first.fix, first.source)?;
        }
        for note in &self.notes {
            writeln!(f, "not checked: {note}")?;
        }
        let Self { errors, warnings, infos, .. } = self;
        write!(f, "{errors} error(s), {warnings} warning(s), {infos} worth knowing")
    }
}
