//! Refused requests and their errors. Modelled errors arrive as typed variants of the SDK.

use aws_sdk_sqs::types::{MessageAttributeValue, QueueAttributeName as Attribute};

use crate::support::service::{Service, fault, unique};

const CREATE_QUEUE: &str = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html";
const SEND_MESSAGE: &str = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html";
const RECEIVE_MESSAGE: &str =
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html";
const MESSAGE_METADATA: &str =
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html";

pub(super) async fn operations_on_an_unknown_queue_are_refused(service: &Service) {
    let queue = service.queue(&[]).await;
    let (base, _) = queue.rsplit_once('/').expect("a URL");
    let unknown = format!("{base}/{}", unique("nowhere", ""));
    let sqs = &service.sqs;
    for (what, observed) in [
        ("send", fault(sqs.send_message().queue_url(&unknown).message_body("x").send().await)),
        ("receive", fault(sqs.receive_message().queue_url(&unknown).send().await)),
        ("delete", fault(sqs.delete_message().queue_url(&unknown).receipt_handle("x").send().await)),
        ("attributes", fault(sqs.get_queue_attributes().queue_url(&unknown).send().await)),
        ("purge", fault(sqs.purge_queue().queue_url(&unknown).send().await)),
        ("delete the queue", fault(sqs.delete_queue().queue_url(&unknown).send().await)),
        ("find", fault(sqs.get_queue_url().queue_name(unique("nowhere", "")).send().await)),
    ] {
        service.check(what, observed, "QueueDoesNotExist".into());
    }
}

pub(super) async fn bad_messages_are_refused_with_the_documented_error(service: &Service) {
    let queue = service.queue(&[]).await;
    for (what, body, expected) in [
        ("a NUL", "a\0b", "InvalidMessageContents"),
        ("a bell", "\u{7}", "InvalidMessageContents"),
        ("an escape", "\u{1b}[31m", "InvalidMessageContents"),
        ("a noncharacter", "\u{fffe}", "InvalidMessageContents"),
        ("an empty body", "", "MissingParameter"),
        ("tab, line feed and carriage return are fine", "\t\n\r", "ok"),
    ] {
        let observed = fault(service.sqs.send_message().queue_url(&queue).message_body(body).send().await);
        service.check(what, observed, expected.into());
    }
}

pub(super) async fn bad_attributes_of_a_message_are_refused(service: &Service) {
    let queue = service.queue(&[]).await;
    let send = async |attributes: Vec<(String, &str, &str)>| {
        let mut request = service.sqs.send_message().queue_url(&queue).message_body("x");
        for (name, kind, value) in attributes {
            let value = MessageAttributeValue::builder().data_type(kind).string_value(value).build().expect("a value");
            request = request.message_attributes(name, value);
        }
        fault(request.send().await)
    };
    let one = |name: &str| vec![(name.to_owned(), "String", "v")];
    let refused = "InvalidParameterValue";
    for (what, attributes, aws) in [
        ("ten attributes", (0..10).map(|n| (format!("n{n}"), "String", "v")).collect(), "ok"),
        ("an AWS prefix", one("AWS.x"), refused),
        ("an Amazon prefix in any case", one("aMaZoN.x"), refused),
        ("a leading dot", one(".x"), refused),
        ("a trailing dot", one("x."), refused),
        ("a space", one("a b"), refused),
        ("257 characters of name", one(&"n".repeat(257)), refused),
        ("an unknown type", vec![("x".to_owned(), "Strange", "v")], refused),
        ("an empty value", vec![("x".to_owned(), "String", "")], refused),
    ] {
        service.check(what, send(attributes).await, aws.into());
    }
    for (what, attributes, aws, localstack) in [
        ("256 characters of name", one(&"n".repeat(256)), "ok", refused),
        ("eleven attributes", (0..11).map(|n| (format!("n{n}"), "String", "v")).collect(), refused, "ok"),
        ("two dots in a row", one("a..b"), refused, "ok"),
        ("a number that is none", vec![("x".to_owned(), "Number", "many")], refused, "ok"),
    ] {
        service.check_differs(what, send(attributes).await, aws.into(), MESSAGE_METADATA, localstack.into());
    }
}

pub(super) async fn bad_numbers_are_refused(service: &Service) {
    let queue = service.queue(&[]).await;
    let refused = || "InvalidParameterValue".to_owned();
    let send = |delay| service.sqs.send_message().queue_url(&queue).message_body("x").delay_seconds(delay).send();
    let receive = || service.sqs.receive_message().queue_url(&queue);
    service.check("eleven messages", fault(receive().max_number_of_messages(11).send().await), refused());
    service.check("21 s of wait", fault(receive().wait_time_seconds(21).send().await), refused());
    for (what, observed, page) in [
        ("901 s of delay", fault(send(901).await), SEND_MESSAGE),
        ("a negative delay", fault(send(-1).await), SEND_MESSAGE),
        ("no messages", fault(receive().max_number_of_messages(0).send().await), RECEIVE_MESSAGE),
        ("more than 12 hours hidden", fault(receive().visibility_timeout(43_201).send().await), RECEIVE_MESSAGE),
    ] {
        service.check_differs(what, observed, refused(), page, "ok".into());
    }
}

pub(super) async fn bad_queues_are_refused(service: &Service) {
    let create = async |name: &str, attribute: Option<(Attribute, &str)>| {
        let mut request = service.sqs.create_queue().queue_name(name);
        if let Some((name, value)) = attribute {
            request = request.attributes(name, value);
        }
        fault(request.send().await)
    };
    for (what, name, attribute, expected) in [
        ("a space in the name", "a b", None, "InvalidParameterValue"),
        ("81 characters of name", &"n".repeat(81), None, "InvalidParameterValue"),
        ("FifoQueue=false", &unique("bad", ""), Some((Attribute::FifoQueue, "false")), "InvalidAttributeName"),
        ("FIFO without its suffix", &unique("bad", ""), Some((Attribute::FifoQueue, "true")), "InvalidParameterValue"),
        ("the suffix without FIFO", &unique("bad", ".fifo"), None, "InvalidParameterValue"),
        ("an unknown attribute", &unique("bad", ""), Some((Attribute::from("Colour"), "red")), "InvalidAttributeName"),
    ] {
        service.check(what, create(name, attribute).await, expected.to_owned());
    }
    for (name, value) in [
        (Attribute::VisibilityTimeout, "43201"),
        (Attribute::VisibilityTimeout, "soon"),
        (Attribute::DelaySeconds, "901"),
        (Attribute::MessageRetentionPeriod, "59"),
        (Attribute::MaximumMessageSize, "1023"),
        (Attribute::MaximumMessageSize, "1048577"),
        (Attribute::ReceiveMessageWaitTimeSeconds, "21"),
    ] {
        let what = format!("{name} of {value}");
        let observed = create(&unique("bad", ""), Some((name, value))).await;
        service.check_differs(&what, observed, "InvalidAttributeValue".into(), CREATE_QUEUE, "ok".into());
    }
}
