//! The steps of messages in topics of Kafka.

use sluicegate_queue::dead_letter::{CODE, MESSAGE_ID, REASON, SOURCE};

use super::logs::MessageLog;
use super::{Journal, MessageStep};
use crate::kafka::Appended;

impl Journal {
    /// Records a record that was appended to a topic: a new message, or one that the consumer gave up.
    pub(crate) fn appended(&self, Appended { topic, id, record }: &Appended<'_>) {
        let text = |name: &str| record.header(name).map(|value| String::from_utf8_lossy(value).into_owned());
        let body = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default());
        if let Some(reason) = text(REASON) {
            // A record without an event is known by its first place.
            let source = text(MESSAGE_ID).or_else(|| text(SOURCE));
            let id = self.identify(&body, source.as_ref().unwrap_or(id));
            self.record(&id, MessageStep::DeadLettered { queue: topic.name.clone(), reason, code: text(CODE) });
            return;
        }
        // The mapping reports what it gives up, with the id of the record.
        if topic.keeps_dead_letters {
            return;
        }
        let id = self.identify(&body, id);
        match self.is_dead_lettered(&id) {
            true => self.redriven(&id, topic.name.clone(), &body.into()),
            false => self.published_new(&id, topic.name.clone(), &body),
        }
    }

    /// Returns whether the message was dead-lettered last.
    fn is_dead_lettered(&self, id: &str) -> bool {
        let state = self.state();
        let last = state.get(id).and_then(MessageLog::last);
        last.is_some_and(|step| matches!(step, MessageStep::DeadLettered { .. }))
    }
}
