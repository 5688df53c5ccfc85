//! [`Property`]: what must hold in every simulation, in words. `ledger.rs` has the code of each.

use std::fmt;

/// A promise of the product, as far as a simulation can check it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Property {
    AcceptedIsStored,
    NotStoredIsTrue,
    RepeatsHaveOneId,
    StoredKeysNameOneMessage,
    IdsNameTheirMessage,
    RequestsAreAnswered,
    NothingIsLost,
    NothingIsInvented,
    PayloadsAreIntact,
    DeadLettersHaveTheirReason,
    HealthyMessagesAreHandled,
    GroupsAreInOrder,
    EachDeliveryIsSettledOnce,
    RetriesWait,
    StoredEffectsHappenOnce,
    StatusesAreTrue,
    RateLimitsHold,
    SignaturesHold,
    KeysAreFetchedSeldom,
    RedrivesSucceed,
    InvocationsEndInTime,
    LogsAddUp,
    MetricsAddUp,
    EverythingDrains,
}

impl Property {
    pub(crate) const ALL: [Self; 24] = [
        Self::AcceptedIsStored,
        Self::NotStoredIsTrue,
        Self::RepeatsHaveOneId,
        Self::StoredKeysNameOneMessage,
        Self::IdsNameTheirMessage,
        Self::RequestsAreAnswered,
        Self::NothingIsLost,
        Self::NothingIsInvented,
        Self::PayloadsAreIntact,
        Self::DeadLettersHaveTheirReason,
        Self::HealthyMessagesAreHandled,
        Self::GroupsAreInOrder,
        Self::EachDeliveryIsSettledOnce,
        Self::RetriesWait,
        Self::StoredEffectsHappenOnce,
        Self::StatusesAreTrue,
        Self::RateLimitsHold,
        Self::SignaturesHold,
        Self::KeysAreFetchedSeldom,
        Self::RedrivesSucceed,
        Self::InvocationsEndInTime,
        Self::LogsAddUp,
        Self::MetricsAddUp,
        Self::EverythingDrains,
    ];

    /// Returns the property as a sentence.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::AcceptedIsStored => {
                "The queue has stored the message of a request, or of an item of a batch, before it is answered 202."
            }
            Self::NotStoredIsTrue => {
                "A request or an item whose answer has neither 202 nor an id did not store its message, then or later."
            }
            Self::RepeatsHaveOneId => "Every 202 for the same message has the same id.",
            Self::StoredKeysNameOneMessage => {
                "Of the messages with one idempotency key that is stored, one at most is accepted, none that is on the \
                 queue is refused for its key, and there is one copy unless a fault hit a request of them, its answer \
                 was that the message may be stored, a clock is wrong, or RabbitMQ has faults. After a fault of the \
                 store the route of a FIFO queue, which admits requests while it is away, may accept others."
            }
            Self::IdsNameTheirMessage => "The id of a 202 is that of the event that the handler receives.",
            Self::RequestsAreAnswered => {
                "Every request is answered before its timeout, with a result for each item of a batch: with 202, with \
                 503 if there are faults or wrong clocks, with 413 if its payload is larger than the contract or the queue \
                 allows, with 429 if the route has a rate limit, with 401 if it is a webhook, or, if its idempotency \
                 key is stored, with 409, or with 422 if another message has the key."
            }
            Self::NothingIsLost => {
                "A message leaves the queue only after it was handled or is in the dead-letter queue, and the queue of \
                 the archive after it is in an object."
            }
            Self::NothingIsInvented => "Only messages that were sent and not refused are on the queue.",
            Self::PayloadsAreIntact => "A handler receives the payload byte for byte.",
            Self::DeadLettersHaveTheirReason => {
                "A dead letter was rejected by its handler, failed the last of its receives, has no handler, no retry \
                 queue of RabbitMQ or is not an event, and its reason says which. On SQS, a receive also fails while \
                 the idempotency store or the payload in S3 is out of reach, and in the last one a message may not be \
                 started in time. On RabbitMQ the last receive is later only by those without a failure of the \
                 handler, as of a batch that came back as a whole; on an ordered queue, only by tries while the store \
                 is away. The queue itself dead-letters only what lost a receive to a fault."
            }
            Self::HealthyMessagesAreHandled => {
                "A message whose handler succeeds is handled within a bound of receives that were not lost to a fault: \
                 3 on a standard queue, the batch size times the receives of a failing message plus 10 on a FIFO or \
                 ordered queue."
            }
            Self::GroupsAreInOrder => {
                "On a FIFO or ordered queue, no message is handled before each earlier one of its group was handled \
                 or is in the dead-letter queue."
            }
            Self::EachDeliveryIsSettledOnce => {
                "An invocation returns each message that was not handled or dead-lettered, and no other, once: in its \
                 answer on SQS, as a copy on RabbitMQ, unless a fault stored a second one. It fails as a whole only on \
                 RabbitMQ, with a message that it could not settle: on an ordered queue, and on others after a fault."
            }
            Self::RetriesWait => {
                "After a retry with a delay, the message is not received before, unless a fault hit it."
            }
            Self::StoredEffectsHappenOnce => {
                "With an idempotency rule, a message has one handler at a time, and none after its store has recorded \
                 that it was handled. An effect in one transaction with that record happens once. A text that a move \
                 task of SQS moved has a new key, and an environment whose clock is ahead takes over a lease early."
            }
            Self::StatusesAreTrue => {
                "A 202 names the status of its message, unless a fault hit the table, and the status is there when \
                 everything has drained, unless the answer is that of an earlier request. It says that the message is \
                 done only if it is, for good; and that it is dead only if it was in the dead-letter queue. At the end \
                 it says which, unless a fault hit the table or an invocation with the message, or the queue itself \
                 dead-lettered it. That it is dead may also be replaced if a clock is wrong, or a fault led to two \
                 deliveries at a time."
            }
            Self::RateLimitsHold => {
                "A route accepts no more requests than a limit that all environments count together admits in the \
                 time, unless the table had a fault and the limit is open then. A request is refused only if those \
                 that may have counted use the limit up, twice those of which a call to the table had a fault; and \
                 `Retry-After` does not exceed how long that takes."
            }
            Self::SignaturesHold => {
                "A webhook with a forged, old or postdated signature, or one that is so by the clock of the ingress, is \
                 refused, is not on a queue and does not count against a rate limit. No other is refused for its \
                 signature. The same holds for a request with a token."
            }
            Self::KeysAreFetchedSeldom => {
                "Whatever clients send, an environment of the ingress fetches a published file at most once a minute, \
                 or every five seconds while its server fails."
            }
            Self::RedrivesSucceed => "The dead-letter tool redrives without an error, unless there are faults.",
            Self::InvocationsEndInTime => "An invocation of the consumer ends before the timeout of the function.",
            Self::LogsAddUp => {
                "An invocation that is not killed logs one outcome for each message, beside those of retries within \
                 it, and those that it returns are those with the outcomes retry, returned and reject_failed. As many \
                 are logged as done as handlers were done, and no more as dead letters than were stored."
            }
            Self::MetricsAddUp => {
                "The metrics of an invocation count each outcome that it logs. They time each call of a handler, of \
                 the tries within an invocation the last, and may time a message without a handler. The metrics of a \
                 request count its answer, or that of each item, with its code."
            }
            Self::EverythingDrains => "Four hours after the last fault and the last request, the queue is empty.",
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
