//! Batches: the items of a body, each a message, and the answer with the result of each in order.
//!
//! The answer is a 202 as soon as one item is stored, so that no refusal hides a stored item. If none is stored, it is
//! a problem document with the same list.

use std::fmt;

use http::StatusCode;
use serde::{
    Deserializer, Serialize,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use sluicegate_queue::Receipt;

use crate::{
    answer::Answer,
    json::JsonError,
    rejection::{ANSWER_BYTES_MAX, BodyFault, Code, Destinations, Rejection, UNAVAILABLE_RETRY_AFTER_S},
};

/// Returns the items of a JSON array as written, at most `max`, and how many there are; `None` if it is another value.
///
/// # Errors
/// The text is not JSON.
pub(crate) fn array(text: &str, max: usize) -> Result<Option<(Vec<&str>, usize)>, JsonError> {
    struct Items(usize);
    impl<'de> Visitor<'de> for Items {
        type Value = (Vec<&'de str>, usize);

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let (mut texts, mut count) = (Vec::new(), 0);
            while texts.len() < self.0 {
                let Some(item) = items.next_element::<&RawValue>()? else { return Ok((texts, count)) };
                texts.push(item.get());
                count += 1;
            }
            while items.next_element::<IgnoredAny>()?.is_some() {
                count += 1;
            }
            Ok((texts, count))
        }
    }
    if !text.trim_ascii_start().starts_with('[') {
        crate::json::check_syntax(text)?;
        return Ok(None);
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let items = reader.deserialize_seq(Items(max))?;
    reader.end()?;
    Ok(Some(items))
}

/// Returns the lines that are not empty, at most `max`, and how many there are.
pub(crate) fn lines(text: &str, max: usize) -> (Vec<&str>, usize) {
    let mut lines = text.split('\n').map(str::trim_ascii).filter(|line| !line.is_empty());
    let items: Vec<_> = lines.by_ref().take(max).collect();
    let count = items.len() + lines.count();
    (items, count)
}

/// Returns the answer for the results of a batch.
pub(crate) fn answer(results: &[Result<Receipt, Rejection>]) -> Answer {
    let is_stored = results.is_empty() || results.iter().any(Result::is_ok);
    let refused = || results.iter().filter_map(|result| result.as_ref().err());
    let server_fault = refused().find(|rejection| rejection.code.status().is_server_error());
    let problem = match server_fault {
        _ if is_stored => None,
        Some(rejection) => Some(Rejection::new(rejection.code, "No item is known to be stored; see items.")),
        None => Some(Rejection::new(Code::ItemsRefused, "No item was stored; see items.")),
    };
    let status = problem.as_ref().map_or(StatusCode::ACCEPTED, |problem| problem.code.status());
    let body = [Detail::Whole, Detail::Sentences, Detail::Codes].into_iter().map(|detail| {
        let items = results.iter().map(|result| Item::new(result, detail)).collect();
        let code = problem.as_ref().map(|problem| problem.code);
        let document = Document {
            title: code.and_then(|code| code.status().canonical_reason()),
            status: code.map(|code| code.status().as_u16()),
            code: code.map(Code::as_str),
            detail: problem.as_ref().map(|problem| &*problem.detail),
            items,
        };
        serde_json::to_string(&document).unwrap_or_default()
    });
    let body = body.reduce(|first, shorter| if first.len() <= ANSWER_BYTES_MAX { first } else { shorter });
    let media_type = if is_stored { "application/json" } else { "application/problem+json" };
    let mut answer = Answer::new(status, media_type, body.unwrap_or_default());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let wait = server_fault.and_then(|rejection| rejection.headers.iter().find(|(name, _)| *name == "retry-after"));
        let wait = wait.map_or_else(|| UNAVAILABLE_RETRY_AFTER_S.to_string(), |(_, value)| value.clone());
        answer.headers.push(("retry-after".into(), wait));
    }
    answer
}

/// How much is said about each item.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Whole,
    Sentences,
    Codes,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    items: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Item<'a> {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [BodyFault],
    #[serde(skip_serializing_if = "Option::is_none")]
    destinations: Option<&'a Destinations>,
}

impl<'a> Item<'a> {
    fn new(result: &'a Result<Receipt, Rejection>, detail: Detail) -> Self {
        match result {
            Ok(Receipt { id, .. }) => {
                Self { status: 202, id: Some(id), code: None, detail: None, errors: &[], destinations: None }
            }
            Err(rejection) => Self {
                status: rejection.code.status().as_u16(),
                id: rejection.id.as_deref(),
                code: Some(rejection.code.as_str()),
                detail: Some(&*rejection.detail).filter(|_| detail != Detail::Codes),
                errors: if detail == Detail::Whole { &rejection.faults } else { &[] },
                destinations: rejection.destinations.as_deref().filter(|_| detail == Detail::Whole),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_contract::BATCH_ITEMS_MAX;

    use super::*;

    #[test]
    fn items_are_as_written_and_counted_beyond_the_limit() {
        let check = |text: &str, items: Option<(Vec<&str>, usize)>| assert_eq!(array(text, 2), Ok(items), "{text}");
        check(" [ {\"a\" : 1.0} , \"b\" ] ", Some((vec!["{\"a\" : 1.0}", "\"b\""], 2)));
        check("[]", Some((vec![], 0)));
        check("[1,2,3,4]", Some((vec!["1", "2"], 4)));
        check("{}", None);
        for text in ["[1", "[1]]", "[1,]", "", "x"] {
            assert!(array(text, 2).is_err(), "{text}");
        }
        assert_eq!(lines("{}\r\n\n [1] \n2\n", 2), (vec!["{}", "[1]"], 3));
    }

    #[test]
    fn the_largest_answer_is_within_the_limit() {
        let receipt = || Ok(Receipt { id: "0".repeat(36), broker_id: String::new() });
        let unknown = || {
            let fault = BodyFault { pointer: "/\u{1}".repeat(128), detail: "\u{1}".repeat(256) };
            let rejection = Rejection::new(Code::ContentEncodingUnsupported, "\u{1}".repeat(2_000));
            Err(Rejection { id: Some("0".repeat(36).into()), faults: vec![fault; 32], ..rejection })
        };
        let results: Vec<_> = (0..BATCH_ITEMS_MAX).map(|n| if n == 0 { receipt() } else { unknown() }).collect();
        let answer = answer(&results);
        assert!(answer.body.len() <= ANSWER_BYTES_MAX, "{} bytes", answer.body.len());
        assert_eq!(answer.status, StatusCode::ACCEPTED, "one item is stored");
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        assert_eq!(body["items"].as_array().map(Vec::len), Some(BATCH_ITEMS_MAX));
    }
}
