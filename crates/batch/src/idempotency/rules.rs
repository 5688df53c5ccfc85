//! [`Rules`]: the idempotency rules that a builder was given, and what is wrong with them.

use std::sync::Arc;

use sluicegate_idempotency::AnyStore;

use super::{Idempotency, IdempotencyKey, IdempotencyRule};
use crate::by_type::ByType;

/// The mistake of rules without a store.
const NO_STORE: &str = if cfg!(feature = "dynamodb") {
    "IDEMPOTENCY_TABLE is not set; it names the DynamoDB table of the idempotency rules; docs/idempotency.md has the \
     lines of the template"
} else {
    "an idempotency rule needs a store: give sluicegate-batch the feature dynamodb in Cargo.toml, for the table in \
     IDEMPOTENCY_TABLE, or call `store`"
};

/// The rules given to the builder.
#[derive(Default)]
pub(crate) struct Rules(ByType<IdempotencyRule>);

impl Rules {
    /// Adds a rule, and what is wrong with it to `mistakes`.
    pub(crate) fn insert(&mut self, pattern: &str, rule: IdempotencyRule, mistakes: &mut Vec<String>) {
        if let Err(fault) = self.0.insert(pattern, rule) {
            mistakes.push(fault.of(pattern, "idempotency rules"));
        }
        if rule.ttl_days == 0 {
            mistakes.push(format!("the idempotency rule of {pattern:?} has 0 days: no key would be remembered"));
        }
        if let IdempotencyKey::Pointer(pointer) = rule.key
            && !pointer.starts_with('/')
        {
            mistakes.push(format!(
                "the idempotency rule of {pattern:?} has the JSON pointer {pointer:?}: one starts with `/`"
            ));
        }
    }

    /// Returns the rules with their store; `None` if there are no rules. Without a store, adds a mistake.
    pub(crate) fn with_store(self, store: Option<Arc<AnyStore>>, mistakes: &mut Vec<String>) -> Option<Idempotency> {
        if self.0.is_empty() {
            return None;
        }
        if store.is_none() {
            mistakes.push(NO_STORE.to_owned());
        }
        Some(Idempotency { rules: self.0, store: store? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Consumer;

    /// Returns the mistakes in these rules, if no store is given and these are the variables.
    fn mistakes(rules: &[(&str, IdempotencyRule)], variables: &[(&str, &str)]) -> String {
        let (mut given, mut mistakes) = (Rules::default(), Vec::new());
        for (pattern, rule) in rules {
            given.insert(pattern, *rule, &mut mistakes);
        }
        let lookup = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        #[cfg(feature = "dynamodb")]
        let store = crate::store::from_env(&crate::AwsEnvironment::read(lookup), lookup, &mut mistakes);
        #[cfg(not(feature = "dynamodb"))]
        let (store, _) = (None, lookup);
        let is_ready = given.with_store(store, &mut mistakes).is_some();
        assert!(is_ready || rules.is_empty() || !mistakes.is_empty());
        mistakes.join("; ")
    }

    #[test]
    fn mistakes_in_rules_are_reported() {
        let rule = IdempotencyRule::default();
        let at = |pointer| IdempotencyRule { key: IdempotencyKey::Pointer(pointer), ..rule };
        for (pattern, rule, expected) in [
            ("a", rule, r#""a" has two idempotency rules"#),
            ("a*b", rule, r#""a*b" matches no event type"#),
            ("b", IdempotencyRule { ttl_days: 0, ..rule }, "has 0 days"),
            ("b", at("order_id"), r#"has the JSON pointer "order_id": one starts with `/`"#),
            ("b", at(""), "one starts with `/`"),
        ] {
            let found = mistakes(&[("a", IdempotencyRule::default()), (pattern, rule)], &[]);
            assert!(found.contains(expected), "{pattern} {rule:?}: {found}");
        }
        let twice = Consumer::builder().idempotency_for("a", rule).idempotency_for("a", rule).build();
        let error = twice.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("two idempotency rules"), "{error}");
    }

    #[test]
    fn a_rule_needs_a_store_and_no_rule_needs_none() {
        assert_eq!(mistakes(&[], &[]), "");
        let missing = mistakes(&[("a", IdempotencyRule::default())], &[("IDEMPOTENCY_TABLE", " ")]);
        let expected = if cfg!(feature = "dynamodb") { "IDEMPOTENCY_TABLE is not set" } else { "the feature dynamodb" };
        assert!(missing.contains(expected), "{missing}");
    }

    #[cfg(feature = "dynamodb")]
    #[test]
    fn the_environment_names_the_table() {
        let table = ("IDEMPOTENCY_TABLE", "keys");
        let rules = [("a", IdempotencyRule::default())];
        let missing = mistakes(&rules, &[table]);
        assert!(missing.contains("AWS_REGION"), "{missing}");
        let credentials = [("AWS_REGION", "eu-west-1"), ("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x")];
        assert_eq!(mistakes(&rules, &[&[table][..], &credentials].concat()), "");
    }
}
