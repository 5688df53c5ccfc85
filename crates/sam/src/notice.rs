//! Notices of parts of the template that the local stack does not run.

use std::fmt;

/// A part of the template that the local stack leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A resource, or some properties of one. These are many (alarms, log groups, policies), so show one line per kind.
    NotRun {
        /// The resource's type, such as `AWS::CloudWatch::Alarm`.
        kind: String,
        /// Its name in the template, after those of the stacks around it.
        logical_id: String,
        /// The template's file.
        file: String,
        /// Its line there.
        line: usize,
    },
    /// A variable whose value only AWS knows.
    StandIn {
        /// The template's file.
        file: String,
        /// The variable's line there.
        line: usize,
        /// The variable's name.
        variable: String,
        /// The stand-in that the function sees.
        value: String,
    },
    /// A property or section without effect.
    Ignored {
        /// The template's file.
        file: String,
        /// Its line there.
        line: usize,
        /// The JSON pointer in the document.
        path: String,
        /// Why it has no effect.
        text: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun { kind, logical_id, file, line } => {
                write!(out, "{file}:{line}: {logical_id}: {kind} is not run locally")
            }
            Self::StandIn { file, line, variable, value } => write!(
                out,
                "{file}:{line}: the value of {variable} is known in the cloud only, so functions see `{value}`: \
                 set one in your shell, {variable}=VALUE cargo local"
            ),
            Self::Ignored { file, line, path, text } => write!(out, "{file}:{line}: {path}: {text}"),
        }
    }
}
