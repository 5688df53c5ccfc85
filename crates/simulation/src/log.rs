//! Reads the outcomes that the consumer logs.

use std::fmt::Debug;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

use crate::world::World;

/// The reason of a duplicate on an ordered queue of RabbitMQ: it was settled, perhaps dead-lettered, before its batch
/// came again. It is passed on in place of the outcome.
pub(crate) const SETTLED_BEFORE: &str = "settled before its batch was returned";

/// Passes the outcomes of deliveries to the ledger.
pub(crate) struct Outcomes(pub(crate) Arc<World>);

/// The fields of a line.
#[derive(Default)]
struct Line {
    outcome: Option<String>,
    reason: Option<String>,
    broker_id: Option<String>,
    request_id: Option<String>,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        let to = match field.name() {
            "outcome" => &mut self.outcome,
            "reason" => &mut self.reason,
            "broker_id" => &mut self.broker_id,
            "request_id" => &mut self.request_id,
            _ => return,
        };
        *to = Some(value.to_owned());
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

impl Subscriber for Outcomes {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.fields().field("receive_count").is_some()
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let number = line.request_id.and_then(|number| number.parse().ok());
        if let (Some(number), Some(broker_id), Some(mut outcome)) = (number, line.broker_id, line.outcome) {
            if line.reason.as_deref() == Some(SETTLED_BEFORE) {
                SETTLED_BEFORE.clone_into(&mut outcome);
            }
            self.0.ledger().logged(number, &broker_id, &outcome);
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
