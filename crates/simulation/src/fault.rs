//! The faults that are injected, where, and their names in a schedule.

use std::fmt;
use std::str::FromStr;

/// A call with an outside, or an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Site {
    /// The ingress sends to the queue. The subject is the message.
    Send,
    /// The ingress sends several messages to the queue. The subject is the first.
    SendBatch,
    /// The ingress sends to the queue of the copies. The subject is the first message.
    Copy,
    /// The ingress fetches the secret. The subject is the environment.
    Secret,
    /// The ingress fetches the keys of the issuer of tokens. The subject is the environment.
    Issuer,
    /// The ingress is invoked. The subject is the message.
    Ingress,
    /// The consumer sends to the dead-letter queue. The subject is the message.
    DeadLetter,
    /// The consumer changes visibility timeouts. The subject is the invocation.
    Visibility,
    /// The consumer reads the redrive policy. The subject is the invocation.
    Attributes,
    /// The mapping receives. The subject is the message that comes first.
    Receive,
    /// The mapping deletes. The subject is the message that comes first.
    Delete,
    /// The consumer is invoked. The subject is the message that comes first.
    Consumer,
    /// A received message becomes visible early. The subject is the message.
    Early,
    /// The consumer calls its idempotency store. The subject is the invocation.
    Store,
    /// The ingress calls its store of idempotency keys and statuses. The subject is the request.
    Keys,
    /// The ingress writes a payload to S3, or the consumer reads it. The subject is the message.
    Payload,
    /// The dead-letter tool calls SQS. The subject is the message, or the redrive.
    Redrive,
    /// The dead-letter tool runs. The subject is the redrive.
    Tool,
    /// The archiver calls S3 or SQS. The subject is its invocation.
    Archive,
    /// The archiver is invoked. The subject is the invocation.
    Archiver,
    /// The mapping calls the queue of the archive. The subject is 0.
    ArchiveQueue,
    /// RabbitMQ as a whole. The subject counts the occasions.
    Broker,
}

impl Site {
    pub(crate) const ALL: [Self; 22] = [
        Self::Send,
        Self::SendBatch,
        Self::Copy,
        Self::Secret,
        Self::Issuer,
        Self::Ingress,
        Self::DeadLetter,
        Self::Visibility,
        Self::Attributes,
        Self::Receive,
        Self::Delete,
        Self::Consumer,
        Self::Early,
        Self::Store,
        Self::Keys,
        Self::Payload,
        Self::Redrive,
        Self::Tool,
        Self::Archive,
        Self::Archiver,
        Self::ArchiveQueue,
        Self::Broker,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::SendBatch => "send-batch",
            Self::Copy => "copy",
            Self::Secret => "secret",
            Self::Issuer => "issuer",
            Self::Ingress => "ingress",
            Self::DeadLetter => "dead-letter",
            Self::Visibility => "visibility",
            Self::Attributes => "attributes",
            Self::Receive => "receive",
            Self::Delete => "delete",
            Self::Consumer => "consumer",
            Self::Early => "early",
            Self::Store => "store",
            Self::Keys => "keys",
            Self::Payload => "payload",
            Self::Redrive => "redrive",
            Self::Tool => "tool",
            Self::Archive => "archive",
            Self::Archiver => "archiver",
            Self::ArchiveQueue => "archive-queue",
            Self::Broker => "broker",
        }
    }

    /// Returns the faults that are possible here.
    pub(crate) fn kinds(self) -> &'static [Kind] {
        use Kind::{
            Blocks, CutAfter, CutBefore, Fails, FailsAfter, Killed, Late, LateEffect, NotMd5, Partly, Restarts,
            RunsOut, Throttled,
        };
        match self {
            Self::Send | Self::Copy | Self::DeadLetter => {
                &[CutBefore, CutAfter, Fails, FailsAfter, Late, LateEffect, NotMd5, Throttled]
            }
            Self::SendBatch => &[CutBefore, CutAfter, Fails, FailsAfter, Late, LateEffect, NotMd5, Partly, Throttled],
            Self::Visibility | Self::Delete => &[CutBefore, CutAfter, Fails, Late, Partly, Throttled],
            Self::Attributes => &[CutBefore, Fails, Late, Throttled],
            Self::Receive | Self::ArchiveQueue => &[CutAfter],
            Self::Secret => &[Fails, Late],
            Self::Issuer => &[CutBefore, Fails, Late, Throttled],
            Self::Ingress | Self::Tool => &[Killed],
            Self::Store | Self::Keys | Self::Payload | Self::Redrive | Self::Archive => {
                &[CutBefore, CutAfter, Fails, FailsAfter, Late, LateEffect, Throttled]
            }
            Self::Consumer | Self::Archiver => &[Killed, Killed, FailsAfter, Throttled],
            Self::Early => &[RunsOut],
            Self::Broker => &[Restarts, Blocks],
        }
    }
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The connection ends before the call has an effect.
    CutBefore,
    /// The connection ends after the effect, before the answer.
    CutAfter,
    /// The service answers with an error, without an effect.
    Fails,
    /// The service answers with an error after the effect. Of an invocation: its answer is lost.
    FailsAfter,
    /// The answer comes after seconds.
    Late,
    /// The effect and the answer come after seconds.
    LateEffect,
    /// The answer has the MD5 of another body, which was stored in place of the message. Of RabbitMQ: the message is
    /// returned, because its queue does not exist.
    NotMd5,
    /// Some entries of the batch fail.
    Partly,
    /// The call is throttled. Of RabbitMQ: the message is refused, because its queue is full.
    Throttled,
    /// The process ends at one of its awaits.
    Killed,
    /// The visibility timeout ends at once or after seconds.
    RunsOut,
    /// The broker ends all connections, loses what it has not confirmed, and is away for seconds.
    Restarts,
    /// The broker blocks publishers for seconds.
    Blocks,
}

/// Names one fault of a seed: the place, the subject, and how often the place had the subject before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FaultId {
    pub(crate) site: Site,
    pub(crate) subject: u64,
    pub(crate) nth: u32,
}

impl fmt::Display for FaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.site.name(), self.subject, self.nth)
    }
}

impl FromStr for FaultId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let mut parts = text.split('/');
            let name = parts.next()?;
            let site = Site::ALL.into_iter().find(|site| site.name() == name)?;
            let id = Self { site, subject: parts.next()?.parse().ok()?, nth: parts.next()?.parse().ok()? };
            parts.next().is_none().then_some(id)
        };
        parsed().ok_or_else(|| format!("{text:?} is not a fault such as send/12/0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_fault_is_read_back() {
        for site in Site::ALL {
            let id = FaultId { site, subject: 12, nth: 3 };
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in ["", "send", "send/1", "send/1/x", "send/1/2/3", "none/1/2"] {
            assert!(text.parse::<FaultId>().is_err(), "{text}");
        }
    }
}
