//! Values of a template: absent, known, or unknown for a reason.
//!
//! [`Resolver::settings`](crate::Resolver::settings) marks unknown values. A caller either reports the reason as a
//! fault or continues without the value. An unknown value is never replaced by a default.

use std::borrow::Borrow;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The key of an object that stands for an unknown value; its value is the reason.
const UNKNOWN: &str = "Sluicegate::Unknown";

/// One value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Setting<T> {
    /// Not written, so the service's default applies.
    #[default]
    Absent,
    /// Written and known.
    Known(T),
    /// Written, with an unknown value.
    Unknown(Reason),
}

/// Why a value is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// It does not have the form of the property, or is part of an unknown value.
    #[default]
    Form,
    /// A function in it cannot be resolved.
    Unresolved {
        /// JSON pointer to the fault.
        pointer: String,
        /// What the fault is.
        fault: String,
        /// CloudFormation can resolve it.
        remote: bool,
    },
    /// Only AWS knows it. The value is the stand-in, such as `Table-is-not-known-locally`.
    StandIn(Value),
}

/// Returns an object that stands for an unknown value.
pub fn unknown(reason: Reason) -> Value {
    json!({ UNKNOWN: reason })
}

/// Returns the reason, if this stands for an unknown value.
fn reason(value: &Value) -> Option<Reason> {
    let reason = value.as_object()?.get(UNKNOWN)?;
    Some(Reason::deserialize(reason).unwrap_or_default())
}

/// Returns whether nothing in this value is unknown.
pub fn is_known(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().all(is_known),
        Value::Object(entries) => !entries.contains_key(UNKNOWN) && entries.values().all(is_known),
        _ => true,
    }
}

/// Returns a scalar as it is written.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

impl<T> Setting<T> {
    /// Returns an unknown value without a specific reason.
    pub fn unknown() -> Self {
        Self::Unknown(Reason::Form)
    }

    /// Returns the value, or the service's default if it is absent; `None` if it is unknown.
    pub fn or(self, default: T) -> Option<T> {
        self.or_default(default).known()
    }

    /// Returns the setting, or the service's default as a known value if it is absent.
    pub fn or_default(self, default: T) -> Self {
        if self.is_absent() { Self::Known(default) } else { self }
    }

    /// Returns the value, if it is written and known.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Absent | Self::Unknown(_) => None,
        }
    }

    /// Returns whether the value is known to be this one.
    pub fn is<U: PartialEq + ?Sized>(&self, value: &U) -> bool
    where
        T: Borrow<U>,
    {
        matches!(self, Self::Known(known) if known.borrow() == value)
    }

    /// Returns whether it is certainly absent.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Returns whether something is written.
    pub fn is_written(&self) -> bool {
        !self.is_absent()
    }

    /// Returns whether it is written, with an unknown value.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    /// Returns the setting with a reference to the value.
    pub fn as_ref(&self) -> Setting<&T> {
        match self {
            Self::Absent => Setting::Absent,
            Self::Known(value) => Setting::Known(value),
            Self::Unknown(reason) => Setting::Unknown(reason.clone()),
        }
    }

    /// Converts the value. A value that `read` does not accept becomes unknown.
    pub fn and_then<U>(self, read: impl FnOnce(T) -> Option<U>) -> Setting<U> {
        match self {
            Self::Absent => Setting::Absent,
            Self::Known(value) => read(value).map_or_else(Setting::unknown, Setting::Known),
            Self::Unknown(reason) => Setting::Unknown(reason),
        }
    }
}

impl<T: Copy> Setting<T> {
    /// Returns a copy of the value, if it is written and known.
    pub fn copied(&self) -> Option<T> {
        self.as_ref().known().copied()
    }
}

impl Setting<String> {
    /// Returns the text, if it is written and known.
    pub fn as_str(&self) -> Option<&str> {
        self.as_ref().known().map(String::as_str)
    }
}

impl<'a> Setting<&'a Value> {
    /// Returns a value of a template as a setting.
    pub fn of(value: &'a Value) -> Self {
        reason(value).map_or(Self::Known(value), Self::Unknown)
    }

    /// Converts it to text; numbers and booleans as they are written.
    pub fn text(self) -> Setting<String> {
        self.and_then(text)
    }
}

/// The members of a JSON object, read as settings. Every member of an unknown object is unknown.
#[derive(Clone, Copy, Debug)]
pub struct Props<'a>(pub &'a Value);

impl<'a> Props<'a> {
    /// Returns a member as it is.
    pub fn get(self, name: &str) -> Setting<&'a Value> {
        match (reason(self.0), self.0.get(name)) {
            (Some(reason), _) => Setting::Unknown(reason),
            (None, None | Some(Value::Null)) => Setting::Absent,
            (None, Some(value)) => Setting::of(value),
        }
    }

    /// Returns a member that is an object; an empty one if it is absent.
    pub fn object(self, name: &str) -> Props<'a> {
        static NOTHING: Value = Value::Null;
        if reason(self.0).is_some() { self } else { Props(self.0.get(name).unwrap_or(&NOTHING)) }
    }

    /// Returns a member as text.
    pub fn text(self, name: &str) -> Setting<String> {
        self.get(name).text()
    }

    /// Returns a member as a whole number, which may be written as text.
    pub fn number(self, name: &str) -> Setting<u64> {
        self.get(name).and_then(|value| value.as_u64().or_else(|| value.as_str()?.trim().parse().ok()))
    }

    /// Returns a member as a number.
    pub fn decimal(self, name: &str) -> Setting<f64> {
        self.get(name).and_then(|value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()))
    }

    /// Returns a member as true or false.
    pub fn flag(self, name: &str) -> Setting<bool> {
        self.get(name).and_then(|value| value.as_bool().or_else(|| value.as_str()?.to_ascii_lowercase().parse().ok()))
    }

    /// Returns a member as a list. A single value is a list of one, as in IAM policies.
    pub fn items(self, name: &str) -> Setting<Vec<&'a Value>> {
        self.get(name).and_then(|value| match value {
            Value::Array(items) => Some(items.iter().collect()),
            single => Some(vec![single]),
        })
    }

    /// Returns a member as a list of texts, each of which may be unknown.
    pub fn texts(self, name: &str) -> Setting<Vec<Setting<String>>> {
        self.items(name).and_then(|items| Some(items.into_iter().map(|item| Setting::of(item).text()).collect()))
    }

    /// Returns a member as a list of texts: empty if it is absent, with one unknown text if it is unknown.
    pub fn listed(self, name: &str) -> Vec<Setting<String>> {
        self.texts(name).or(Vec::new()).unwrap_or_else(|| vec![Setting::unknown()])
    }

    /// Reads a member that is an object or JSON text, as the policies of a queue may be.
    pub fn parsed<T>(self, name: &str, read: impl FnOnce(Props<'_>) -> T) -> Setting<T> {
        self.get(name).and_then(|value| match value {
            Value::Object(_) => Some(read(Props(value))),
            other => serde_json::from_str(&text(other)?).ok().map(|parsed| read(Props(&parsed))),
        })
    }

    /// Returns the names and values of the members.
    pub fn members(self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let entries = self.0.as_object().into_iter().flatten();
        entries.map(|(name, value)| (name.as_str(), value)).filter(|(name, _)| *name != UNKNOWN)
    }
}
