//! [`Broker`]: the rules of a broker: routing, deliveries, acknowledgements, dead letters, and what the end of a
//! connection does. It has no clock and no connections; `service` has them.

use std::collections::BTreeMap;
use std::time::Duration;

use sluicegate_topology::{ExchangeType, Topology};

use super::queue::{ConsumerId, Death, Message, Queue, Return, is_cycle, with_death};

/// A broker.
#[derive(Default)]
pub(super) struct Broker {
    queues: BTreeMap<String, Queue>,
    /// The queues that are bound to each exchange with their routing keys.
    bindings: BTreeMap<String, Vec<(String, String)>>,
    channels: BTreeMap<(u64, u16), Channel>,
    /// What happened since it was last taken.
    steps: Vec<Step>,
}

/// A channel with consumers.
#[derive(Default)]
struct Channel {
    /// The prefetch of consumers to come: how many deliveries of one may be unacknowledged; 0 for any number.
    /// <https://www.rabbitmq.com/docs/consumer-prefetch>
    prefetch: usize,
    /// Its consumers by their tags, also those that were cancelled.
    consumers: BTreeMap<String, Consumer>,
    /// The last delivery tag, which counts the deliveries of the channel.
    last_tag: u64,
    /// The deliveries that were not acknowledged yet, by their tags.
    unacknowledged: BTreeMap<u64, Unacknowledged>,
}

#[derive(Default)]
struct Consumer {
    prefetch: usize,
    /// How many deliveries were not acknowledged yet.
    unacknowledged: usize,
}

struct Unacknowledged {
    queue: String,
    consumer_tag: String,
    message: Message,
}

impl Channel {
    fn has_room(&self, consumer_tag: &str) -> bool {
        let consumer = self.consumers.get(consumer_tag);
        consumer.is_some_and(|consumer| consumer.prefetch == 0 || consumer.unacknowledged < consumer.prefetch)
    }

    /// Takes the deliveries up to a tag, or the one with it.
    fn settle(&mut self, tag: u64, is_multiple: bool) -> Vec<(String, Message)> {
        let settled = if is_multiple {
            // A tag of 0 with `multiple` means all: AMQP 0-9-1, basic.ack.
            let later = if tag == 0 { BTreeMap::new() } else { self.unacknowledged.split_off(&(tag + 1)) };
            std::mem::replace(&mut self.unacknowledged, later).into_values().collect()
        } else {
            Vec::from_iter(self.unacknowledged.remove(&tag))
        };
        let settle = |delivery: Unacknowledged| {
            if let Some(consumer) = self.consumers.get_mut(&delivery.consumer_tag) {
                consumer.unacknowledged -= 1;
            }
            (delivery.queue, delivery.message)
        };
        settled.into_iter().map(settle).collect()
    }
}

/// What happened to a message.
pub(super) enum Step {
    Delivered {
        queue: String,
        message: Message,
    },
    Acknowledged {
        queue: String,
        message: Message,
    },
    /// It is on its queue again, or has exceeded the delivery limit.
    Returned {
        queue: String,
        message: Message,
    },
    DeadLettered {
        queue: String,
        to: String,
        death: Death,
        message: Message,
    },
    /// RabbitMQ has dropped it.
    Dropped {
        queue: String,
        death: Death,
        message: Message,
    },
    Redriven {
        message: Message,
    },
}

/// A message for a consumer.
pub(super) struct Delivery {
    pub(super) consumer: ConsumerId,
    pub(super) tag: u64,
    pub(super) message: Message,
}

/// What becomes of a published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Published {
    Stored,
    /// No queue is bound: a mandatory message is returned. <https://www.rabbitmq.com/docs/publishers#unroutable>
    Unroutable,
    /// A queue is full.
    Refused,
}

impl Broker {
    /// Returns a broker with the exchanges and queues of `topology`.
    pub(super) fn new(topology: &Topology, nack_counts: bool) -> Self {
        let mut broker = Self::default();
        for declaration in topology.queue_declarations() {
            broker.queues.insert(declaration.name.clone(), Queue::new(&declaration, nack_counts));
        }
        let exchanges = topology.exchange_declarations();
        let is_fanout = |name: &str| {
            exchanges.iter().any(|exchange| exchange.name == name && exchange.exchange_type == ExchangeType::Fanout)
        };
        for binding in topology.binding_declarations() {
            // `#` is any routing key. <https://www.rabbitmq.com/tutorials/tutorial-five-python>
            let key = if is_fanout(&binding.exchange) { "#".to_owned() } else { binding.routing_key.clone() };
            broker.bindings.entry(binding.exchange).or_default().push((key, binding.queue));
        }
        broker
    }

    pub(super) fn take_steps(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }

    pub(super) fn queue(&self, name: &str) -> Option<&Queue> {
        self.queues.get(name)
    }

    pub(super) fn has_exchange(&self, name: &str) -> bool {
        name.is_empty() || self.bindings.contains_key(name)
    }

    /// Returns the queues that a message reaches. The default exchange routes to the queue with the name of the routing
    /// key. <https://www.rabbitmq.com/docs/exchanges#default-exchange>
    fn route(&self, exchange: &str, routing_key: &str) -> Vec<String> {
        if exchange.is_empty() {
            return self.queues.get_key_value(routing_key).map(|(name, _)| name.clone()).into_iter().collect();
        }
        let bound = self.bindings.get(exchange).into_iter().flatten();
        bound.filter(|(key, _)| key == "#" || key == routing_key).map(|(_, queue)| queue.clone()).collect()
    }

    /// Stores a message on each queue that it reaches, or on none.
    pub(super) fn publish(&mut self, now: Duration, message: &Message) -> Published {
        let queues = self.route(&message.exchange, &message.routing_key);
        if queues.is_empty() {
            return Published::Unroutable;
        }
        if queues.iter().any(|name| self.queues.get(name).is_some_and(Queue::is_full)) {
            return Published::Refused;
        }
        for name in queues {
            if let Some(queue) = self.queues.get_mut(&name) {
                queue.push(now, message.clone());
            }
        }
        Published::Stored
    }

    pub(super) fn set_prefetch(&mut self, channel: (u64, u16), prefetch: u16) {
        self.channels.entry(channel).or_default().prefetch = prefetch.into();
    }

    /// Adds a consumer; returns whether the queue exists.
    pub(super) fn consume(&mut self, queue: &str, consumer: ConsumerId) -> bool {
        let channel = self.channels.entry(consumer.channel).or_default();
        let prefetch = channel.prefetch;
        channel.consumers.insert(consumer.tag.clone(), Consumer { prefetch, unacknowledged: 0 });
        let queue = self.queues.get_mut(queue);
        queue.map(|queue| queue.consume(consumer)).is_some()
    }

    /// Ends a consumer. Its deliveries can still be acknowledged.
    /// <https://www.rabbitmq.com/docs/consumers#unsubscribing>
    pub(super) fn cancel(&mut self, consumer: &ConsumerId) {
        for queue in self.queues.values_mut() {
            queue.cancel(|other| other == consumer);
        }
    }

    /// Delivers what can be delivered.
    pub(super) fn deliver(&mut self) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for (name, queue) in &mut self.queues {
            loop {
                let channels = &self.channels;
                let has_room = |consumer: &ConsumerId| {
                    channels.get(&consumer.channel).is_some_and(|channel| channel.has_room(&consumer.tag))
                };
                let Some((consumer, message)) = queue.deliver(has_room) else { break };
                let channel = self.channels.entry(consumer.channel).or_default();
                channel.last_tag += 1;
                channel.consumers.entry(consumer.tag.clone()).or_default().unacknowledged += 1;
                let (queue, consumer_tag) = (name.clone(), consumer.tag.clone());
                let delivery = Unacknowledged { queue, consumer_tag, message: message.clone() };
                channel.unacknowledged.insert(channel.last_tag, delivery);
                self.steps.push(Step::Delivered { queue: name.clone(), message: message.clone() });
                deliveries.push(Delivery { consumer, tag: channel.last_tag, message });
            }
        }
        deliveries
    }

    /// Takes the deliveries up to a tag, or the one with it, out of a channel.
    fn settled(&mut self, channel: (u64, u16), tag: u64, is_multiple: bool) -> Vec<(String, Message)> {
        self.channels.get_mut(&channel).map(|channel| channel.settle(tag, is_multiple)).unwrap_or_default()
    }

    /// Returns the messages of deliveries that an answer would settle.
    pub(super) fn answered(&self, channel: (u64, u16), tag: u64, is_multiple: bool) -> Vec<Message> {
        let channel = self.channels.get(&channel);
        let open = channel.into_iter().flat_map(|channel| &channel.unacknowledged);
        let is_meant = |other: u64| other == tag || is_multiple && (other < tag || tag == 0);
        open.filter(|(other, _)| is_meant(**other)).map(|(_, delivery)| delivery.message.clone()).collect()
    }

    pub(super) fn acknowledge(&mut self, channel: (u64, u16), tag: u64, is_multiple: bool) {
        for (queue, message) in self.settled(channel, tag, is_multiple) {
            if let Some(known) = self.queues.get_mut(&queue) {
                known.unacknowledged = known.unacknowledged.saturating_sub(1);
            }
            self.steps.push(Step::Acknowledged { queue, message });
        }
    }

    /// Returns deliveries to their queues.
    pub(super) fn requeue(&mut self, now: Duration, channel: (u64, u16), tag: u64, is_multiple: bool) {
        let returned = self.settled(channel, tag, is_multiple);
        self.take_back(now, returned, Return::Nack);
    }

    /// Ends the channels of a connection, or one of them: their deliveries return to their queues.
    /// <https://www.rabbitmq.com/docs/confirms#automatic-requeueing>
    pub(super) fn end(&mut self, now: Duration, is_gone: impl Fn((u64, u16)) -> bool) -> Vec<Message> {
        for queue in self.queues.values_mut() {
            queue.cancel(|consumer| is_gone(consumer.channel));
        }
        let gone: Vec<_> = self.channels.keys().copied().filter(|id| is_gone(*id)).collect();
        let ended = gone.into_iter().filter_map(|id| self.channels.remove(&id));
        let returned: Vec<_> = ended.flat_map(|mut channel| channel.settle(0, true)).collect();
        let messages = returned.iter().map(|(_, message)| message.clone()).collect();
        self.take_back(now, returned, Return::Ended);
        messages
    }

    fn take_back(&mut self, now: Duration, returned: Vec<(String, Message)>, how: Return) {
        for (name, message) in returned {
            let Some(queue) = self.queues.get_mut(&name) else { continue };
            self.steps.push(Step::Returned { queue: name.clone(), message: message.clone() });
            if let Some(message) = queue.take_back(message, how) {
                self.dead_letter(now, &name, message, Death::DeliveryLimit);
            }
        }
    }

    /// Moves the messages that have expired.
    pub(super) fn expire(&mut self, now: Duration) {
        let expired: Vec<_> = self.queues.iter_mut().map(|(name, queue)| (name.clone(), queue.expire(now))).collect();
        for (name, messages) in expired {
            for message in messages {
                self.dead_letter(now, &name, message, Death::Expired);
            }
        }
    }

    /// Returns when the next message expires.
    pub(super) fn expires_next(&self) -> Option<Duration> {
        self.queues.values().filter_map(Queue::expires_next).min()
    }

    /// Publishes a message that its queue has given up to the dead-letter exchange. With the strategy `at-least-once`
    /// the queue keeps it until the target has confirmed it, so it is moved here at once.
    /// <https://www.rabbitmq.com/docs/quorum-queues#dead-lettering>
    fn dead_letter(&mut self, now: Duration, from: &str, message: Message, death: Death) {
        let target = self.queues.get(from).and_then(|queue| queue.dead_letters.clone());
        let Some((exchange, key)) = target else {
            self.steps.push(Step::Dropped { queue: from.to_owned(), death, message });
            return;
        };
        let key = key.unwrap_or_else(|| message.routing_key.clone());
        let properties = with_death(&message, from, death);
        let moved = Message::new(&exchange, &key, properties, message.body.clone());
        for to in self.route(&exchange, &key) {
            if is_cycle(&message, &to) {
                self.steps.push(Step::Dropped { queue: from.to_owned(), death, message: message.clone() });
            } else if let Some(queue) = self.queues.get_mut(&to) {
                queue.push(now, moved.clone());
                self.steps.push(Step::DeadLettered { queue: from.to_owned(), to, death, message: message.clone() });
            }
        }
    }

    /// Publishes the messages of a queue on another one, as a shovel does: with their properties.
    /// <https://www.rabbitmq.com/docs/shovel>
    pub(super) fn shovel(&mut self, now: Duration, from: &str, to: &str, count_max: usize) {
        for _ in 0..count_max {
            let Some(message) = self.queues.get_mut(from).and_then(Queue::take) else { return };
            let moved = Message::new("", to, message.properties.clone(), message.body.clone());
            if let Some(queue) = self.queues.get_mut(to) {
                queue.push(now, moved);
            }
            self.steps.push(Step::Redriven { message });
        }
    }

    /// Returns how many messages are on the queues that satisfy `is_counted`.
    pub(super) fn count(&self, is_counted: impl Fn(&str) -> bool) -> usize {
        self.queues.iter().filter(|(name, _)| is_counted(name)).map(|(_, queue)| queue.len()).sum()
    }
}
