//! [`Shelf`]: what a broker must be able to do for its dead-letter queue to be worked on.

use crate::{Error, Parked};

/// The attribute (SQS, Number) or header (AMQP, signed integer) that counts redrives.
pub const REDRIVES: &str = "sluicegate-redrives";

/// A dead-letter queue being worked on. Messages that were taken are hidden from others until they are redriven, deleted or
/// released; a process that dies gives all of them back by itself.
///
/// Several redrives or deletes may be under way at once. Only messages of the latest take can be redriven: of earlier ones a
/// shelf remembers no more than it needs to delete or release them, so that the memory it takes does not grow with the queue.
pub trait Shelf {
    /// Takes up to `max` messages that were not taken yet. Empty if nothing more can be reached now: the queue is empty, or the
    /// rest is hidden (by another reader, or on FIFO behind messages of its group that are held).
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    fn take(&self, max: usize) -> impl Future<Output = Result<Vec<Parked>, Error>>;

    /// Whether the queue gives the messages of a group in order, and keeps the later ones back while one is held.
    fn keeps_order(&self) -> bool {
        false
    }

    /// Where [`redrive`](Self::redrive) would send the message, for people. Everything that can be checked without sending is
    /// checked.
    ///
    /// # Errors
    /// It would stay where it is; or the broker cannot be reached or refuses.
    fn destination(&self, parked: &Parked, to: Option<&str>) -> impl Future<Output = Result<String, Error>>;

    /// Sends the message back, to `to` or else to the queue it came from, with all it had and one redrive more; with another body if
    /// one is given. It is removed from the dead-letter queue only after the broker has confirmed that it is stored, and routed.
    ///
    /// # Errors
    /// [`Error::Stays`]: it is where it was, and only there. [`Error::Unclear`]: it is where it was, and may have been stored
    /// again, or surely was and could not be removed. [`Error::Broker`]: as `Stays`, and others will fare the same.
    fn redrive(
        &self,
        parked: &Parked,
        to: Option<&str>,
        body: Option<&[u8]>,
    ) -> impl Future<Output = Result<(), Error>>;

    /// Removes the message for good.
    ///
    /// # Errors
    /// It is still there, or perhaps ([`Error::Unclear`]).
    fn delete(&self, parked: &Parked) -> impl Future<Output = Result<(), Error>>;

    /// Gives back, unchanged, everything that is still held.
    ///
    /// # Errors
    /// The broker could not be told; it gives the messages back by itself, later.
    fn release(&self) -> impl Future<Output = Result<(), Error>>;

    /// About how many messages the queue holds, those that are held included.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    fn depth(&self) -> impl Future<Output = Result<u64, Error>>;
}
