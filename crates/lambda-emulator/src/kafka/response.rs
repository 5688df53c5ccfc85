//! Partial batch responses of a mapping from Kafka.
//!
//! A group has one offset per partition, so the records from the first failed one on are delivered again.
//! <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>

use crate::batch_response::{failed_items, fault};

/// The fate of a batch's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every record is processed.
    Success,
    /// The records before this index are processed.
    From(usize),
    /// No record is processed, for this reason.
    Failure(String),
}

/// Reads the response of a function whose mapping has `ReportBatchItemFailures`; `partition` is the key of the
/// partition in the event, and `offsets` are those of the batch, ascending.
pub(super) fn interpret(response: &[u8], partition: &str, offsets: &[i64]) -> Verdict {
    let items = match failed_items(response) {
        Ok(items) => items,
        Err(reason) => return Verdict::Failure(reason),
    };
    let failure = |reason| Verdict::Failure(fault(reason));
    let mut first = None;
    for item in items {
        let id = &item["itemIdentifier"];
        let (Some(key), Some(offset)) = (id["partition"].as_str(), id["offset"].as_i64()) else {
            return failure("an itemIdentifier has no partition or no offset");
        };
        match offsets.binary_search(&offset) {
            Ok(index) if key == partition => first = Some(first.map_or(index, |first: usize| first.min(index))),
            _ => return failure("an itemIdentifier is not in the batch"),
        }
    }
    first.map_or(Verdict::Success, Verdict::From)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_delivered_again_from_the_first_failed_one_on() {
        let item = |partition: &str, offset: &str| {
            format!(r#"{{"itemIdentifier":{{"partition":"{partition}","offset":{offset}}}}}"#)
        };
        let items = |items: &[String]| format!(r#"{{"batchItemFailures":[{}]}}"#, items.join(","));
        let failure = Verdict::Failure(String::new());
        for (response, expected) in [
            ("null".to_owned(), Verdict::Success),
            ("{}".to_owned(), Verdict::Success),
            (r#"{"batchItemFailures":null}"#.to_owned(), Verdict::Success),
            (items(&[]), Verdict::Success),
            (items(&[item("o-0", "9")]), Verdict::From(2)),
            (items(&[item("o-0", "9"), item("o-0", "7")]), Verdict::From(1)),
            (items(&[item("o-0", "4")]), Verdict::From(0)),
            (items(&[item("o-0", "8")]), failure.clone()),
            (items(&[item("o-1", "9")]), failure.clone()),
            (items(&[item("o-0", "9"), item("o-0", "\"9\"")]), failure.clone()),
            (r#"{"batchItemFailures":[{"itemIdentifier":"9"}]}"#.to_owned(), failure.clone()),
            (r#"{"batchItemFailures":{}}"#.to_owned(), failure.clone()),
            ("[]".to_owned(), failure.clone()),
            (String::new(), failure.clone()),
        ] {
            let actual = interpret(response.as_bytes(), "o-0", &[4, 7, 9]);
            match expected {
                Verdict::Failure(_) => assert!(matches!(actual, Verdict::Failure(_)), "{response}: {actual:?}"),
                expected => assert_eq!(actual, expected, "{response}"),
            }
        }
    }
}
