//! [`serve`]: the broker's end of a connection: AMQP 0-9-1 with publisher confirms, and the faults of publishes and
//! acknowledgements.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, basic, channel, confirm, connection, queue};
use fastrand::Rng;
use lapin::BasicProperties;
use lapin::types::FieldTable;
use tokio::time::{Instant, sleep, sleep_until};

use super::broker::Published;
use super::frames::{self, FRAME_BYTES_MAX, Reader};
use super::queue::{ConsumerId, Message};
use super::service::{Open, User};
use crate::fault::{Kind, Site};
use crate::message::number_in;
use crate::world::{Injected, World};

/// The heartbeat that the broker suggests, in seconds: the default of RabbitMQ.
/// <https://www.rabbitmq.com/docs/heartbeats>
const HEARTBEAT_S: u16 = 60;

/// The longest time between the arrival of a message and its place on the queue, and between that and its confirm.
const STEP_MAX_MS: u64 = 3;

/// How long the broker takes to accept a connection.
const ACCEPT_MIN: Duration = Duration::from_millis(2);
const ACCEPT_MAX: Duration = Duration::from_secs(4);

/// After this time to accept a connection, what waits for it may have no time left.
const ACCEPT_SLOW: Duration = Duration::from_millis(250);

/// AMQP reply codes: AMQP 0-9-1, section 1.2.
const NO_ROUTE: u16 = 312;
const CONNECTION_FORCED: u16 = 320;
const NOT_FOUND: u16 = 404;

/// One connection.
struct Connection {
    world: Arc<World>,
    open: Arc<Open>,
    reader: Reader,
    channels: BTreeMap<u16, Channel>,
    /// Messages that have arrived, in order, and when they are stored.
    arrived: VecDeque<Arrived>,
    confirms: Vec<Confirm>,
    /// Whether the client knows that it is blocked.
    is_blocked: bool,
    has_published: bool,
    /// Half of the negotiated heartbeat.
    heartbeat: Duration,
    heard_at: Duration,
    beat_at: Duration,
    is_over: bool,
    rng: Rng,
}

#[derive(Default)]
struct Channel {
    is_confirming: bool,
    last_tag: u64,
    /// The tags without a confirm.
    unconfirmed: BTreeSet<u64>,
    incoming: Option<Incoming>,
}

/// A message that arrives: its method, its properties with the size of its body, and its body so far.
type Incoming = (basic::Publish, Option<(BasicProperties, u64)>, Vec<u8>);

/// A message that has arrived.
struct Arrived {
    at: Duration,
    channel: u16,
    tag: u64,
    message: Message,
    /// How much later the confirm is sent.
    confirm_after: Duration,
    fault: Option<Kind>,
}

/// An answer to a publish.
struct Confirm {
    at: Duration,
    channel: u16,
    tag: u64,
    is_ack: bool,
    /// The frames of a returned message. The broker sends them before the confirm.
    /// <https://www.rabbitmq.com/docs/confirms#when-publishes-are-confirmed>
    returned: Vec<u8>,
    number: Option<u32>,
}

/// Speaks with a client until the connection ends.
pub(super) async fn serve(world: Arc<World>, open: Arc<Open>) {
    let now = world.now();
    let mut connection = Connection {
        rng: world.dice.about("connection", open.id),
        world,
        open,
        reader: Reader::default(),
        channels: BTreeMap::new(),
        arrived: VecDeque::new(),
        confirms: Vec::new(),
        is_blocked: false,
        has_published: false,
        heartbeat: Duration::from_secs(HEARTBEAT_S.into()) / 2,
        heard_at: now,
        beat_at: now,
        is_over: false,
    };
    let slow = if connection.world.scenario.is_calm() { Duration::ZERO } else { ACCEPT_MAX };
    let accepts_after = ACCEPT_MIN + slow.mul_f64(connection.rng.f64().powi(3));
    if accepts_after > ACCEPT_SLOW {
        connection.open.user.touch(&connection.world, None);
    }
    sleep(accepts_after).await;
    connection.run().await;
}

impl Connection {
    async fn run(&mut self) {
        let started = Instant::now();
        let offset = self.world.now();
        while !self.is_over {
            self.read_frames();
            self.do_what_is_due();
            if self.is_over {
                break;
            }
            let due = self.next_due().saturating_sub(offset);
            tokio::select! {
                biased;
                bytes = self.open.link.read(), if !self.is_held() => match bytes {
                    Some(bytes) => {
                        self.heard_at = self.world.now();
                        self.reader.extend(&bytes);
                    }
                    None => break,
                },
                () = self.open.changed.notified() => {}
                () = sleep_until(started + due) => {}
            }
        }
        self.end();
    }

    /// Returns whether the broker does not read from this connection, which has published.
    /// <https://www.rabbitmq.com/docs/connection-blocked>
    fn is_held(&self) -> bool {
        self.has_published && self.world.rabbitmq.is_blocked()
    }

    fn read_frames(&mut self) {
        while !self.is_over && !self.is_held() {
            let Some(frame) = self.reader.next() else { return };
            self.frame(frame);
        }
    }

    fn send(&self, channel: u16, method: AMQPClass) {
        self.open.link.write(&frames::method(channel, method));
    }

    fn frame(&mut self, frame: AMQPFrame) {
        match frame {
            AMQPFrame::ProtocolHeader(_) => {
                let start = connection::Start {
                    version_major: 0,
                    version_minor: 9,
                    server_properties: FieldTable::default(),
                    mechanisms: "PLAIN".into(),
                    locales: "en_US".into(),
                };
                self.send(0, AMQPClass::Connection(connection::AMQPMethod::Start(start)));
            }
            AMQPFrame::Method(0, AMQPClass::Connection(method)) => self.connection(method),
            AMQPFrame::Method(id, AMQPClass::Channel(method)) => self.channel(id, &method),
            AMQPFrame::Method(id, AMQPClass::Confirm(confirm::AMQPMethod::Select(_))) => {
                self.channels.entry(id).or_default().is_confirming = true;
                self.send(id, AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {})));
            }
            AMQPFrame::Method(id, AMQPClass::Queue(queue::AMQPMethod::Declare(declare))) => self.declare(id, &declare),
            AMQPFrame::Method(id, AMQPClass::Basic(method)) => self.basic(id, method),
            AMQPFrame::Header(id, header) => {
                if let Some((_, properties, _)) = self.incoming(id) {
                    *properties = Some((header.properties, header.body_size));
                }
                self.arrive(id);
            }
            AMQPFrame::Body(id, part) => {
                if let Some((_, _, body)) = self.incoming(id) {
                    body.extend(part);
                }
                self.arrive(id);
            }
            _ => {}
        }
    }

    fn incoming(&mut self, id: u16) -> Option<&mut Incoming> {
        self.channels.get_mut(&id)?.incoming.as_mut()
    }

    fn connection(&mut self, method: connection::AMQPMethod) {
        use connection::AMQPMethod::{Close, CloseOk, Open, OpenOk, StartOk, Tune, TuneOk};
        match method {
            StartOk(_) => {
                let tune = connection::Tune { channel_max: 2047, frame_max: FRAME_BYTES_MAX, heartbeat: HEARTBEAT_S };
                self.send(0, AMQPClass::Connection(Tune(tune)));
            }
            TuneOk(tuned) => self.heartbeat = Duration::from_secs(tuned.heartbeat.max(1).into()) / 2,
            Open(_) => self.send(0, AMQPClass::Connection(OpenOk(connection::OpenOk {}))),
            Close(_) => {
                self.store_until(Duration::MAX);
                self.send(0, AMQPClass::Connection(CloseOk(connection::CloseOk {})));
                self.is_over = true;
            }
            _ => {}
        }
    }

    fn channel(&mut self, id: u16, method: &channel::AMQPMethod) {
        use channel::AMQPMethod::{Close, CloseOk, Open, OpenOk};
        match method {
            Open(_) => {
                self.channels.insert(id, Channel::default());
                self.send(id, AMQPClass::Channel(OpenOk(channel::OpenOk {})));
            }
            Close(_) => {
                self.store_until(Duration::MAX);
                self.end_channel(id);
                self.send(id, AMQPClass::Channel(CloseOk(channel::CloseOk {})));
            }
            _ => {}
        }
    }

    fn end_channel(&mut self, id: u16) {
        self.channels.remove(&id);
        self.confirms.retain(|confirm| confirm.channel != id);
        let ended = (self.open.id, id);
        self.world.rabbitmq.change(&self.world, |broker, now| broker.end(now, |channel| channel == ended));
    }

    /// Declares a queue that must exist.
    fn declare(&mut self, id: u16, declare: &queue::Declare) {
        let name = declare.queue.as_str();
        match self.world.rabbitmq.ready(name) {
            Some(ready) => {
                let ok = queue::DeclareOk {
                    queue: declare.queue.clone(),
                    message_count: u32::try_from(ready).unwrap_or(u32::MAX),
                    consumer_count: 0,
                };
                self.send(id, AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)));
            }
            None => self.close_channel(id, &format!("NOT_FOUND - no queue '{name}' in vhost '/'")),
        }
    }

    fn close_channel(&mut self, id: u16, text: &str) {
        let close = channel::Close { reply_code: NOT_FOUND, reply_text: text.into(), class_id: 0, method_id: 0 };
        self.end_channel(id);
        self.send(id, AMQPClass::Channel(channel::AMQPMethod::Close(close)));
    }

    fn basic(&mut self, id: u16, method: basic::AMQPMethod) {
        use basic::AMQPMethod::{Ack, Cancel, CancelOk, Consume, ConsumeOk, Nack, Publish, Qos, QosOk, Reject};
        let channel = (self.open.id, id);
        match method {
            Publish(publish) => {
                self.has_published = true;
                if let Some(channel) = self.channels.get_mut(&id) {
                    channel.incoming = Some((publish, None, Vec::new()));
                }
            }
            Qos(qos) => {
                self.world.rabbitmq.change(&self.world, |broker, _| broker.set_prefetch(channel, qos.prefetch_count));
                self.send(id, AMQPClass::Basic(QosOk(basic::QosOk {})));
            }
            Consume(consume) => {
                let consumer = ConsumerId { channel, tag: consume.consumer_tag.to_string() };
                let consumer_tag = consume.consumer_tag;
                self.send(id, AMQPClass::Basic(ConsumeOk(basic::ConsumeOk { consumer_tag })));
                let queue = consume.queue.as_str();
                self.world.rabbitmq.change(&self.world, |broker, _| broker.consume(queue, consumer));
            }
            Cancel(cancel) => {
                let consumer_tag = cancel.consumer_tag;
                let consumer = ConsumerId { channel, tag: consumer_tag.to_string() };
                self.world.rabbitmq.change(&self.world, |broker, _| broker.cancel(&consumer));
                self.send(id, AMQPClass::Basic(CancelOk(basic::CancelOk { consumer_tag })));
            }
            Ack(ack) => self.answer(channel, ack.delivery_tag, ack.multiple, true),
            Nack(nack) => self.answer(channel, nack.delivery_tag, nack.multiple, false),
            Reject(reject) => self.answer(channel, reject.delivery_tag, false, false),
            _ => {}
        }
    }

    /// Settles deliveries, or returns them to their queue.
    fn answer(&mut self, channel: (u64, u16), tag: u64, is_multiple: bool, is_ack: bool) {
        let world = Arc::clone(&self.world);
        let numbers: Vec<u32> = world.rabbitmq.answered(channel, tag, is_multiple);
        let first = numbers.first().map_or(0, |number| u64::from(*number));
        let site = if matches!(self.open.user, User::Tool) { Site::Redrive } else { Site::Delete };
        let fault = world.fault(site, first).map(|fault| fault.kind);
        if fault.is_some() {
            world.ledger().touch_all(&numbers);
        }
        if matches!(fault, None | Some(Kind::CutAfter | Kind::Late)) {
            world.rabbitmq.change(&world, |broker, now| match is_ack {
                true => broker.acknowledge(channel, tag, is_multiple),
                false => broker.requeue(now, channel, tag, is_multiple),
            });
        }
        if fault.is_some() {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.open.link.cut();
        self.is_over = true;
    }

    /// Takes a message whose last frame has arrived.
    fn arrive(&mut self, id: u16) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        let is_whole = |(_, properties, body): &mut Incoming| {
            properties.as_ref().is_some_and(|(_, bytes)| body.len() as u64 >= *bytes)
        };
        let Some((publish, Some((properties, _)), body)) = channel.incoming.take_if(is_whole) else { return };
        channel.last_tag += 1;
        let tag = channel.last_tag;
        channel.unconfirmed.insert(tag);
        let exchange = publish.exchange.as_str();
        if !self.world.rabbitmq.has_exchange(exchange) {
            return self.close_channel(id, &format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'"));
        }
        let number = number_in(&String::from_utf8_lossy(&body));
        let message = Message::new(exchange, publish.routing_key.as_str(), properties, body.into());
        let fault = self.publish_fault(number);
        let now = self.world.now();
        let mut at = now + Duration::from_millis(self.rng.u64(0..=STEP_MAX_MS));
        let mut confirm_after = Duration::from_millis(self.rng.u64(0..=STEP_MAX_MS));
        let mut kind = None;
        if let Some(Injected { kind: injected, mut rng }) = fault {
            let long = Duration::from_millis(rng.u64(1_500..12_000));
            match injected {
                Kind::CutBefore => return self.cut(),
                Kind::Late => confirm_after = long,
                Kind::LateEffect => at = now + long,
                other => kind = Some(other),
            }
        }
        // A channel keeps the order of its messages.
        let at = at.max(self.arrived.back().map_or(at, |last| last.at));
        self.arrived.push_back(Arrived { at, channel: id, tag, message, confirm_after, fault: kind });
    }

    fn publish_fault(&self, number: Option<u32>) -> Option<Injected> {
        let site = match self.open.user {
            User::Ingress => Site::Send,
            User::Consumer(_) => Site::DeadLetter,
            User::Tool => Site::Redrive,
            User::Mapping => return None,
        };
        let fault = self.world.fault(site, u64::from(number?));
        if fault.is_some() {
            self.open.user.touch(&self.world, number);
        }
        fault
    }

    /// Stores the messages that are due.
    fn store_until(&mut self, until: Duration) {
        while let Some(arrived) = self.arrived.pop_front_if(|arrived| arrived.at <= until) {
            self.store(arrived);
        }
    }

    fn store(&mut self, arrived: Arrived) {
        let Arrived { channel, tag, message, confirm_after, fault, .. } = arrived;
        let number = number_in(&String::from_utf8_lossy(&message.body));
        let published = match fault {
            // As if the queue had been deleted.
            Some(Kind::NotMd5) => Published::Unroutable,
            Some(Kind::Fails | Kind::Throttled) => Published::Refused,
            _ => self.world.rabbitmq.publish(&self.world, &self.open.user, &message),
        };
        match fault {
            Some(Kind::CutAfter) => return self.cut(),
            Some(Kind::FailsAfter) => {
                let close = connection::Close {
                    reply_code: CONNECTION_FORCED,
                    reply_text: "CONNECTION_FORCED - simulated".into(),
                    class_id: 0,
                    method_id: 0,
                };
                self.send(0, AMQPClass::Connection(connection::AMQPMethod::Close(close)));
                self.is_over = true;
                return;
            }
            _ => {}
        }
        let returned = match published {
            Published::Unroutable => {
                self.world.rabbitmq.unroutable(&self.world, &self.open.user, &message);
                let returned = basic::Return {
                    reply_code: NO_ROUTE,
                    reply_text: "NO_ROUTE".into(),
                    exchange: message.exchange.as_str().into(),
                    routing_key: message.routing_key.as_str().into(),
                };
                let method = AMQPClass::Basic(basic::AMQPMethod::Return(returned));
                frames::content(channel, method, message.properties.clone(), &message.body)
            }
            _ => Vec::new(),
        };
        let at = self.world.now() + confirm_after;
        let is_ack = published != Published::Refused;
        self.confirms.push(Confirm { at, channel, tag, is_ack, returned, number });
    }

    fn do_what_is_due(&mut self) {
        let now = self.world.now();
        if self.is_held() != self.is_blocked && self.has_published {
            self.is_blocked = !self.is_blocked;
            let method = match self.is_blocked {
                true => connection::AMQPMethod::Blocked(connection::Blocked { reason: "low on memory".into() }),
                false => connection::AMQPMethod::Unblocked(connection::Unblocked {}),
            };
            self.send(0, AMQPClass::Connection(method));
        }
        self.store_until(now);
        if self.is_over {
            return;
        }
        self.confirm(now);
        if now >= self.beat_at + self.heartbeat {
            self.beat_at = now;
            self.open.link.write(&frames::heartbeat());
        }
        // The broker closes a connection that misses two heartbeats. <https://www.rabbitmq.com/docs/heartbeats>
        if now > self.heard_at + self.heartbeat * 4 && !self.is_held() {
            self.cut();
        }
    }

    fn next_due(&self) -> Duration {
        let confirms = self.confirms.iter().map(|confirm| confirm.at).min();
        let arrived = self.arrived.front().map(|arrived| arrived.at);
        let beat = self.beat_at + self.heartbeat;
        confirms.into_iter().chain(arrived).fold(beat, Duration::min)
    }

    /// Sends the confirms that are due: in any order, each by itself or several at once.
    /// <https://www.rabbitmq.com/docs/confirms#publisher-confirms>
    fn confirm(&mut self, now: Duration) {
        let mut due: Vec<Confirm> = self.confirms.extract_if(.., |confirm| confirm.at <= now).collect();
        due.sort_by_key(|confirm| (confirm.channel, confirm.tag));
        for confirm in &due {
            self.open.link.write(&confirm.returned);
        }
        let order = self.rng.u32(0..3);
        if order == 1 {
            due.reverse();
        }
        let acks: BTreeSet<_> =
            due.iter().filter(|confirm| confirm.is_ack).map(|confirm| (confirm.channel, confirm.tag)).collect();
        let mut done = BTreeSet::new();
        if order == 2
            && let Some(last) = due.last().filter(|last| last.is_ack)
            && let Some(channel) = self.channels.get(&last.channel)
            && channel.unconfirmed.range(..=last.tag).all(|tag| acks.contains(&(last.channel, *tag)))
        {
            done.extend(channel.unconfirmed.range(..=last.tag).copied());
            let ack = basic::Ack { delivery_tag: last.tag, multiple: true };
            self.send(last.channel, AMQPClass::Basic(basic::AMQPMethod::Ack(ack)));
        }
        for Confirm { channel: id, tag: delivery_tag, is_ack, .. } in due {
            let Some(channel) = self.channels.get_mut(&id) else { continue };
            channel.unconfirmed.remove(&delivery_tag);
            if !channel.is_confirming || done.contains(&delivery_tag) {
                continue;
            }
            let method = match is_ack {
                true => basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple: false }),
                false => basic::AMQPMethod::Nack(basic::Nack { delivery_tag, multiple: false, requeue: false }),
            };
            self.send(id, AMQPClass::Basic(method));
        }
    }

    /// Ends the connection. Messages that had arrived may be stored or not; none of them was confirmed.
    fn end(&mut self) {
        let world = Arc::clone(&self.world);
        let is_lost = world.rabbitmq.is_away();
        for arrived in std::mem::take(&mut self.arrived) {
            let number = number_in(&String::from_utf8_lossy(&arrived.message.body));
            self.open.user.touch(&world, number);
            if !is_lost && self.rng.bool() && arrived.fault.is_none() {
                world.rabbitmq.publish(&world, &self.open.user, &arrived.message);
            }
        }
        for confirm in &self.confirms {
            self.open.user.touch(&world, confirm.number);
        }
        world.rabbitmq.ended(&world, &self.open);
    }
}
