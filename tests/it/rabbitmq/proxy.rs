//! Tests of the proxy: for each place of a cut, the messages that the broker stores and the result that the client
//! gets.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

use crate::support::proxy::{Cut, Proxy};
use crate::support::rabbitmq::{PATIENCE, Vhost, until};

/// Longer than an answer takes.
const SILENCE: Duration = Duration::from_millis(500);

struct Setting {
    vhost: Vhost,
    proxy: Proxy,
    channel: Channel,
    _connection: Connection,
}

impl Setting {
    /// Creates a queue `q` and a channel with confirms through a proxy.
    async fn make() -> Self {
        let vhost = Vhost::create().await;
        vhost.declare_queue("q").await;
        let proxy = Proxy::start(vhost.port()).await;
        let url = vhost.url_at(proxy.port());
        let connection = Connection::connect(&url, ConnectionProperties::default()).await.expect("connected");
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        Self { vhost, proxy, channel, _connection: connection }
    }

    /// Publishes to `q` through the proxy. Returns whether it was confirmed.
    async fn publish(&self) -> bool {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let sent = self.channel.basic_publish("".into(), "q".into(), options, &[7; 5_000], properties).await;
        let Ok(confirm) = sent else { return false };
        matches!(confirm.await, Ok(Confirmation::Ack(None)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_cut_before_the_answer_leaves_the_message_and_no_confirm() {
    let setting = Setting::make().await;
    assert!(setting.publish().await);
    let ((), confirmed) = tokio::join!(setting.proxy.cut(Cut::BeforeAnswer), async {
        let mut confirmed = false;
        // The cut waits for the next publish.
        for _ in 0..2 {
            confirmed = setting.publish().await;
        }
        confirmed
    });
    assert!(!confirmed);
    let count = setting.vhost.drain("q").await.len();
    assert!(count >= 2, "the broker has the message that it could not confirm: {count}");
    assert_eq!(setting.proxy.connections(), 1);
    let (to_broker, from_broker) = setting.proxy.bytes();
    assert!(to_broker > 10_000 && from_broker > 100, "two messages went through: {to_broker}, {from_broker}");
    setting.vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_cut_within_a_write_and_an_immediate_cut_store_no_message() {
    let setting = Setting::make().await;
    let ((), confirmed) = tokio::join!(biased; setting.proxy.cut(Cut::InWrite), setting.publish());
    assert!(!confirmed);
    assert_eq!(setting.vhost.ready("q").await, 0, "an incomplete message is not stored");

    let url = setting.vhost.url_at(setting.proxy.port());
    let again = Connection::connect(&url, ConnectionProperties::default()).await.expect("new connections go through");
    assert!(again.status().connected());
    setting.proxy.cut(Cut::Now).await;
    until("the client sees the cut", PATIENCE, async || (!again.status().connected()).then_some(())).await;
    setting.vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_cut_before_the_acknowledgement_redelivers_the_message() {
    let setting = Setting::make().await;
    assert!(setting.publish().await);
    let consumed =
        setting.channel.basic_consume("q".into(), "c".into(), BasicConsumeOptions::default(), FieldTable::default());
    let delivery = consumed.await.expect("a consumer").next().await.expect("a delivery").expect("a delivery");
    let ((), _) = tokio::join!(biased; setting.proxy.cut(Cut::BeforeAck), delivery.ack(BasicAckOptions::default()));
    let messages = setting.vhost.until_drained("q", 1).await;
    assert!(messages[0].redelivered, "the message was delivered before");
    setting.vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_slow_network_delays_answers_and_a_silent_one_has_none() {
    let setting = Setting::make().await;
    let latency = Duration::from_millis(100);
    setting.proxy.delay(latency);
    let started = Instant::now();
    assert!(setting.publish().await);
    assert!(started.elapsed() >= latency * 2, "{:?}", started.elapsed());
    setting.proxy.delay(Duration::ZERO);

    setting.proxy.silence();
    {
        let mut publish = std::pin::pin!(setting.publish());
        assert!(tokio::time::timeout(SILENCE, &mut publish).await.is_err(), "nothing gets through");
        setting.proxy.resume();
        assert!(publish.await, "the bytes held back were forwarded");
    }
    setting.vhost.delete().await;
}
