//! Tests of the archiver against a bucket in memory.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::routing::any;
#[cfg(feature = "rabbitmq")]
use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::FutureExt as _;
use proptest::prelude::*;
use serde_json::json;
use sluicegate_batch::testing;

use super::*;

/// A bucket, and the objects that were put into it.
#[derive(Clone)]
struct Bucket {
    url: String,
    objects: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl Bucket {
    /// Starts a bucket that refuses keys with one of these texts.
    async fn start(refused: &'static [&str]) -> (Self, Archiver) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let bucket = Self { url: format!("http://{}", listener.local_addr().unwrap()), objects: Arc::default() };
        let put = async move |State(bucket): State<Self>, uri: Uri, body: Bytes| {
            if refused.iter().any(|refused| uri.path().contains(refused)) {
                return StatusCode::FORBIDDEN;
            }
            bucket.objects.lock().unwrap().insert(uri.path().replace("%3D", "="), body.to_vec());
            StatusCode::OK
        };
        let router = Router::new().fallback(any(put)).with_state(bucket.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let archiver = bucket.archiver();
        (bucket, archiver)
    }

    fn archiver(&self) -> Archiver {
        let lookup = |name: &str| match name {
            "AWS_ENDPOINT_URL" => Some(self.url.clone()),
            BUCKET => Some("b".to_owned()),
            "AWS_REGION" | "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("us-east-1".to_owned()),
            _ => None,
        };
        Archiver::from_env(lookup).unwrap()
    }

    /// Returns the keys with the ids of their events.
    fn objects(&self) -> Vec<(String, Vec<String>)> {
        let objects = self.objects.lock().unwrap();
        let ids = |object: &Vec<u8>| {
            object::read(object).unwrap().iter().map(|event| event.id().to_owned()).collect::<Vec<_>>()
        };
        objects.iter().map(|(key, object)| (key.clone(), ids(object))).collect()
    }
}

fn event(id: &str, event_type: &str, second: i64) -> Envelope {
    let time = OffsetDateTime::from_unix_timestamp(second).unwrap();
    Envelope::builder(id, "/a", event_type).time(time).payload(Some("application/json"), "{}").build().unwrap()
}

/// Gives events to a consumer as Lambda does. Returns the ids that go back to the queue.
async fn consume(archiver: Archiver, events: &[Envelope]) -> Vec<String> {
    let record = |event: &Envelope| {
        json!({
            "messageId": event.id(),
            "receiptHandle": "r",
            "body": event.encode(),
            "attributes": { "ApproximateReceiveCount": "1" },
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:archive",
        })
    };
    let batch = json!({ "Records": events.iter().map(record).collect::<Vec<_>>() }).to_string();
    let response = testing::run(archiver.into_consumer(), &batch).await.unwrap();
    response.failures().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_batch_is_an_object_for_each_hour_and_type() {
    let (bucket, archiver) = Bucket::start(&[]).await;
    // In an order that is not that of the time.
    let mut events = vec![
        event("e-2", "order.placed", 7_201),
        event("e-1", "order.placed", 7_200),
        event("e-3", "order.paid", 7_200),
        event("e-4", "order.placed", 7_199),
        event("e-1", "order.placed", 7_200),
    ];
    assert!(consume(archiver, &events).await.is_empty());
    let objects = bucket.objects();
    let ids: Vec<_> = objects.iter().map(|(_, ids)| ids.join(" ")).collect();
    assert_eq!(ids, ["e-4", "e-3", "e-1 e-2"], "{objects:?}");
    let folders: Vec<_> = objects.iter().map(|(key, _)| key.rsplit_once('/').unwrap().0).collect();
    let expected = [
        "/b/archive/date=1970-01-01/hour=01/event_type=order.placed",
        "/b/archive/date=1970-01-01/hour=02/event_type=order.paid",
        "/b/archive/date=1970-01-01/hour=02/event_type=order.placed",
    ];
    assert_eq!(folders, expected);

    // The same messages in another order are the same objects.
    events.reverse();
    assert!(consume(bucket.archiver(), &events).await.is_empty());
    assert_eq!(bucket.objects(), objects);
}

#[cfg(feature = "rabbitmq")]
#[tokio::test]
async fn a_batch_of_rabbitmq_is_archived_and_fails_whole_without_its_broker() {
    let events = [event("e-1", "order.placed", 0), event("e-2", "order.placed", 1), event("e-3", "order.paid", 0)];
    let message = |event: &Envelope| {
        json!({
            "basicProperties": {
                "contentType": "application/cloudevents+json; charset=utf-8",
                "messageId": event.id(),
                "deliveryMode": 2,
            },
            "data": BASE64_STANDARD.encode(&*event.encode()),
            "redelivered": false,
        })
    };
    let batch = json!({
        "eventSource": "aws:rmq",
        "eventSourceArn": "arn:aws:mq:us-east-1:000000000000:broker:main:b-1",
        "rmqMessagesByQueue": { "archive::/": events.iter().map(message).collect::<Vec<_>>() },
    });
    let batch = batch.to_string();
    let (bucket, archiver) = Bucket::start(&[]).await;
    testing::run(archiver.into_consumer(), &batch).await.unwrap();
    let objects = bucket.objects();
    assert_eq!(objects.iter().map(|(_, ids)| ids.join(" ")).collect::<Vec<_>>(), ["e-3", "e-1 e-2"]);

    // A copy for the retry queue cannot be published.
    let (bucket, archiver) = Bucket::start(&["order.paid"]).await;
    assert!(testing::run(archiver.into_consumer(), &batch).await.is_err());
    assert_eq!(bucket.objects().len(), 1);
}

#[tokio::test]
async fn what_is_not_written_goes_back_to_the_queue() {
    let (bucket, archiver) = Bucket::start(&["order.paid"]).await;
    let events = [event("e-1", "order.placed", 0), event("e-2", "order.paid", 0), event("e-3", "order.paid", 3_600)];
    assert_eq!(consume(archiver, &events).await, ["e-2", "e-3"]);
    assert_eq!(bucket.objects().len(), 1);
}

#[tokio::test]
async fn a_cancelled_first_message_returns_the_others_and_the_next_is_archived() {
    let (bucket, archiver) = Bucket::start(&[]).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    let events = [event("e-1", "t", 0), event("e-2", "t", 0), event("e-3", "t", 0)];
    let archived = |event| Box::pin(archiver.archive(event, deadline));
    let (mut first, mut second) = (archived(&events[0]), archived(&events[1]));
    assert_eq!((first.as_mut().now_or_never(), second.as_mut().now_or_never()), (None, None));
    drop(first);
    assert_eq!(second.await, Outcome::Retry);
    assert_eq!(archived(&events[2]).await, Outcome::Done);
    let objects = bucket.objects();
    assert_eq!(objects.iter().map(|(_, ids)| ids.join(" ")).collect::<Vec<_>>(), ["e-3"]);
}

#[test]
fn a_missing_bucket_is_named() {
    let error = Archiver::from_env(|name| (name != BUCKET).then(|| "a".to_owned())).err().unwrap();
    assert_eq!(error, "ARCHIVE_BUCKET is not set: it names the bucket of the archive");
}

#[test]
fn an_object_of_large_events_is_divided() {
    let large = |id: &str| {
        let payload = "x".repeat(OBJECT_BYTES / 2);
        let event = Envelope::builder(id, "/a", "t").payload(Some("text/plain"), payload).build().unwrap();
        ArchivedEvent::of(&event)
    };
    let texts = objects(vec![large("e-1"), large("e-2"), large("e-3")]);
    assert_eq!(texts.len(), 3, "base64 is a third longer");
    assert!(texts.iter().all(|(_, text)| text.ends_with("}\n")));
}

proptest! {
    #[test]
    fn every_event_is_once_in_the_objects_of_its_hour_and_type(events in prop::collection::vec((0..30_u8, 0..3_u8, 0..10_000_i64), 0..60)) {
        let made = |(id, event_type, second): &(u8, u8, i64)| event(&id.to_string(), &event_type.to_string(), *second);
        let events: Vec<_> = events.iter().map(made).collect();
        let texts = objects(events.iter().map(ArchivedEvent::of).collect());
        let mut archived = Vec::new();
        for ((hour, event_type), text) in &texts {
            for event in object::read(&object::write(text)).unwrap() {
                prop_assert_eq!((Hour::of(event.time().unwrap()), event.event_type()), (*hour, event_type.as_str()));
                archived.push((*hour, event_type.clone(), event.id().to_owned()));
            }
        }
        archived.sort();
        let named = |event: &Envelope| {
            let hour = Hour::of(event.time().unwrap());
            (hour, event.event_type().to_owned(), event.id().to_owned())
        };
        let mut expected: Vec<_> = events.iter().map(named).collect();
        expected.sort();
        expected.dedup();
        prop_assert_eq!(archived, expected);
    }
}
