//! RabbitMQ as a queue: messages are consumed without acknowledgement and so held, on one connection, for as long as the queue is
//! open.
//!
//! | what | how |
//! |---|---|
//! | taken | delivered to a consumer with a prefetch; as many as there were when the queue was opened, and no more |
//! | redriven | published to the queue itself (default exchange), mandatory, confirmed and not returned; then acknowledged |
//! | deleted | acknowledged |
//! | released | the channel is closed, and the queue puts everything back in its order |
//! | connection lost | the same, and nothing more can be done on this queue |
//!
//! Through the default exchange a redriven message comes to its queue only, and to no other subscriber of the exchange it was
//! once published to. Messages that arrive during the work, such as one that failed again, are for the next time.
//!
//! Publishing has a connection of its own: a broker that is short of memory stops reading from those who publish, and must still
//! hear the acknowledgements.
//!
//! A quorum queue counts how often a message comes back, and gives it up when its `delivery-limit` is passed, which behind a
//! dead-letter queue means that it is lost. Such a queue is refused unless its limit is out of reach, as the one of
//! `infra/topology.yaml` is. So the management API is needed.

mod connection;
mod display;
mod in_flight;
mod message;
mod queues;
mod redrive_properties;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::BasicProperties;
use sluicegate_queue::SendError;
use sluicegate_queue::rabbitmq::{Broker, Config, Publication};
use sluicegate_topology::Address;
use tokio::time::Instant;

use self::connection::Connection;
use self::in_flight::InFlight;
use self::message::Place;
pub use self::queues::dead_letter_queues;
use crate::{DeadLetter, DeadLetterQueue, Error};

/// How long a publish may take; 16 MiB go over a line of 3 Mbit/s meanwhile.
const PUBLISH_TIME_MAX: Duration = Duration::from_secs(60);

/// A dead-letter queue of RabbitMQ, being worked on. It needs a Tokio runtime with time and I/O.
pub struct RabbitmqDeadLetterQueue {
    place: Place,
    /// Who we are to the broker.
    user: String,
    /// What was taken.
    in_flight: InFlight,
    /// Takes what is redriven.
    broker: Broker,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Of the latest take, what is needed to redrive it, and is not being redriven.
    latest: HashMap<u64, BasicProperties>,
    /// Queues that were seen to be there.
    seen: HashSet<String>,
}

impl RabbitmqDeadLetterQueue {
    /// Opens the dead-letter queue `queue`, as it is now.
    ///
    /// # Errors
    /// The broker or its management API cannot be reached or refuses; the queue is not there, is a stream, or would lose what
    /// is looked at.
    pub async fn open(address: &Address, queue: &str) -> Result<Self, Error> {
        queues::check(address, queue).await?;
        let (broker, user) = broker(address)?;
        let in_flight = InFlight::open(Connection::open(address, &broker).await?, queue).await?;
        Ok(Self {
            place: Place { queue: queue.to_owned(), vhost: address.vhost().to_owned() },
            user,
            in_flight,
            broker,
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is in our hands; if not, it is where it was.
    fn check_held(&self, letter: &DeadLetter) -> Result<(), Error> {
        if self.in_flight.has(letter.handle)? {
            Ok(())
        } else {
            Err(Error::not_sent(&letter.id, "it is not held any more"))
        }
    }

    fn target(&self, letter: &DeadLetter, properties: &BasicProperties, to: Option<&str>) -> Result<String, Error> {
        match to {
            Some(to) => Ok(to.to_owned()),
            None => message::source_queue(&self.place, properties)
                .map_err(|reason| Error::not_sent(&letter.id, format!("{reason}; name the queue to send it to"))),
        }
    }
}

impl DeadLetterQueue for RabbitmqDeadLetterQueue {
    async fn take(&self, max: usize) -> Result<Vec<DeadLetter>, Error> {
        self.state().latest.clear();
        let taken = self.in_flight.take(max).await?;
        let mut state = self.state();
        let letter = taken.into_iter().map(|delivery| {
            let (tag, properties) = (delivery.delivery_tag, delivery.properties);
            let letter = message::dead_letter(&self.place, tag, &properties, delivery.data);
            state.latest.insert(tag, properties);
            letter
        });
        Ok(letter.collect())
    }

    /// Where it would go, if that queue is there.
    async fn destination(&self, letter: &DeadLetter, to: Option<&str>) -> Result<String, Error> {
        self.check_held(letter)?;
        let properties = self.state().latest.get(&letter.handle).cloned();
        let properties = properties.ok_or_else(|| Error::not_sent(&letter.id, "it is not of the latest take"))?;
        let target = self.target(letter, &properties, to)?;
        if !self.state().seen.contains(&target) {
            if !self.in_flight.connection().is_there(&target).await? {
                return Err(Error::not_sent(&letter.id, format!("there is no queue {target}")));
            }
            self.state().seen.insert(target.clone());
        }
        Ok(target)
    }

    async fn redrive(&self, letter: &DeadLetter, to: Option<&str>, body: Option<&[u8]>) -> Result<(), Error> {
        self.check_held(letter)?;
        let properties = self.state().latest.remove(&letter.handle);
        let properties =
            properties.ok_or_else(|| Error::not_sent(&letter.id, "it is not of the latest take, or being redriven"))?;
        let placed = match self.target(letter, &properties, to) {
            Ok(queue) => self.place(letter, &queue, &properties, body).await,
            Err(error) => Err(error),
        };
        if let Err(error) = placed {
            self.state().latest.insert(letter.handle, properties);
            return Err(error);
        }
        self.in_flight.acknowledge(letter.handle).await.map_err(|error| {
            Error::unknown(&letter.id, format!("it is stored again, and perhaps here as well: {error}"))
        })
    }

    async fn delete(&self, letter: &DeadLetter) -> Result<(), Error> {
        self.check_held(letter)?;
        self.state().latest.remove(&letter.handle);
        self.in_flight
            .acknowledge(letter.handle)
            .await
            .map_err(|error| Error::unknown(&letter.id, format!("it is perhaps still here: {error}")))
    }

    /// Nothing more can be taken afterwards: it would be the same messages again.
    async fn release(&self) -> Result<(), Error> {
        self.state().latest.clear();
        self.in_flight.release().await
    }

    async fn depth(&self) -> Result<u64, Error> {
        self.in_flight.depth().await
    }
}

impl RabbitmqDeadLetterQueue {
    /// Stores it in the queue once more.
    async fn place(
        &self,
        letter: &DeadLetter,
        queue: &str,
        properties: &BasicProperties,
        body: Option<&[u8]>,
    ) -> Result<(), Error> {
        let properties = redrive_properties::properties(properties, &self.user);
        let body = body.unwrap_or(&letter.body);
        let publication = Publication { exchange: "", routing_key: queue, properties, body };
        let stored = self.broker.publish(&publication, Instant::now() + PUBLISH_TIME_MAX).await;
        stored.map_err(|error| match error {
            SendError::Unroutable { .. } => Error::not_sent(&letter.id, format!("there is no queue {queue}")),
            SendError::Refused { message_at_fault: true, reason } => Error::not_sent(&letter.id, reason),
            SendError::Unknown { reason } => {
                Error::unknown(&letter.id, format!("it is perhaps in {queue} as well: {reason}"))
            }
            other => Error::Broker(format!("{queue}: {other}")),
        })
    }
}

/// Returns the broker at `address`, and the user name for it.
fn broker(address: &Address) -> Result<(Broker, String), Error> {
    let uri = address.uri().map_err(|error| Error::Broker(error.to_string()))?;
    let user = uri.authority.userinfo.username.clone();
    Ok((Broker::new(Config::at(uri)), user))
}
