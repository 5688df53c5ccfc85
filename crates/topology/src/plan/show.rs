//! A plan as text: for each object a sign, its name and the differences.

use std::fmt;

use serde_json::Value;

use super::Plan;
use crate::change::{Change, ChangeState, Difference, ObjectKind};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            writeln!(f, "{change}")?;
        }
        if let Some(reason) = &self.management_absent {
            let unseen = "Bindings, policies and objects that are not in the file were not checked";
            writeln!(f, "{unseen}: no management API ({reason})")?;
        }
        let missing = self.count(|change| change.state == ChangeState::Missing);
        let present = self.count(|change| change.state == ChangeState::Present);
        let conflicts = self.count(Change::is_conflict);
        let differing = self.count(|change| matches!(change.state, ChangeState::Differs { .. })) - conflicts;
        let foreign = self.count(|change| change.state == ChangeState::Foreign);
        let unseen = self.count(|change| change.state == ChangeState::Unseen);
        write!(f, "virtual host {}: {missing} to create, {differing} to change, {present} unchanged", self.vhost)?;
        for (count, words) in [
            (conflicts, "different, and cannot be changed in place"),
            (unseen, "not checked"),
            (foreign, "not in the file and not touched"),
        ] {
            if count > 0 {
                write!(f, ", {count} {words}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.state {
            ChangeState::Missing => '+',
            ChangeState::Present => '=',
            ChangeState::Differs { .. } if self.is_conflict() => '!',
            ChangeState::Differs { .. } => '~',
            ChangeState::Foreign => '.',
            ChangeState::Unseen => '?',
        };
        write!(f, "{sign} {} {}", self.kind, self.name)?;
        match &self.state {
            ChangeState::Missing | ChangeState::Present => Ok(()),
            ChangeState::Foreign => f.write_str(" (not in the file)"),
            ChangeState::Unseen => f.write_str(" (not checked)"),
            ChangeState::Differs { differences } => {
                for (index, difference) in differences.iter().enumerate() {
                    write!(f, "{}{difference}", if index == 0 { ": " } else { "; " })?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exchange => "exchange",
            Self::Queue => "queue",
            Self::Binding => "binding",
            Self::Policy => "policy",
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<Value>| match value {
            None => "none".to_owned(),
            Some(Value::String(text)) if text.is_empty() => "\"\"".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        f.write_str(&self.argument)?;
        // An error text of the broker in an unknown form is shown whole.
        if self.wanted.is_none() && self.actual.is_none() {
            return Ok(());
        }
        write!(f, " wanted {}, actual {}", shown(&self.wanted), shown(&self.actual))
    }
}
