//! [`Handlers`]: the handler of each event type. An exact type takes precedence over a prefix, a longer prefix over a
//! shorter one, and both over `otherwise`.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::{Delivery, Outcome};

type Handler = Box<dyn Fn(Arc<Delivery>) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync>;

/// The registered handlers.
#[derive(Default)]
pub(crate) struct Handlers {
    exact: HashMap<String, Handler>,
    /// Sorted by length, the longest first.
    prefixes: Vec<(String, Handler)>,
    otherwise: Option<Handler>,
    mistakes: Vec<String>,
}

impl Handlers {
    pub(crate) fn on(&mut self, pattern: &str, handler: Handler) {
        let (prefix, is_prefix) = pattern.strip_suffix('*').map_or((pattern, false), |prefix| (prefix, true));
        if pattern.is_empty() || prefix.contains('*') {
            self.mistakes.push(format!("{pattern:?} matches no event type: a `*` is allowed only at the end"));
        }
        let is_second = match is_prefix {
            false => self.exact.insert(pattern.to_owned(), handler).is_some(),
            true => {
                let is_second = self.prefixes.iter().any(|(other, _)| other == prefix);
                self.prefixes.push((prefix.to_owned(), handler));
                self.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
                is_second
            }
        };
        if is_second {
            self.mistakes.push(format!("{pattern:?} has two handlers"));
        }
    }

    pub(crate) fn otherwise(&mut self, handler: Handler) {
        if self.otherwise.replace(handler).is_some() {
            self.mistakes.push("`otherwise` has two handlers".to_owned());
        }
    }

    /// Returns the mistakes in the registered handlers.
    pub(crate) fn mistakes(&self) -> Vec<String> {
        let is_empty = self.exact.is_empty() && self.prefixes.is_empty() && self.otherwise.is_none();
        let none = is_empty.then(|| "no handler is registered: every message would be rejected".to_owned());
        self.mistakes.iter().cloned().chain(none).collect()
    }

    /// Returns whether a handler is registered for exactly this type.
    #[cfg(feature = "sqs")]
    pub(crate) fn has_exact(&self, event_type: &str) -> bool {
        self.exact.contains_key(event_type)
    }

    fn find(&self, event_type: &str) -> Option<&Handler> {
        let by_prefix = || self.prefixes.iter().find(|(prefix, _)| event_type.starts_with(prefix));
        let found = self.exact.get(event_type).or_else(|| by_prefix().map(|(_, handler)| handler));
        found.or(self.otherwise.as_ref())
    }

    pub(crate) async fn call(&self, delivery: Arc<Delivery>) -> Outcome {
        match self.find(delivery.envelope().event_type()) {
            Some(handler) => handler(delivery).await,
            None => Outcome::Reject(format!("no handler for type {}", delivery.envelope().event_type())),
        }
    }
}

/// Returns a handler of deliveries.
pub(crate) fn plain<H, F>(handler: H) -> Handler
where
    H: Fn(Arc<Delivery>) -> F + Send + Sync + 'static,
    F: Future<Output: Into<Outcome>> + Send + 'static,
{
    Box::new(move |delivery| {
        let work = handler(delivery);
        Box::pin(async move { work.await.into() })
    })
}

/// Returns a handler of parsed payloads. A payload that does not fit is rejected, because a retry would not change
/// that.
pub(crate) fn json<T, H, F>(handler: H) -> Handler
where
    T: DeserializeOwned,
    H: Fn(T, Arc<Delivery>) -> F + Send + Sync + 'static,
    F: Future<Output: Into<Outcome>> + Send + 'static,
{
    Box::new(move |delivery| match parse(&delivery.envelope().payload()) {
        Ok(payload) => {
            let work = handler(payload, delivery);
            Box::pin(async move { work.await.into() })
        }
        Err(error) => Box::pin(std::future::ready(Outcome::Reject(error.to_string()))),
    })
}

/// A payload that a handler cannot take. The text names the place and omits serde's own text, which quotes the payload.
#[derive(Debug, thiserror::Error)]
enum HandlerPayloadError {
    #[error("payload is not JSON (line {line}, column {column})")]
    NotJson { line: usize, column: usize },
    #[error("payload has more text after its JSON value")]
    Trailing,
    #[error("payload does not fit at {path} (line {line}, column {column})")]
    DoesNotFit { path: String, line: usize, column: usize },
}

/// Parses a payload. If it does not fit, tries again with integers such as `1.0` rewritten as `1`.
fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, HandlerPayloadError> {
    let again = || serde_json::from_value(sluicegate_envelope::with_integers(payload)?).ok();
    let mut deserializer = serde_json::Deserializer::from_slice(payload);
    match serde_path_to_error::deserialize(&mut deserializer) {
        Ok(parsed) => {
            deserializer.end().map_err(|_| HandlerPayloadError::Trailing)?;
            Ok(parsed)
        }
        Err(error) => {
            let (line, column) = (error.inner().line(), error.inner().column());
            match error.inner().is_data() {
                true => again().ok_or_else(|| HandlerPayloadError::DoesNotFit {
                    path: error.path().to_string(),
                    line,
                    column,
                }),
                false => Err(HandlerPayloadError::NotJson { line, column }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(patterns: &[&str], otherwise: usize, expected: &[&str]) {
        let mut handlers = Handlers::default();
        for pattern in patterns {
            handlers.on(pattern, plain(async |_| ()));
        }
        for _ in 0..otherwise {
            handlers.otherwise(plain(async |_| ()));
        }
        let mistakes = handlers.mistakes();
        let as_expected = mistakes.len() == expected.len() && mistakes.iter().zip(expected).all(|(m, e)| m.contains(e));
        assert!(as_expected, "{patterns:?} {otherwise}: {mistakes:?}");
    }

    #[test]
    fn invalid_handler_patterns_are_reported() {
        check(&["order.placed", "order.*", "*"], 1, &[]);
        check(&[], 1, &[]);
        check(&[], 0, &["no handler"]);
        check(&["a", "a"], 0, &["\"a\" has two handlers"]);
        check(&["a.*", "a.*", "a."], 2, &["\"a.*\" has two handlers", "`otherwise` has two"]);
        check(&["order.*.placed", "**", ""], 0, &["\"order.*.placed\" matches", "\"**\" matches", "\"\" matches"]);
    }
}
