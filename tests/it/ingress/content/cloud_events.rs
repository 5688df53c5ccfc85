//! CloudEvents in the three modes of the HTTP binding.

use serde_json::{Value, json};
use sluicegate_envelope::Envelope;

use super::{Broker, accepting, post, taking, through_every_service};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";

/// Returns an operation that accepts every mode. Its type and subject are those of the event.
fn operation() -> Value {
    let mut operation =
        accepting(&[STRUCTURED, BATCHED, "application/json", "text/plain"], json!({ "cloudEvents": "binary" }));
    operation["x-sluicegate"]["type"] = "acme.{event.type}".into();
    operation
}

const EVENT: &str = r#"{"specversion":"1.0","id":"e-1","source":"/acme/1","type":"order.placed","subject":"ö 1",
    "time":"2026-01-02T03:04:05.060Z","datacontenttype":"application/json","dataschema":"https://acme.example/o",
    "comacmepart":7,"principal":"admin","operation":"other","idempotencykey":"mine","traceparent":null,
    "data":{"price": 1.10} }"#;

fn check_event(what: &str, stored: &Envelope) {
    assert_eq!(
        (stored.source(), stored.event_type(), stored.subject()),
        ("/acme/1", "acme.order.placed", Some("ö 1")),
        "{what}"
    );
    assert_eq!(
        (stored.payload().as_ref(), stored.content_type()),
        (&b"{\"price\": 1.10}"[..], Some("application/json"))
    );
    let attributes: Vec<_> = stored.attributes().collect();
    let attribute = |name: &str| attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value);
    assert_eq!((attribute("eventid"), attribute("comacmepart")), (Some("e-1"), Some("7")), "{what}");
    assert_eq!(attribute("dataschema"), Some("https://acme.example/o"), "{what}");
    assert_eq!(attribute("time"), Some("2026-01-02T03:04:05.060Z"), "{what}");
    // What the sender may not say about itself.
    assert_eq!(
        (stored.principal(), stored.operation(), stored.idempotency_key()),
        (Some("anonymous"), Some("take"), None)
    );
    assert_ne!(stored.id(), "e-1", "{what}: another sender may use the same id");
}

const BINARY: [(&str, &str); 12] = [
    ("content-type", "application/json"),
    ("ce-specversion", "1.0"),
    ("ce-id", "e-1"),
    ("ce-source", "/acme/1"),
    ("ce-type", "\"order.placed\""),
    ("ce-subject", "%C3%B6%20%31"),
    ("ce-time", "2026-01-02T03:04:05.060Z"),
    ("ce-dataschema", "https://acme.example/o"),
    ("ce-comacmepart", "7"),
    ("ce-principal", "admin"),
    ("ce-operation", "other"),
    ("ce-idempotencykey", "mine"),
];

type Headers<'a> = &'a [(&'a str, &'a str)];

#[tokio::test]
async fn an_event_is_the_same_in_every_mode() {
    let batch = format!("[{EVENT}, {EVENT}]");
    let cases: [(Headers<'_>, &str, usize); 3] = [
        (&[("content-type", "application/cloudevents+json; charset=UTF-8")], EVENT, 1),
        (&[("content-type", BATCHED)], &batch, 2),
        (&BINARY, r#"{"price": 1.10}"#, 1),
    ];
    let ids = std::sync::Mutex::new(Vec::new());
    for (headers, body, count) in cases {
        through_every_service(&operation(), headers, body.as_bytes(), |service, answer, stored| {
            let what = format!("{service} {headers:?}: {}", answer.body);
            assert_eq!((answer.status, stored.len()), (202, count), "{what}");
            for stored in stored {
                check_event(&what, stored);
                ids.lock().unwrap().push(stored.id().to_owned());
            }
        })
        .await;
    }
    let mut ids = ids.into_inner().unwrap();
    assert_eq!(ids.len(), 20);
    ids.dedup();
    assert_eq!(ids.len(), 1, "source, id and data name an event, in whatever mode it is sent");
}

#[tokio::test]
async fn what_is_not_an_event_is_refused_with_its_attribute() {
    let event = |from: &str, to: &str| {
        assert!(EVENT.contains(from), "{from}");
        EVENT.replacen(from, to, 1)
    };
    let structured = [
        (event("\"1.0\"", "\"0.3\""), "specversion"),
        (event("\"id\":\"e-1\",", ""), "id"),
        (event("\"source\":\"/acme/1\",", "\"source\":\"\","), "source"),
        (event("order.placed", "order\\u0007placed"), "type"),
        (event("comacmepart", "com-acme"), "com-acme"),
        (event("\"comacmepart\":7", "\"comacmepart\":{}"), "comacmepart"),
        (event("2026-01-02T", "yesterday "), "time"),
        (event("\"data\":", "\"data_base64\":\"AAAA\",\"data\":"), "data_base64"),
        ("[]".to_owned(), "object"),
    ];
    for (body, says) in structured {
        through_every_service(
            &operation(),
            &[("content-type", STRUCTURED)],
            body.as_bytes(),
            |service, answer, stored| {
                let what = format!("{service} {says}: {}", answer.body);
                assert_eq!((answer.status, answer.code()), (400, "cloudevent_invalid"), "{what}");
                assert!(answer.body["detail"].as_str().unwrap().contains(says), "{what}");
                assert!(stored.is_empty(), "{what}");
            },
        )
        .await;
    }
    let binary = [
        ("ce-specversion", None, "ce-specversion"),
        ("ce-specversion", Some("1.1"), "ce-specversion"),
        ("ce-type", None, "type"),
        ("ce-id", Some(""), "id"),
        ("ce-time", Some("2026"), "time"),
        ("ce-subject", Some("%FF"), "ce-subject"),
        ("ce-subject", Some("%07"), "subject"),
        ("ce-data", Some("x"), "data"),
        ("ce-a-b", Some("x"), "a-b"),
        ("ce-datacontenttype", Some("text/plain"), "content-type"),
    ];
    for (name, value, says) in binary {
        let mut headers: Vec<_> = BINARY.into_iter().filter(|(known, _)| *known != name).collect();
        headers.extend(value.map(|value| (name, value)));
        through_every_service(&operation(), &headers, b"{}", |service, answer, stored| {
            let what = format!("{service} {name}: {}", answer.body);
            assert_eq!((answer.status, answer.code()), (400, "cloudevent_invalid"), "{what}");
            assert!(answer.body["detail"].as_str().unwrap().contains(says), "{what}");
            assert!(stored.is_empty(), "{what}");
        })
        .await;
    }
}

#[tokio::test]
async fn data_of_any_media_type_is_kept() {
    let data = |member: &str| format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t",{member}}}"#);
    for (event, payload) in [
        (data(r#""datacontenttype":"text/plain","data":"é\n""#), "é\n".as_bytes()),
        (data(r#""datacontenttype":"image/png","data_base64":"iVBORw==""#), b"\x89PNG"),
        (data(r#""data":[1.0, null]"#), b"[1.0, null]"),
        (data(r#""data":"text""#), b"\"text\""),
        (data(r#""subject":"none""#), b""),
    ] {
        through_every_service(
            &operation(),
            &[("content-type", STRUCTURED)],
            event.as_bytes(),
            |service, answer, stored| {
                assert_eq!((answer.status, stored.len()), (202, 1), "{service} {event}: {}", answer.body);
                assert_eq!(stored[0].payload(), payload, "{service} {event}");
            },
        )
        .await;
    }
    let mut headers = BINARY;
    headers[0].1 = "text/plain";
    through_every_service(&operation(), &headers, b"\xff\0", |service, answer, stored| {
        assert_eq!((answer.status, &*stored[0].payload()), (202, &b"\xff\0"[..]), "{service}: {}", answer.body);
        assert_eq!(stored[0].content_type(), Some("text/plain"), "{service}");
    })
    .await;
}

#[tokio::test]
async fn one_bad_event_of_a_batch_is_refused_alone() {
    let broker = Broker::default();
    let batch = format!(r#"[{EVENT}, {{"specversion": "1.0"}}, 1]"#);
    let answered = post(&taking(&operation(), &broker), 0, &[("content-type", BATCHED)], batch.as_bytes()).await;
    assert_eq!((answered.status, answered.statuses()), (202, vec![202, 400, 400]), "{}", answered.body);
    assert_eq!(broker.len(), 1);
}

#[tokio::test]
async fn another_payload_under_the_same_id_is_another_message() {
    let broker = Broker::default();
    let ingress = taking(&operation(), &broker);
    for body in [EVENT.to_owned(), EVENT.replace("1.10", "1.20"), EVENT.replace("e-1", "e-2"), EVENT.to_owned()] {
        assert_eq!(post(&ingress, 0, &[("content-type", STRUCTURED)], body.as_bytes()).await.status, 202);
    }
    let ids: Vec<_> = broker.envelopes().iter().map(|envelope| envelope.id().to_owned()).collect();
    assert_eq!(ids[0], ids[3]);
    assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2], "{ids:?}");
}

/// Requests that the SDKs for JavaScript and Python made: `tests/vectors/make_cloudevents.mjs` and `.py`.
#[tokio::test]
async fn the_events_of_other_sdks_are_read() {
    use base64::{Engine as _, prelude::BASE64_STANDARD};

    let vectors: Vec<Value> = serde_json::from_str(include_str!("../../../vectors/cloudevents.json")).unwrap();
    assert_eq!(vectors.len(), 8);
    for vector in &vectors {
        let headers = vector["headers"].as_object().unwrap().iter();
        let headers: Vec<_> = headers.map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
        let body = BASE64_STANDARD.decode(vector["body"].as_str().unwrap()).unwrap();
        through_every_service(&operation(), &headers, &body, |service, answer, stored| {
            let what = format!("{service} {vector}: {}", answer.body);
            assert_eq!((answer.status, stored.len()), (202, 1), "{what}");
            let event = &stored[0];
            assert_eq!((event.source(), event.event_type()), ("/acme/1", "acme.order.placed"), "{what}");
            assert_eq!(event.subject(), Some("o-1 \"x\" 100%"), "{what}");
            let attribute = |name: &str| event.attributes().find(|(known, _)| *known == name).map(|(_, value)| value);
            assert_eq!(
                (attribute("eventid").as_deref(), attribute("comacmepart").as_deref()),
                (Some("e-1"), Some("a b"))
            );
            if vector["data"] == "text" {
                assert_eq!(*event.payload(), *"Grüße\n".as_bytes(), "{what}");
            } else {
                let data: Value = event.json().unwrap();
                assert_eq!(data, json!({ "price": 1.5, "name": "Tee \"é\"" }), "{what}");
            }
        })
        .await;
    }
}
