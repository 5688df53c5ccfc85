//! [`Rabbitmq`]: the broker with its connections, its clock, and the faults of the whole broker. It reports to the
//! ledger what happens to messages.

use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, basic};
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use sluicegate_lambda_emulator::{BrokerEndpoint, RabbitmqMappingSpec};
use sluicegate_queue::dead_letter::{CODE, REASON};
use sluicegate_queue::rabbitmq::republish::PERSISTENT;
use sluicegate_queue::rabbitmq::{Broker as Client, BrokerConfig, Dialer, header};
use sluicegate_topology::Topology;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::broker::{Broker, Published, Step};
use super::connection;
use super::frames;
use super::link::{Link, Links};
use super::queue::{Death, Message};
use super::runtime;
use crate::BoxError;
use crate::fault::{Kind, Site};
use crate::ledger::Queue;
use crate::message::number_in;
use crate::request::request_of;
use crate::world::{Injected, World};

/// The queue with its exchange.
pub(crate) const QUEUE: &str = "work";

/// Its dead-letter queue.
pub(crate) const DEAD_LETTERS: &str = "work.dlq";

/// The address of the broker, which only the log shows.
pub(crate) const URL: &str = "amqp://simulated:simulated@127.0.0.1:5672/%2f";

/// How often the whole broker may have a fault.
const BROKER_FAULT_EVERY: Duration = Duration::from_secs(20);

/// How long the broker is away or blocks publishers, at most.
const AWAY_MAX: Duration = Duration::from_secs(30);

/// How long after a delivery its connection is cut, at most.
const CUT_AFTER_MAX: Duration = Duration::from_secs(4);

/// How long a thawed process reads from its connections before its function is called.
const THAWS_AFTER: Duration = Duration::from_millis(1);

/// The longest time between looks at expired messages without a reason.
const EXPIRY_LOOK_MAX: Duration = Duration::from_secs(3_600);

type Connecting = Pin<Box<dyn Future<Output = lapin::Result<Connection>> + Send>>;

/// Who has a connection.
#[derive(Clone)]
pub(crate) enum User {
    Ingress,
    /// The number of the invocation.
    Consumer(Arc<AtomicU64>),
    Mapping,
    /// The dead-letter tool.
    Tool,
}

impl User {
    /// A fault has hit a message that the user publishes.
    pub(super) fn touch(&self, world: &World, number: Option<u32>) {
        match (self, number) {
            (Self::Ingress | Self::Tool, Some(number)) => world.ledger().touch(number),
            (Self::Consumer(invocation), _) => world.ledger().touch_invocation(invocation.load(Ordering::Relaxed)),
            _ => {}
        }
    }
}

/// The connections of one process, which is frozen between invocations.
#[derive(Clone, Default)]
pub(crate) struct Process(Arc<Mutex<Vec<Weak<Link>>>>);

impl Process {
    /// Freezes the process.
    pub(crate) fn freeze(&self) {
        self.each(|link| link.set_frozen(true));
    }

    /// Thaws the process, and lets its connections read what has arrived meanwhile, as their threads do while Lambda
    /// starts an invocation. A process without connections does not wait.
    pub(crate) async fn thaw(&self) {
        let mut has_connections = false;
        self.each(|link| {
            link.set_frozen(false);
            has_connections = true;
        });
        if has_connections {
            sleep(THAWS_AFTER).await;
        }
    }

    /// Ends the process.
    pub(crate) fn kill(&self) {
        self.each(|link| {
            link.set_frozen(false);
            link.cut();
        });
    }

    fn each(&self, mut what: impl FnMut(&Link)) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|link| {
            let link = link.upgrade();
            link.as_deref().map(&mut what);
            link.is_some()
        });
    }
}

/// An open connection.
pub(super) struct Open {
    pub(super) id: u64,
    pub(super) link: Arc<Link>,
    pub(super) user: User,
    /// Wakes the task of the connection.
    pub(super) changed: Notify,
}

/// The broker.
#[derive(Default)]
pub(crate) struct Rabbitmq {
    links: Links,
    broker: Mutex<Broker>,
    state: Mutex<State>,
    expires: Notify,
}

#[derive(Default)]
struct State {
    connections: BTreeMap<u64, Arc<Open>>,
    next_id: u64,
    is_away: bool,
    is_blocked: bool,
}

impl Rabbitmq {
    /// Returns a broker with the queue and what belongs to it.
    pub(crate) fn new(links: Links, is_ordered: bool, nack_counts: bool) -> Result<Self, BoxError> {
        let file = format!(
            "exchanges:\n  {QUEUE}:\n    type: topic\nqueues:\n  {QUEUE}:\n    bindings:\n      - exchange: {QUEUE}\n\
             \x20       routing-key: '#'\n    single-active-consumer: {is_ordered}\n"
        );
        let topology = Topology::parse("topology.yaml", &file).map_err(|faults| faults.to_string())?;
        Ok(Self { links, broker: Mutex::new(Broker::new(&topology, nack_counts)), ..Self::default() })
    }

    fn broker(&self) -> MutexGuard<'_, Broker> {
        self.broker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.state().is_blocked
    }

    pub(super) fn is_away(&self) -> bool {
        self.state().is_away
    }

    pub(super) fn has_exchange(&self, name: &str) -> bool {
        self.broker().has_exchange(name)
    }

    /// Returns how many messages of a queue can be delivered.
    pub(super) fn ready(&self, queue: &str) -> Option<usize> {
        Some(self.broker().queue(queue)?.ready())
    }

    /// Returns how many messages are on the queue, in flight or waiting for a retry.
    pub(crate) fn left(&self) -> u64 {
        self.broker().count(|name| name != DEAD_LETTERS) as u64
    }

    /// Returns the messages of deliveries.
    pub(super) fn answered(&self, channel: (u64, u16), tag: u64, is_multiple: bool) -> Vec<u32> {
        self.broker().answered(channel, tag, is_multiple).iter().filter_map(number_of).collect()
    }

    /// Returns the client of a process.
    pub(crate) fn client(world: &Arc<World>, process: &Process, user: User) -> Result<Client, BoxError> {
        let config = BrokerConfig::at(URL.parse::<AMQPUri>()?);
        Ok(Client::new(config.with_dialer(Self::dialer(world, process, user))))
    }

    /// Returns what opens the connections of a process.
    pub(crate) fn dialer(world: &Arc<World>, process: &Process, user: User) -> Dialer {
        let (world, process) = (Arc::clone(world), process.clone());
        Dialer::new(move |uri, properties| {
            let (connecting, link) = Self::dial(&world, user.clone(), uri, properties);
            process.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&link));
            (connecting, Box::new(move || link.cut()) as Box<dyn FnOnce() + Send>)
        })
    }

    /// Opens a connection, unless the broker is away.
    pub(crate) fn dial(
        world: &Arc<World>,
        user: User,
        uri: AMQPUri,
        properties: ConnectionProperties,
    ) -> (Connecting, Arc<Link>) {
        let (rabbitmq, link) = (&world.rabbitmq, Arc::new(Link::default()));
        let open = {
            let mut state = rabbitmq.state();
            if state.is_away {
                let refused = lapin::Error::from(io::Error::from(io::ErrorKind::ConnectionRefused));
                return (Box::pin(ready(Err(refused))), link);
            }
            state.next_id += 1;
            let open = Open { id: state.next_id, link: Arc::clone(&link), user, changed: Notify::new() };
            let open = Arc::new(open);
            state.connections.insert(open.id, Arc::clone(&open));
            open
        };
        rabbitmq.links.add(Arc::clone(&link));
        tokio::spawn(connection::serve(Arc::clone(world), open));
        (Box::pin(runtime::connect(Arc::clone(&link), uri, properties)), link)
    }

    /// Changes the broker, delivers what can be delivered, and reports to the ledger.
    pub(super) fn change<T>(&self, world: &World, change: impl FnOnce(&mut Broker, Duration) -> T) -> T {
        let now = world.now();
        let mut broker = self.broker();
        let changed = change(&mut broker, now);
        let deliveries = broker.deliver();
        let steps = broker.take_steps();
        drop(broker);
        for step in &steps {
            tell(world, step);
        }
        for delivery in deliveries {
            let (id, channel) = delivery.consumer.channel;
            let Some(open) = self.state().connections.get(&id).cloned() else { continue };
            let number = number_of(&delivery.message);
            let deliver = basic::Deliver {
                consumer_tag: delivery.consumer.tag.as_str().into(),
                delivery_tag: delivery.tag,
                redelivered: delivery.message.is_redelivered,
                exchange: delivery.message.exchange.as_str().into(),
                routing_key: delivery.message.routing_key.as_str().into(),
            };
            let method = AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver));
            let properties = delivery.message.delivered_properties();
            open.link.write(&frames::content(channel, method, properties, &delivery.message.body));
            if let Some(number) = number
                && let Some(Injected { mut rng, .. }) = world.fault(Site::Receive, number.into())
            {
                world.ledger().touch(number);
                tokio::spawn(async move {
                    sleep(CUT_AFTER_MAX.mul_f64(rng.f64().powi(2))).await;
                    open.link.cut();
                });
            }
        }
        self.expires.notify_one();
        changed
    }

    /// Stores a message that a user publishes.
    pub(super) fn publish(&self, world: &World, user: &User, message: &Message) -> Published {
        let published = self.broker().publish(world.now(), message);
        if published == Published::Stored {
            stored(world, user, message);
        }
        self.change(world, |_, _| ());
        published
    }

    /// A connection has ended: its deliveries return to their queues.
    pub(super) fn ended(&self, world: &World, open: &Open) {
        open.link.cut();
        self.state().connections.remove(&open.id);
        let returned = self.change(world, |broker, now| broker.end(now, |(connection, _)| connection == open.id));
        for number in returned.iter().filter_map(number_of) {
            world.ledger().touch(number);
        }
    }

    /// A message that a user publishes has no queue.
    pub(super) fn unroutable(&self, world: &World, user: &User, message: &Message) {
        if let (User::Consumer(_), Some(number)) = (user, number_of(message))
            && message.routing_key != DEAD_LETTERS
        {
            world.ledger().unroutable(number);
        }
    }

    /// Sends a message as another program does.
    pub(crate) fn send_by_another(&self, world: &World, id: &str, content_type: &str, body: String) {
        let properties = BasicProperties::default()
            .with_message_id(id.into())
            .with_content_type(content_type.into())
            .with_delivery_mode(PERSISTENT);
        let message = Message::new("", QUEUE, properties, body.into_bytes().into());
        let number = number_of(&message);
        world.record(format_args!("stored {number:?}"));
        world.ledger().queued(
            world.now(),
            number,
            number.and_then(|number| world.scenario.group(number)),
            &text_of(&message),
        );
        self.broker().publish(world.now(), &message);
        self.change(world, |_, _| ());
    }

    /// Moves dead letters back, as an operator does with a shovel.
    pub(crate) fn shovel(&self, world: &World) {
        let count = self.ready(DEAD_LETTERS).unwrap_or_default();
        self.change(world, |broker, now| broker.shovel(now, DEAD_LETTERS, QUEUE, count));
    }

    /// Expires messages, for as long as the simulation lasts.
    pub(crate) async fn expire(world: Arc<World>) {
        loop {
            let now = world.now();
            let next = world.rabbitmq.broker().expires_next();
            if next.is_some_and(|next| next <= now) {
                world.rabbitmq.change(&world, Broker::expire);
                continue;
            }
            let wait = next.map_or(EXPIRY_LOOK_MAX, |next| next - now);
            // Until the next message expires, or there is another one that is next.
            let _ = timeout(wait, world.rabbitmq.expires.notified()).await;
        }
    }

    /// Restarts the broker and blocks publishers, until faults stop.
    pub(crate) async fn fail(world: Arc<World>) {
        for nth in 0.. {
            sleep(BROKER_FAULT_EVERY).await;
            let rabbitmq = &world.rabbitmq;
            let Some(Injected { kind, mut rng }) = world.fault(Site::Broker, nth) else { continue };
            let is_restart = kind == Kind::Restarts;
            {
                let mut state = rabbitmq.state();
                state.is_away = is_restart;
                state.is_blocked = !is_restart;
            }
            rabbitmq.each_connection(|open| {
                if is_restart {
                    open.link.cut()
                }
            });
            let lasts = AWAY_MAX.mul_f64(rng.f64().powi(2));
            world.ledger().disturbed(world.now() + lasts);
            sleep(lasts).await;
            {
                let mut state = rabbitmq.state();
                (state.is_away, state.is_blocked) = (false, false);
            }
            rabbitmq.each_connection(|_| {});
        }
    }

    fn each_connection(&self, what: impl Fn(&Open)) {
        let connections: Vec<_> = self.state().connections.values().cloned().collect();
        for open in connections {
            what(&open);
            open.changed.notify_one();
        }
    }
}

/// Returns the event source mapping of the queue.
pub(crate) fn mapping_spec(world: &Arc<World>) -> Result<RabbitmqMappingSpec, BoxError> {
    let scenario = &world.scenario;
    let connected = Arc::clone(world);
    let endpoint = BrokerEndpoint::parse(URL)?
        .with_connect(move |uri, properties| Rabbitmq::dial(&connected, User::Mapping, uri, properties).0);
    Ok(RabbitmqMappingSpec {
        function: "consumer".to_owned(),
        queue: QUEUE.to_owned(),
        endpoint,
        broker_arn: "arn:aws:mq:us-east-1:000000000000:broker:simulated:b-1".to_owned(),
        batch_size: scenario.batch_size,
        batching_window: scenario.batching_window,
        filters: Vec::new(),
    })
}

fn text_of(message: &Message) -> String {
    String::from_utf8_lossy(&message.body).into_owned()
}

fn number_of(message: &Message) -> Option<u32> {
    number_in(&text_of(message))
}

/// Reports to the ledger what a user has stored.
fn stored(world: &World, user: &User, message: &Message) {
    let (now, number) = (world.now(), number_of(message));
    let text = |name| header::get(&message.properties, name).and_then(header::text).unwrap_or_default();
    match user {
        User::Ingress => {
            world.record(format_args!("stored {number:?}"));
            let group = number.and_then(|number| world.scenario.group(number));
            let mut ledger = world.ledger();
            if let (Some(request), Some(number)) = (request_of(text("traceparent")), number) {
                ledger.request_stored(now, request, number, Queue::Work);
            }
            ledger.queued(now, number, group, &text_of(message));
        }
        User::Tool => {
            let Some(number) = number else { return };
            world.record(format_args!("redriven {number}"));
            world.ledger().copied_back(number);
        }
        User::Consumer(_) | User::Mapping => {
            let Some(number) = number else { return };
            if message.routing_key == DEAD_LETTERS {
                let (code, reason) = (text(CODE), text(REASON));
                world.record(format_args!("dead {number} {code} {reason}"));
                world.ledger().dead_lettered(now, &world.scenario, number, code, reason);
            } else {
                world.record(format_args!("copied {number} to {}", message.routing_key));
                world.ledger().copied(number);
            }
        }
    }
}

/// Reports to the ledger what the broker has done.
fn tell(world: &World, step: &Step) {
    let now = world.now();
    match step {
        Step::Delivered { queue, message } if queue == QUEUE => {
            let Some(number) = number_of(message) else { return };
            world.record(format_args!("received {number} {}", message.delivery_count + 1));
            world.ledger().received(now, number);
        }
        Step::Acknowledged { queue, message } if queue == QUEUE => {
            let Some(number) = number_of(message) else { return };
            world.record(format_args!("acknowledged {number}"));
            world.ledger().acknowledged(now, number);
        }
        Step::Acknowledged { queue, message } if queue == DEAD_LETTERS => {
            let Some(number) = number_of(message) else { return };
            world.record(format_args!("deleted dead letter {number}"));
            world.ledger().dead_letter_deleted(now, number);
        }
        Step::Returned { queue, message } if queue == QUEUE => {
            let Some(number) = number_of(message) else { return };
            world.record(format_args!("came back {number}"));
            world.ledger().came_back(number);
        }
        Step::DeadLettered { queue, to, death, message } => {
            let Some(number) = number_of(message) else { return };
            world.record(format_args!("moved {number} from {queue} to {to}: {}", death.reason()));
            if *death == Death::DeliveryLimit && to == DEAD_LETTERS {
                world.ledger().dead_lettered_by_the_queue(now, &world.scenario, number);
            }
        }
        Step::Dropped { queue, death, message } => {
            let Some(number) = number_of(message) else { return };
            world.record(format_args!("dropped {number} on {queue}: {}", death.reason()));
            world.ledger().expired(now, number);
        }
        Step::Redriven { message } => {
            let Some(number) = number_of(message) else { return };
            world.record(format_args!("redriven {number}"));
            world.ledger().moved(now, number);
        }
        Step::Delivered { .. } | Step::Acknowledged { .. } | Step::Returned { .. } => {}
    }
}
