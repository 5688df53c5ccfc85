//! Batches: each item is a message, and the answer has the result of each in order.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluicegate_ingress::Ingress;
use sluicegate_queue::SendError;

use super::super::{bodies::taking_contract, secret_text};
use super::{Broker, Store, post, taking, through_every_service};

fn operation(keys: Value) -> Value {
    let schema = json!({
        "type": "array",
        "maxItems": 4,
        "items": { "type": "object", "required": ["n"], "properties": { "n": { "type": "integer" } } },
    });
    let mut batch = json!({ "batch": true });
    batch.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    json!({
        "requestBody": { "required": true, "content": {
            "application/json": { "schema": schema },
            "application/x-ndjson": { "schema": schema },
        } },
        "x-sluicegate": batch,
    })
}

#[tokio::test]
async fn each_item_is_stored_or_refused_by_itself_in_order() {
    let cases = [
        ("application/json", r#"[{"n": 1}, {"n": "1"}, {"n":1.0 , "m": [ ]}, {"n": 1, "n": 2}]"#),
        ("application/x-ndjson", "{\"n\": 1}\n{\"n\": \"1\"}\r\n\n{\"n\":1.0 , \"m\": [ ]}\n{\"n\": 1, \"n\": 2}"),
    ];
    for (media_type, body) in cases {
        let headers = [("content-type", media_type)];
        through_every_service(&operation(json!({})), &headers, body.as_bytes(), |service, answer, stored| {
            let what = format!("{service} {media_type}: {}", answer.body);
            assert_eq!((answer.status, answer.statuses()), (202, vec![202, 422, 202, 400]), "{what}");
            let items = &answer.body["items"];
            assert_eq!((&items[0]["id"], &items[2]["id"]), (&stored[0].id().into(), &stored[1].id().into()), "{what}");
            assert_eq!(items[1]["code"], "schema_violated", "{what}");
            assert_eq!(items[1]["errors"][0]["pointer"], "/n", "{what}");
            assert_eq!((&items[3]["code"], &items[3]["errors"][0]["pointer"]), (&json!("json_invalid"), &json!("/n")));
            let payloads: Vec<_> = stored.iter().map(|envelope| envelope.payload().into_owned()).collect();
            assert_eq!(payloads, [&b"{\"n\": 1}"[..], b"{\"n\":1.0 , \"m\": [ ]}"], "{what}");
            assert_eq!(stored[0].content_type(), Some("application/json"), "{what}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_batch_without_a_stored_item_is_a_problem_with_every_reason() {
    let json = [("content-type", "application/json")];
    for (body, status, code, statuses) in [
        ("[{}, 1]", 422, "items_refused", &[422, 422][..]),
        ("{}", 422, "schema_violated", &[]),
        ("[1, 2, 3, 4, 5]", 422, "schema_violated", &[]),
        ("[{\"n\": 1}", 400, "json_invalid", &[]),
        ("[]", 202, "", &[]),
    ] {
        through_every_service(&operation(json!({})), &json, body.as_bytes(), |service, answer, stored| {
            assert_eq!((answer.status, answer.code()), (status, code), "{service} {body}: {}", answer.body);
            if !statuses.is_empty() {
                assert_eq!(answer.statuses(), statuses, "{service} {body}");
            }
            let media_type = if status == 202 { "application/json" } else { "application/problem+json" };
            assert_eq!(answer.header("content-type"), Some(media_type), "{service} {body}");
            assert!(stored.is_empty(), "{service} {body}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_broker_failure_never_hides_a_stored_item() {
    let json = [("content-type", "application/json")];
    let body = br#"[{"n": 1}, {"n": 2}, {"n": 3}]"#;
    let unknown = || SendError::Unknown { reason: "internal".to_owned() };
    for service in 0..super::SERVICES.len() {
        // The second item fails.
        let broker = Broker { fails_at: Some((1, unknown())), ..Broker::default() };
        let answered = post(&taking(&operation(json!({})), &broker), service, &json, body).await;
        assert_eq!((answered.status, answered.statuses()), (202, vec![202, 503, 202]), "{}", answered.body);
        assert!(answered.body["items"][1]["id"].is_string(), "it may be stored: {}", answered.body);
        assert_eq!(broker.len(), 2);

        let broker = Broker { sick: Some(unknown()), ..Broker::default() };
        let answered = post(&taking(&operation(json!({})), &broker), service, &json, body).await;
        assert_eq!((answered.status, answered.code()), (503, "queue_unavailable"), "{}", answered.body);
        assert_eq!((answered.statuses(), answered.header("retry-after")), (vec![503; 3], Some("2")));
        assert!(!answered.body.to_string().contains("internal"), "{}", answered.body);
    }
}

#[tokio::test]
async fn a_repeated_batch_has_the_same_ids_item_by_item() {
    let ids = async |key: &str, body: &str| {
        let broker = Broker::default();
        let operation = operation(json!({ "idempotency": { "key": key } }));
        let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
        let answered = post(&taking(&operation, &broker), 0, &headers, body.as_bytes()).await;
        assert_eq!(answered.status, 202, "{}", answered.body);
        broker.envelopes().iter().map(|envelope| envelope.id().to_owned()).collect::<Vec<_>>()
    };
    let same = r#"[{"n": 1}, {"n": 1}, {"n": 2}]"#;
    let of_header = ids("{header.idempotency-key}", same).await;
    assert_eq!(of_header, ids("{header.idempotency-key}", same).await);
    assert_ne!(of_header[0], of_header[1], "one key of the batch, two items");
    let of_item = ids("{body#/n}", same).await;
    assert_eq!(of_item[0], of_item[1], "the item's key names it, wherever it is");
    assert_eq!(of_item[2], ids("{body#/n}", r#"[{"n": 2}]"#).await[0]);
}

#[tokio::test]
async fn a_condition_on_a_header_chooses_the_queue_of_a_whole_batch() {
    let queues = json!([{ "queue": "urgent", "when": "{header.x-priority}", "is": "high" }, "q"]);
    let contract = taking_contract(&operation(json!({ "queue": queues })));
    let body = br#"[{"n": "1"}, {"n": 1}, {"n": 2}]"#;
    for (priority, stored) in [(Some("high"), [2, 0]), (Some("High"), [0, 2]), (None, [0, 2])] {
        let brokers = ["urgent", "q"].map(|name| (name.to_owned(), Broker::default()));
        let ingress = Ingress::new(contract, BTreeMap::from(brokers.clone()), Store::with(&secret_text()));
        let headers = [("content-type", "application/json")].into_iter();
        let headers: Vec<_> = headers.chain(priority.map(|priority| ("x-priority", priority))).collect();
        let answered = post(&ingress, 0, &headers, body).await;
        assert_eq!((answered.status, answered.statuses()), (202, vec![422, 202, 202]), "{}", answered.body);
        assert_eq!(brokers.each_ref().map(|(_, broker)| broker.len()), stored, "{priority:?}");
    }
}
