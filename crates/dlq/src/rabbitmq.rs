//! RabbitMQ as a shelf: messages are got without acknowledgement and so held, on one connection for as long as the shelf is open.
//!
//! | what | how |
//! |---|---|
//! | taken | `basic.get`, several under way at once; as many as there were when the shelf was opened, and no more |
//! | redriven | published to the queue itself (default exchange), mandatory, confirmed and not returned; then acknowledged |
//! | deleted | acknowledged |
//! | released | `basic.nack` with requeue, all at once, so that the queue puts them back in their order |
//! | connection lost | RabbitMQ puts back what was held, and nothing more can be done on this shelf |
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
mod link;
mod queues;
mod read;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use lapin::BasicProperties;
use lapin::message::BasicGetMessage;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions};
use lapin::types::ShortString;
use sluicegate_queue::SendError;
use sluicegate_queue::rabbitmq::{Broker, Config, Publication};
use sluicegate_topology::Address;
use tokio::time::Instant;

use self::link::Link;
pub use self::queues::dead_letter_queues;
use self::read::Place;
use crate::{Error, Parked, Shelf};

/// Messages asked for at once, so that a distant broker is not waited for once per message.
const GETS_AT_ONCE: usize = 16;
/// How long a publish may take; 16 MiB go over a line of 3 Mbit/s meanwhile.
const PUBLISH_TIME_MAX: Duration = Duration::from_secs(60);

/// A dead-letter queue of RabbitMQ, being worked on. It needs a Tokio runtime with time and I/O.
pub struct RabbitmqShelf {
    place: Place,
    /// Who we are to the broker.
    user: String,
    /// Holds what was taken.
    link: Link,
    /// Takes what is redriven.
    broker: Broker,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Messages that may still be taken.
    left: u64,
    /// What was taken and is neither gone nor given back, by delivery tag.
    held: HashSet<u64>,
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
        let link = Link::open(address, uri.clone()).await?;
        let name = ShortString::try_new(queue).map_err(|error| Error::Broker(format!("{queue}: {error}")))?;
        let left = link.ready(&name).await?.into();
        Ok(Self {
            place: Place { queue: queue.to_owned(), vhost: address.vhost().to_owned() },
            user: uri.authority.userinfo.username.clone(),
            link,
            broker: Broker::new(Config::at(uri)),
            state: Mutex::new(State { left, ..State::default() }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for so many messages at once.
    async fn get(&self, count: usize) -> Result<Vec<BasicGetMessage>, Error> {
        let get = || {
            self.link.ask(self.link.channel().basic_get(self.place.queue.as_str().into(), BasicGetOptions::default()))
        };
        let answers = join_all((0..count).map(|_| get())).await;
        let mut got = Vec::new();
        let mut state = self.state();
        for answer in answers {
            match answer? {
                Some(message) => {
                    state.left = state.left.saturating_sub(1);
                    state.held.insert(message.delivery_tag);
                    got.push(message);
                }
                None => state.left = 0,
            }
        }
        Ok(got)
    }

    /// Acknowledges, and waits until the broker has heard it.
    async fn acknowledge(&self, tag: u64) -> Result<(), Error> {
        self.state().held.remove(&tag);
        self.link.ask(self.link.channel().basic_ack(tag, BasicAckOptions::default())).await?;
        self.link.heard().await
    }

    /// Whether it is in our hands; if not, it is where it was.
    fn check_held(&self, parked: &Parked) -> Result<(), Error> {
        self.link.check_up()?;
        if self.state().held.contains(&parked.handle) { Ok(()) } else { Err(stays(parked, "it is not held any more")) }
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
        self.link.check_up()?;
        self.state().latest.clear();
        let mut taken = Vec::new();
        loop {
            let left = usize::try_from(self.state().left).unwrap_or(usize::MAX);
            let count = GETS_AT_ONCE.min(max - taken.len()).min(left);
            if count == 0 {
                return Ok(taken);
            }
            for message in self.get(count).await? {
                let delivery = message.delivery;
                taken.push(read::parked(&self.place, delivery.delivery_tag, &delivery.properties, delivery.data));
                self.state().latest.insert(delivery.delivery_tag, delivery.properties);
            }
        }
    }

    /// Where it would go, if that queue is there.
    async fn destination(&self, parked: &Parked, to: Option<&str>) -> Result<String, Error> {
        self.check_held(parked)?;
        let properties = self.state().latest.get(&parked.handle).cloned();
        let properties = properties.ok_or_else(|| stays(parked, "it is not of the latest take"))?;
        let target = self.target(parked, &properties, to)?;
        if !self.state().seen.contains(&target) {
            if !self.link.is_there(&target).await? {
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
        self.acknowledge(parked.handle)
            .await
            .map_err(|error| unclear(parked, format!("it is stored again, and perhaps here as well: {error}")))
    }

    async fn delete(&self, parked: &Parked) -> Result<(), Error> {
        self.check_held(parked)?;
        self.state().latest.remove(&parked.handle);
        self.acknowledge(parked.handle)
            .await
            .map_err(|error| unclear(parked, format!("it is perhaps still here: {error}")))
    }

    /// Nothing more can be taken afterwards: it would be the same messages again.
    async fn release(&self) -> Result<(), Error> {
        {
            let mut state = self.state();
            *state = State { seen: std::mem::take(&mut state.seen), ..State::default() };
        }
        // Zero: all that this channel holds, those of a take that was given up included.
        let all = BasicNackOptions { multiple: true, requeue: true };
        self.link.ask(self.link.channel().basic_nack(0, all)).await?;
        self.link.heard().await
    }

    async fn depth(&self) -> Result<u64, Error> {
        let ready = self.link.ready(&self.place.queue.as_str().into()).await?;
        let held = self.state().held.len();
        Ok(u64::from(ready) + u64::try_from(held).unwrap_or(u64::MAX))
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
