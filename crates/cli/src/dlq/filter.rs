//! The options that select messages.

use clap::Args;
use sluicegate_dlq::{Condition, Filter, Glob, Pattern, TimeBound};

/// Conditions on messages, all of which must hold.
#[derive(Args)]
pub(super) struct Which {
    /// Only the message with this id, its own or the broker's; may be repeated
    #[arg(long = "id", value_name = "ID", help_heading = "Which messages (all given conditions must hold)")]
    ids: Vec<String>,
    /// Only messages of this type; * matches any text, ? one character; repeat it for more types
    #[arg(long = "type", value_name = "TYPE", help_heading = "Which messages (all given conditions must hold)")]
    types: Vec<Glob>,
    /// Only messages with this code of the rejection; * and ? as in --type; repeat it for more codes
    #[arg(long = "code", value_name = "CODE", help_heading = "Which messages (all given conditions must hold)")]
    codes: Vec<Glob>,
    /// Only messages whose reason contains this
    #[arg(long, value_name = "REGEX", help_heading = "Which messages (all given conditions must hold)")]
    reason: Option<Pattern>,
    /// Only messages dead-lettered at this time or later: 2026-11-21T08:00:00Z, or a time ago: 90s, 30m, 2h, 7d. If the
    /// broker does not record it, as SQS for a message that it moved itself, the time at which the message was created
    /// counts
    #[arg(long, value_name = "TIME", help_heading = "Which messages (all given conditions must hold)")]
    since: Option<TimeBound>,
    /// Only messages dead-lettered before this time; as --since
    #[arg(long, value_name = "TIME", help_heading = "Which messages (all given conditions must hold)")]
    until: Option<TimeBound>,
    /// Only messages with this in their payload, or this attribute: /json/pointer=VALUE, /json/pointer~REGEX,
    /// name=VALUE, name~REGEX; may be repeated
    #[arg(long = "where", value_name = "CONDITION", help_heading = "Which messages (all given conditions must hold)")]
    conditions: Vec<Condition>,
    /// Only messages whose stored body, or payload, contains this
    #[arg(long = "match", value_name = "REGEX", help_heading = "Which messages (all given conditions must hold)")]
    body: Option<Pattern>,
}

impl Which {
    pub(super) fn filter(&self) -> Filter {
        Filter {
            ids: self.ids.clone(),
            types: self.types.clone(),
            codes: self.codes.clone(),
            reason: self.reason.clone(),
            since: self.since,
            until: self.until,
            conditions: self.conditions.clone(),
            body: self.body.clone(),
        }
    }
}
