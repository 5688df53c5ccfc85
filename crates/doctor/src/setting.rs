//! A value of a template: absent, known, or unknown outside the cloud.
//!
//! A check that needs an unknown value reports nothing, so nothing here guesses.

use std::sync::LazyLock;

use serde_json::{Value, json};

/// The key that marks a value that cannot be resolved.
const UNKNOWN: &str = "Sluicegate::Unknown";

/// Returns the marker of a value that cannot be resolved.
pub(crate) fn unknown() -> Value {
    json!({ UNKNOWN: null })
}

/// Returns whether nothing in this value is unknown.
pub(crate) fn is_known(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().all(is_known),
        Value::Object(entries) => !entries.contains_key(UNKNOWN) && entries.values().all(is_known),
        _ => true,
    }
}

/// One value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Setting<T> {
    /// Not written, so the service's default applies.
    #[default]
    Absent,
    /// Written and known.
    Known(T),
    /// Written, with an unknown value.
    Unknown,
}

impl<T> Setting<T> {
    /// Returns the value, with the service's default for one that is left out; `None` if it is unknown.
    pub(crate) fn or(self, default: T) -> Option<T> {
        match self {
            Self::Absent => Some(default),
            Self::Known(value) => Some(value),
            Self::Unknown => None,
        }
    }

    /// Returns the value, if it is written and known.
    pub(crate) fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Absent | Self::Unknown => None,
        }
    }

    /// Returns whether it is certainly absent.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Returns whether something is written.
    pub(crate) fn is_written(&self) -> bool {
        !self.is_absent()
    }

    pub(crate) fn as_ref(&self) -> Setting<&T> {
        match self {
            Self::Absent => Setting::Absent,
            Self::Known(value) => Setting::Known(value),
            Self::Unknown => Setting::Unknown,
        }
    }

    fn and_then<U>(self, read: impl FnOnce(T) -> Option<U>) -> Setting<U> {
        match self {
            Self::Absent => Setting::Absent,
            // A value of the wrong form is for others to report: here it is unknown.
            Self::Known(value) => read(value).map_or(Setting::Unknown, Setting::Known),
            Self::Unknown => Setting::Unknown,
        }
    }
}

/// The members of a JSON object, read as settings. Every member of an unknown object is unknown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Props<'a>(pub(crate) &'a Value);

impl<'a> Props<'a> {
    pub(crate) fn get(self, name: &str) -> Setting<&'a Value> {
        match self.0 {
            Value::Object(entries) if entries.contains_key(UNKNOWN) => Setting::Unknown,
            Value::Object(entries) => match entries.get(name) {
                None | Some(Value::Null) => Setting::Absent,
                Some(Value::Object(inner)) if inner.contains_key(UNKNOWN) => Setting::Unknown,
                Some(value) => Setting::Known(value),
            },
            _ => Setting::Absent,
        }
    }

    /// Returns an object within; an empty one if it is left out.
    pub(crate) fn object(self, name: &str) -> Props<'a> {
        static NOTHING: Value = Value::Null;
        static HIDDEN: LazyLock<Value> = LazyLock::new(unknown);
        match self.get(name) {
            Setting::Known(value) => Props(value),
            Setting::Absent => Props(&NOTHING),
            Setting::Unknown => Props(&HIDDEN),
        }
    }

    pub(crate) fn text(self, name: &str) -> Setting<String> {
        self.get(name).and_then(text)
    }

    pub(crate) fn number(self, name: &str) -> Setting<u64> {
        self.get(name).and_then(|value| value.as_u64().or_else(|| value.as_str()?.trim().parse().ok()))
    }

    pub(crate) fn decimal(self, name: &str) -> Setting<f64> {
        self.get(name).and_then(|value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()))
    }

    pub(crate) fn flag(self, name: &str) -> Setting<bool> {
        self.get(name).and_then(|value| value.as_bool().or_else(|| value.as_str()?.to_ascii_lowercase().parse().ok()))
    }

    /// Returns a list; a single value is a list of one, as policies have it.
    pub(crate) fn items(self, name: &str) -> Setting<Vec<&'a Value>> {
        self.get(name).and_then(|value| match value {
            Value::Array(items) => Some(items.iter().collect()),
            single => Some(vec![single]),
        })
    }

    /// Returns a list of texts, of which each may be unknown.
    pub(crate) fn texts(self, name: &str) -> Setting<Vec<Setting<String>>> {
        self.items(name).and_then(|items| {
            let read = |item: &Value| text(item).map_or(Setting::Unknown, Setting::Known);
            Some(items.into_iter().map(read).collect())
        })
    }

    /// Returns the names and values of the members.
    pub(crate) fn members(self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let entries = self.0.as_object().into_iter().flatten();
        entries.map(|(name, value)| (name.as_str(), value)).filter(|(name, _)| *name != UNKNOWN)
    }
}

/// Returns a scalar as it is written.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}
