//! Tests of the test support: separate virtual hosts, and messages as stored.

use lapin::BasicProperties;
use lapin::types::FieldTable;
use serde_json::json;

use crate::support::rabbitmq::Vhost;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_virtual_host_keeps_published_messages_and_is_deleted_with_its_test() {
    let vhost = Vhost::create().await;
    vhost.declare_exchange("news", "topic").await;
    vhost.declare_queue_with("all", json!({ "x-overflow": "reject-publish" })).await;
    vhost.bind("news", "all", "#").await;
    let mut headers = FieldTable::default();
    headers.insert("n".into(), 7_u32.into());
    let properties = BasicProperties::default().with_message_id("m-1".into()).with_headers(headers);
    vhost.publish("news", "a.b", properties, b"first").await;
    vhost.publish("news", "c", BasicProperties::default(), b"second").await;
    vhost.until_ready("all", 2).await;
    let messages = vhost.until_drained("all", 2).await;
    assert_eq!((messages[0].text(), messages[1].text()), ("first", "second"));
    let first = &messages[0];
    assert_eq!((first.exchange.as_str(), first.routing_key.as_str(), first.redelivered), ("news", "a.b", false));
    assert_eq!((first.message_id.as_deref(), first.header_number("n")), (Some("m-1"), Some(7)));
    assert_eq!(first.header_text("n"), None);
    assert_eq!(vhost.ready("all").await, 0);
    assert_eq!(vhost.connections("").await, Vec::<String>::new(), "the connection of the test is not listed");

    let name = vhost.name().to_owned();
    let other = Vhost::create().await;
    vhost.delete().await;
    let hosts = other.manage(http::Method::GET, "vhosts", None).await;
    assert!(
        hosts.as_array().expect("a list").iter().all(|each| each["name"] != name.as_str()),
        "the virtual host is deleted"
    );
}
