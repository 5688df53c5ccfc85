//! `sluicegate secrets remove`: removes one value of a list.

use clap::Args;

use super::{Where, document};
use crate::CommandError;
use crate::output::say;

/// Remove a value, which is refused within 5 minutes
///
/// A list without values is valid and admits no caller.
#[derive(Args)]
pub(super) struct Arguments {
    /// The name of the list
    name: String,
    /// The value's fingerprint, as `secrets list` shows it
    #[arg(long, value_name = "HEX", value_parser = document::parse_fingerprint)]
    fingerprint: String,
    #[command(flatten)]
    place: Where,
}

pub(super) async fn remove(arguments: &Arguments) -> Result<(), CommandError> {
    let Arguments { name, fingerprint, .. } = arguments;
    let store = arguments.place.open().await?;
    let change = store.update(|document| document.remove(name, fingerprint)).await?;
    say(format_args!("{name} {fingerprint} is removed, and refused within 5 minutes; {} in the list", change.live));
    Ok(())
}
