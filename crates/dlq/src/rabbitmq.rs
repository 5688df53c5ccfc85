//! RabbitMQ as a shelf: messages are consumed without acknowledgement and so held, on one connection, for as long as the shelf is
//! open.
//!
//! | what | how |
//! |---|---|
//! | taken | delivered to a consumer with a prefetch; as many as there were when the shelf was opened, and no more |
//! | redriven | published to the queue itself (default exchange), mandatory, confirmed and not returned; then acknowledged |
//! | deleted | acknowledged |
//! | released | the channel is closed, and the queue puts everything back in its order |
//! | connection lost | the same, and nothing more can be done on this shelf |
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

mod again;
mod header;
mod hold;
mod link;
mod queues;
mod read;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::BasicProperties;
use sluicegate_queue::SendError;
use sluicegate_queue::rabbitmq::{Broker, Config, Publication};
use sluicegate_topology::Address;
use tokio::time::Instant;

use self::hold::Hold;
use self::link::Link;
pub use self::queues::dead_letter_queues;
use self::read::Place;
use crate::{Error, Parked, Shelf};

/// How long a publish may take; 16 MiB go over a line of 3 Mbit/s meanwhile.
const PUBLISH_TIME_MAX: Duration = Duration::from_secs(60);

/// A dead-letter queue of RabbitMQ, being worked on. It needs a Tokio runtime with time and I/O.
pub struct RabbitmqShelf {
    place: Place,
    /// Who we are to the broker.
    user: String,
    /// What was taken.
    hold: Hold,
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

impl RabbitmqShelf {
    /// Opens the dead-letter queue `queue`, as it is now.
    ///
    /// # Errors
    /// The broker or its management API cannot be reached or refuses; the queue is not there, is a stream, or would lose what
    /// is looked at.
    pub async fn open(address: &Address, queue: &str) -> Result<Self, Error> {
        queues::check(address, queue).await?;
        let uri = address.uri().map_err(|error| Error::Broker(error.to_string()))?;
        let hold = Hold::open(Link::open(address, uri.clone()).await?, queue).await?;
        Ok(Self {
            place: Place { queue: queue.to_owned(), vhost: address.vhost().to_owned() },
            user: uri.authority.userinfo.username.clone(),
            hold,
            broker: Broker::new(Config::at(uri)),
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is in our hands; if not, it is where it was.
    fn check_held(&self, parked: &Parked) -> Result<(), Error> {
        if self.hold.has(parked.handle)? { Ok(()) } else { Err(stays(parked, "it is not held any more")) }
    }

    fn target(&self, parked: &Parked, properties: &BasicProperties, to: Option<&str>) -> Result<String, Error> {
        match to {
            Some(to) => Ok(to.to_owned()),
            None => read::source_queue(&self.place, properties)
                .map_err(|reason| stays(parked, format!("{reason}; name the queue to send it to"))),
        }
    }
}

impl Shelf for RabbitmqShelf {
    async fn take(&self, max: usize) -> Result<Vec<Parked>, Error> {
        self.state().latest.clear();
        let taken = self.hold.take(max).await?;
        let mut state = self.state();
        let parked = taken.into_iter().map(|delivery| {
            let (tag, properties) = (delivery.delivery_tag, delivery.properties);
            let parked = read::parked(&self.place, tag, &properties, delivery.data);
            state.latest.insert(tag, properties);
            parked
        });
        Ok(parked.collect())
    }

    /// Where it would go, if that queue is there.
    async fn destination(&self, parked: &Parked, to: Option<&str>) -> Result<String, Error> {
        self.check_held(parked)?;
        let properties = self.state().latest.get(&parked.handle).cloned();
        let properties = properties.ok_or_else(|| stays(parked, "it is not of the latest take"))?;
        let target = self.target(parked, &properties, to)?;
        if !self.state().seen.contains(&target) {
            if !self.hold.link().is_there(&target).await? {
                return Err(stays(parked, format!("there is no queue {target}")));
            }
            self.state().seen.insert(target.clone());
        }
        Ok(target)
    }

    async fn redrive(&self, parked: &Parked, to: Option<&str>, body: Option<&[u8]>) -> Result<(), Error> {
        self.check_held(parked)?;
        let properties = self.state().latest.remove(&parked.handle);
        let properties = properties.ok_or_else(|| stays(parked, "it is not of the latest take, or being redriven"))?;
        let placed = match self.target(parked, &properties, to) {
            Ok(queue) => self.place(parked, &queue, &properties, body).await,
            Err(error) => Err(error),
        };
        if let Err(error) = placed {
            self.state().latest.insert(parked.handle, properties);
            return Err(error);
        }
        self.hold
            .acknowledge(parked.handle)
            .await
            .map_err(|error| unclear(parked, format!("it is stored again, and perhaps here as well: {error}")))
    }

    async fn delete(&self, parked: &Parked) -> Result<(), Error> {
        self.check_held(parked)?;
        self.state().latest.remove(&parked.handle);
        self.hold
            .acknowledge(parked.handle)
            .await
            .map_err(|error| unclear(parked, format!("it is perhaps still here: {error}")))
    }

    /// Nothing more can be taken afterwards: it would be the same messages again.
    async fn release(&self) -> Result<(), Error> {
        self.state().latest.clear();
        self.hold.release().await
    }

    async fn depth(&self) -> Result<u64, Error> {
        self.hold.depth().await
    }
}

impl RabbitmqShelf {
    /// Stores it in the queue once more.
    async fn place(
        &self,
        parked: &Parked,
        queue: &str,
        properties: &BasicProperties,
        body: Option<&[u8]>,
    ) -> Result<(), Error> {
        let properties = again::properties(properties, &self.user);
        let body = body.unwrap_or(&parked.body);
        let publication = Publication { exchange: "", routing_key: queue, properties, body };
        let stored = self.broker.publish(&publication, Instant::now() + PUBLISH_TIME_MAX).await;
        stored.map_err(|error| match error {
            SendError::Unroutable { .. } => stays(parked, format!("there is no queue {queue}")),
            SendError::Refused { message_at_fault: true, reason } => stays(parked, reason),
            SendError::Unknown { reason } => unclear(parked, format!("it is perhaps in {queue} as well: {reason}")),
            other => Error::Broker(format!("{queue}: {other}")),
        })
    }
}

fn stays(parked: &Parked, reason: impl Into<String>) -> Error {
    Error::Stays { id: parked.id.clone(), reason: reason.into() }
}

fn unclear(parked: &Parked, reason: impl Into<String>) -> Error {
    Error::Unclear { id: parked.id.clone(), reason: reason.into() }
}
