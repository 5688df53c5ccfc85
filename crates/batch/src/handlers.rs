//! Which handler works on which event type. An exact type beats a prefix, a longer prefix a shorter one, `otherwise` comes last.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::{Delivery, Outcome};

type Handler = Box<dyn Fn(Arc<Delivery>) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync>;

#[derive(Default)]
pub(crate) struct Handlers {
    exact: HashMap<String, Handler>,
    /// The longest first.
    prefixes: Vec<(String, Handler)>,
    otherwise: Option<Handler>,
}

impl Handlers {
    /// A handler registered twice for one pattern replaces the first.
    pub(crate) fn on(&mut self, pattern: &str, handler: Handler) {
        match pattern.strip_suffix('*') {
            None => drop(self.exact.insert(pattern.to_owned(), handler)),
            Some(prefix) => {
                self.prefixes.retain(|(other, _)| other != prefix);
                self.prefixes.push((prefix.to_owned(), handler));
                self.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
            }
        }
    }

    pub(crate) fn otherwise(&mut self, handler: Handler) {
        self.otherwise = Some(handler);
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

/// The payload is parsed before the handler runs; one that does not fit is rejected, as it will not fit next time either.
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
        Err(reason) => Box::pin(std::future::ready(Outcome::Reject(reason))),
    })
}

/// A payload that does not fit gets a second try with its integers written as integers. The reason names the place and leaves out serde's own text, which quotes the payload.
fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, String> {
    let again = || serde_json::from_value(sluicegate_envelope::with_integers(payload)?).ok();
    let mut deserializer = serde_json::Deserializer::from_slice(payload);
    match serde_path_to_error::deserialize(&mut deserializer) {
        Ok(parsed) => {
            deserializer.end().map_err(|_| "payload goes on after its JSON value".to_owned())?;
            Ok(parsed)
        }
        Err(error) => {
            let (line, column) = (error.inner().line(), error.inner().column());
            match error.inner().is_data() {
                true => again()
                    .ok_or_else(|| format!("payload does not fit at {} (line {line}, column {column})", error.path())),
                false => Err(format!("payload is not JSON (line {line}, column {column})")),
            }
        }
    }
}
