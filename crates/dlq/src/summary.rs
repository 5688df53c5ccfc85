//! [`Summary`]: counts of dead letters by code and reason.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::DeadLetter;

/// Messages with the same code and reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReasonGroup {
    /// Their code, if they have one.
    pub code: Option<String>,
    /// Their reason.
    pub reason: String,
    /// Number of messages.
    pub count: u64,
    /// Number of messages by type; the empty type is for messages without an envelope.
    pub types: BTreeMap<String, u64>,
    /// When the first of them was dead-lettered ([`DeadLetter::occurred_at`]).
    pub oldest: Option<OffsetDateTime>,
    /// When the last of them was dead-lettered.
    pub newest: Option<OffsetDateTime>,
}

/// Counts by code and reason. Its size depends on the number of reasons and types, not on the number of messages.
#[derive(Clone, Debug, Default)]
pub struct Summary(BTreeMap<(String, Option<String>), ReasonGroup>);

impl Summary {
    /// Counts a message.
    pub fn add(&mut self, letter: &DeadLetter) {
        let group = self.0.entry((letter.reason.clone(), letter.code.clone())).or_insert_with(|| ReasonGroup {
            code: letter.code.clone(),
            reason: letter.reason.clone(),
            ..ReasonGroup::default()
        });
        group.count += 1;
        *group.types.entry(letter.event_type.clone().unwrap_or_default()).or_default() += 1;
        if let Some(moment) = letter.occurred_at() {
            group.oldest = Some(group.oldest.map_or(moment, |oldest| oldest.min(moment)));
            group.newest = Some(group.newest.map_or(moment, |newest| newest.max(moment)));
        }
    }

    /// Returns the groups, the largest first.
    #[must_use]
    pub fn groups(&self) -> Vec<&ReasonGroup> {
        let mut groups: Vec<_> = self.0.values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_by_code_reason_and_type() {
        let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).ok();
        let letter = |reason: &str, event_type: Option<&str>, seconds| DeadLetter {
            reason: reason.into(),
            code: (reason == "often").then(|| "out_of_stock".to_owned()),
            event_type: event_type.map(str::to_owned),
            time: at(seconds),
            ..DeadLetter::default()
        };
        let mut summary = Summary::default();
        for each in [
            letter("rare", Some("a"), 5),
            letter("often", Some("a"), 30),
            letter("often", None, 10),
            letter("often", Some("a"), 20),
            // Of an earlier version, which recorded no code.
            DeadLetter { code: None, ..letter("often", Some("a"), 40) },
        ] {
            summary.add(&each);
        }
        let groups = summary.groups();
        let shown: Vec<_> = groups.iter().map(|group| (group.code.as_deref(), group.reason.as_str())).collect();
        assert_eq!(shown, [(Some("out_of_stock"), "often"), (None, "often"), (None, "rare")]);
        let expected = ReasonGroup {
            code: Some("out_of_stock".to_owned()),
            reason: "often".to_owned(),
            count: 3,
            types: [(String::new(), 1), ("a".to_owned(), 2)].into(),
            oldest: at(10),
            newest: at(30),
        };
        assert_eq!(groups[0], &expected);
    }
}
