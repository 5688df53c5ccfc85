//! A value of a template: left out, known, or known in the cloud only.
//!
//! A check that needs a value it cannot have is silent. So nothing here guesses.

use std::sync::LazyLock;

use serde_json::{Value, json};

/// What stands where a value cannot be resolved.
const UNKNOWN: &str = "Sluicegate::Unknown";

/// A value that stands for one that cannot be resolved.
pub(crate) fn unknown() -> Value {
    json!({ UNKNOWN: null })
}

/// Whether nothing in this value is unknown.
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
    /// It is not written, so the service's default holds.
    #[default]
    Absent,
    /// It is this.
    Known(T),
    /// It is written, and what it comes to is not known here.
    Unknown,
}

impl<T> Setting<T> {
    /// The value, with the service's default for one that is left out; `None` if nobody can tell.
    pub(crate) fn or(self, default: T) -> Option<T> {
        match self {
            Self::Absent => Some(default),
            Self::Known(value) => Some(value),
            Self::Unknown => None,
        }
    }

    /// The value, if it is written and known.
    pub(crate) fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Absent | Self::Unknown => None,
        }
    }

    /// Whether it is surely left out.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Whether something is written.
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
            // What is not of the right form is for others to tell: here it is not known.
            Self::Known(value) => read(value).map_or(Setting::Unknown, Setting::Known),
            Self::Unknown => Setting::Unknown,
        }
    }
}

/// The members of a JSON object, read as settings. Of what is unknown, every member is.
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

    /// An object within; an empty one if it is left out.
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

    /// A list; a single value is a list of one, as policies have it.
    pub(crate) fn items(self, name: &str) -> Setting<Vec<&'a Value>> {
        self.get(name).and_then(|value| match value {
            Value::Array(items) => Some(items.iter().collect()),
            single => Some(vec![single]),
        })
    }

    /// A list of texts, of which each may be unknown.
    pub(crate) fn texts(self, name: &str) -> Setting<Vec<Setting<String>>> {
        self.items(name).and_then(|items| {
            let read = |item: &Value| text(item).map_or(Setting::Unknown, Setting::Known);
            Some(items.into_iter().map(read).collect())
        })
    }

    /// The names and values of the members.
    pub(crate) fn members(self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let entries = self.0.as_object().into_iter().flatten();
        entries.map(|(name, value)| (name.as_str(), value)).filter(|(name, _)| *name != UNKNOWN)
    }
}

/// A scalar as it is written.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}
