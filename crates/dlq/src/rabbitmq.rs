//! RabbitMQ as a [`DeadLetterQueue`]: messages in flight are consumed and not acknowledged, on one connection, while
//! the queue is open.
//!
//! | operation | implementation |
//! |---|---|
//! | take | delivered to a consumer with a prefetch; only messages that were in the queue when it was opened |
//! | redrive | published to its queue (default exchange), mandatory, confirmed and not returned; then acknowledged |
//! | delete | acknowledged |
//! | release | the channel is closed, and the queue returns all messages in order |
//! | connection lost | as release; the open queue is unusable afterwards |
//!
//! Through the default exchange a redriven message reaches only its queue, and no other queue bound to the exchange
//! that it was first published to. Messages that arrive while the queue is open, such as one that failed again, are not
//! taken.
//!
//! Publishing uses a separate connection: a broker that is short of memory stops reading from publishers, and must
//! still receive the acknowledgements.
//!
//! A quorum queue counts how often a message comes back, and drops it beyond its `delivery-limit` if it has no
//! dead-letter queue. A queue with a limit that can be reached is refused, so the management API is needed. The limit
//! that `sluicegate topology` sets on dead-letter queues is too high to be reached.

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
#[cfg(feature = "in-process")]
use sluicegate_queue::rabbitmq::Dialer;
use sluicegate_queue::rabbitmq::{Broker, BrokerConfig, Publication};
use sluicegate_topology::Address;
use tokio::time::Instant;

use self::connection::{TimedConnection, config};
use self::in_flight::InFlight;
use self::message::MessageLocation;
pub use self::queues::dead_letter_queues;
use crate::{DeadLetter, DeadLetterQueue, Error};

/// Longest publish: enough for 16 MiB at 3 Mbit/s.
const PUBLISH_TIME_MAX: Duration = Duration::from_secs(60);

/// An open dead-letter queue of RabbitMQ. It needs a Tokio runtime with time and I/O.
pub struct RabbitmqDeadLetterQueue {
    place: MessageLocation,
    /// The user name on the broker.
    user: String,
    /// The messages in flight.
    in_flight: InFlight,
    /// The broker that redriven messages are published to.
    broker: Broker,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The properties of the messages of the latest take, except those being redriven.
    latest: HashMap<u64, BasicProperties>,
    /// Queues that are known to exist.
    seen: HashSet<String>,
}

impl RabbitmqDeadLetterQueue {
    /// Opens the dead-letter queue `queue` with its present messages.
    ///
    /// # Errors
    /// The broker or its management API cannot be reached or refuses; the queue does not exist, is a stream, or could
    /// lose messages that are taken.
    pub async fn open(address: &Address, queue: &str) -> Result<Self, Error> {
        queues::check(address, queue).await?;
        let (config, user) = config(address)?;
        Self::open_unchecked(address, config, user, queue).await
    }

    /// Opens a dead-letter queue through `dialer`, where no management API can say whether messages could be lost.
    ///
    /// # Errors
    /// The broker refuses, or the queue does not exist.
    #[cfg(feature = "in-process")]
    pub async fn open_in_process(address: &Address, queue: &str, dialer: Dialer) -> Result<Self, Error> {
        let (config, user) = config(address)?;
        Self::open_unchecked(address, config.with_dialer(dialer), user, queue).await
    }

    async fn open_unchecked(address: &Address, config: BrokerConfig, user: String, queue: &str) -> Result<Self, Error> {
        let broker = Broker::new(config);
        let in_flight = InFlight::open(TimedConnection::open(address, &broker).await?, queue).await?;
        Ok(Self {
            place: MessageLocation { queue: queue.to_owned(), vhost: address.vhost().to_owned() },
            user,
            in_flight,
            broker,
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that the message is in flight.
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
                .map_err(|error| Error::not_sent(&letter.id, format!("{error}; name the queue to send it to"))),
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

    /// Returns the destination if that queue exists.
    async fn destination(&self, letter: &DeadLetter, to: Option<&str>) -> Result<String, Error> {
        self.check_held(letter)?;
        let properties = self.state().latest.get(&letter.handle).cloned();
        let properties = properties.ok_or_else(|| Error::not_sent(&letter.id, "it is not of the latest take"))?;
        let target = self.target(letter, &properties, to)?;
        if !self.state().seen.contains(&target) {
            if !self.in_flight.connection().is_there(&target).await? {
                return Err(Error::not_sent(&letter.id, format!("the queue {target} does not exist")));
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

    /// Releases the messages. No message can be taken afterwards, because the same ones would be delivered again.
    async fn release(&self) -> Result<(), Error> {
        self.state().latest.clear();
        self.in_flight.release().await
    }

    async fn depth(&self) -> Result<u64, Error> {
        self.in_flight.depth().await
    }
}

impl RabbitmqDeadLetterQueue {
    /// Stores the message in `queue`.
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
        stored.map_err(|error| Error::of_send(&letter.id, &format!("the queue {queue}"), error))
    }
}
