//! Tolerant access to parts of a JSON event: a value of an unexpected type counts as absent.

use std::borrow::Cow;

use serde_json::value::RawValue;
use sluicegate_envelope::json::{self, Member};

/// Returns the text of a string.
pub(crate) fn string(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    json::string(raw?.get()).ok()
}

/// Returns the members of an object in order, repeats included.
pub(crate) fn object<'a>(raw: Option<&'a RawValue>) -> impl Iterator<Item = Member<'a>> {
    raw.and_then(|raw| json::members(raw.get(), usize::MAX).ok()).unwrap_or_default().into_iter()
}
