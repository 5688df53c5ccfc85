//! The state machine of all queues: queues by name, dead-letter queues, move tasks.
//!
//! Callers of every account and Region share the queues: a queue's ARN and URL name those of the caller that created
//! it.
//!
//! Every method takes the current time as an argument. Events are collected in `events` until the caller drains them.

mod moves;

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::caller::Caller;
use crate::clock::EpochMs;
use crate::config::SqsConfig;
use crate::error::{ApiError, ErrorKind};
use crate::event::QueueEvent;
use crate::limits::{DELETED_NAME_BLOCKED_MS, PURGE_INTERVAL_MS};
use crate::message::{Draft, Message};
use crate::move_task::MoveTasks;
use crate::queue::{DeduplicationKey, Queue, Receive};
use crate::queue_attributes::QueueAttributes;
use crate::text::hex;

/// The state of the service.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) config: SqsConfig,
    pub(crate) base_url: String,
    pub(crate) queues: BTreeMap<Arc<str>, Queue>,
    /// Names of deleted queues that cannot be reused yet, with the time of the deletion.
    deleted: BTreeMap<Arc<str>, EpochMs>,
    pub(crate) move_tasks: MoveTasks,
    pub(crate) events: Vec<QueueEvent>,
}

/// The result of a send.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) message_id: Arc<str>,
    /// Of this body, also if an earlier message has the same deduplication id.
    pub(crate) body_md5: Arc<str>,
    pub(crate) sequence: Option<u64>,
}

impl Engine {
    pub(crate) fn new(config: SqsConfig, base_url: String) -> Self {
        Self {
            config,
            base_url,
            queues: BTreeMap::new(),
            deleted: BTreeMap::new(),
            move_tasks: MoveTasks::default(),
            events: Vec::new(),
        }
    }

    pub(crate) fn url(&self, queue: &Queue) -> String {
        format!("{}/{}/{}", self.base_url, queue.account(), queue.name)
    }

    /// Returns the queue's name in a URL, whose last two segments are account and name. AWS accepts a bare name too.
    pub(crate) fn name_in_url<'u>(&self, url: &'u str) -> Result<&'u str, ApiError> {
        let mut segments = url.trim_end_matches('/').rsplit('/');
        match (segments.next(), segments.next()) {
            (Some(name), account) if !name.is_empty() => {
                let is_its = |queue: &Queue| account.is_none_or(|account| account == queue.account());
                if self.queues.get(name).is_some_and(is_its) { Ok(name) } else { Err(ApiError::no_such_queue()) }
            }
            _ => Err(ApiError::new(
                ErrorKind::InvalidAddress,
                format!("The address {url} is not valid for this endpoint."),
            )),
        }
    }

    /// Returns the name of the queue with this ARN, if it exists.
    pub(crate) fn name_of_arn(&self, arn: &str) -> Option<Arc<str>> {
        let name = arn.rsplit(':').next()?;
        let (name, queue) = self.queues.get_key_value(name)?;
        (*queue.arn == *arn).then(|| name.clone())
    }

    /// Returns the queue, advanced to `now`.
    pub(crate) fn queue(&mut self, name: &str, now: EpochMs) -> Result<&mut Queue, ApiError> {
        let queue = self.queues.get_mut(name).ok_or_else(ApiError::no_such_queue)?;
        queue.advance(now, &mut self.events);
        Ok(queue)
    }

    /// Creates a queue, or confirms that it exists with these attributes; returns its URL.
    ///
    /// # Errors
    /// `QueueNameExists` if it exists with other attributes; the errors of `QueueAttributes`.
    pub(crate) fn create(
        &mut self,
        name: &str,
        given: &BTreeMap<String, String>,
        tags: BTreeMap<String, String>,
        caller: &Caller,
        now: EpochMs,
    ) -> Result<String, ApiError> {
        if let Some(queue) = self.queues.get(name) {
            queue.attributes.clone().apply(given)?;
            let Some(attribute) = queue.attributes.first_difference(given) else { return Ok(self.url(queue)) };
            return Err(ApiError::new(
                ErrorKind::QueueNameExists,
                format!("A queue already exists with the same name and a different value for attribute {attribute}"),
            ));
        }
        let attributes = QueueAttributes::new(name, given)?;
        self.deleted.retain(|_, at| now.saturating_sub(*at) < DELETED_NAME_BLOCKED_MS);
        if self.deleted.contains_key(name) {
            return Err(ApiError::new(
                ErrorKind::QueueDeletedRecently,
                "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
            ));
        }
        let region = caller.region.as_deref().unwrap_or(&self.config.region);
        let account = caller.account.as_deref().unwrap_or(&self.config.account);
        let arn = format!("arn:aws:sqs:{region}:{account}:{name}");
        self.check_dead_letter_queue(&arn, &attributes)?;
        let mut queue = Queue::new(name, arn, attributes, now);
        queue.tags = tags;
        let url = self.url(&queue);
        self.queues.insert(queue.name.clone(), queue);
        Ok(url)
    }

    /// Sets attributes, all or none.
    pub(crate) fn set_attributes(
        &mut self,
        name: &str,
        given: &BTreeMap<String, String>,
        now: EpochMs,
    ) -> Result<(), ApiError> {
        let queue = self.queue(name, now)?;
        let (arn, mut attributes) = (queue.arn.clone(), queue.attributes.clone());
        attributes.apply(given)?;
        if given.contains_key("RedrivePolicy") {
            self.check_dead_letter_queue(&arn, &attributes)?;
        }
        let queue = self.queue(name, now)?;
        queue.attributes = attributes;
        queue.modified_at = now;
        queue.retime_delayed();
        Ok(())
    }

    fn check_dead_letter_queue(&self, arn: &str, attributes: &QueueAttributes) -> Result<(), ApiError> {
        let Some(policy) = &attributes.redrive else { return Ok(()) };
        let target = self
            .name_of_arn(&policy.target_arn)
            .and_then(|target| self.queues.get(&target))
            .ok_or_else(|| policy.refused("Dead letter target does not exist."))?;
        if target.attributes.fifo != attributes.fifo {
            return Err(policy.refused("Dead-letter queue must be same type of queue as the source."));
        }
        if target.attributes.redrive_allow.as_ref().is_some_and(|allow| !allow.allows(arn)) {
            return Err(policy.refused("The dead-letter queue's redrive allow policy does not permit this queue."));
        }
        Ok(())
    }

    /// Removes a queue with all its messages; waiting receives end.
    pub(crate) fn delete_queue(&mut self, name: &str, now: EpochMs) -> Result<(), ApiError> {
        let mut queue = self.queues.remove(name).ok_or_else(ApiError::no_such_queue)?;
        self.events.extend(queue.clear().iter().map(|message| QueueEvent::purged(&queue.name, message)));
        queue.changed.notify_waiters();
        self.deleted.retain(|_, at| now.saturating_sub(*at) < DELETED_NAME_BLOCKED_MS);
        self.deleted.insert(queue.name, now);
        Ok(())
    }

    /// Removes all messages of a queue, at most once a minute.
    pub(crate) fn purge(&mut self, name: &str, now: EpochMs) -> Result<(), ApiError> {
        let queue = self.queue(name, now)?;
        if queue.purged_at.is_some_and(|at| now.saturating_sub(at) < PURGE_INTERVAL_MS) {
            return Err(ApiError::new(
                ErrorKind::PurgeQueueInProgress,
                format!("Only one PurgeQueue operation on {name} is allowed every 60 seconds."),
            ));
        }
        queue.purged_at = Some(now);
        let events: Vec<_> = queue.clear().iter().map(|message| QueueEvent::purged(&queue.name, message)).collect();
        self.events.extend(events);
        Ok(())
    }

    /// Checks the FIFO rules for one message.
    ///
    /// # Errors
    /// `MissingParameter` for a FIFO message without a group, `InvalidParameterValue` for one that cannot be
    /// deduplicated.
    pub(crate) fn check_fifo(&mut self, name: &str, draft: &Draft, now: EpochMs) -> Result<(), ApiError> {
        let attributes = &self.queue(name, now)?.attributes;
        if !attributes.fifo {
            return Ok(());
        }
        if draft.group.is_none() {
            return Err(ApiError::missing("MessageGroupId"));
        }
        if draft.deduplication_id.is_none() && !attributes.content_based_deduplication {
            return Err(ApiError::invalid_parameter(
                "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
            ));
        }
        Ok(())
    }

    /// Sends one message.
    pub(crate) fn send(&mut self, name: &str, mut draft: Draft, now: EpochMs) -> Result<Sent, ApiError> {
        draft.check()?;
        self.check_fifo(name, &draft, now)?;
        let queue = self.queue(name, now)?;
        let bytes_max = queue.attributes.message_bytes_max;
        if draft.size_bytes() > usize::try_from(bytes_max).unwrap_or(usize::MAX) {
            return Err(ApiError::invalid_parameter(format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {bytes_max} bytes."
            )));
        }
        let mut delay_s = draft.delay_s.unwrap_or(queue.attributes.delay_s);
        let wrong_type = |parameter: &str, value: &str| {
            ApiError::invalid_parameter(format!(
                "Value {value} for parameter {parameter} is invalid. Reason: The request include parameter that is not valid \
                 for this queue type."
            ))
        };
        if queue.attributes.fifo {
            if let Some(delay_s) = draft.delay_s.filter(|delay_s| *delay_s > 0) {
                return Err(wrong_type("DelaySeconds", &delay_s.to_string()));
            }
            delay_s = queue.attributes.delay_s;
            draft.deduplication_id.get_or_insert_with(|| hex(&Sha256::digest(draft.body.as_bytes())));
        } else if let Some(id) = &draft.deduplication_id {
            return Err(wrong_type("MessageDeduplicationId", id));
        }
        let message = draft.into_message(now);
        let body_md5 = message.body_md5.clone();
        let scope = message.group.as_deref().filter(|_| queue.attributes.deduplicates_per_group);
        let key = message.deduplication_id.as_deref().map(|id| DeduplicationKey::new(scope, id));
        if let Some((message_id, sequence)) = key.as_ref().and_then(|key| queue.sent_before.get(key, now)) {
            return Ok(Sent { message_id: message_id.clone(), body_md5, sequence: Some(*sequence) });
        }
        let message_id = message.id.clone();
        let event = QueueEvent::sent(&queue.name, &message);
        let sequence = queue.insert(message, EpochMs::from(delay_s) * 1_000, now);
        if let (Some(key), Some(sequence)) = (key, sequence) {
            queue.sent_before.put(key, (message_id.clone(), sequence), now);
        }
        self.events.push(event);
        Ok(Sent { message_id, body_md5, sequence })
    }

    /// Receives messages; those that reached `maxReceiveCount` go to the dead-letter queue instead.
    pub(crate) fn receive(
        &mut self,
        name: &str,
        wanted: &Receive,
        now: EpochMs,
    ) -> Result<Vec<(Message, String)>, ApiError> {
        // A policy whose dead-letter queue was deleted has no effect: a repeated delivery is better than a lost
        // message.
        let policy = self.queue(name, now)?.attributes.redrive.clone();
        let redrive = policy.and_then(|policy| Some((self.name_of_arn(&policy.target_arn)?, policy.receive_count_max)));
        let queue = self.queue(name, now)?;
        let received = queue.receive(wanted, redrive.as_ref().map(|(_, max)| *max), now)?;
        let (name, arn) = (queue.name.clone(), queue.arn.clone());
        if let Some((target, _)) = redrive {
            for message in received.dead {
                self.dead_letter(&name, &arn, &target, message, now);
            }
        }
        self.events.extend(received.messages.iter().map(|(message, _)| QueueEvent::received(&name, message)));
        Ok(received.messages)
    }

    fn dead_letter(&mut self, name: &Arc<str>, arn: &Arc<str>, target: &Arc<str>, mut message: Message, now: EpochMs) {
        let Some(queue) = self.queues.get_mut(target) else { return };
        self.events.push(QueueEvent::dead_lettered(name, &message, target));
        message.dead_letter_source = Some(arn.clone());
        // The deduplication id becomes the message id, so that two messages with the same deduplication id both arrive.
        // Retention continues from the first send on standard queues only. Guide
        // sqs-configure-dead-letter-queue-redrive.
        if queue.attributes.fifo {
            message.deduplication_id = Some(message.id.clone());
            message.sent_at = now;
        }
        queue.insert(message, 0, now);
    }
}
