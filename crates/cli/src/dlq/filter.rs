//! The options that say which messages are meant.

use clap::Args;
use sluicegate_dlq::{Condition, Filter, Glob, Pattern, TimeBound};

/// A message is meant if it passes all of them.
#[derive(Args)]
pub(super) struct Which {
    /// Only the message with this id, its own or the broker's; may be repeated
    #[arg(long = "id", value_name = "ID", help_heading = "Which messages (all that are given must hold)")]
    ids: Vec<String>,
    /// Only messages of this type; * is any text, ? one character; may be repeated for one or the other
    #[arg(long = "type", value_name = "TYPE", help_heading = "Which messages (all that are given must hold)")]
    types: Vec<Glob>,
    /// Only messages whose reason has this in it
    #[arg(long, value_name = "REGEX", help_heading = "Which messages (all that are given must hold)")]
    reason: Option<Pattern>,
    /// Only messages that were given up on then or later: 2026-11-21T08:00:00Z, or so long ago: 90s, 30m, 2h, 7d. Where the broker
    /// does not tell, as SQS does not of a message that it moved itself, the time at which the message was made counts
    #[arg(long, value_name = "TIME", help_heading = "Which messages (all that are given must hold)")]
    since: Option<TimeBound>,
    /// Only messages that were given up on before; as --since
    #[arg(long, value_name = "TIME", help_heading = "Which messages (all that are given must hold)")]
    until: Option<TimeBound>,
    /// Only messages with this in their payload, or this attribute: /json/pointer=VALUE, /json/pointer~REGEX, name=VALUE,
    /// name~REGEX; may be repeated
    #[arg(long = "where", value_name = "CONDITION", help_heading = "Which messages (all that are given must hold)")]
    conditions: Vec<Condition>,
    /// Only messages with this in their body as it is stored, or in their payload
    #[arg(long = "match", value_name = "REGEX", help_heading = "Which messages (all that are given must hold)")]
    body: Option<Pattern>,
}

impl Which {
    pub(super) fn filter(&self) -> Filter {
        Filter {
            ids: self.ids.clone(),
            types: self.types.clone(),
            reason: self.reason.clone(),
            since: self.since,
            until: self.until,
            conditions: self.conditions.clone(),
            body: self.body.clone(),
        }
    }
}
