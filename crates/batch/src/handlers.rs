//! [`Handlers`]: the handler of each event type, and of every other type.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::by_type::ByType;
use crate::rejection::codes;
use crate::{Delivery, Outcome};

pub(crate) type Handler = Box<dyn Fn(Arc<Delivery>) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync>;

/// The registered handlers.
#[derive(Default)]
pub(crate) struct Handlers {
    by_type: ByType<Handler>,
    otherwise: Option<Handler>,
    mistakes: Vec<String>,
}

impl Handlers {
    pub(crate) fn on(&mut self, pattern: &str, handler: Handler) {
        if let Err(fault) = self.by_type.insert(pattern, handler) {
            self.mistakes.push(fault.of(pattern, "handlers"));
        }
    }

    pub(crate) fn otherwise(&mut self, handler: Handler) {
        if self.otherwise.replace(handler).is_some() {
            self.mistakes.push("`otherwise` has two handlers".to_owned());
        }
    }

    /// Returns the mistakes in the registered handlers.
    pub(crate) fn mistakes(&self) -> Vec<String> {
        let is_empty = self.by_type.is_empty() && self.otherwise.is_none() && self.mistakes.is_empty();
        let none = is_empty.then(|| "no handler is registered: every message would be rejected".to_owned());
        self.mistakes.iter().cloned().chain(none).collect()
    }

    /// Returns whether a handler is registered for exactly this type.
    #[cfg(any(feature = "kafka", feature = "sqs"))]
    pub(crate) fn has_exact(&self, event_type: &str) -> bool {
        self.by_type.has_exact(event_type)
    }

    /// Returns the handler of a type.
    ///
    /// # Errors
    /// The rejection of an event that has none.
    pub(crate) fn of(&self, event_type: &str) -> Result<&Handler, Outcome> {
        let handler = self.by_type.find(event_type).or(self.otherwise.as_ref());
        handler.ok_or_else(|| Outcome::reject(codes::NO_HANDLER, format!("no handler for type {event_type}")))
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
        Err(error) => Box::pin(std::future::ready(Outcome::reject(codes::PAYLOAD_INVALID, error.to_string()))),
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
