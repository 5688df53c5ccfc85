//! Partial batch responses, interpreted by the rules of AWS.
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting>

use std::collections::BTreeSet;

use serde_json::Value;

use crate::batch_response::{failed_items, fault};

/// The fate of a batch's messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every message is deleted.
    Success,
    /// The messages with these ids stay in the queue, the others are deleted.
    Partial(BTreeSet<String>),
    /// No message is deleted, for this reason.
    Failure(String),
}

/// Reads the response of a function whose mapping has `ReportBatchItemFailures`. `ids` are the message ids of the
/// batch.
pub(super) fn interpret(response: &[u8], ids: &[&str]) -> Verdict {
    let items = match failed_items(response) {
        Ok(items) => items,
        Err(reason) => return Verdict::Failure(reason),
    };
    let failure = |reason| Verdict::Failure(fault(reason));
    // A batch has up to 10,000 messages.
    let ids: BTreeSet<&str> = ids.iter().copied().collect();
    let mut failed = BTreeSet::new();
    for item in items {
        match item.get("itemIdentifier").and_then(Value::as_str) {
            None | Some("") => return failure("an item has no itemIdentifier"),
            Some(id) if ids.contains(id) => failed.insert(id.to_owned()),
            Some(_) => return failure("an itemIdentifier is not in the batch"),
        };
    }
    if failed.is_empty() { Verdict::Success } else { Verdict::Partial(failed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_responses_are_read_by_the_rules_of_lambda() {
        let (success, failure) = (|| Some(vec![]), || None);
        let cases: [(&str, Option<Vec<&str>>); 22] = [
            ("null", success()),
            ("{}", success()),
            (r#"{"batchItemFailures":null}"#, success()),
            (r#"{"batchItemFailures":[]}"#, success()),
            (r#"{"statusCode":500}"#, success()),
            (r#"{"batchitemfailures":[{"itemIdentifier":"a"}]}"#, success()),
            (r#"{"batchItemFailures":[{"itemIdentifier":"a"}]}"#, Some(vec!["a"])),
            (r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"a"}]}"#, Some(vec!["a"])),
            (r#"{"batchItemFailures":[{"itemIdentifier":"b","more":1}],"other":2}"#, Some(vec!["b"])),
            (r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"b"}]}"#, Some(vec!["a", "b"])),
            ("", failure()),
            ("{", failure()),
            ("\"done\"", failure()),
            ("[]", failure()),
            ("17", failure()),
            (r#"{"batchItemFailures":{}}"#, failure()),
            (r#"{"batchItemFailures":["a"]}"#, failure()),
            (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, failure()),
            (r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, failure()),
            (r#"{"batchItemFailures":[{"itemIdentifier":7}]}"#, failure()),
            (r#"{"batchItemFailures":[{"id":"a"}]}"#, failure()),
            (r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"x"}]}"#, failure()),
        ];
        for (response, expected) in cases {
            let actual = interpret(response.as_bytes(), &["a", "b"]);
            match expected {
                None => assert!(matches!(actual, Verdict::Failure(_)), "{response}: {actual:?}"),
                Some(ids) if ids.is_empty() => assert_eq!(actual, Verdict::Success, "{response}"),
                Some(ids) => {
                    assert_eq!(actual, Verdict::Partial(ids.into_iter().map(str::to_owned).collect()), "{response}")
                }
            }
        }
    }
}
