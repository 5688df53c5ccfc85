//! [`DeadLetterQueue`]: the operations that a broker must offer on a dead-letter queue.

use crate::{DeadLetter, Error};

/// An open dead-letter queue. Messages that were taken are hidden from other readers until they are redriven, deleted
/// or released; when the process ends, the broker returns them all. Only Kafka does not hide them.
///
/// Several redrives or deletes may be in progress at once. Only messages of the latest take can be redriven. Of earlier
/// ones an implementation keeps only the handles to delete or release them, so that its memory does not grow with the
/// size of the messages.
pub trait DeadLetterQueue {
    /// Takes up to `max` messages that were not taken before. Returns none when no more can be reached now: the queue
    /// is empty, or the rest is hidden (held by another reader, or on FIFO behind messages of its group that are in
    /// flight).
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    fn take(&self, max: usize) -> impl Future<Output = Result<Vec<DeadLetter>, Error>>;

    /// Returns whether the messages of a group have an order, which a redrive keeps. SQS holds back the later ones
    /// while one is in flight.
    fn keeps_order(&self) -> bool {
        false
    }

    /// Returns the body that the consumer reads: the message's, or that of the object it points to.
    ///
    /// # Errors
    /// [`Error::NotSent`]: the object cannot be read.
    fn body(&self, letter: &DeadLetter) -> impl Future<Output = Result<Vec<u8>, Error>> {
        std::future::ready(Ok(letter.body.clone()))
    }

    /// Returns where [`redrive`](Self::redrive) would send the message, for display. Checks everything that can be
    /// checked without sending.
    ///
    /// # Errors
    /// The message could not be redriven, or the broker cannot be reached or refuses.
    fn destination(&self, letter: &DeadLetter, to: Option<&str>) -> impl Future<Output = Result<String, Error>>;

    /// Sends the message to `to`, or else to the queue it came from, with all its attributes and one redrive more;
    /// `body` replaces its body if given, also that of the object it points to. Removes it from the dead-letter queue
    /// only after the broker has confirmed that it is stored, and routed.
    ///
    /// # Errors
    /// [`Error::NotSent`]: the message is only in this queue. [`Error::Unknown`]: it is in this queue, and may also be
    /// stored at its destination; or it is stored there and could not be removed here. [`Error::Broker`]: as `NotSent`,
    /// for a failure that affects other messages too.
    fn redrive(
        &self,
        letter: &DeadLetter,
        to: Option<&str>,
        body: Option<&[u8]>,
    ) -> impl Future<Output = Result<(), Error>>;

    /// Deletes the message; on Kafka it stays in the log, and is not a dead letter any more.
    ///
    /// # Errors
    /// The message is still in the queue, or may be ([`Error::Unknown`]).
    fn delete(&self, letter: &DeadLetter) -> impl Future<Output = Result<(), Error>>;

    /// Returns every message in flight to the queue, unchanged.
    ///
    /// # Errors
    /// The broker could not be reached; it returns the messages by itself, later.
    fn release(&self) -> impl Future<Output = Result<(), Error>>;

    /// Returns about how many messages the queue holds, those in flight included.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    fn depth(&self) -> impl Future<Output = Result<u64, Error>>;
}

/// A dead-letter queue in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedQueue {
    /// Its name; on SQS its ARN if it belongs to another account or Region.
    pub name: String,
    /// About how many messages it holds; `None` if it cannot be read.
    pub depth: Option<u64>,
    /// The names of the queues that dead-letter to it. RabbitMQ does not report them, and on Kafka it is the topic that
    /// the name says.
    pub sources: Vec<String>,
}
