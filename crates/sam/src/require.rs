//! Settings that the plan needs: a value, a stand-in for one that only AWS knows, or a fault.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::{Fault, Props, Reader, Reason, ResolvedResource, Resource, Setting, resolve::stand_in, text};

impl Reader<'_> {
    /// Returns the values of `Ref` and `GetAtt` of the resource; empty if its name has a fault.
    pub(super) fn resolved(&self, resource: &Resource<'_>) -> ResolvedResource {
        self.stack.resolver.physical.get(resource.logical_id).cloned().unwrap_or_default()
    }

    /// Returns properties with functions resolved and unknown values marked.
    pub(super) fn properties(&self, properties: &Value, path: &str) -> Value {
        self.stack.resolver.settings(properties, path).unwrap_or_default()
    }

    /// Returns the stand-in for an unknown value, or a fault if there is none.
    pub(super) fn stand_in(&self, reason: &Reason, path: &str, expected: &str) -> Result<Value, Fault> {
        match reason {
            Reason::StandIn(value) => Ok(value.clone()),
            Reason::Unresolved { pointer, fault, .. } => Err(self.fault(pointer, fault.as_str())),
            Reason::Form => Err(self.fault(path, expected)),
        }
    }

    /// Returns a value, with stand-ins for unknown parts.
    pub(super) fn required(&self, value: &Value, path: &str) -> Result<Value, Fault> {
        Ok(match (Setting::of(value), value) {
            (Setting::Unknown(reason), _) => self.stand_in(&reason, path, "is not known")?,
            (_, Value::Array(items)) => {
                Value::Array(items.iter().map(|item| self.required(item, path)).collect::<Result<_, _>>()?)
            }
            (_, Value::Object(_)) => {
                let members = Props(value).members();
                let members = members.map(|(name, value)| Ok((name.to_owned(), self.required(value, path)?)));
                Value::Object(members.collect::<Result<_, Fault>>()?)
            }
            _ => value.clone(),
        })
    }

    /// Returns a text, if it is written.
    pub(super) fn text(&self, setting: &Setting<String>, path: &str) -> Result<Option<String>, Fault> {
        const EXPECTED: &str = "must be a string";
        match setting {
            Setting::Absent => Ok(None),
            Setting::Known(text) => Ok(Some(text.clone())),
            Setting::Unknown(reason) => {
                let text = text(&self.stand_in(reason, path, EXPECTED)?);
                text.map(Some).ok_or_else(|| self.fault(path, EXPECTED))
            }
        }
    }

    /// Returns a text, if it is written. A function that only CloudFormation can resolve has a stand-in too.
    pub(super) fn remote_text(&self, setting: &Setting<String>, path: &str) -> Result<Option<String>, Fault> {
        match setting {
            Setting::Unknown(Reason::Unresolved { remote: true, .. }) => {
                Ok(Some(stand_in(path.rsplit('/').next().unwrap_or_default())))
            }
            setting => self.text(setting, path),
        }
    }

    /// Returns a whole number within its limits.
    pub(super) fn number(&self, number: &Setting<u64>, path: &str, limits: RangeInclusive<u64>) -> Result<u64, Fault> {
        let expected = format!("must be a whole number from {} to {}", limits.start(), limits.end());
        match number {
            Setting::Known(number) if limits.contains(number) => return Ok(*number),
            Setting::Unknown(reason) => drop(self.stand_in(reason, path, &expected)?),
            Setting::Absent | Setting::Known(_) => {}
        }
        Err(self.fault(path, expected))
    }
}
