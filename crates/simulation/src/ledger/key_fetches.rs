//! How often the ingress fetches the keys that an issuer publishes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Ledger;
use crate::property::Property;

/// The least times between two fetches of a file by one environment: after an answer, and after a failure. The ingress
/// waits for a minute and for five seconds, of which a clock in whole seconds may hide one.
const AFTER_ANSWER: Duration = Duration::from_secs(59);
const AFTER_FAILURE: Duration = Duration::from_secs(4);

/// When each environment fetched each file last, and whether it was answered without a fault.
#[derive(Default)]
pub(super) struct KeyFetches(BTreeMap<(u64, String), (Duration, bool)>);

impl Ledger {
    /// An environment of the ingress fetches the file at this path of the issuer.
    pub(crate) fn keys_fetched(&mut self, now: Duration, environment: u64, path: &str, is_answered: bool) {
        let before = self.key_fetches.0.insert((environment, path.to_owned()), (now, is_answered));
        let Some((at, was_answered)) = before else { return };
        if now - at < if was_answered { AFTER_ANSWER } else { AFTER_FAILURE } {
            let details = format!("environment {environment} has fetched {path} after {:?}", now - at);
            self.violated(now, Property::KeysAreFetchedSeldom, &details);
        }
    }
}
