//! Redrives message by message: kept attributes, destinations, and messages that stay.

use std::collections::HashMap;

use aws_sdk_sqs::types::{
    MessageSystemAttributeName as System, MessageSystemAttributeNameForSends as Sendable, MessageSystemAttributeValue,
};
use sluicegate_dlq::sqs::SqsDeadLetterQueue;
use sluicegate_dlq::{CancellationToken, DeadLetterQueue, Filter, Redrive, redrive};

use super::*;
use crate::support::service::system;

/// Receives the messages of the source until SQS moves them to the dead-letter queue.
async fn fail(service: &Service, queues: &Queues, count: usize) {
    let mut received = 0;
    while service.depth(&queues.dead).await < count as u64 {
        let request = service.sqs.receive_message().queue_url(&queues.source).visibility_timeout(0);
        received += request.max_number_of_messages(10).send().await.expect("received").messages().len();
        assert!(received < 100, "SQS did not move the messages to the dead-letter queue");
    }
}

pub(super) async fn a_redriven_message_keeps_its_attributes(service: &Service) {
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    for (fifo, body) in
        [(false, order(1)), (true, order(2)), (false, " no\tenvelope\r\n\u{FFFD}\u{10FFFF} ".to_owned())]
    {
        let queues = Queues::create(service, fifo).await;
        let mut attributes = rejected("bad card", &service.arn(&queues.source).await);
        attributes.insert("sluicegate-code".to_owned(), text("card_bad"));
        let own = [("tenant", text("acme")), ("count", number("12345678901234567890")), ("raw", binary(&[0, 1, 255]))];
        attributes.extend(own.map(|(name, value)| (name.to_owned(), value)));
        let header = MessageSystemAttributeValue::builder().data_type("String").string_value(trace).build();
        let request = service.sqs.send_message().queue_url(&queues.dead).message_body(&body).message_group_id("acme");
        let request = request.set_message_attributes(Some(attributes.clone()));
        let request = request.message_system_attributes(Sendable::AwsTraceHeader, header.expect("a header"));
        let request = request.set_message_deduplication_id(fifo.then(|| "d".to_owned()));
        let sent = request.send().await.expect("stored");
        // The id of a message that is not an event is the one that SQS gave it first.
        let first_id = sent.message_id().filter(|_| !body.starts_with('{'));

        for times in ["1", "2"] {
            let redriven = on(service, &["redrive", name(&queues.dead), "--one-by-one"]).await;
            redriven.expect(0, &["1 redriven of 1 that match, 1 looked at"]);
            let message = service.receive_one(&queues.source).await;
            assert_eq!(message.body(), Some(body.as_str()));
            assert_eq!(system(&message, System::AwsTraceHeader), trace);
            assert_eq!(system(&message, System::MessageGroupId), "acme");
            assert_eq!(attribute(&message, "sluicegate-redrives"), Some(times));
            let kept = message.message_attributes().expect("attributes");
            assert_eq!(attribute(&message, "sluicegate-message-id"), first_id);
            let count = 4 + usize::from(first_id.is_some());
            assert_eq!(kept.len(), count, "the reason of the last failure is removed: {kept:?}");
            for name in ["tenant", "count", "raw"] {
                assert_eq!(kept[name], attributes[name]);
            }
            assert_eq!(service.depth(&queues.dead).await, 0);
            // It fails again, and SQS moves it to the dead-letter queue.
            service.change_visibility(&queues.source, &message, 0).await;
            fail(service, &queues, 1).await;
        }
        let listed = on(service, &["list", name(&queues.dead), "--each"]).await;
        listed.expect(
            0,
            &["redriven 2  -  receives exhausted, no reason recorded: the function crashed", name(&queues.source)],
        );
    }
}

pub(super) async fn a_message_goes_to_its_source_or_to_the_given_queue(service: &Service) {
    let queues = Queues::create(service, false).await;
    let policy = service.attribute(&queues.source, Attribute::RedrivePolicy).await;
    let second = service.queue(&[(Attribute::RedrivePolicy, &policy)]).await;
    let other = service.queue(&[]).await;
    let dead = name(&queues.dead);
    // SQS records the source of what it moved, the consumer that of what it rejected; the third message has no source.
    service.send(&second, "moved").await;
    fail(service, &Queues { source: second.clone(), dead: queues.dead.clone() }, 1).await;
    dead_letter(service, &queues, "rejected", rejected("r", &service.arn(&queues.source).await)).await;
    dead_letter(service, &queues, "of no source", HashMap::new()).await;
    let redriven = on(service, &["redrive", dead]).await;
    redriven.expect(1, &["2 redriven of 3", "1 stay as they are", "name the queue to send it to", name(&second)]);
    assert_eq!(bodies(&drained(service, &second).await), ["moved".to_owned()].into());
    assert_eq!(bodies(&drained(service, &queues.source).await), ["rejected".to_owned()].into());
    let only_of_no_source = ["redrive", dead, "--match", "no source", "--to", &other];
    on(service, &only_of_no_source).await.expect(0, &["1 redriven of 1"]);
    assert_eq!(bodies(&drained(service, &other).await), ["of no source".to_owned()].into());
    // A message whose source was deleted stays.
    dead_letter(
        service,
        &queues,
        "orphan",
        rejected("r", &format!("arn:aws:sqs:us-east-1:000000000000:{}", nowhere())),
    )
    .await;
    on(service, &["redrive", dead]).await.expect(1, &["0 redriven of 1", "the queue does not exist"]);
    let abroad = "arn:aws:sqs:mars-north-1:000000000000:q";
    dead_letter(service, &queues, "abroad", rejected("r", abroad)).await;
    on(service, &["redrive", dead, "--match", "abroad"]).await.expect(1, &["in the Region mars-north-1"]);
    assert_eq!(drained(service, &queues.dead).await.len(), 2);
    // A single queue names it as its dead-letter queue, which is then the destination.
    let only = Queues::create(service, false).await;
    dead_letter(service, &only, "of no source", HashMap::new()).await;
    on(service, &["redrive", name(&only.dead), "--one-by-one"]).await.expect(0, &["1 redriven of 1"]);
    assert_eq!(drained(service, &only.source).await.len(), 1);
}

pub(super) async fn only_matching_messages_are_redriven(service: &Service) {
    let queues = Queues::create(service, false).await;
    dead_letter_orders(service, &queues, 30).await;
    let dead = name(&queues.dead);
    let filters = ["--type", "*.placed", "--reason", "^no", "--where", "/number~^(6|12|13)$", "--since", "1h"];
    let redriven = on(service, &[&["redrive", dead][..], &filters].concat()).await;
    redriven.expect(0, &["2 redriven of 2 that match, 30 looked at"]);
    assert_eq!(bodies(&drained(service, &queues.source).await), orders([6, 12]));
    on(service, &["redrive", dead, "--limit", "5"]).await.expect(0, &["5 redriven of"]);
    assert_eq!(drained(service, &queues.source).await.len(), 5);
    on(service, &["redrive", dead, "--until", "1h"]).await.expect(0, &["0 redriven of 0 that match, 23 looked at"]);
    assert_eq!(drained(service, &queues.dead).await.len(), 23);
}

pub(super) async fn messages_that_cannot_be_sent_stay(service: &Service) {
    let queues = Queues::create(service, false).await;
    let full: HashMap<_, _> = (0..10).map(|number| (format!("a{number}"), text("x"))).collect();
    dead_letter(service, &queues, "full", full.clone()).await;
    let large = "x".repeat(1_048_576);
    dead_letter(service, &queues, &large, HashMap::new()).await;
    let dead = name(&queues.dead);
    let redriven = on(service, &["redrive", dead, "--one-by-one"]).await;
    redriven.expect(1, &["0 redriven of 2", "2 stay", "10 attributes", "more than 1048576"]);
    on(service, &["redrive", dead, "--one-by-one", "--dry-run"]).await.expect(1, &["10 attributes"]);
    let left = drained(service, &queues.dead).await;
    assert_eq!(bodies(&left), [large, "full".to_owned()].into());
    assert_eq!(service.depth(&queues.source).await, 0);
}

pub(super) async fn a_message_that_fails_again_is_left_for_the_next_redrive(service: &Service) {
    let queues = Queues::create(service, false).await;
    dead_letter_orders(service, &queues, 12).await;
    // Rejected without an envelope, as by a consumer that cannot read it: each copy has a new id.
    let arn = service.arn(&queues.source).await;
    dead_letter(service, &queues, "no envelope", rejected("undecodable", &arn)).await;
    let dead = queues.dead.clone();
    let consumer = async {
        loop {
            for message in service.receive(&queues.source, 1).await {
                let mut attributes = rejected("again", &arn);
                attributes.extend(message.message_attributes().cloned().unwrap_or_default());
                dead_letter(service, &queues, message.body().expect("a body"), attributes).await;
                service.delete(&queues.source, &message).await;
            }
        }
    };
    let arguments = ["redrive", name(&dead), "--one-by-one", "--rate", "5/s"];
    let run = on(service, &arguments);
    let ran = tokio::select! {
        ran = run => ran,
        () = consumer => unreachable!("it never ends"),
    };
    ran.expect(0, &["13 redriven of", "failed again meanwhile and were left"]);
    let all = [drained(service, &queues.dead).await, drained(service, &queues.source).await].concat();
    assert!(all.iter().all(|message| attribute(message, "sluicegate-redrives") == Some("1")), "{all:?}");
    assert_eq!(bodies(&all).len(), 13);
}

pub(super) async fn taken_messages_stay_hidden_until_released(service: &Service) {
    let queues = Queues::create(service, false).await;
    dead_letter_orders(service, &queues, 25).await;
    let config = aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::new("us-east-1"))
        .credentials_provider(aws_sdk_sqs::config::SharedCredentialsProvider::new(
            aws_sdk_sqs::config::Credentials::new("test", "test", None, None, "tests"),
        ))
        .endpoint_url(&service.url)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let queue = SqsDeadLetterQueue::open(&config, &queues.dead, Duration::from_secs(2)).await.expect("it is there");
    let mut taken = 0;
    loop {
        match queue.take(10).await.expect("taken").len() {
            0 => break,
            more => taken += more,
        }
    }
    assert_eq!((taken, queue.depth().await.expect("a depth")), (25, 25));
    // Three times the visibility timeout: no reader receives a message, this one included.
    assert!(service.receive(&queues.dead, 6).await.is_empty());
    assert!(queue.take(10).await.expect("answered").is_empty());
    queue.release().await.expect("released");
    let everything = Filter::default();
    let order = Redrive { filter: &everything, to: None, rate: None, limit: None, dry_run: false };
    let report = redrive(&queue, &order, &CancellationToken::default(), &|_| {}).await;
    assert_eq!((report.done, report.is_clean()), (25, true), "{report:?}");
}
