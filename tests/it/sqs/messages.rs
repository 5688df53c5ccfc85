//! Messages: bodies, attributes, MD5s, delays, long polling, size.

use std::time::{Duration, Instant};

use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    Message, MessageAttributeValue, MessageSystemAttributeName as System, MessageSystemAttributeNameForSends,
    MessageSystemAttributeValue, QueueAttributeName as Attribute,
};
use md5::{Digest, Md5};

use crate::support::service::{Service, bodies, fault, system};

/// The largest message, body and attributes together.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

pub(super) async fn a_body_arrives_byte_for_byte_with_its_md5(service: &Service) {
    let queue = service.queue(&[]).await;
    for body in ["{\"price\": 1.10,\r\n\t\"b\":1, \"a\":2}", "Grüße, 世界 😀", " ", "<&>\"'\\ \u{d7ff}\u{e000}\u{fffd}"]
    {
        let sent = service.send(&queue, body).await;
        service.check("the MD5 at sending", sent.md5_of_message_body(), Some(hex(Md5::digest(body)).as_str()));
        service.check("no attributes, no MD5 of them", sent.md5_of_message_attributes(), None);
        let received = service.receive_one(&queue).await;
        service.check("the body", received.body(), Some(body));
        service.check("the id", received.message_id(), sent.message_id());
        service.check("the MD5 at receipt", received.md5_of_body(), sent.md5_of_message_body());
        service.delete(&queue, &received).await;
    }
    service.check("deleted messages do not come back", service.receive(&queue, 0).await.len(), 0);
}

pub(super) async fn message_attributes_arrive_with_their_md5(service: &Service) {
    let queue = service.queue(&[]).await;
    let mut request = service.sqs.send_message().queue_url(&queue).message_body("attributed");
    for (name, value) in attributes() {
        request = request.message_attributes(name, value);
    }
    let sent = request.send().await.expect("stored");
    let expected = attributes_md5(&attributes());
    service.check("the MD5 at sending", sent.md5_of_message_attributes(), Some(expected.as_str()));
    let received = service.receive_one(&queue).await;
    service.check("the MD5 at receipt", received.md5_of_message_attributes(), Some(expected.as_str()));
    let arrived = received.message_attributes().expect("attributes");
    service.check("all of them", arrived.len(), 4);
    for (name, value) in attributes() {
        let arrived = arrived.get(name).expect("the attribute arrives");
        service.check("type", arrived.data_type(), value.data_type());
        service.check("text", arrived.string_value(), value.string_value());
        service.check("bytes", arrived.binary_value(), value.binary_value());
    }
}

pub(super) async fn message_attributes_are_filtered_by_name_and_prefix(service: &Service) {
    let queue = service.queue(&[(Attribute::VisibilityTimeout, "0")]).await;
    let mut request = service.sqs.send_message().queue_url(&queue).message_body("attributed");
    for (name, value) in attributes() {
        request = request.message_attributes(name, value);
    }
    request.send().await.expect("stored");
    for (filter, expected) in [
        (vec![], ""),
        (vec!["tenant"], "tenant"),
        (vec!["reason.*"], "reason.code reason.text"),
        (vec!["All"], "picture reason.code reason.text tenant"),
        (vec![".*"], "picture reason.code reason.text tenant"),
        (vec!["nothing", "picture"], "picture"),
    ] {
        let request = service.sqs.receive_message().queue_url(&queue).wait_time_seconds(2);
        let request = request.set_message_attribute_names(Some(filter.iter().map(ToString::to_string).collect()));
        let received = request.send().await.expect("received").messages.expect("the message");
        let mut names: Vec<_> =
            received[0].message_attributes().map(|all| all.keys().map(String::as_str).collect()).unwrap_or_default();
        names.sort_unstable();
        service.check(&format!("{filter:?}"), names.join(" "), expected.into());
    }
}

pub(super) async fn system_attributes_are_returned_only_if_requested(service: &Service) {
    let queue = service.queue(&[(Attribute::VisibilityTimeout, "0")]).await;
    service.send(&queue, "one").await;
    let ask = async |names: Vec<System>| -> Message {
        let request = service.sqs.receive_message().queue_url(&queue).wait_time_seconds(2);
        let request = request.set_message_system_attribute_names(Some(names));
        request.send().await.expect("received").messages.expect("the message").remove(0)
    };
    service.check("none", ask(vec![]).await.attributes().map_or(0, |all| all.len()), 0);
    let counted = ask(vec![System::ApproximateReceiveCount]).await;
    service.check("the one asked for", system(&counted, System::ApproximateReceiveCount), "2".into());
    service.check("and no other", counted.attributes().map(|all| all.len()), Some(1));
    let all = ask(vec![System::All]).await;
    let (sent, first) = (system(&all, System::SentTimestamp), system(&all, System::ApproximateFirstReceiveTimestamp));
    let millis = |text: &str| text.parse::<u64>().expect("milliseconds since 1970");
    service.check("sent before it was received", millis(&sent) <= millis(&first), true);
    service.check("a sender", system(&all, System::SenderId).is_empty(), false);
}

pub(super) async fn the_trace_header_is_a_system_attribute(service: &Service) {
    let queue = service.queue(&[]).await;
    let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    let value =
        MessageSystemAttributeValue::builder().data_type("String").string_value(header).build().expect("a value");
    let request = service.sqs.send_message().queue_url(&queue).message_body("traced");
    let request = request.message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, value.clone());
    let sent = request.send().await.expect("stored");
    let text = MessageAttributeValue::builder().data_type("String").string_value(header).build().expect("a value");
    let expected = attributes_md5(&[("AWSTraceHeader", text)]);
    service.check("its MD5", sent.md5_of_message_system_attributes(), Some(expected.as_str()));
    let received = service.receive_one(&queue).await;
    service.check("the header", system(&received, System::AwsTraceHeader), header.into());
}

pub(super) async fn a_group_on_a_standard_queue_is_a_tenant_without_a_lock(service: &Service) {
    let queue = service.queue(&[]).await;
    for body in ["one", "two"] {
        let request = service.sqs.send_message().queue_url(&queue).message_body(body).message_group_id("tenant-1");
        service.check("no sequence number", request.send().await.expect("stored").sequence_number(), None);
    }
    let received = service.receive_count(&queue, 2).await;
    for message in &received {
        service.check("the group", system(message, System::MessageGroupId), "tenant-1".into());
    }
    service.check("both in flight at once", received.len(), 2);
}

pub(super) async fn a_long_poll_returns_as_soon_as_a_message_is_sent(service: &Service) {
    let queue = service.queue(&[]).await;
    let started = Instant::now();
    let request = service.sqs.receive_message().queue_url(&queue).wait_time_seconds(20);
    let poll = tokio::spawn(async move { request.send().await });
    // The poll has to be waiting before the message is sent; the in-flight request itself cannot be observed.
    tokio::time::sleep(Duration::from_millis(500)).await;
    service.send(&queue, "here").await;
    let received = poll.await.expect("no panic").expect("answered").messages.unwrap_or_default();
    service.check("the message", bodies(&received), vec!["here"]);
    service.check("at once", started.elapsed() < Duration::from_secs(5), true);
}

pub(super) async fn a_long_poll_on_an_empty_queue_waits_as_long_as_requested(service: &Service) {
    let queue = service.queue(&[(Attribute::ReceiveMessageWaitTimeSeconds, "1")]).await;
    let started = Instant::now();
    let received = service.sqs.receive_message().queue_url(&queue).send().await.expect("answered");
    service.check("nothing", received.messages().len(), 0);
    let waited = started.elapsed();
    service.check("the queue's own wait", (900..5_000).contains(&waited.as_millis()), true);
}

pub(super) async fn a_delayed_message_is_hidden_until_its_delay_ends(service: &Service) {
    let queue = service.queue(&[]).await;
    let started = Instant::now();
    let request = service.sqs.send_message().queue_url(&queue).message_body("later").delay_seconds(1);
    request.send().await.expect("stored");
    service.check("hidden", service.receive(&queue, 0).await.len(), 0);
    service.receive_one(&queue).await;
    service.check("for its delay", started.elapsed() >= Duration::from_millis(900), true);
}

pub(super) async fn a_queue_wide_delay_is_the_default_of_its_messages(service: &Service) {
    let queue = service.queue(&[(Attribute::DelaySeconds, "60")]).await;
    service.send(&queue, "later").await;
    let now = service.sqs.send_message().queue_url(&queue).message_body("now").delay_seconds(0);
    now.send().await.expect("stored");
    service.check("a message's own delay wins", bodies(&service.receive_count(&queue, 1).await), vec!["now"]);
}

pub(super) async fn one_mebibyte_fits_and_one_byte_more_does_not(service: &Service) {
    let queue = service.queue(&[]).await;
    let body = "a".repeat(MESSAGE_BYTES_MAX);
    service.send(&queue, &body).await;
    service.check("it arrives whole", service.receive_one(&queue).await.body().map(str::len), Some(MESSAGE_BYTES_MAX));
    let send = async |body: String, name: Option<&str>| {
        let mut request = service.sqs.send_message().queue_url(&queue).message_body(body);
        if let Some(name) = name {
            let value =
                MessageAttributeValue::builder().data_type("String").string_value("v").build().expect("a value");
            request = request.message_attributes(name, value);
        }
        fault(request.send().await)
    };
    service.check("one byte more", send(format!("{body}a"), None).await, "InvalidParameterValue".into());
    // Name, type and value count: "n", "String", "v".
    let rest = "a".repeat(MESSAGE_BYTES_MAX - 8);
    service.check("attributes fit in the rest", send(rest.clone(), Some("n")).await, "ok".into());
    service.check("attributes count", send(rest, Some("nn")).await, "InvalidParameterValue".into());
    // Bytes, not characters.
    let wide = "é".repeat(MESSAGE_BYTES_MAX / 2);
    service.check("bytes are counted", send(format!("{wide}é"), None).await, "InvalidParameterValue".into());
    let small = service.queue(&[(Attribute::MaximumMessageSize, "1024")]).await;
    let request = service.sqs.send_message().queue_url(&small).message_body("a".repeat(1025));
    service.check("the queue's own limit", fault(request.send().await), "InvalidParameterValue".into());
}

fn attributes() -> Vec<(&'static str, MessageAttributeValue)> {
    let text = |kind: &str, value: &str| {
        MessageAttributeValue::builder().data_type(kind).string_value(value).build().expect("a value")
    };
    let bytes =
        MessageAttributeValue::builder().data_type("Binary.png").binary_value(Blob::new([0_u8, 255, 10])).build();
    vec![
        ("reason.text", text("String", "zu groß")),
        ("reason.code", text("Number.int", "422")),
        ("tenant", text("String.id", "t-1")),
        ("picture", bytes.expect("a value")),
    ]
}

/// The digest of message attributes, computed independently of the code under test.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>
fn attributes_md5(attributes: &[(&str, MessageAttributeValue)]) -> String {
    let mut sorted: Vec<_> = attributes.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    let mut bytes = Vec::new();
    let part = |bytes: &mut Vec<u8>, part: &[u8]| {
        bytes.extend(u32::try_from(part.len()).expect("short").to_be_bytes());
        bytes.extend(part);
    };
    for (name, value) in sorted {
        part(&mut bytes, name.as_bytes());
        part(&mut bytes, value.data_type().as_bytes());
        let (transport_type, content) = match (value.string_value(), value.binary_value()) {
            (Some(text), _) => (1, text.as_bytes()),
            (None, Some(blob)) => (2, blob.as_ref()),
            (None, None) => panic!("a value"),
        };
        bytes.push(transport_type);
        part(&mut bytes, content);
    }
    hex(Md5::digest(bytes))
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
