//! [`Shelf`]: what a broker must be able to do for its dead-letter queue to be worked on.

use crate::{Error, Parked};

/// The attribute (SQS, Number) or header (AMQP, signed integer) that counts redrives.
pub const REDRIVES: &str = "sluicegate-redrives";

/// A dead-letter queue being worked on. Messages that were taken are hidden from others until they are moved, deleted or
/// released; a process that dies gives all of them back by itself.
pub trait Shelf {
    /// Takes up to `max` messages that were not taken yet. None if nothing more can be reached now: the queue is empty, or the rest
    /// is hidden (by another reader, or on FIFO behind messages of its group that are held).
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    fn take(&mut self, max: usize) -> impl Future<Output = Result<Vec<Parked>, Error>>;

    /// Sends the message back, to `to` or else to the queue it came from, with all it had and one redrive more; with another body if
    /// one is given. It is removed from the dead-letter queue only after the broker has confirmed that it is stored, and routed.
    ///
    /// # Errors
    /// It stays where it is; or it is stored again and could not be removed, so that it is in both.
    fn redrive(
        &mut self,
        parked: &Parked,
        to: Option<&str>,
        body: Option<&[u8]>,
    ) -> impl Future<Output = Result<(), Error>>;

    /// Removes the message for good.
    ///
    /// # Errors
    /// It is still there.
    fn delete(&mut self, parked: &Parked) -> impl Future<Output = Result<(), Error>>;

    /// Gives back, unchanged, everything that is still held.
    ///
    /// # Errors
    /// The broker could not be told; it gives the messages back by itself, later.
    fn release(&mut self) -> impl Future<Output = Result<(), Error>>;

    /// About how many messages the queue holds, those that are held included.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    fn depth(&mut self) -> impl Future<Output = Result<u64, Error>>;
}
